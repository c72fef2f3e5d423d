/**
 * The end of the log, where records are written. Only for whoever has the turn.
 *
 * A segment is zeroed some way ahead, so that most writes change neither its
 * size nor its blocks and a sync has nothing but their bytes to wait for.
 *
 * @module
 */

import { crashPoint } from "../async/crash_points.ts";
import { DiskWait } from "../files/disk_wait.ts";
import type { LogDir } from "./log_dir.ts";
import {
  type LogEntry,
  type LogRecord,
  RecordBuffer,
  recordRoom,
} from "./record.ts";
import { isBlank } from "./scan.ts";
import {
  FIRST_RECORD,
  newHeader,
  offsetOf,
  positionOf,
  type Segment,
  SEGMENT_SPAN,
  segmentOf,
} from "./segment.ts";

/** A segment is zeroed by at least, and at most, so many bytes at a time. */
const ZEROS_AT_LEAST = 64 * 1024;
const ZEROS_AT_MOST = 4 * 1024 * 1024;

/** Where the log ends, for one writer. */
export class LogEnd {
  readonly #dir: LogDir;
  readonly #sync: boolean;
  #segment: Segment | null = null;
  #offset = 0;
  /** The segment is zeroed up to here, unless it was cut since. */
  #zeroed = 0;
  readonly #disk = new DiskWait();
  #buffer = new RecordBuffer(0);

  /** The end of a log; `sync`: whether to wait for the disk. */
  constructor(dir: LogDir, sync: boolean) {
    this.#dir = dir;
    this.#sync = sync;
  }

  /** The position of the next record. */
  get position(): number {
    const { number } = this.#current().header;
    return positionOf(number, this.#offset);
  }

  /** The segment that the next record goes to. */
  get segment(): number {
    return this.#current().header.number;
  }

  /** Bytes of the newest segment in use. */
  get used(): number {
    return this.#offset;
  }

  /** Goes to where the log ends. */
  seek(position: number): void {
    const number = segmentOf(position);
    if (this.#segment?.header.number !== number) {
      this.#segment = this.#dir.segment(number);
      if (!this.#segment) throw new Error(`The log has no segment ${number}`);
      this.#zeroed = this.#segment.size();
    }
    this.#offset = offsetOf(position);
  }

  /** Whether anything but zeros stands where the next record is to be. */
  isTaken(): boolean {
    return this.#current().read(this.#offset, 32).some((byte) => byte !== 0);
  }

  /** Takes away what stands behind the end: it is no record. */
  wipe(): void {
    const segment = this.#current();
    if (isBlank(segment, this.#offset)) return;
    segment.truncate(this.#offset);
    this.#zeroed = this.#offset;
    crashPoint("tail wiped");
  }

  /** Whether so many more bytes have room in the segment. */
  hasRoom(bytes: number): boolean {
    return this.#offset + bytes <= SEGMENT_SPAN;
  }

  /**
   * Writes records: whole, or nothing of them stays. Durable once synced.
   *
   * @param ahead Whether to zero the segment ahead: not where room is short.
   * @returns The records, with their places.
   */
  append(entries: LogEntry[], ahead: boolean): LogRecord[] {
    const segment = this.#current();
    const { number, salt } = segment.header;
    const room = entries.reduce((sum, entry) => sum + recordRoom(entry), 0);
    if (this.#buffer.room < room) this.#buffer = new RecordBuffer(2 * room);
    const buffer = this.#buffer;
    buffer.clear();
    let end = this.#offset;
    const records = entries.map((entry, n): LogRecord => {
      const position = positionOf(number, end);
      const startsBatch = n === 0;
      const length = buffer.append(entry, position, salt, startsBatch);
      end += length;
      return { ...entry, position, length, startsBatch };
    });
    if (end > SEGMENT_SPAN) throw new RangeError("The segment has no room");
    try {
      segment.write(this.#offset, buffer.bytes);
      if (end > this.#zeroed) {
        this.#zeroed = end;
        if (ahead) this.#zeroAhead(segment, end);
      }
    } catch (error) {
      // What was written in part is not to be found by anyone.
      segment.truncate(this.#offset);
      this.#zeroed = this.#offset;
      throw error;
    }
    this.#offset = end;
    crashPoint("record written");
    return records;
  }

  /** Waits until what was written is on the disk. */
  async sync(): Promise<void> {
    if (!this.#sync) return;
    const segment = this.#current();
    await this.#disk.wait(() => segment.syncSync(), () => segment.sync());
  }

  /** Goes on in a new segment; what is in the log so far is durable. */
  async roll(changes: number): Promise<void> {
    const { header } = this.#current();
    const numbers = this.#dir.numbers();
    const newest = header.number + 1;
    // A dead process may have made it, and written nothing to it.
    const number = Math.max(newest, (numbers.at(-1) ?? 0) + 1);
    const previousEnd = this.position;
    const next = newHeader({ ...header, number, changes, previousEnd });
    this.#dir.setState({ newest: number });
    await this.#dir.create(next);
    this.seek(positionOf(number, FIRST_RECORD));
    crashPoint("segment sealed");
  }

  /** Gives back the zeros behind the end. */
  trim(): void {
    const segment = this.#current();
    if (segment.size() > this.#offset) segment.truncate(this.#offset);
    this.#zeroed = this.#offset;
  }

  #current(): Segment {
    if (!this.#segment) throw new Error("The log is not open");
    return this.#segment;
  }

  /** A full disk is no reason to fail: then the file grows with each write. */
  #zeroAhead(segment: Segment, from: number): void {
    const size = Math.min(Math.max(from, ZEROS_AT_LEAST), ZEROS_AT_MOST);
    const to = Math.min(from + size, SEGMENT_SPAN);
    this.#zeroed = from;
    try {
      segment.write(from, new Uint8Array(to - from));
      this.#zeroed = to;
    } catch {
      segment.truncate(from);
    }
  }
}
