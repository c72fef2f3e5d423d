/**
 * The thread on which `integrity.ts` has SQLite check a database.
 *
 * @module
 */

import { answerAs } from "../async/thread.ts";
import type { DriverChoice } from "../model/driver_info.ts";
import { openDatabase } from "./open_database.ts";
import { integrityErrors } from "./integrity_errors.ts";

/** What the thread is called. */
export const INTEGRITY_THREAD = "poh-storage integrity";

/** What is to be checked. */
export interface IntegrityJob {
  /** The database. */
  path: string;
  /**
   * The binding that the asking thread has it open with: two copies of SQLite
   * in one process would drop each other's locks.
   */
  driver: DriverChoice;
}

/** What is wrong with it; null where that could not be found out. */
async function answer(
  { path, driver }: IntegrityJob,
): Promise<string[] | null> {
  try {
    await using rows = await openDatabase(path, { driver, readOnly: true });
    return integrityErrors(rows);
  } catch {
    return null; // the asking thread's own try tells why
  }
}

answerAs(INTEGRITY_THREAD, answer);
