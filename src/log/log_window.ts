/**
 * Reads payloads from the log, most of them one behind the other, as rows are in
 * the order in which the log has their records: then many are read at once.
 *
 * @module
 */

import { sha256HexSync } from "../files/hash.ts";
import type { TxInfo } from "../types.ts";
import type { LogDir } from "./log_dir.ts";
import { packedLength, payloadWithin, wholeAt } from "./decode_record.ts";
import { offsetOf, segmentOf } from "./segment.ts";

/** Bytes read at once, and how far ahead a record still is one of the next. */
const WINDOW = 1024 * 1024, NEAR = 64 * 1024;

/** The longest record that is looked at here. */
const LONGEST = 96 * 1024;

const scratch = new Uint8Array(LONGEST);

/**
 * The payload of a row that is small, sound and at a place, of what the disk has
 * now; the next call overwrites it. Null proves nothing.
 */
export function readPacked(
  dir: LogDir,
  info: TxInfo,
  place: number,
): Uint8Array | null {
  const length = packedLength(info.txId, info.holderId, info.size);
  const segment = length <= LONGEST ? dir.segment(segmentOf(place)) : null;
  if (!segment) return null;
  const bytes = scratch.subarray(0, length);
  const isWhole = segment.fill(offsetOf(place), bytes) === length;
  return isWhole ? soundPayload(bytes, place, info) : null;
}

function soundPayload(
  bytes: Uint8Array,
  place: number,
  { txId, size, storageHash }: TxInfo,
): Uint8Array | null {
  const payload = payloadWithin(bytes, place, txId);
  const isSound = payload !== null && payload.length === size &&
    sha256HexSync(payload) === storageHash;
  return isSound ? payload : null;
}

/** A part of the log that is in memory. */
export class LogWindow {
  readonly #dir: LogDir;
  /** Of the length of a record until it pays to read more. */
  #buffer = new Uint8Array(LONGEST);
  #segment = -1;
  #start = 0;
  #end = 0;

  /** Of the log in this folder; reads nothing yet. */
  constructor(dir: LogDir) {
    this.#dir = dir;
  }

  /**
   * The payload of a row that is small, sound and in a record at a place that is
   * so as well; the next call overwrites it. Null proves nothing.
   */
  payload(info: TxInfo, place: number): Uint8Array | null {
    const length = packedLength(info.txId, info.holderId, info.size);
    if (!(length <= LONGEST)) return null;
    const bytes = this.#bytesAt(place, length);
    const salt = this.#dir.segment(segmentOf(place))?.header.salt;
    if (!bytes || !salt || !wholeAt(bytes, 0, place, salt)) return null;
    return soundPayload(bytes, place, info);
  }

  #bytesAt(place: number, length: number): Uint8Array | null {
    const number = segmentOf(place), offset = offsetOf(place);
    const isNear = number === this.#segment && offset >= this.#start &&
      offset <= this.#end + NEAR;
    const isHere = isNear && offset + length <= this.#end;
    if (!isHere && !this.#read(number, offset, isNear ? WINDOW : length)) {
      return null;
    }
    const at = offset - this.#start;
    return at + length <= this.#end - this.#start
      ? this.#buffer.subarray(at, at + length)
      : null;
  }

  #read(number: number, offset: number, length: number): boolean {
    const segment = this.#dir.segment(number);
    if (!segment) return false;
    if (length > this.#buffer.length) this.#buffer = new Uint8Array(length);
    this.#segment = number;
    this.#start = offset;
    this.#end = offset + segment.fill(offset, this.#buffer.subarray(0, length));
    return true;
  }
}
