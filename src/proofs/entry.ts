/**
 * The entries of the log: what was saved, under a seal, and what ended. Everybody
 * may read them. What a seal stands for, only those know who were given the
 * record behind it.
 *
 * @module
 */

import { joined, textOf, utf8 } from "./encoding.ts";
import { malformed } from "./proof_error.ts";
import { sha256 } from "./sha256_short.ts";

/** An entry is at most this long, in bytes. */
export const MAX_ENTRY = 65_535;

/** Why a transaction is in the log. */
export type PutReason = "saved" | "adopted" | "carried-over" | "restored";
/** Why one is no longer current. */
export type RemoveReason = "deleted" | "pruned" | "damaged" | "vanished";

// By the numbers that stand in entries.
const PUT_REASONS: readonly PutReason[] = [
  "saved",
  "adopted",
  "carried-over",
  "restored",
];
const REMOVE_REASONS: readonly RemoveReason[] = [
  "deleted",
  "pruned",
  "damaged",
  "vanished",
];

/** A transaction was saved, under a seal. */
export interface PutEntry {
  /** Tells it from the others. */
  readonly kind: "put";
  /** Why it is in the log. */
  readonly reason: PutReason;
  /** Index of the put of the same id that this one replaces; null for none. */
  readonly prev: number | null;
  /** SHA-256 of the record. */
  readonly seal: Uint8Array;
}

/** A transaction is no longer there. */
export interface RemoveEntry {
  /** Tells it from the others. */
  readonly kind: "remove";
  /** Why it went. */
  readonly reason: RemoveReason;
  /** Index of the put that ends here. */
  readonly prev: number;
}

/** The first entry of a log, and of none else. */
export interface BeginEntry {
  /** Tells it from the others. */
  readonly kind: "begin";
  /** Id of the store. */
  readonly storeId: string;
  /** Name of the log, which its checkpoints begin with. */
  readonly origin: string;
  /** The last checkpoint of the log that this one succeeds; null for none. */
  readonly predecessor: string | null;
}

/** An entry of the log. */
export type LogEntry = PutEntry | RemoveEntry | BeginEntry;

const VERSION = 1;
const PUT = 1, REMOVE = 2, BEGIN = 3;
const HEAD = 11;
const NO_PREV = 2n ** 64n - 1n;
const LOG_MAGIC = "poh-storage/log/v1\n";

/** Bytes of an entry. */
export function encodeEntry(entry: LogEntry): Uint8Array<ArrayBuffer> {
  switch (entry.kind) {
    case "put":
      if (entry.seal.length !== 32) {
        throw malformed("entry", "The seal of an entry is no SHA-256");
      }
      return joined([
        head(PUT, PUT_REASONS.indexOf(entry.reason), entry.prev),
        entry.seal,
      ]);
    case "remove":
      return head(REMOVE, REMOVE_REASONS.indexOf(entry.reason), entry.prev);
    case "begin": {
      const { storeId, origin, predecessor } = entry;
      if (`${storeId}${origin}`.includes("\n") || !storeId || !origin) {
        throw malformed("entry", "Store id and origin are a line each");
      }
      const text = `${LOG_MAGIC}${storeId}\n${origin}\n${predecessor ?? ""}`;
      const bytes = joined([head(BEGIN, 0, null), utf8(text, "entry")]);
      if (bytes.length <= MAX_ENTRY) return bytes;
      throw malformed("entry", `An entry of ${bytes.length} bytes is too long`);
    }
  }
}

function head(
  kind: number,
  reason: number,
  prev: number | null,
): Uint8Array<ArrayBuffer> {
  if (prev !== null && !(Number.isSafeInteger(prev) && prev >= 0)) {
    throw malformed("entry", "An entry follows no such index");
  }
  const bytes = new Uint8Array(HEAD);
  bytes.set([VERSION, kind, reason]);
  const value = prev === null ? NO_PREV : BigInt(prev);
  new DataView(bytes.buffer).setBigUint64(3, value);
  return bytes;
}

/**
 * Reads an entry.
 *
 * @throws {ProofError} Code `TLOG_FORMAT`, for what is none.
 *
 * @example Usage
 * ```ts
 * import { encodeEntry, parseEntry } from "@poh/storage/proofs";
 * import { assertEquals } from "@std/assert";
 *
 * const removed = { kind: "remove", reason: "pruned", prev: 1 } as const;
 * assertEquals(parseEntry(encodeEntry(removed)), removed);
 * ```
 */
