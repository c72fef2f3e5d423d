/**
 * How a store is opened and closed, and the parts that an open one has.
 *
 * @module
 */

import { dirname, join } from "@std/path";
import { makeDir } from "../files/durable_fs.ts";
import { PohStorageError, StoreBusyError } from "../errors.ts";
import { isPayloadPlace, placeAt } from "../payloads/payload_layout.ts";
import { asDiskFull, isDiskFull, Reserve } from "../files/full_disk.ts";
import { waitOf } from "../options.ts";
import { StoreLocks } from "../files/locks.ts";
import {
  askedPackBelow,
  copyPackBelow,
  PackBelow,
  rememberPackBelow,
} from "./pack_below.ts";
import { Place, whyMoved } from "../files/place.ts";
import { requirePohDir } from "../files/layout.ts";
import { hasRedoTables, moveToLog } from "../log/from_redo.ts";
import { LogDir } from "../log/log_dir.ts";
import { LogReader } from "../log/log_reader.ts";
import type { LogEntry } from "../log/record.ts";
import { storeTag } from "../log/segment.ts";
import { LogWriter } from "../log/writer.ts";
import { lookAhead, openForReading, openOwnRows } from "./read_store.ts";
import { FIRST_WITH_LOG } from "../sqlite/schema.ts";
import type { StorageOptions } from "../model/storage_options.ts";
import {
  bindStore,
  idOf,
  type Opening,
  requireOwnDatabase,
} from "./store_id.ts";
import { Tlog } from "../tlog/tlog.ts";
import type { TxInfo } from "../types.ts";
import { upgradeStore } from "./upgrade.ts";
import {
  copyWriteOnce,
  isBaseMarked,
  isWriteOnce,
  markBase,
  requireWriteOnce,
  writeOnceSettings,
} from "./write_once.ts";
import type { Database } from "../sqlite/database.ts";
import type { DatabaseOptions } from "../sqlite/open_database.ts";
import { PayloadFiles } from "../payloads/payload_files.ts";
import { initDatabase } from "../sqlite/open_database.ts";
import { readSetting, writeSetting } from "../sqlite/log_state.ts";
import { schemaVersion } from "../sqlite/schema.ts";

/** Default of {@linkcode StorageOptions.upgradeQuiet}. */
const UPGRADE_QUIET = 2_000;

/** What an opening does besides. */
export interface OpenSteps {
  /** Whether to make the store where there is none; default false. */
  create?: boolean;
  /** Whether to finish what a crash left half-done; default true. */
  finish?: boolean;
}

/** The parts of an open store, for what works beneath the public API. */
export interface OpenStore {
  /**
   * What tells that the base is another one by now. Of a writer it is the folder
   * with its locks, without which it is not safe either.
   */
  place: Place;
  /** The payload files. */
  files: PayloadFiles;
  /** The rows. */
  rows: Database;
  /** The log, to be read. */
  log: LogReader;
  /** Whether no save replaces a transaction. */
  writeOnce: boolean;
  /** The locks and the queue of a writer; null when read-only. */
  writer: StoreWriter | null;
}

/** What only a writer has. */
export interface StoreWriter {
  /** Its share of the store. */
  locks: StoreLocks;
  /** Through which all its changes go. */
  queue: LogWriter;
  /** Room for deletions on a full disk. */
  reserve: Reserve;
  /** Which payloads live in the log. */
  packBelow: PackBelow;
  /** The transparency log. */
  tlog: Tlog;
}

/**
 * Opens the parts of a store.
 *
 * @throws {StoreNotFoundError} If there is none and none may be made; nothing
 * was made then.
 * @throws {StoreMismatchError} If base and database do not belong together.
 */
export async function openStore(
  basePath: string,
  sqlitePath: string,
  options: StorageOptions = {},
  steps: OpenSteps = {},
): Promise<OpenStore> {
  askedPackBelow(options); // refused before anything is touched
  const { durability = "full", driver = "auto" } = options;
  if (options.readOnly) {
    const { files, rows, log } = await openForReading(basePath, sqlitePath, {
      ...waitOf(options),
      driver,
    });
    return {
      place: new Place(basePath),
      files,
      rows,
      log,
      writeOnce: isWriteOnce(rows),
      writer: null,
    };
  }
  requirePohDir(basePath);
  const reserve = new Reserve(basePath, durability === "full");
  const open = () => openToWrite(basePath, sqlitePath, options, steps, reserve);
  try {
    return await open();
  } catch (error) {
    // To open it takes room as well; saves do not get it.
    if (!isDiskFull(error) || !reserve.giveUp()) throw asDiskFull(error);
  }
  try {
    return await open();
  } catch (error) {
    throw asDiskFull(error);
  }
}

