/**
 * A record of the log: one change of a store, as bytes.
 *
 * All numbers are little-endian. A record is a multiple of 8 bytes long:
 *
 * | at | what |
 * |---|---|
 * | 0 | u32: CRC-32 of all that follows, seeded with that of the segment's salt |
 * | 4 | u32: length of the record |
 * | 8 | f64: its position in the log |
 * | 16 | the first 4 bytes of the segment's salt |
 * | 20 | u32: length of the payload in the record |
 * | 24 | u8: kind |
 * | 25 | u8: flags |
 * | 26, 28, 30 | u16: lengths of id, holder, name |
 * | 32 | SHA-256 of the payload; of a removal: of the payload that goes |
 * | 64 | f64: timestamp |
 * | 72 | f64: size of the payload in bytes |
 * | 80 | id, holder, name (UTF-8), extensions if flagged, payload, zeros |
 *
 * Extensions: type u8, length u16, bytes; a type of 0 ends them. Readers skip
 * types that they do not know.
 *
 * A record at another place than its position is none, and neither is one whose
 * salt is another segment's: what an older use of these blocks left never passes
 * for a record.
 *
 * @module
 */

import { InvalidTxError } from "../errors.ts";
import type { IfMatch } from "../model/if_exists.ts";
import { HEAD_BYTES, MAX_PAYLOAD } from "../model/limits.ts";
import type { TxInfo } from "../types.ts";
import { crc32 } from "./crc32.ts";

/** UTF-8 bytes that an id, a holder or a name may have. */
const MAX_TEXT = 0xffff;

/** No record is longer. */
export const MAX_RECORD = 512 * 1024;

/** What a change does. */
export type RecordKind =
  /** Saves a transaction whose payload is in the record. */
  | "put"
  /** Deletes a transaction. */
  | "remove"
  /** Saves a transaction whose payload is in a staged file. */
  | "put-staged"
  /** Takes a transaction out of service and moves its payload to quarantine. */
  | "quarantine";

/** Numbers of the kinds on disk. 5 (a setting) is reserved. */
export const KINDS: Record<RecordKind, number> = {
  "put": 1,
  "remove": 2,
  "put-staged": 3,
  "quarantine": 4,
};

/** The payload stays in the log: no file follows. */
export const PACKED = 1;
/** The transaction stays as it is: its payload moves, or is mended. */
export const MOVED = 4;
/** There are extensions behind the name. */
export const EXTENDED = 8;
/** Nothing of this batch was written before; all before it had been synced. */
export const STARTS_BATCH = 16;

/** A further field. */
export interface Extension {
  /** 2: chunk root, 32 bytes; 3: why it was made, 1 byte, see `why.ts`. */
  type: number;
  /** Its value. */
  bytes: Uint8Array;
}

/** A change, before it has a place in the log. */
export interface LogEntry {
  /** What it does. */
  kind: RecordKind;
  /** Which transaction. */
  txId: string;
  /** Whose; empty for a removal. */
  holderId: string;
  /** UNIX seconds; 0 for a removal. */
  timestamp: number;
  /** SHA-256 of the payload, 64 hex digits. */
  storageHash: string;
  /** Bytes of the payload. */
  size: number;
  /** The payload, where it is in the record. */
  payload: Uint8Array | null;
  /** The staged file, or the name in quarantine; empty otherwise. */
  name: string;
  /** Whether the payload stays in the log, without a file. */
  isPacked: boolean;
  /** Whether a put leaves the transaction as it was, see `why.ts`. */
  isMoved?: boolean;
  /** Further fields; unknown ones are kept as they are. */
  extensions?: Extension[];
}

/** A change that is asked for. */
export interface Change {
  /** What is logged. Of a removal, the digest comes from the row. */
  entry: LogEntry;
  /** Only of the row as it was seen, not of one that came since. */
  seen?: TxInfo;
  /** Only of a payload that is still at this place in the log; null: in a file. */
  home?: number | null;
  /** Only of what somebody outside has seen there; else it is refused. */
  ifMatch?: IfMatch | undefined;
}

/** A change in the log. */
export interface LogRecord extends LogEntry {
  /** Where it begins. */
  position: number;
  /** Its length in bytes. */
  length: number;
  /**
   * Whether it is the first that was written after a sync: what stands before
   * it was durable.
   */
  startsBatch: boolean;
}

/** What a segment's records have in common. */
export interface Salt {
  /** Its 16 random bytes. */
  bytes: Uint8Array;
  /** Their CRC-32. */
  crc: number;
}

/** A salt of these bytes. */
export function saltOf(bytes: Uint8Array): Salt {
  return { bytes, crc: crc32(bytes) };
}

const encoder = new TextEncoder();

/** Bytes that a record takes at most. */
export function recordRoom(entry: LogEntry): number {
  const { txId, holderId, name, payload, extensions = [] } = entry;
  const texts = txId.length + holderId.length + name.length;
  const further = extensions.reduce((sum, { bytes }) => sum + bytes.length, 0);
  return HEAD_BYTES + 3 * texts + further + 3 * extensions.length + 1 +
    (payload?.length ?? 0) + 8;
}

/** Records as bytes, one behind the other. */
export class RecordBuffer {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #end = 0;

