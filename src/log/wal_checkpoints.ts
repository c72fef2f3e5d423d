/**
 * Takes what SQLite's write-ahead log holds into the database, on another
 * thread. SQLite would do so within a commit, once the log is long enough, and
 * the event loop would stand still for as long as the disk takes.
 *
 * @module
 */

import type { StoreLocks } from "../files/locks.ts";
import { LOG_PAGES, type SqliteStore } from "../sqlite/sqlite_store.ts";
import type { Follower } from "./follower.ts";

/**
 * About what a commit writes to the log, in pages: single changes meet few pages
 * twice, and many of one commit most.
 */
function pagesOf(changes: number): number {
  return Math.min(8 * changes, 128 + 2 * changes);
}

/** While the thread keeps up, a commit never finds the log so long. */
const FAR_BEYOND = 4 * LOG_PAGES;

/** The checkpoints of one open writer. */
export class WalCheckpoints {
  readonly #rows: SqliteStore;
  readonly #locks: StoreLocks;
  readonly #thread: () => Promise<Follower | null>;
  /** About what is in the log since the last checkpoint began. */
  #pages = 0;
  #running: Promise<void> | null = null;

  /** Those of a writer with this database, these locks and this thread. */
  constructor(
    rows: SqliteStore,
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
    if (this.#pages < LOG_PAGES || this.#running) return;
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
   * Most of it while commits go on; then the rest while none does, so that
   * SQLite can begin the log anew. Below 3.51.3 a commit and a checkpoint at
   * the same instant could damage it: then all of it while none goes on.
   */
  async #checkpoint(): Promise<void> {
    const thread = await this.#thread();
    if (!thread) return; // then SQLite does it within a commit
    this.#rows.checkpointWithinCommits(FAR_BEYOND);
    if (mayOverlap(this.#rows.driver.sqliteVersion)) await thread.checkpoint();
    await this.#locks.whileCommitting(() => thread.checkpoint());
  }
}

function mayOverlap(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number);
  return major > 3 || (major === 3 && minor > 51) ||
    (major === 3 && minor === 51 && patch >= 3);
}