async function openToWrite(
  basePath: string,
  sqlitePath: string,
  options: StorageOptions,
  { create = false, finish = true }: OpenSteps,
  reserve: Reserve,
): Promise<OpenStore> {
  const { durability = "full", driver = "auto" } = options;
  const sync = durability === "full";
  const files = new PayloadFiles(basePath, { sync });
  const opening = create ? "create" : "write";
  requireOwnName(basePath, sqlitePath);
  const ofRows = { ...waitOf(options), driver, sync };
  await lookAhead(files, sqlitePath, ofRows, opening);
  await files.init();
  await makeDir(dirname(sqlitePath), sync);
  await upgradeStore(basePath, sqlitePath, {
    driver,
    wait: waitOf(options),
    quiet: options.upgradeQuiet ?? UPGRADE_QUIET,
    onUpgrade: options.onUpgrade,
    admit: (db) => requireOwnDatabase(files, sqlitePath, db, opening),
  });
  await using opened = new AsyncDisposableStack();
  const locks = await StoreLocks.acquire(basePath, waitOf(options));
  opened.defer(() => locks.release());
  const place = new Place(join(basePath, ".poh"));
  const dir = opened.use(new LogDir(basePath, { sync, write: true }));
  await dir.init();
  const rows = await locks.whileCommitting(() =>
    openRows(
      sqlitePath,
      { sync, files, dir, locks },
      ofRows,
      opening,
      options,
    )
  );
  opened.defer(() => rows.close());
  const storeId = storeTag(readSetting(rows, "id")!);
  dir.belongTo(storeId);
  const tlog = new Tlog({ rows, dir, basePath }, sync);
  const parts = { files, rows, dir, storeId, tree: tlog };
  const queue = new LogWriter(parts, locks, reserve, { sync, base: place });
  opened.defer(() => queue.abandon());
  // What a crash left half-done is finished by the first writer.
  if (finish) await queue.join();
  opened.move(); // it stays open
  return {
    place,
    files,
    rows,
    log: new LogReader(dir, rows),
    writeOnce: isWriteOnce(rows),
    writer: { locks, queue, reserve, packBelow: new PackBelow(rows), tlog },
  };
}

async function openRows(
  path: string,
  parts: { sync: boolean; files: PayloadFiles; dir: LogDir; locks: StoreLocks },
  ofRows: DatabaseOptions,
  opening: Opening,
  options: StorageOptions,
): Promise<Database> {
  const { files } = parts;
  const rows = await openOwnRows(files, path, ofRows, opening);
  try {
    const isSo = options.writeOnce || isBaseMarked(files.basePath);
    await initRows(rows, parts, writeOnceSettings(isSo));
    if (options.writeOnce) requireWriteOnce(isWriteOnce(rows), path);
    await bindStore(files, rows);
    if (isWriteOnce(rows)) await markBase(files.basePath);
    await rememberPackBelow(rows, askedPackBelow(options));
    return rows;
  } catch (error) {
    await rows.close();
    throw error;
  }
}

/** What older versions kept in tables goes into the log, while nobody writes. */
async function initRows(
  rows: Database,
  { sync, files, dir, locks }: {
    sync: boolean;
    files: PayloadFiles;
    dir: LogDir;
    locks: StoreLocks;
  },
  settings: Readonly<Record<string, string>>,
): Promise<void> {
  const isOlder = schemaVersion(rows.connection) < FIRST_WITH_LOG;
  if (!isOlder || !hasRedoTables(rows)) {
    return await initDatabase(rows, settings);
  }
  const { basePath } = files;
  // The first of those versions gave stores no id; segments have one.
  const id = await idOf(files, rows);
  const moved = await locks.whileAlone(() =>
    moveToLog(
      basePath,
      rows,
      dir,
      storeTag(id),
      sync,
      (inTransaction) =>
        initDatabase(rows, settings, () => {
          writeSetting(rows, "id", id);
          inTransaction();
        }),
    )
  );
  if (moved) return;
  throw new StoreBusyError(
    "The store is of an older version, and open elsewhere: it is brought to this one once nobody else has it open",
    locks.others(),
  );
}

/**
 * Has another database remember what kind of store one is of, unless it is
 * nonsense.
 */
export async function copySettings(
  from: Database,
  to: Database,
): Promise<void> {
  copyWriteOnce(from, to);
  await copyPackBelow(from, to);
}

/**
 * Makes sure that base and database are still the ones that were opened: what is
 * found, or done, is of another store otherwise.
 *
 * @throws {StoreMovedError} If they are not.
 */
export function requireInPlace({ place, rows }: OpenStore): void {
  const moved = whyMoved(place, rows);
  if (moved) throw moved;
}

/** What changes a store; an error when it is open read-only. */
export function writerOf({ writer }: OpenStore): StoreWriter {
  if (writer) return writer;
  throw new PohStorageError("READ_ONLY", "The store is open read-only");
}

/**
 * Empties the log and lets go of an open store, whatever goes wrong.
 *
 * @throws {StoreBusyError} If another process kept it from emptying the log,
 * which whoever opens the store next does.
 */
export async function closeStore(store: OpenStore): Promise<void> {
  const { rows, log, writer } = store;
  if (!writer) {
    log.close();
    return await rows.close();
  }
  const { locks, queue, reserve } = writer;
  let failure: unknown = null;
  try {
    await queue.close();
  } catch (error) {
    failure = error;
  }
  try {
    // It takes SQLite's log into the database; nobody waits twice for that.
    const isBusy = failure instanceof StoreBusyError;
    if (!isBusy) await locks.whileCommitting(() => rows.close());
    if (failure) throw failure;
    await reserve.close();
  } finally {
    rows.abandon(); // where it is not closed by now
    locks.release();
  }
}

/** What is logged when a transaction and its file go. */
export function removal(txId: string): LogEntry {
  return {
    kind: "remove",
    txId,
    holderId: "",
    timestamp: 0,
    storageHash: "",
    size: 0,
    payload: null,
    name: "",
    isPacked: false,
  };
}

/** What is logged when a transaction is saved. */
export function saving(
  info: TxInfo,
  how: { payload: Uint8Array; isPacked: boolean } | { staged: string },
): LogEntry {
  const isStaged = "staged" in how;
  return {
    ...info,
    kind: isStaged ? "put-staged" : "put",
    payload: isStaged ? null : how.payload,
    name: isStaged ? how.staged : "",
    isPacked: isStaged ? false : how.isPacked,
  };
}

/** A database that looks like a payload would be taken for an orphan. */
function requireOwnName(base: string, db: string): void {
  if (!isPayloadPlace(placeAt(db, base))) return;
  throw new PohStorageError(
    "DB_NAME",
    `The database ${db} has the name of a payload file: names that end in .bin are for those`,
  );
}
