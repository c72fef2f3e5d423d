/**
 * Another thread for what SQLite takes long for: it does not return before it
 * is done, and a service is to answer and Ctrl-C to be heard meanwhile.
 *
 * @module
 */

import type { SqliteStore } from "./sqlite_store.ts";
import { SQLITE_THREAD, type SqliteJob } from "./sqlite_worker.ts";
import { Thread } from "../async/thread.ts";

/** A thread with connections of its own to an open database. */
export class SqliteThread implements Disposable {
  readonly #rows: SqliteStore;
  readonly #thread: Thread<SqliteJob, string[] | null>;

  private constructor(
    rows: SqliteStore,
    thread: Thread<SqliteJob, string[] | null>,
  ) {
    this.#rows = rows;
    this.#thread = thread;
  }

  /** Starts one; null where there can be none. */
  static async start(rows: SqliteStore): Promise<SqliteThread | null> {
    const module = new URL("./sqlite_worker.ts", import.meta.url);
    const thread = await Thread.start<SqliteJob, string[] | null>(
      module,
      SQLITE_THREAD,
    );
    return thread && new SqliteThread(rows, thread);
  }

  /**
   * Has it do something.
   *
   * @returns What it found; null where it could not do it, or the signal came
   * first.
   */
  ask(
    task: SqliteJob["task"],
    signal?: AbortSignal,
  ): Promise<string[] | null> {
    const { path, driver } = this.#rows;
    return this.#thread.ask({ task, path, driver: driver.name }, { signal });
  }

  /** Ends it, whatever it does. */
  [Symbol.dispose](): void {
    this.#thread[Symbol.dispose]();
  }
}
