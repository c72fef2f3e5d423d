/**
 * The end of the log for whoever has the turn, `.poh/commit.lock`: how it is found
 * again after others had the turn, and made durable.
 *
 * @module
 */

import { crashPoint } from "../async/crash_points.ts";
import { PohStorageError } from "../errors.ts";
import { logState } from "../sqlite/log_state.ts";
import { hasPlaces } from "../sqlite/places.ts";
import { makeRows } from "./follow.ts";
import type { Following } from "./following.ts";
import { diskFailed } from "./health.ts";
import { LogEnd } from "./log_end.ts";
import type { LogEntry, LogRecord } from "./record.ts";
import { scanLog } from "./scan.ts";
import { FIRST_RECORD, positionOf, segmentOf } from "./segment.ts";
import type { WriterParts } from "./writer_parts.ts";

/** More bytes than any batch has. */
const ROOM = 16 * 1024 * 1024;

/** Records that a dead writer left are followed so many at a time. */
const PAGE = 512;

/** What one writer does at the end of the log while it has the turn. */
export class LogTurn {
  readonly #parts: WriterParts;
  readonly #following: Following;
  readonly #end: LogEnd;

  /** Has not looked at the log yet. */
  constructor(parts: WriterParts, following: Following) {
    this.#parts = parts;
    this.#following = following;
    this.#end = new LogEnd(parts.dir, parts.sync);
  }

  /** Where the next record is written. */
  get position(): number {
    return this.#end.position;
  }

  /** Goes to the end of the log, once rows have followed up to there. */
  async enter(): Promise<void> {
    const { dir, rows, health, members } = this.#parts;
    health.requireTrust();
    health.requireInPlace();
    const { hasFailed, newest, joins } = dir.state();
    if (hasFailed) throw diskFailed("as another process was told");
    members.look(joins);
    if (rows.deferred.size > 0) await this.#following.makeDeferredRows();
    const { applied } = logState(rows);
    this.#end.seek(applied);
    this.#following.goBack();
    try {
      if (newest > this.#end.segment || this.#end.isTaken()) {
        await this.#catchUp(applied);
      }
    } catch (error) {
      this.#following.leave(error);
      throw error;
    }
    this.#following.goOnFrom(this.#end.position); // others may have written
  }

  /**
   * What a writer left that died, or whose rows could not follow. The disk may
   * have refused its last batch, or the name of a segment.
   */
  async #catchUp(applied: number): Promise<void> {
    const { dir } = this.#parts;
    const records: LogRecord[] = [];
    let lastBatch = applied;
    const scan = scanLog(dir, applied);
    let next = scan.next();
    for (; !next.done; next = scan.next()) {
      const { record, gap } = next.value;
      if (gap) throw logDamaged(gap.from);
      records.push(record);
      if (record.startsBatch) lastBatch = record.position;
    }
    this.#end.seek(next.value);
    this.#end.wipe();
    dir.setState({ newest: this.#end.segment });
    await dir.syncNames();
    await this.#orFail(async () => {
      // Whoever made a new segment had all before it on the disk.
      const isLast = segmentOf(lastBatch) === this.#end.segment;
      if (isLast) await dir.writeAgain(lastBatch, this.#end.position);
      await this.#end.sync();
    });
    for (let at = 0; at < records.length; at += PAGE) {
      await this.#following.follow(records.slice(at, at + PAGE));
    }
    await makeRows([], next.value, this.#parts.rows);
  }

  /**
   * Writes records, in a new segment where this one has no room for them. Durable
   * by `sync`.
   *
   * @param ahead Whether to zero the segment ahead: not where room is short.
   */
  async append(entries: LogEntry[], ahead: boolean): Promise<LogRecord[]> {
    if (!this.#end.hasRoom(ROOM)) {
      await this.#following.whenFilesMade();
      this.#following.requireNoneLeft();
      this.#parts.health.requireInPlace(); // a segment is made by name
      await this.#roll();
    }
    return this.#end.append(entries, ahead);
  }

  /** Waits until what was written is on the disk. */
  async sync(): Promise<void> {
    await this.#orFail(() => this.#end.sync());
  }

  /**
   * What the disk does not take may be lost, and so may be all that follows: then
   * nobody writes behind it.
   */
  async #orFail(sync: () => Promise<void>): Promise<void> {
    try {
      await sync();
    } catch (error) {
      throw this.#parts.health.fail(error as Error);
    }
    crashPoint("log synced");
  }

  /**
   * Goes on in a new segment, if this one has a record.
   *
   * @param always Also where payloads live in this one.
   */
  async seal(always: boolean): Promise<void> {
    const isUsed = this.#end.used > FIRST_RECORD;
    if (isUsed && (always || !this.#isHome())) await this.#roll();
  }

  /** Whether payloads live in the segment that is written to. */
  #isHome(): boolean {
    const { segment } = this.#end;
    const [from, to] = [positionOf(segment, 0), positionOf(segment + 1, 0)];
    return hasPlaces(this.#parts.rows, from, to);
  }

  async #roll(): Promise<void> {
    const { rows } = this.#parts;
    const before = this.#end.position;
    this.#end.trim();
    await this.#end.roll(logState(rows).changes);
    await makeRows([], this.#end.position, rows);
    this.#following.rolled(before, this.#end.position);
  }

  /** Gives back the zeros behind the end. */
  trim(): void {
    this.#end.trim();
  }
}

function logDamaged(at: number): PohStorageError {
  return new PohStorageError(
    "LOG_DAMAGED",
    `The log is damaged at ${at}: close the store everywhere and recover it`,
  );
}
