/**
 * Opens a store's database, and brings its schema to the newest version.
 *
 * @module
 */

import { dirname } from "@std/path";
import { readAllSync, syncDir } from "../files/durable_fs.ts";
import {
  MetadataDamagedError,
  PohStorageError,
  StoreNotFoundError,
} from "../errors.ts";
import { requireThere } from "../files/layout.ts";
import type { DriverChoice } from "../model/driver_info.ts";
import type { LockWait } from "../options.ts";
import { retryBusy } from "../async/wait_for.ts";
import { Database } from "./database.ts";
import { requireFiles } from "./database_file.ts";
import { type Connection, needsWriting, openSqlite } from "./driver.ts";
import { writeSetting } from "./log_state.ts";
import {
  columnList,
  columnsOf,
  damagedColumns,
  isVersionDamaged,
  migrateSchema,
  requireColumns,
  requireKnownVersion,
  SCHEMA_VERSION,
  schemaVersion,
  setSchemaVersion,
} from "./schema.ts";
import { requirePlainRows, requirePlainSchema } from "./schema_check.ts";
import { translated, translatedSync } from "./sqlite_errors.ts";
import { WalFile } from "./wal_file.ts";
import { enterWal, openFiles, setBusyTimeout } from "./wal_mode.ts";

/**
 * Memory for pages where rows are changed: ids are in no order, so that each save
 * needs others of their index. A check reads pages once, by a connection for each
 * of its threads: SQLite's own 2 MiB do for that.
 */
const CACHE_KIB = 16 * 1024;

/** How a database is opened. */
export interface DatabaseOptions extends LockWait {
  /** Which binding; default `"auto"`. */
  driver?: DriverChoice;
  /** Whether a commit waits for the disk; default true. */
  sync?: boolean;
  /** Opens what is there, changes and creates nothing; default false. */
  readOnly?: boolean;
}

/** Looks at a database before anything in it is changed; throws to refuse it. */
export type Admit = (db: Connection) => Promise<void>;

/**
 * Opens a database. Before the first use, call `initDatabase`.
 *
 * @throws {StoreNotFoundError} If `readOnly` is set and there is no database.
 * @throws {MetadataDamagedError} If the file is no sound database.
 * @throws {PohStorageError} `FOREIGN_SCHEMA` if it has triggers, views or
 * other things that could change what is saved.
 * @throws {PohStorageError} `UNFINISHED` if `readOnly` is set and a crash has
 * left the database so that it must be written before it can be read.
 * @throws {StoreBusyError} If another program keeps it locked for too long.
 */
export async function openDatabase(
  path: string,
  options: DatabaseOptions = {},
  admit: Admit = async () => {},
): Promise<Database> {
  if (options.readOnly) requireThere(path);
  return await retryBusy(() => open(path, options, admit), options);
}

/**
 * Opens what is left of a database, read-only, whatever else damage has made of
 * its schema: only its rows are read.
 */
export async function openDamaged(
  path: string,
  driver: DriverChoice,
): Promise<Database> {
  const options = { driver, readOnly: true };
  requireThere(path);
  const rows = await open(path, options, async () => {}, requirePlainRows);
  translatedSync(path, () => rows.columns = damagedColumns(rows.connection));
  return rows;
}

async function open(
  path: string,
  options: DatabaseOptions,
  admit: Admit,
  requireSchema = requirePlainSchema,
): Promise<Database> {
  const { driver = "auto", sync = true, readOnly = false } = options;
  requireFiles(path);
  const db = await translated(path, () => openSqlite(path, driver, readOnly));
  let wal = WalFile.none();
  try {
    translatedSync(path, () => {
      setBusyTimeout(db, true);
      db.exec("PRAGMA foreign_keys = ON");
      db.exec("PRAGMA trusted_schema = OFF");
      if (!readOnly) db.exec(`PRAGMA cache_size = -${CACHE_KIB}`);
      requireSchema(db, path);
    });
    await translated(path, () => admit(db));
    translatedSync(path, () => {
      if (readOnly) {
        setBusyTimeout(db, false);
        openFiles(db);
      } else wal = enterWal(db, path, sync);
    });
    // SQLite says nothing when it cannot open the directory to sync the names
    // of a new database and its log.
    if (sync && !readOnly) await syncDir(dirname(Deno.realPathSync(path)));
  } catch (error) {
    wal.close();
    db.close();
    throw needsWriting(error) ? whyReadOnly(path, readOnly, error) : error;
  }
  return new Database(path, db, { ...options, readOnly, sync, wal });
}

/** Why SQLite would have to write to a database that it cannot write to. */
function whyReadOnly(path: string, readOnly: boolean, cause: unknown): unknown {
  if (hasUnknownFormat(path)) {
    const reason = "its header names no format";
    return new MetadataDamagedError(path, reason, { cause });
  }
  if (!readOnly) return cause;
  return new PohStorageError(
    "UNFINISHED",
    `The database ${path} is as a crash left it and can only be read once it has been opened for writing, as recover does`,
    { cause },
  );
}

/**
 * Whether the header has a format version that there is none of. SQLite opens
 * such a file read-only, in case it is of a later version of SQLite.
 */
function hasUnknownFormat(path: string): boolean {
  using file = Deno.openSync(path, { read: true });
  const [write, read] = readAllSync(file, 20).subarray(18);
  return [write, read].some((version) => version !== undefined && version > 2);
}

/**
 * Brings the schema to the newest version; harmless when it is.
 *
 * @param settings What a database that is new remembers from the start.
 * @param alongside What else is done in the transaction of a change.
 * @throws {StoreNotFoundError} If the database is read-only and has no store.
 */
export async function initDatabase(
  rows: Database,
  settings: Readonly<Record<string, string>> = {},
  alongside: () => void = () => {},
): Promise<void> {
  const { path } = rows;
  await rows.patiently(() => {
    requireKnownVersion(rows.connection, path);
    if (!rows.isReadOnly && isVersionDamaged(rows.connection)) {
      setSchemaVersion(rows.connection);
    }
    requireColumns(rows.connection, path);
    if (rows.isReadOnly) return adaptToSchema(rows);
    if (schemaVersion(rows.connection) === SCHEMA_VERSION) return;
    rows.transaction(() => {
      // Another process may have done it while this one waited.
      requireKnownVersion(rows.connection, path);
      if (schemaVersion(rows.connection) === SCHEMA_VERSION) return;
      const isNew = columnsOf(rows.connection, "txs").size === 0;
      migrateSchema(rows.connection);
      alongside();
      if (!isNew) return;
      for (const [name, value] of Object.entries(settings)) {
        writeSetting(rows, name, value);
      }
    });
  });
}

/** Has rows read by the columns that an older schema has. */
function adaptToSchema(rows: Database): void {
  const columns = columnsOf(rows.connection, "txs");
  if (columns.size === 0) throw new StoreNotFoundError(rows.path);
  const named = (name: string) => columns.has(name) ? name : null;
  rows.columns = columnList(
    named("holder_id"),
    named("size"),
    named("place"),
  );
}

/** Whether the database is of a version that follows a log. */
export function hasLog(rows: Database): boolean {
  // A writer may have upgraded it since this one opened it to read.
  if (!rows.columns.hasPlace) adaptToSchema(rows);
  return rows.columns.hasPlace;
}
