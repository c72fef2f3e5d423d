/**
 * How a store is opened to be read: without what only writers need, which takes
 * longer to load than most that is read takes to read.
 *
 * @module
 */

import { resolve } from "@std/path";
import {
  isDamagedDatabase,
  isDatabaseThere,
  notADatabase,
} from "../sqlite/database_file.ts";
import { MetadataDamagedError, PohStorageError } from "../errors.ts";
import { LogDir } from "../log/log_dir.ts";
import { LogReader } from "../log/log_reader.ts";
import { storeTag } from "../log/segment.ts";
import { earlierNames, isSettled, namingOf, readNaming } from "./naming.ts";
import { requirePohDir } from "../files/layout.ts";
import {
  idOfBase,
  type Opening,
  ownId,
  readId,
  requireOwnDatabase,
} from "./store_id.ts";
import { type Database, isOpenHere } from "../sqlite/database.ts";
import { requireFiles } from "../sqlite/database_file.ts";
import { type DatabaseOptions, openDatabase } from "../sqlite/open_database.ts";
import { PayloadFiles } from "../payloads/payload_files.ts";
import { hasLog, initDatabase } from "../sqlite/open_database.ts";

/** The parts of a store on this machine; takes no lock, changes nothing. */
export async function openForReading(
  basePath: string,
  sqlitePath: string,
  options: DatabaseOptions,
): Promise<{ files: PayloadFiles; rows: Database; log: LogReader }> {
  requirePohDir(basePath);
  const rows = await openOwnRows(
    new PayloadFiles(basePath),
    sqlitePath,
    { ...options, readOnly: true },
    "read",
  );
  const dir = new LogDir(basePath, { sync: false, write: false });
  try {
    await initDatabase(rows);
    const files = filesAsNamed(basePath, rows);
    const id = await ownId(basePath, rows);
    const open = () => logOf(basePath, id);
    await overlay(basePath, rows, open);
    return { files, rows, log: new LogReader(open(), rows) };
  } catch (error) {
    dir[Symbol.dispose]();
    await rows.close();
    throw error;
  }
}

/**
 * The payload files under the names that they have, upgraded or not; a writer
 * may upgrade them meanwhile.
 */
function filesAsNamed(basePath: string, rows: Database): PayloadFiles {
  const said = readNaming(basePath);
  if (isSettled(said)) return new PayloadFiles(basePath);
  const first = said ??
    { naming: namingOf(basePath, (sql) => rows.all(sql)), phase: null };
  const state = () => readNaming(basePath) ?? first;
  return new PayloadFiles(basePath, {}, earlierNames(basePath, state));
}

/**
 * After a crash the log may be ahead of the rows: nobody is there to have them
 * follow, or a writer that is about to. One that has joined has rows follow a few
 * milliseconds after saves have resolved: until then they are read from the log
 * as well.
 */
async function overlay(
  basePath: string,
  rows: Database,
  open: () => LogDir,
): Promise<void> {
  if (!hasLog(rows)) return;
  let isLeft = false; // by a crash
  rows.overlay.readAhead({
    resolved() {
      const { joins, resolved } = open().peekState();
      return isLeft && joins === 0 ? Infinity : resolved;
    },
    changesAhead(until) {
      using dir = open();
      return new LogReader(dir, rows).changesAhead(until);
    },
  });
  using dir = open();
  const log = new LogReader(dir, rows);
  if (!log.isAhead()) return;
  const { listHolders } = await import("../files/locks.ts");
  if (log.hasWriter() && listHolders(basePath).length > 0) return;
  isLeft = true;
  rows.atOneMoment(() => rows.overlay.lay(log.changesAhead().changes));
}

function logOf(basePath: string, storeId: string | null): LogDir {
  const dir = new LogDir(basePath, { sync: false, write: false });
  if (storeId !== null) dir.belongTo(storeTag(storeId));
  return dir;
}

/**
 * Opens the database that belongs to a base, unless it is another's; what it
 * has is not changed by that.
 *
 * @throws {StoreMismatchError} If base and database do not belong together.
 * @throws {StoreNotFoundError} If there is no store and none may be made.
 * @throws {PohStorageError} `NOT_A_DATABASE` if some other file has its path.
 */
export async function openOwnRows(
  files: PayloadFiles,
  path: string,
  options: DatabaseOptions,
  opening: Opening,
): Promise<Database> {
  if (!isDatabaseThere(path)) {
    await requireOwnDatabase(files, path, null, opening);
  }
  try {
    return await openDatabase(
      path,
      options,
      (db) => requireOwnDatabase(files, path, db, opening),
    );
  } catch (error) {
    if (!(error instanceof MetadataDamagedError)) throw error;
    if (isOpenHere(path)) throw error;
    const id = await idOfBase(files.basePath);
    if (isDamagedDatabase(path, files.basePath, id)) throw error;
    throw notADatabase(path);
  }
}

/**
 * Makes sure that there is a database where a store on this machine has its own,
 * or that one may be made. Which base it belongs to is not looked at.
 *
 * @throws {StoreNotFoundError} If there is no store and none may be made.
 * @throws {StoreMismatchError} If the base has one, and its database is not there.
 * @throws {PohStorageError} `NOT_A_DATABASE` if some other file has its path.
 */
export async function requireLocalStore(
  basePath: string,
  sqlitePath: string,
  opening: Opening,
): Promise<void> {
  const base = resolve(basePath), path = resolve(sqlitePath);
  if (!isDatabaseThere(path)) {
    return await requireOwnDatabase(
      new PayloadFiles(base),
      path,
      null,
      opening,
    );
  }
  requireFiles(path);
  if (isOpenHere(path)) return;
  const id = await idOfBase(base);
  if (!isDamagedDatabase(path, base, id)) throw notADatabase(path);
}

/**
 * Checks what can be checked before anything is made: a base that has no id of
 * a store yet gets neither a folder nor a lock if the store is then refused.
 */
export async function lookAhead(
  files: PayloadFiles,
  path: string,
  options: DatabaseOptions,
  opening: Opening,
): Promise<void> {
  if (!isDatabaseThere(path)) {
    return await requireOwnDatabase(files, path, null, opening);
  }
  if (await readId(files.basePath) !== null) return;
  try {
    const reading = { ...options, readOnly: true };
    await (await openOwnRows(files, path, reading, opening)).close();
  } catch (error) {
    const isUnfinished = error instanceof PohStorageError &&
      error.code === "UNFINISHED";
    if (!isUnfinished) throw error; // else it can be told only by writing to it
  }
}