  /** Has room for so many bytes. */
  constructor(room: number) {
    this.#bytes = new Uint8Array(room);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** For how many bytes it has room. */
  get room(): number {
    return this.#bytes.length;
  }

  /** What it holds. The next record that it gets after `clear` overwrites it. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#end);
  }

  /** Forgets what it holds. */
  clear(): void {
    this.#end = 0;
  }

  /**
   * Appends a record that is to stand at `position`; needs `recordRoom` bytes.
   *
   * @returns Its length.
   * @throws {InvalidTxError} If its id or holder has more than 65,535 bytes.
   */
  append(
    entry: LogEntry,
    position: number,
    salt: Salt,
    startsBatch: boolean,
  ): number {
    const bytes = this.#bytes, view = this.#view, start = this.#end;
    const extensions = extensionBytes(entry.extensions ?? []);
    const { payload, storageHash } = entry;
    bytes.fill(0, start, start + HEAD_BYTES);
    let at = start + HEAD_BYTES;
    const put = (part: Uint8Array) => {
      bytes.set(part, at);
      at += part.length;
    };
    const idLength = this.#putText(entry.txId, at);
    const holderLength = this.#putText(entry.holderId, at += idLength);
    const nameLength = this.#putText(entry.name, at += holderLength);
    at += nameLength;
    requireLength("tx_id", idLength);
    requireLength("holder_id", holderLength);
    const size = payload?.length ?? 0;
    if (size > MAX_PAYLOAD || nameLength > MAX_TEXT) {
      throw new RangeError("The payload or its name is too long");
    }
    if (extensions.length > 0) put(extensions);
    if (payload) put(payload);
    const end = start + Math.ceil((at - start) / 8) * 8;
    bytes.fill(0, at, end);
    view.setUint32(start + 4, end - start, true);
    view.setFloat64(start + 8, position, true);
    for (let n = 0; n < 4; n++) bytes[start + 16 + n] = salt.bytes[n]!;
    view.setUint32(start + 20, size, true);
    bytes[start + 24] = KINDS[entry.kind];
    bytes[start + 25] = (entry.isPacked ? PACKED : 0) |
      (entry.isMoved ? MOVED : 0) |
      (extensions.length > 0 ? EXTENDED : 0) | (startsBatch ? STARTS_BATCH : 0);
    view.setUint16(start + 26, idLength, true);
    view.setUint16(start + 28, holderLength, true);
    view.setUint16(start + 30, nameLength, true);
    if (storageHash !== "") {
      bytes.subarray(start + 32, start + 64).setFromHex(storageHash);
    }
    view.setFloat64(start + 64, entry.timestamp, true);
    view.setFloat64(start + 72, entry.size, true);
    const crc = crc32(bytes.subarray(start + 4, end), salt.crc);
    view.setUint32(start, crc, true);
    this.#end = end;
    return end - start;
  }

  /** Puts text as UTF-8; how many bytes that are. */
  #putText(text: string, at: number): number {
    const bytes = this.#bytes;
    for (let n = 0; n < text.length; n++) {
      const code = text.charCodeAt(n);
      if (code > 0x7f) {
        return encoder.encodeInto(text, bytes.subarray(at)).written;
      }
      bytes[at + n] = code;
    }
    return text.length;
  }
}

/**
 * Checks that a change can be a record, and its row one of SQLite's.
 *
 * @throws {InvalidTxError} If it cannot.
 */
export function requireLoggable(entry: LogEntry): void {
  const { txId, holderId, timestamp } = entry;
  if (Number.isNaN(timestamp)) {
    throw new InvalidTxError("timestamp", "it is not a number");
  }
  for (
    const [field, text] of [["tx_id", txId], ["holder_id", holderId]] as const
  ) {
    if (text.includes("\0")) {
      throw new InvalidTxError(field, "SQLite cannot keep text with NUL");
    }
    if (text.length > MAX_TEXT / 3) {
      requireLength(field, encoder.encode(text).length);
    }
  }
}

/** Whether a change can be a record. */
export function isLoggable(entry: LogEntry): boolean {
  try {
    requireLoggable(entry);
    return true;
  } catch (error) {
    if (!(error instanceof InvalidTxError)) throw error;
    return false;
  }
}

function requireLength(field: "tx_id" | "holder_id", length: number): void {
  if (length <= MAX_TEXT) return;
  throw new InvalidTxError(
    field,
    `it has ${length} bytes in UTF-8, at most ${MAX_TEXT} can be kept`,
  );
}

function extensionBytes(extensions: Extension[]): Uint8Array {
  if (extensions.length === 0) return new Uint8Array();
  const length = extensions.reduce(
    (sum, { bytes }) => sum + 3 + bytes.length,
    1,
  );
  const all = new Uint8Array(length);
  const view = new DataView(all.buffer);
  let at = 0;
  for (const { type, bytes } of extensions) {
    all[at] = type;
    view.setUint16(at + 1, bytes.length, true);
    all.set(bytes, at + 3);
    at += 3 + bytes.length;
  }
  return all;
}

/** Returns the row that a record leaves for its id; null if it leaves none. */
export function rowOf(record: LogEntry): TxInfo | null {
  if (record.kind === "remove" || record.kind === "quarantine") return null;
  const { txId, holderId, timestamp, storageHash, size } = record;
  return { txId, holderId, timestamp, storageHash, size };
}
