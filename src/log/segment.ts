/**
 * A segment: one file of the log. It begins with a header, twice, since one bit
 * of the salt is what every record of it depends on; records follow, then
 * zeros, which a write can overwrite without a new size or new blocks.
 *
 * | at | what |
 * |---|---|
 * | 0 | "POHL" |
 * | 4 | u32: version of the format, 1 |
 * | 8 | f64: number of the segment |
 * | 16 | salt, 16 random bytes |
 * | 32 | f64: changes of the store before this segment |
 * | 40 | id of the store, 16 bytes |
 * | 56 | f64: position where the records before this segment end |
 * | 64 | zeros |
 * | 76 | u32: CRC-32 of the first 76 bytes |
 *
 * A position in the log is the number of the segment times 2^26, and the offset
 * in it: one number orders all changes of all processes.
 *
 * @module
 */

import { PohStorageError } from "../errors.ts";
import { sha256HexSync } from "../files/hash.ts";
import { crc32 } from "./crc32.ts";
import { type Salt, saltOf } from "./record.ts";

const HEADER = 80;

/** Where the first record of a segment is. */
export const FIRST_RECORD = 2 * HEADER;

/** Offsets in a segment are below this. */
export const SEGMENT_SPAN = 2 ** 26;

const VERSION = 1;
const MAGIC = [0x50, 0x4f, 0x48, 0x4c];

/** What a segment says of itself. */
export interface SegmentHeader {
  /** Its number; later segments have greater ones. */
  number: number;
  /** What its records are tied to it by. */
  salt: Salt;
  /** Puts and removals that the store had seen before its first record. */
  changes: number;
  /** The id of the store, 32 hex digits. */
  storeId: string;
  /** The position where the records before it end. */
  previousEnd: number;
}

/** The position of an offset in a segment. */
export function positionOf(segment: number, offset: number): number {
  return segment * SEGMENT_SPAN + offset;
}

/** The number of the segment that a position is in. */
export function segmentOf(position: number): number {
  return Math.floor(position / SEGMENT_SPAN);
}

/** The offset of a position in its segment. */
export function offsetOf(position: number): number {
  return position % SEGMENT_SPAN;
}

/** The id of a store as headers have it: a UUID's digits, else a digest's. */
export function storeTag(id: string): string {
  const digits = id.replaceAll("-", "").toLowerCase();
  const isUuid = /^[0-9a-f]{32}$/.test(digits);
  const encoded = new TextEncoder().encode(id);
  return isUuid ? digits : sha256HexSync(encoded).slice(0, 32);
}

/** A header for a new segment, with a salt of its own. */
export function newHeader(
  header: Omit<SegmentHeader, "salt">,
): SegmentHeader {
  const salt = saltOf(crypto.getRandomValues(new Uint8Array(16)));
  return { ...header, salt };
}

/** The bytes of a header, both copies. */
export function encodeHeader(header: SegmentHeader): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(FIRST_RECORD);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint32(4, VERSION, true);
  view.setFloat64(8, header.number, true);
  bytes.set(header.salt.bytes, 16);
  view.setFloat64(32, header.changes, true);
  bytes.subarray(40, 56).setFromHex(header.storeId);
  view.setFloat64(56, header.previousEnd, true);
  view.setUint32(76, crc32(bytes.subarray(0, 76)), true);
  bytes.copyWithin(HEADER, 0, HEADER);
  return bytes;
}

/**
 * The header of a segment's first bytes; null where neither copy is sound.
 *
 * @throws {PohStorageError} `LOG_TOO_NEW` if it is of a later version.
 */
export function decodeHeader(bytes: Uint8Array): SegmentHeader | null {
  return decodeCopy(bytes.subarray(0, HEADER)) ??
    decodeCopy(bytes.subarray(HEADER, FIRST_RECORD));
}

function decodeCopy(bytes: Uint8Array): SegmentHeader | null {
  if (bytes.length < HEADER) return null;
  if (MAGIC.some((byte, at) => bytes[at] !== byte)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER);
  if (crc32(bytes.subarray(0, 76)) !== view.getUint32(76, true)) return null;
  const version = view.getUint32(4, true);
  if (version !== VERSION) {
    throw new PohStorageError(
      "LOG_TOO_NEW",
      `The log has format version ${version}, this program knows ${VERSION}: use a newer one`,
    );
  }
  return {
    number: view.getFloat64(8, true),
    salt: saltOf(bytes.slice(16, 32)),
    changes: view.getFloat64(32, true),
    storeId: bytes.subarray(40, 56).toHex(),
    previousEnd: view.getFloat64(56, true),
  };
}

/** An open segment. */
export class Segment implements Disposable {
  /** What it says of itself. */
  readonly header: SegmentHeader;
  readonly #file: Deno.FsFile;

  private constructor(file: Deno.FsFile, header: SegmentHeader) {
    this.#file = file;
    this.header = header;
  }

  /** Opens a segment; null where its header is not sound, or not its own. */
  static open(path: string, number: number, write: boolean): Segment | null {
    const file = Deno.openSync(path, { read: true, write });
    try {
      const header = decodeHeader(readAt(file, 0, FIRST_RECORD));
      if (header?.number === number) return new Segment(file, header);
    } catch (error) {
      file.close();
      throw error;
    }
    file.close();
    return null;
  }

  /** The header of a segment file; null where it is not sound, or not there. */
  static headerOf(path: string): SegmentHeader | null {
    try {
      using file = Deno.openSync(path, { read: true });
      return decodeHeader(readAt(file, 0, FIRST_RECORD));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      return null;
    }
  }

  /** The bytes from an offset on, fewer at the end of the file. */
  read(offset: number, length: number): Uint8Array<ArrayBuffer> {
    return readAt(this.#file, offset, length);
  }

  /** Fills a buffer with the bytes from an offset on; how many there are. */
  fill(offset: number, buffer: Uint8Array): number {
    this.#file.seekSync(offset, Deno.SeekMode.Start);
    return this.#file.readSync(buffer) ?? 0;
  }

  /** Writes bytes at an offset. */
  write(offset: number, bytes: Uint8Array): void {
    this.#file.seekSync(offset, Deno.SeekMode.Start);
    for (let at = 0; at < bytes.length;) {
      at += this.#file.writeSync(bytes.subarray(at));
    }
  }

  /** The length of the file in bytes. */
  size(): number {
    return this.#file.statSync().size;
  }

  /** Cuts the file. */
  truncate(length: number): void {
    this.#file.truncateSync(length);
  }

  /** Waits until all that was written to the file, by anyone, is on the disk. */
  async sync(): Promise<void> {
    await this.#file.syncData();
  }

  /** As `sync`, without leaving the thread. */
  syncSync(): void {
    this.#file.syncDataSync();
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

function readAt(
  file: Deno.FsFile,
  offset: number,
  length: number,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  file.seekSync(offset, Deno.SeekMode.Start);
  let read = 0;
  while (read < length) {
    const count = file.readSync(bytes.subarray(read));
    if (count === null) break;
    read += count;
  }
  return bytes.subarray(0, read);
}
