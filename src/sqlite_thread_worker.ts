/**
 * The other thread of `sqlite_thread.ts`.
 *
 * That one imports it as well, for no more than its name and so that it is in
 * every cache and every compiled program: it acts only where it was started.
 *
 * @module
 */

import { type DriverChoice, openSqlite } from "./sqlite_driver.ts";
import { SqliteStore } from "./sqlite_store.ts";

/** What the thread is called. */
export const WORKER_NAME = "poh-storage SQLite thread";

/** What it is asked for. */
export interface Job {
  /** `check`: what is wrong with the database; `checkpoint`: its log into it. */
  task: "check" | "checkpoint";
  /** The database. */
  path: string;
  /** The binding that the asking thread has it open with. */
  driver: DriverChoice;
}

/** Lines of what it found; null where it could not do it. */
async function answer({ task, path, driver }: Job): Promise<string[] | null> {
  try {
    if (task === "check") {
      const options = { driver, readOnly: true };
      await using rows = await SqliteStore.open(path, options);
      return rows.checkIntegrity();
    }
    const db = await openSqlite(path, driver, false);
    try {
      db.prepare("PRAGMA wal_checkpoint(PASSIVE)").get();
      return [];
    } finally {
      db.close();
    }
  } catch {
    return null; // the asking thread's own try tells why
  }
}

if ((globalThis as { name?: string }).name === WORKER_NAME) {
  const asker = globalThis as unknown as Worker;
  asker.onmessage = async ({ data }) => asker.postMessage(await answer(data));
}
