/**
 * The payload files that a writer has had follow the log and that no checkpoint
 * has waited for. What another writer did is not among them: then a checkpoint
 * goes through the log.
 *
 * @module
 */

import type { Stuck } from "./follow.ts";
import type { LogRecord } from "./record.ts";

/** A payload file that follows a record, or its absence. */
export interface FollowingFile {
  /** Whose payload it is. */
  txId: string;
  /** Where in the log its record is. */
  position: number;
}

/** The files that follow a part of the log. */
export class Unsynced {
  /** Where that part begins. */
  readonly from: number;
  #end: number;
  /** Whether something between its ends was another writer's. */
  #hasGap = false;
  readonly #last = new Map<string, number>();
  readonly #stuck = new Map<string, number>();

  /** Those behind a position. */
  constructor(from: number) {
    this.from = from;
    this.#end = from;
  }

  /** Where that part ends. */
  get end(): number {
    return this.#end;
  }

  /** Goes on in a new segment. */
  roll(position: number): void {
    this.#end = position;
  }

  /** Whether these are all the files that follow the log between two positions. */
  isAll(from: number, end: number): boolean {
    return !this.#hasGap && this.from <= from && this.#end === end;
  }

  /**
   * Adds what has followed, but for what is stuck. Where it does not begin at
   * the end, another writer has had files follow in between.
   */
  add(records: LogRecord[], stuck: Stuck): void {
    if (records[0]!.position !== this.#end) this.#hasGap = true;
    for (const { txId, position, length, isPacked } of records) {
      this.#stuck.delete(txId);
      if (isPacked) this.#last.delete(txId);
      else this.#last.set(txId, position);
      if (stuck.has(position)) this.#stuck.set(txId, position);
      this.#end = position + length;
    }
  }

  /** Positions of the records whose file could not follow. */
  get stuck(): number[] {
    return [...this.#stuck.values()];
  }

  /** The last of each id. */
  *files(): Generator<FollowingFile> {
    for (const [txId, position] of this.#last) yield { txId, position };
  }
}