export function parseEntry(bytes: Uint8Array): LogEntry {
  if (bytes.length < HEAD || bytes.length > MAX_ENTRY) {
    throw malformed("entry", `An entry of ${bytes.length} bytes is none`);
  }
  const [version, kind, reason] = bytes as unknown as number[];
  if (version !== VERSION) {
    throw malformed("entry", `An entry has version ${version}, not ${VERSION}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const prev = prevOf(view.getBigUint64(3));
  const rest = bytes.subarray(HEAD);
  if (kind === PUT && rest.length === 32) {
    return {
      kind: "put",
      reason: reasonOf(PUT_REASONS, reason!),
      prev,
      seal: rest.slice(),
    };
  }
  if (kind === REMOVE && rest.length === 0 && prev !== null) {
    return { kind: "remove", reason: reasonOf(REMOVE_REASONS, reason!), prev };
  }
  if (kind === BEGIN && reason === 0 && prev === null) return beginOf(rest);
  throw malformed("entry", `An entry of kind ${kind} is not as it should be`);
}

function prevOf(value: bigint): number | null {
  if (value === NO_PREV) return null;
  if (value <= Number.MAX_SAFE_INTEGER) return Number(value);
  throw malformed("entry", "An entry follows an index above 2^53");
}

function reasonOf<T>(reasons: readonly T[], reason: number): T {
  const name = reasons[reason];
  if (name !== undefined) return name;
  throw malformed("entry", `An entry has the unknown reason ${reason}`);
}

function beginOf(rest: Uint8Array): BeginEntry {
  const text = textOf(rest, "entry");
  const lines = text.split("\n", 3);
  const [magic, storeId, origin] = lines;
  const length = lines.join("\n").length + 1;
  if (
    `${magic}\n` !== LOG_MAGIC || !storeId || !origin || text.length < length
  ) {
    throw malformed("entry", "A first entry names no store and origin");
  }
  const predecessor = text.slice(length);
  return { kind: "begin", storeId, origin, predecessor: predecessor || null };
}

/** What a seal stands for: a transaction without its payload, and a salt. */
export interface TxRecord {
  /** 16 random bytes, new for each entry. */
  readonly salt: Uint8Array;
  /** Id of the transaction. */
  readonly txId: string;
  /** Who it belongs to. */
  readonly holderId: string;
  /** Its time, in seconds. */
  readonly timestamp: number;
  /** Size of the payload, in bytes. */
  readonly size: number;
  /** SHA-256 of the payload. */
  readonly digest: Uint8Array;
  /** Root over the chunks of the payload; 32 zeros up to 8,192 bytes. */
  readonly chunkRoot: Uint8Array;
}

/** A payload of up to this many bytes has one chunk, and no chunk root. */
export const CHUNK_SIZE = 8192;

const RECORD_MAGIC = "poh-storage/record/v1\n";
const SALT = 16;

/** Whether the chunk root of a payload must be zeros, and is, or must not be. */
function fitsSize({ chunkRoot, size }: TxRecord): boolean {
  return (size <= CHUNK_SIZE) === chunkRoot.every((byte) => byte === 0);
}

/**
 * Bytes of a record, whose SHA-256 is the seal.
 *
 * @throws {ProofError} Code `TLOG_FORMAT`, for a field that cannot be written.
 */
export function encodeRecord(record: TxRecord): Uint8Array<ArrayBuffer> {
  const { salt, timestamp, size, digest, chunkRoot } = record;
  const txId = utf8(record.txId, "record");
  const holderId = utf8(record.holderId, "record");
  if (
    salt.length !== SALT || digest.length !== 32 || chunkRoot.length !== 32 ||
    !Number.isFinite(timestamp) || !Number.isSafeInteger(size) || size < 0 ||
    !fitsSize(record)
  ) throw malformed("record", "A record has a field that cannot be sealed");
  const numbers = new DataView(new ArrayBuffer(24));
  numbers.setUint32(0, txId.length);
  numbers.setUint32(4, holderId.length);
  numbers.setFloat64(8, timestamp + 0); // -0 + 0 is 0
  numbers.setBigUint64(16, BigInt(size));
  const part = (from: number, to: number) =>
    new Uint8Array(numbers.buffer, from, to - from);
  return joined([
    utf8(RECORD_MAGIC, "record"),
    salt,
    part(0, 4),
    txId,
    part(4, 8),
    holderId,
    part(8, 24),
    digest,
    chunkRoot,
  ]);
}

/**
 * Reads a record. There is one way to write each, and no other is read.
 *
 * @throws {ProofError} Code `TLOG_FORMAT`, for what is none.
 */
export function parseRecord(bytes: Uint8Array): TxRecord {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  const next = (length: number) => {
    if (length > bytes.length - at) {
      throw malformed("record", "A record is cut");
    }
    return bytes.slice(at, at += length);
  };
  const text = () => {
    next(4);
    return textOf(next(view.getUint32(at - 4)), "record");
  };
  if (textOf(next(RECORD_MAGIC.length), "record") !== RECORD_MAGIC) {
    throw malformed("record", "A record begins with other words");
  }
  const salt = next(SALT), txId = text(), holderId = text();
  next(16);
  const timestamp = view.getFloat64(at - 16);
  const size = Number(view.getBigUint64(at - 8));
  const record: TxRecord = {
    ...{ salt, txId, holderId, timestamp, size },
    ...{ digest: next(32), chunkRoot: next(32) },
  };
  if (
    at !== bytes.length || !Number.isFinite(timestamp) ||
    Object.is(timestamp, -0) || !Number.isSafeInteger(size) || !fitsSize(record)
  ) throw malformed("record", "A record is not written as it should be");
  return record;
}

/** The seal of a record: its SHA-256. */
export function sealOf(record: Uint8Array): Uint8Array<ArrayBuffer> {
  return sha256(record);
}
