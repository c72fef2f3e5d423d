/**
 * How a store is opened to be read: without what only writers need, which takes
 * longer to load than most that is read takes to read.
 *
 * @module
 */

import { resolve } from "@std/path";
import type { Engine } from "./engine.ts";
import { FileStore } from "./file_store.ts";
import { earlierNames, isSettled, namingOf, readNaming } from "./naming.ts";
import { requirePohDir, requireThere } from "./poh_dir.ts";
import { isRemote, remoteStores } from "./remote_url.ts";
import { SqliteStore, type SqliteStoreOptions } from "./sqlite_store.ts";
import { matchStoreId } from "./store_id.ts";

/** The parts of a store on this machine; takes no lock, changes nothing. */
export async function openForReading(
  basePath: string,
  sqlitePath: string,
  options: SqliteStoreOptions,
): Promise<{ files: FileStore; rows: SqliteStore }> {
  requirePohDir(basePath);
  await requireStore(basePath, sqlitePath);
  const rows = await SqliteStore.open(sqlitePath, {
    ...options,
    readOnly: true,
  });
  try {
    await rows.init();
    const files = await filesAsNamed(basePath, rows);
    await matchStoreId(files, rows, true);
    return { files, rows };
  } catch (error) {
    await rows.close();
    throw error;
  }
}

/** The payload files under the names that they have, upgraded or not. */
async function filesAsNamed(
  basePath: string,
  rows: SqliteStore,
): Promise<FileStore> {
  const state = await readNaming(basePath) ??
    { naming: namingOf(basePath, (sql) => rows.query(sql)), phase: null };
  if (isSettled(state)) return new FileStore(basePath);
  return new FileStore(basePath, {}, earlierNames(basePath, state));
}

/** What lists a store, of any kind. */
export type Listing = Pick<
  Engine,
  "iterate" | "iterateIds" | "oddRows" | "close"
>;

/** Opens a store for what its metadata knows. */
export async function openListing(
  base: string,
  db: string,
  options: SqliteStoreOptions,
): Promise<Listing> {
  if (isRemote(base, db)) {
    const { openRemote } = await remoteStores();
    return await openRemote(base, db, {
      ...options,
      readOnly: true,
      create: false,
    });
  }
  return (await openForReading(resolve(base), resolve(db), options)).rows;
}

/**
 * Makes sure that there is a store on this machine.
 *
 * @throws {StoreNotFoundError} If there is none.
 */
export async function requireStore(base: string, db: string): Promise<void> {
  for (const path of [base, db]) await requireThere(path);
}
