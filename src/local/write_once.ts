/**
 * Stores that never replace a transaction. A new database gets the setting when
 * it is made, and no option ever changes it.
 *
 * A file in the base, `.poh/write-once`, says the same, for the case that the
 * database is lost: the one that `recover --rebuild` makes is write-once again.
 *
 * @module
 */

import { join } from "@std/path";
import { createFile, regularSize, syncDir } from "../files/durable_fs.ts";
import { PohStorageError } from "../errors.ts";
import type { Database } from "../sqlite/database.ts";
import { readSetting, writeSetting } from "../sqlite/log_state.ts";

/** The setting of a write-once store's database. */
const SETTING = "write_once";

/** What a new database remembers from the start. */
export function writeOnceSettings(isSo: boolean): Record<string, string> {
  return isSo ? { [SETTING]: "1" } : {};
}

/** Whether a database is that of a write-once store. */
export function isWriteOnce(rows: Database): boolean {
  return readSetting(rows, SETTING) === "1";
}

/** Makes a copy's database write-once if the original's is. */
export function copyWriteOnce(from: Database, to: Database): void {
  if (isWriteOnce(from)) to.transaction(() => writeSetting(to, SETTING, "1"));
}

/**
 * Makes sure that a store is as its opener has it.
 *
 * @throws {PohStorageError} `NOT_WRITE_ONCE` if it is not write-once.
 */
export function requireWriteOnce(isSo: boolean, db: string): void {
  if (isSo) return;
  throw new PohStorageError(
    "NOT_WRITE_ONCE",
    `The store of the database ${db} is there already and not write-once: only a new store can be made so`,
  );
}

/** Writes down in the base that its store is write-once. */
export async function markBase(basePath: string): Promise<void> {
  if (isBaseMarked(basePath)) return;
  await createFile(markerPath(basePath), new Uint8Array(), true);
  await syncDir(join(basePath, ".poh"));
}

/** Whether the base says that its store is write-once. */
export function isBaseMarked(basePath: string): boolean {
  return regularSize(markerPath(basePath)) !== null;
}

function markerPath(basePath: string): string {
  return join(basePath, ".poh", "write-once");
}
