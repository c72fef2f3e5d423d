/**
 * Reads records of the log: `record.ts` says what they look like. What is torn,
 * altered, of another segment or at another place is none.
 *
 * @module
 */

import { PohStorageError } from "../errors.ts";
import { HEAD_BYTES } from "../model/limits.ts";
import { crc32 } from "./crc32.ts";
import {
  EXTENDED,
  type Extension,
  KINDS,
  type LogRecord,
  MAX_RECORD,
  MOVED,
  PACKED,
  type RecordKind,
  type Salt,
  STARTS_BATCH,
} from "./record.ts";

const KIND_NAMES = new Map(
  Object.entries(KINDS).map(([name, n]) => [n, name as RecordKind]),
);

const KNOWN_FLAGS = PACKED | MOVED | EXTENDED | STARTS_BATCH;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The length that the record at `at` claims to have, if it can be one of this
 * segment at this position; else 0. Needs the first 32 bytes.
 */
export function claimedLength(
  bytes: Uint8Array,
  at: number,
  position: number,
  salt: Salt,
): number {
  if (bytes.length - at < HEAD_BYTES) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, 32);
  const length = view.getUint32(4, true);
  if (length < HEAD_BYTES || length > MAX_RECORD || length % 8 !== 0) return 0;
  if (view.getFloat64(8, true) !== position) return 0;
  for (let n = 0; n < 4; n++) {
    if (bytes[at + 16 + n] !== salt.bytes[n]) return 0;
  }
  return length;
}

/**
 * The bytes of the record at `at` of these bytes, which are those of the log from
 * there on; null where they are not as they were written.
 */
export function wholeAt(
  bytes: Uint8Array,
  at: number,
  position: number,
  salt: Salt,
): Uint8Array | null {
  const length = claimedLength(bytes, at, position, salt);
  if (length === 0 || bytes.length - at < length) return null;
  const record = bytes.subarray(at, at + length);
  const view = new DataView(record.buffer, record.byteOffset, 4);
  const isWhole = crc32(record.subarray(4), salt.crc) ===
    view.getUint32(0, true);
  return isWhole ? record : null;
}

/**
 * The record at `at` of these bytes, which are those of the log from there on;
 * null where there is none that is sound.
 *
 * @throws {PohStorageError} `LOG_TOO_NEW` if a sound record is of a kind, or has
 * a flag, that this program does not know.
 */
export function decodeRecord(
  bytes: Uint8Array,
  at: number,
  position: number,
  salt: Salt,
): LogRecord | null {
  const record = wholeAt(bytes, at, position, salt);
  if (!record) return null;
  const { length } = record;
  const view = new DataView(record.buffer, record.byteOffset, length);
  const kind = KIND_NAMES.get(record[24]!);
  const flags = record[25]!;
  if (!kind) throw tooNew(`of kind ${record[24]}`, position);
  if ((flags & ~KNOWN_FLAGS) !== 0) {
    throw tooNew(`with flags ${flags}`, position);
  }
  let end = HEAD_BYTES;
  const take = (bytes: number) => record.subarray(end, end += bytes);
  const txId = textIn(take(view.getUint16(26, true)));
  const holderId = textIn(take(view.getUint16(28, true)));
  const name = textIn(take(view.getUint16(30, true)));
  const extensions: Extension[] = [];
  while ((flags & EXTENDED) !== 0 && end < length) {
    const [type] = take(1);
    if (!type) break;
    const [low = 0, high = 0] = take(2);
    extensions.push({ type, bytes: take(low + 256 * high).slice() });
  }
  const payload = take(view.getUint32(20, true));
  const isWritten = end <= length && txId !== null && holderId !== null &&
    name !== null && !/[/\\]/.test(name);
  if (!isWritten) return null; // somebody else made it, with a checksum
  return {
    kind,
    txId,
    holderId,
    name,
    storageHash: record.subarray(32, 64).toHex(),
    timestamp: view.getFloat64(64, true),
    size: view.getFloat64(72, true),
    payload: kind === "put" ? payload : null,
    isPacked: (flags & PACKED) !== 0,
    ...((flags & MOVED) !== 0 && { isMoved: true }),
    ...(extensions.length > 0 && { extensions }),
    position,
    length,
    startsBatch: (flags & STARTS_BATCH) !== 0,
  };
}

/**
 * The length of the record of a payload, of `size` bytes, that stays in the log:
 * more than that where an id or a holder is not ASCII, or there are extensions.
 */
export function packedLength(
  txId: string,
  holderId: string,
  size: number,
): number {
  return Math.ceil((HEAD_BYTES + txId.length + holderId.length + size) / 8) * 8;
}

/**
 * The payload of the put of `txId` at `position`, without a look at the record's
 * CRC: for whoever compares the payload's digest. Null proves nothing; these
 * bytes may hold too little of the record.
 */
export function payloadWithin(
  bytes: Uint8Array,
  position: number,
  txId: string,
): Uint8Array | null {
  if (bytes.length < HEAD_BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEAD_BYTES);
  if (view.getFloat64(8, true) !== position) return null;
  const isPlain = bytes[24] === KINDS.put && (bytes[25]! & EXTENDED) === 0 &&
    view.getUint16(26, true) === txId.length;
  if (!isPlain) return null;
  for (let n = 0; n < txId.length; n++) {
    if (bytes[HEAD_BYTES + n] !== txId.charCodeAt(n)) return null;
  }
  const start = HEAD_BYTES + txId.length + view.getUint16(28, true) +
    view.getUint16(30, true);
  const end = start + view.getUint32(20, true);
  return end <= bytes.length ? bytes.subarray(start, end) : null;
}

/** The text of UTF-8 bytes; null if they are none. */
function textIn(bytes: Uint8Array): string | null {
  try {
    return decoder.decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

function tooNew(what: string, position: number): PohStorageError {
  return new PohStorageError(
    "LOG_TOO_NEW",
    `The log has a record ${what} at ${position}, which this program does not know: use a newer one`,
  );
}
