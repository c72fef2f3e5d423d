/**
 * The thread of `sqlite_thread.ts`.
 *
 * @module
 */

import { openSqlite } from "./driver.ts";
import type { DriverChoice } from "../model/driver_info.ts";
import { SqliteStore } from "./sqlite_store.ts";
import { answerAs } from "../async/thread.ts";

/** What the thread is called. */
export const SQLITE_THREAD = "poh-storage SQLite";

/** What it is asked for. */
export interface SqliteJob {
  /** `check`: what is wrong with the database; `checkpoint`: its log into it. */
  task: "check" | "checkpoint";
  /** The database. */
  path: string;
  /**
   * The binding that the asking thread has it open with: two copies of SQLite
   * in one process would drop each other's locks.
   */
  driver: DriverChoice;
}

/** Lines of what it found; null where it could not do it. */
async function answer(
  { task, path, driver }: SqliteJob,
): Promise<string[] | null> {
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

answerAs(SQLITE_THREAD, answer);
