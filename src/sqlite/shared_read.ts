/**
 * One read transaction for many look-ups. SQLite takes and gives back its locks
 * for each statement that stands alone, which takes longer than the look-up; so
 * look-ups that follow one another before the event loop has its turn share a
 * transaction, and see the database at one moment.
 *
 * It ends before anything else happens on this thread: what this process is told
 * by a message, a timer or a file has happened before the next look-up's moment.
 *
 * @module
 */

import type { Connection } from "./driver.ts";

/** Microtasks without a look-up after which no further one is waited for. */
const IDLE = 16;

/** The longest that look-ups share one moment, in ms. */
const LONGEST = 4;

/** Counts what this thread has committed, to whichever database. */
let commits = 0;

/** Has look-ups on every connection of this thread see what was committed. */
export function markCommit(): void {
  commits++;
}

/** The read transaction of a connection that does nothing else meanwhile. */
export class SharedRead {
  readonly #db: Connection;
  #isOpen = false;
  #isWatched = false;
  #lookups = 0;
  /** Commits of this thread that the transaction sees. */
  #seen = 0;

  /** Of this connection; begins nothing yet. */
  constructor(db: Connection) {
    this.#db = db;
  }

  /** Before each look-up: the second one of a turn begins the transaction. */
  join(): void {
    this.#lookups++;
    if (this.#isOpen) {
      if (this.#seen === commits) return;
      this.end();
    }
    if (!this.#isWatched) return void this.#watch();
    this.#db.exec("BEGIN");
    this.#isOpen = true;
    this.#seen = commits;
  }

  /** Before anything else that the connection does. */
  end(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    try {
      this.#db.exec("COMMIT");
    } catch {
      this.#rollback();
    }
  }

  #rollback(): void {
    try {
      this.#db.exec("ROLLBACK");
    } catch {
      // SQLite has ended it by itself, as it does when it finds damage.
    }
  }

  async #watch(): Promise<void> {
    this.#isWatched = true;
    const start = performance.now();
    let seen = this.#lookups;
    for (let idle = 0; idle < IDLE; idle++) {
      await null;
      if (this.#lookups === seen) continue;
      if (performance.now() - start > LONGEST) break;
      seen = this.#lookups;
      idle = 0;
    }
    this.#isWatched = false;
    this.end();
  }
}
