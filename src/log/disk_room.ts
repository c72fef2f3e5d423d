/**
 * Room on a full disk for what must be made all the same: removals, and what
 * follows records that are in the log.
 *
 * @module
 */

import { isDiskFull, type Reserve } from "../files/full_disk.ts";
import { pauseFor } from "../async/wait_for.ts";
import type { Database } from "../sqlite/database.ts";
import { shrinkWal } from "../sqlite/wal_mode.ts";

/** Times that room is made for one batch. */
const ATTEMPTS = 3;

/** How long SQLite's log may be in use before it can be shortened, in ms. */
const LONGEST_SHRINKING = 2_000;

/** How often that is tried, in ms. */
const PAUSE = 8;

/** The room that one writer can make: the reserve, and SQLite's log. */
export class DiskRoom {
  readonly #reserve: Reserve;
  readonly #rows: Database;

  /** Gives nothing up yet. */
  constructor(reserve: Reserve, rows: Database) {
    this.#reserve = reserve;
    this.#rows = rows;
  }

  /**
   * Makes room.
   *
   * @param attempt How often that was tried for the same.
   * @returns False when there is none to be made.
   */
  async make(attempt: number): Promise<boolean> {
    if (this.#reserve.giveUp()) return true;
    if (attempt >= ATTEMPTS) return false;
    // A checkpoint on another thread keeps this one from the log while it lasts.
    const end = performance.now() + LONGEST_SHRINKING;
    while (!shrinkWal(this.#rows)) {
      if (performance.now() > end) return false;
      await pauseFor(PAUSE);
    }
    return true;
  }

  /** Runs work, again once there is room where there was none. */
  async evenIfFull<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 0;; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (!isDiskFull(error) || !await this.make(attempt)) throw error;
      }
    }
  }
}
