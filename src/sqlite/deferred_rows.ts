/**
 * Rows of new ids that go into the table later, many in one transaction: with the
 * next change, or before anything is read but by its id. Until then no other
 * connection sees them, so nobody else may change the database.
 *
 * @module
 */

import type { FollowingRow } from "./row.ts";
import { requireStorable } from "./row.ts";
import { markCommit } from "./shared_read.ts";

/** How far a database has followed the log. */
export interface LogPosition {
  /** The rows have followed up to this position; 0: no record ever. */
  applied: number;
  /** How many changes that were, since the store was made. */
  changes: number;
  /** Up to this position the files have followed and are durable. */
  filesSynced: number;
}

/** Rows, and how far they have followed the log. */
interface Batch extends LogPosition {
  /** By id, in the order of the log. */
  rows: Map<string, FollowingRow>;
}

/** The rows of one open database that only it knows. */
export class DeferredRows {
  #batch: Batch | null = null;
  #whyHeld: unknown = null;

  /** How many there are. */
  get size(): number {
    return this.#batch?.rows.size ?? 0;
  }

  /** How far the table will have followed the log with them; null: none. */
  get position(): LogPosition | null {
    return this.#batch;
  }

  /** The row of an id. */
  find(txId: string): FollowingRow | undefined {
    return this.#batch?.rows.get(txId);
  }

  /** All of them, in the order of the log. */
  all(): FollowingRow[] {
    return [...this.#batch?.rows.values() ?? []];
  }

  /**
   * Adds rows.
   *
   * @param end The position up to which rows have followed with these.
   * @param before How far they have without these.
   */
  add(rows: FollowingRow[], end: number, before: LogPosition): void {
    this.#batch ??= { ...before, rows: new Map() };
    for (const row of rows) {
      requireStorable(row.info);
      this.#batch.rows.set(row.info.txId, row);
    }
    this.#batch.applied = end;
    this.#batch.changes += rows.length;
  }

  /**
   * Forgets those that are in the table by now: another connection has had the
   * rows follow up to a position.
   */
  haveFollowed(until: number): void {
    if (!this.#batch) return;
    markCommit(); // reads to come look at the database as it is now
    const { rows } = this.#batch;
    for (const [txId, { position }] of rows) {
      if (position >= until) break; // they are in the log's order
      rows.delete(txId);
    }
    if (rows.size === 0) this.#batch = null;
  }

  /**
   * Notes that they could not be put into the table, and nobody else is kept from
   * changing the database any more: whoever needs the table is told why, until a
   * change succeeds.
   */
  hold(why: unknown): void {
    if (this.#batch) this.#whyHeld = why;
  }

  /**
   * Throws why the table cannot show all that is known, if it cannot.
   *
   * @returns Whether there are any to put into it.
   */
  requireFree(): boolean {
    if (!this.#batch) return false;
    if (this.#whyHeld !== null) throw this.#whyHeld;
    return true;
  }

  /**
   * Takes all of them out for a transaction.
   *
   * @returns What `putBack` takes, should it fail.
   */
  take(): Batch | null {
    const taken = this.#batch;
    this.#batch = null;
    return taken;
  }

  /** Puts back what was taken. */
  putBack(taken: Batch | null): void {
    this.#batch = taken;
  }

  /** Notes that a change has succeeded. */
  free(): void {
    this.#whyHeld = null;
  }
}
