/**
 * What readers of a store need of its log: the payloads that are kept there, and
 * what the last changes were where a file and its row do not agree.
 *
 * @module
 */

import type { TxInfo } from "../types.ts";
import type { LogDir } from "./log_dir.ts";
import { readPacked } from "./log_window.ts";
import { type LogRecord, rowOf } from "./record.ts";
import { payloadAt, recordAt, scanLog } from "./scan.ts";
import { FIRST_RECORD, offsetOf, positionOf, segmentOf } from "./segment.ts";
import type { Database } from "../sqlite/database.ts";
import { logState } from "../sqlite/log_state.ts";
import type { ChangeAhead, ChangesAhead } from "../sqlite/overlay.ts";

/** The log of an open store, for reading. */
export class LogReader {
  /** Its folder. */
  readonly dir: LogDir;
  readonly #rows: Database;
  /** The last record of each id in a part of the log. */
  #index: { from: number; end: number; last: Map<string, number> } | null =
    null;

  /** Reads the log in this folder, which these rows follow. */
  constructor(dir: LogDir, rows: Database) {
    this.dir = dir;
    this.#rows = rows;
  }

  /** The record at a place; null where none is sound. */
  at(place: number): LogRecord | null {
    return recordAt(this.dir, place);
  }

  /**
   * The payload of a row that is small, sound and at a place; the next call
   * overwrites it. Null proves nothing.
   */
  payloadSoon(info: TxInfo, place: number): Uint8Array | null {
    return readPacked(this.dir, info, place);
  }

  /** What stands in the place of a row's payload, sound or not. */
  payloadAt(place: number, info: TxInfo): Uint8Array | null {
    return payloadAt(this.dir, place, info);
  }

  /**
   * The last change of an id that a checkpoint may not have covered; null:
   * none is known. Goes through what is new in the log: for when a file is not
   * as its row says.
   */
  find(txId: string): LogRecord | null {
    for (let isSure = false;; isSure = true) {
      const position = this.positions().get(txId);
      const record = position === undefined ? null : this.at(position);
      if (!record || record.txId === txId) return record;
      if (isSure) return null;
      this.#index = null; // a write that failed was seen, and another one came
    }
  }

  /** Where the last record is of each id that a checkpoint may not have covered. */
  positions(): ReadonlyMap<string, number> {
    const from = this.start();
    if (this.#index?.from !== from) {
      this.#index = { from, end: from, last: new Map() };
    }
    const { end, last } = this.#index;
    if (!this.#isBehind(end)) return last;
    const scan = scanLog(this.dir, end);
    let next = scan.next(), torn: number | null = null;
    for (; !next.done; next = scan.next()) {
      const { record, gap } = next.value;
      if (record) last.set(record.txId, record.position);
      else torn ??= gap!.from; // a write is seen in part: the rest is to come
    }
    this.#index.end = torn ?? next.value;
    return last;
  }

  /** Where a scan has to begin to find all that a checkpoint may not cover. */
  start(): number {
    const [first = 0] = this.dir.numbers();
    const { filesSynced } = logState(this.#rows);
    return Math.max(filesSynced, positionOf(first, FIRST_RECORD));
  }

  /** The last record of each id that a checkpoint may not have covered. */
  *pending(): Generator<LogRecord> {
    const from = this.start();
    const last = new Map<string, number>();
    for (const { record } of scanLog(this.dir, from)) {
      if (record) last.set(record.txId, record.position);
    }
    for (const { record } of scanLog(this.dir, from)) {
      if (record && last.get(record.txId) === record.position) yield record;
    }
  }

  /** The records from a position on that are whole. */
  *recordsFrom(position: number): Generator<LogRecord> {
    for (const { record } of scanLog(this.dir, position)) {
      if (record) yield record;
    }
  }

  /** Whether anything stands in the log behind what the rows have followed. */
  isAhead(): boolean {
    return this.#isBehind(logState(this.#rows).applied);
  }

  /** Whether the log goes on at a position, or behind it. */
  #isBehind(position: number): boolean {
    const newest = this.dir.numbers().at(-1);
    if (newest === undefined) return false;
    if (newest > segmentOf(position)) return true;
    const next = this.dir.peek(newest, offsetOf(position), 32);
    return next.some((byte) => byte !== 0);
  }

  /** Whether a writer has joined, which may be dead by now. */
  hasWriter(): boolean {
    return this.dir.peekState().joins > 0;
  }

  /** Up to where saves have resolved, as far as a live writer tells. */
  resolved(): number {
    return this.dir.peekState().resolved;
  }

  /** What the log has behind what the rows have followed, up to a position. */
  changesAhead(until = Infinity): ChangesAhead {
    const last = new Map<string, ChangeAhead>();
    const { applied } = logState(this.#rows);
    for (const record of this.recordsFrom(Math.max(applied, this.start()))) {
      const { txId, position, isPacked } = record;
      if (position >= until) break;
      const place = isPacked ? position : null;
      last.set(txId, { txId, row: rowOf(record), place });
    }
    const [first = 0] = this.dir.numbers();
    return { changes: last.values(), isWhole: first <= segmentOf(applied) };
  }

  /** Bytes of the log. */
  size(): number {
    return this.dir.numbers().reduce(
      (sum, number) => sum + (this.dir.segment(number)?.size() ?? 0),
      0,
    );
  }

  /** Lets go of the segments. */
  close(): void {
    this.dir[Symbol.dispose]();
  }
}
