/**
 * Takes what SQLite's write-ahead log holds into the database, on another
 * thread. SQLite would do so within a commit, once the log is long enough, and
 * the event loop would stand still for as long as the disk takes.
 *
 * @module
 */

import type { StoreLocks } from "../files/locks.ts";
import type { Follower } from "./follower.ts";
import type { Database } from "../sqlite/database.ts";
import { checkpointWithinCommits, LOG_PAGES } from "../sqlite/wal_mode.ts";

/**
 * About what a commit writes to the log, in pages: single changes meet few pages
 * twice, and many of one commit most.
 */
function pagesOf(changes: number): number {
  return Math.min(8 * changes, 128 + 2 * changes);
}

/**
 * The length at which a thread takes the log into the database, in pages. Longer
 * than SQLite's own: the event loop does not wait for it, and a page that was
 * written several times goes there once.
 */
const DUE = 4 * LOG_PAGES;

/** While the thread keeps up, a commit never finds the log so long. */
const FAR_BEYOND = 2 * DUE;

/** The checkpoints of one open writer. */
export class WalCheckpoints {
  readonly #rows: Database;
  readonly #locks: StoreLocks;
  readonly #thread: () => Promise<Follower | null>;
  /** About what is in the log since the last checkpoint began. */
  #pages = 0;
  /** Whether SQLite leaves checkpoints to the thread. */
  #isTakenOver = false;
  #running: Promise<void> | null = null;

  /** Those of a writer with this database, these locks and this thread. */
  constructor(
    rows: Database,
    locks: StoreLocks,
    thread: () => Promise<Follower | null>,
  ) {
    this.#rows = rows;
    this.#locks = locks;
    this.#thread = thread;
  }

  /** To be told of every commit of so many changes. */
  onCommit(changes: number): void {
    this.#pages += pagesOf(changes);
    const due = this.#isTakenOver ? DUE : LOG_PAGES;
    if (this.#pages < due || this.#running) return;
    this.#pages = 0;
    this.#running = this.#checkpoint()
      .catch(() => {}) // the log is longer, and nothing is lost
      .finally(() => this.#running = null);
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    await this.#running;
  }

  /**
   * While commits continue; what they keep from it once more while none does, so
   * that SQLite can begin the log anew. Below 3.51.3 a commit and a checkpoint
   * at the same instant could damage it: then all of it while none continues.
   */
  async #checkpoint(): Promise<void> {
    const thread = await this.#thread();
    if (!thread) return; // then SQLite does it within a commit
    checkpointWithinCommits(this.#rows.connection, FAR_BEYOND);
    this.#isTakenOver = true;
    const isDone = mayOverlap(this.#rows.driver.sqliteVersion) &&
      await thread.checkpoint();
    if (isDone) return;
    await this.#locks.whileCommitting(() => thread.checkpoint());
  }
}

function mayOverlap(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number);
  return major > 3 || (major === 3 && minor > 51) ||
    (major === 3 && minor === 51 && patch >= 3);
}
