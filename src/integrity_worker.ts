/**
 * The other thread of `integrity.ts`.
 *
 * That one imports it as well, for no more than its name and so that it is in
 * every cache and every compiled program: it acts only where it was started.
 *
 * @module
 */

import type { DriverChoice } from "./sqlite_driver.ts";
import { SqliteStore } from "./sqlite_store.ts";

/** What the thread is called. */
export const WORKER_NAME = "poh-storage integrity check";

/** What it is asked to check. */
export interface Job {
  /** The database. */
  path: string;
  /** The binding that the asking thread has it open with. */
  driver: DriverChoice;
}

/** What SQLite finds wrong; null where it cannot be asked. */
async function answer({ path, driver }: Job): Promise<string[] | null> {
  try {
    await using rows = await SqliteStore.open(path, { driver, readOnly: true });
    return rows.checkIntegrity();
  } catch {
    return null; // the asking thread's own try tells why
  }
}

if ((globalThis as { name?: string }).name === WORKER_NAME) {
  const asker = globalThis as unknown as Worker;
  asker.onmessage = async ({ data }) => asker.postMessage(await answer(data));
}
