/**
 * Reads the log from record to record. A payload can hold bytes that look like
 * a record, so a scan never searches where a sound record says that the next one
 * is; only behind bytes that are no record does it look for one that is, by the
 * position and the salt that it must have.
 *
 * @module
 */

import { regularSize } from "../files/durable_fs.ts";
import { sha256HexSync } from "../files/hash.ts";
import type { TxInfo } from "../types.ts";
import type { LogDir } from "./log_dir.ts";
import { claimedLength, decodeRecord } from "./decode_record.ts";
import { type LogRecord, MAX_RECORD } from "./record.ts";
import { HEAD_BYTES, MAX_PAYLOAD } from "../model/limits.ts";
import {
  FIRST_RECORD,
  offsetOf,
  positionOf,
  type Segment,
  segmentOf,
} from "./segment.ts";

/** Bytes read at once. */
const WINDOW = 1024 * 1024;

/** Bytes that are no record, with sound records behind them, or known to be so. */
export interface Gap {
  /** The position where they begin. */
  from: number;
  /** The position where the log goes on. */
  to: number;
}

/** What a scan finds. */
export type Found =
  | { record: LogRecord; gap?: never }
  | { gap: Gap; record?: never };

/**
 * The sound records of one segment, up to the first place without one.
 *
 * @returns The offset of that place.
 */
export function* recordsOf(
  segment: Segment,
  offset: number,
): Generator<LogRecord, number> {
  const { number, salt } = segment.header;
  let window = new Uint8Array(), start = offset;
  for (let at = offset;;) {
    const position = positionOf(number, at);
    let record = decodeRecord(window, at - start, position, salt);
    if (!record) {
      // It may go on behind the window.
      window = segment.read(at, WINDOW);
      start = at;
      record = decodeRecord(window, 0, position, salt);
    }
    if (!record) return at;
    yield record;
    at += record.length;
  }
}

/** The offset of the next sound record from an offset on; null: none. */
export function nextSound(segment: Segment, offset: number): number | null {
  const { number, salt } = segment.header;
  const mark = new DataView(salt.bytes.buffer, salt.bytes.byteOffset)
    .getUint32(0, true);
  for (let start = Math.ceil(offset / 8) * 8;; start += WINDOW) {
    // A record that begins in the window ends in what is read.
    const bytes = segment.read(start, WINDOW + MAX_RECORD);
    const view = new DataView(bytes.buffer);
    const last = Math.min(WINDOW, bytes.length - HEAD_BYTES + 1);
    for (let at = 0; at < last; at += 8) {
      if (view.getUint32(at + 16, true) !== mark) continue;
      const position = positionOf(number, start + at);
      if (claimedLength(bytes, at, position, salt) === 0) continue;
      if (decodeRecord(bytes, at, position, salt)) return start + at;
    }
    if (bytes.length <= WINDOW) return null;
  }
}

/**
 * The records of the log from a position on, in order, and the gaps between
 * them: sound records behind damage are found all the same.
 *
 * @returns The position where the log ends.
 */
export function* scanLog(dir: LogDir, from: number): Generator<Found, number> {
  const first = segmentOf(from);
  const numbers = dir.numbers().filter((number) =>
    number >= first && !dir.isForeign(number)
  );
  let end = from, followsOn = false;
  for (const number of numbers) {
    const segment = dir.segment(number);
    if (!segment) {
      const gap = gapOf(dir, number);
      followsOn = gap !== null;
      if (!gap) continue; // a checkpoint has dropped it meanwhile
      yield { gap };
      end = gap.to;
      continue;
    }
    const { previousEnd } = segment.header;
    // What the segment before had at its end and has no more.
    if (followsOn && previousEnd > end) {
      yield { gap: { from: end, to: previousEnd } };
    }
    followsOn = true;
    let offset = number === first ? offsetOf(from) : FIRST_RECORD;
    offset = Math.max(offset, FIRST_RECORD);
    for (;;) {
      const records = recordsOf(segment, offset);
      let next = records.next();
      for (; !next.done; next = records.next()) yield { record: next.value };
      offset = next.value;
      const sound = nextSound(segment, offset);
      if (sound === null) break;
      const gap = {
        from: positionOf(number, offset),
        to: positionOf(number, sound),
      };
      yield { gap };
      offset = sound;
    }
    end = positionOf(number, offset);
  }
  return end;
}

/** A segment of which nothing can be read; null where it is not there any more. */
function gapOf(dir: LogDir, number: number): Gap | null {
  const size = regularSize(dir.pathOf(number));
  return size === null ? null : {
    from: positionOf(number, Math.min(FIRST_RECORD, size)),
    to: positionOf(number, Math.max(FIRST_RECORD, size)),
  };
}

/** Whether nothing but zeros stands in a segment from an offset on. */
export function isBlank(segment: Segment, offset: number): boolean {
  for (let at = offset;; at += WINDOW) {
    const bytes = segment.read(at, WINDOW);
    if (bytes.some((byte) => byte !== 0)) return false;
    if (bytes.length < WINDOW) return true;
  }
}

/** The record at a position; null where none is sound, or the segment is gone. */
export function recordAt(dir: LogDir, position: number): LogRecord | null {
  const segment = dir.segment(segmentOf(position));
  if (!segment) return null;
  const { salt } = segment.header;
  const offset = offsetOf(position);
  const head = segment.read(offset, HEAD_BYTES);
  const length = claimedLength(head, 0, position, salt);
  if (length === 0) return null;
  return decodeRecord(segment.read(offset, length), 0, position, salt);
}

/**
 * What stands in the place of a row's payload, whatever its record is like: the
 * row knows where in the record it is. Only its digest tells whether it is sound.
 */
export function payloadAt(
  dir: LogDir,
  position: number,
  info: TxInfo,
): Uint8Array | null {
  const { txId, holderId, size } = info;
  if (size < 0 || size > MAX_PAYLOAD) return null;
  const start = HEAD_BYTES + textBytes(txId) + textBytes(holderId);
  const record = dir.peek(
    segmentOf(position),
    offsetOf(position),
    start + size,
  );
  if (record.length < start + size) return null;
  // Where no record ever was there is no payload either.
  const isBlank = record.every((byte) => byte === 0);
  const bytes = record.subarray(start);
  return isBlank && sha256HexSync(bytes) !== info.storageHash ? null : bytes;
}

function textBytes(text: string): number {
  return new TextEncoder().encode(text).length;
}
