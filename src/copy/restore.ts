/**
 * A store from a backup: verified as a whole under another name, then put in
 * place by one rename. What cannot be verified is not restored, and an archive
 * from anywhere can do no more than fail.
 *
 * @module
 */

import { join, resolve } from "@std/path";
import { PayloadFolder } from "./backup_folder.ts";
import {
  emptyWalkReport,
  type PayloadTarget,
  requireSoundDatabase,
  walk,
  type WalkReport,
} from "./backup_walk.ts";
import {
  createFile,
  createFileFrom,
  removeFileSync,
  SMALL,
  syncFiles,
} from "../files/durable_fs.ts";
import {
  BackupDamagedError,
  BackupPathError,
  StoreMismatchError,
  StoreNotFoundError,
} from "../errors.ts";
import { placeHere } from "../payloads/payload_layout.ts";
import { digestOfSource, type PayloadSource } from "../local/find_payload.ts";
import { keepRepairsAway } from "../files/locks.ts";
import { closeStore, copySettings, openStore } from "../local/open_store.ts";
import { requireKnown } from "../options.ts";
import { readTar, type TarEntry } from "./tar.ts";
import { isCheckpoint } from "../tlog/tlog.ts";
import { copyPredecessor } from "../tlog/tlog_tables.ts";
import type { TxInfo } from "../types.ts";
import type { Database } from "../sqlite/database.ts";
import { COMPANIONS } from "../sqlite/database_file.ts";
import { initDatabase, openDatabase } from "../sqlite/open_database.ts";
import type { PayloadFiles } from "../payloads/payload_files.ts";
import { BACKUP_DB } from "./backup_options.ts";
import {
  RESTORE_OPTIONS,
  type RestoreOptions,
  RestorePlace,
  type RestoreReport,
} from "./restore_place.ts";

/** Payloads unpacked between two syncs. */
const PAGE = 256;

/**
 * Makes a store from a backup, whole or not at all. The store is a new one: it
 * has an id of its own, and nothing in common with the backup's files.
 *
 * Until it is put in place it is called `<base>.restoring` (and the database
 * `<db>.restoring`, when it is not in the base).
 *
 * Needs `--allow-read` for the backup, `--allow-read` and `--allow-write` for
 * the directories that the base and the database are in.
 *
 * @param source A backup's folder, the file of a tar archive, or such an archive.
 * @param basePath Directory to make; it may be there, empty.
 * @param sqlitePath Database to make.
 * @throws {BackupPathError} If there is no backup, or something where the store
 * is to be.
 * @throws {BackupDamagedError} If the backup is damaged; nothing was restored,
 * and `onFinding` was told of each damaged transaction.
 *
 * @example From one store to another, without a file between
 * ```ts
 * import { backupStore, restoreStore, StorageManager } from "@poh/storage";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * {
 *   await using _ = await StorageManager.create(`${dir}/a`, `${dir}/a/poh.db`);
 * }
 * const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
 * const [, report] = await Promise.all([
 *   backupStore(`${dir}/a`, `${dir}/a/poh.db`, writable),
 *   restoreStore(readable, `${dir}/b`, `${dir}/b/poh.db`),
 * ]);
 * assertEquals(report.txs, 0);
 * await Deno.remove(dir, { recursive: true });
 * ```
 */
export async function restoreStore(
  source: string | ReadableStream<Uint8Array>,
  basePath: string,
  sqlitePath: string,
  options: RestoreOptions = {},
): Promise<RestoreReport> {
  requireKnown(options, RESTORE_OPTIONS);
  const from = typeof source === "string" ? await openBackup(source) : source;
  try {
    const place = new RestorePlace(
      resolve(basePath),
      resolve(sqlitePath),
      options,
    );
    return await place.fill((files, rows) =>
      typeof from === "string"
        ? fromFolder(from, files, rows, options)
        : fromTar(from, files, rows, options)
    );
  } finally {
    if (typeof from !== "string") await from.cancel().catch(() => {});
  }
}

/** A folder's path, or the bytes of an archive. */
async function openBackup(
  path: string,
): Promise<string | ReadableStream<Uint8Array>> {
  try {
    const { isDirectory } = await Deno.stat(path);
    if (isDirectory) return resolve(path);
    return (await Deno.open(path, { read: true })).readable;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new BackupPathError(`There is no backup at ${path}`);
  }
}

async function fromFolder(
  path: string,
  files: PayloadFiles,
  rows: Database,
  options: RestoreOptions,
): Promise<WalkReport> {
  const { driver = "auto", durability } = options;
  let backup;
  try {
    const db = join(path, BACKUP_DB);
    backup = await openStore(path, db, { driver, readOnly: true });
  } catch (error) {
    const isMissing = error instanceof StoreNotFoundError ||
      error instanceof StoreMismatchError;
    if (!isMissing) throw error;
    throw new BackupPathError(
      `${path} is no backup, it has no ${BACKUP_DB}; has one been interrupted?`,
    );
  }
  try {
    using _ = await keepRepairsAway(path, options);
    await requireSoundDatabase(backup.rows, backup.rows.path, options.signal);
    const target = new PayloadFolder(files, {
      sync: durability !== "relaxed",
      link: false,
      unlink: false,
      previous: null,
      verify: false,
    });
    await copySettings(backup.rows, rows);
    await copyPredecessor(backup.rows, rows, isCheckpoint);
    return await walk("restore", backup, backup.rows, rows, target, options);
  } finally {
    await closeStore(backup);
  }
}

/**
 * The payloads go where they belong, then the rows, which come last, are held
 * against them. The archive's database is only read: its rows go into one that
 * has no triggers, views or settings but this program's.
 */
async function fromTar(
  from: ReadableStream<Uint8Array>,
  files: PayloadFiles,
  rows: Database,
  options: RestoreOptions,
): Promise<WalkReport> {
  const path = join(files.tmpPath, BACKUP_DB);
  const { driver = "auto" } = options;
  try {
    const unpacked = await unpack(from, files, path, options);
    if (unpacked === null) return { ...emptyWalkReport(), interrupted: true };
    await using archived = await openDatabase(path, {
      driver,
      readOnly: true,
    });
    await requireSoundDatabase(archived, BACKUP_DB);
    await initDatabase(archived);
    await copySettings(archived, rows);
    await copyPredecessor(archived, rows, isCheckpoint);
    const origin = { files, rows: archived, log: null };
    const target = new InPlace();
    const report = await walk(
      "restore",
      origin,
      archived,
      rows,
      target,
      options,
    );
    const left = unpacked - report.written;
    if (left > 0 && report.damaged === 0 && !report.interrupted) {
      throw damagedArchive(`it has ${left} payloads of no transaction`);
    }
    return report;
  } finally {
    for (const suffix of ["", ...COMPANIONS]) removeFileSync(path + suffix);
  }
}

/** The number of payloads; null when it was interrupted. */
async function unpack(
  from: ReadableStream<Uint8Array>,
  files: PayloadFiles,
  db: string,
  { signal, onProgress, durability }: RestoreOptions,
): Promise<number | null> {
  const sync = async (paths: string[]) => {
    if (durability !== "relaxed") await syncFiles(paths);
  };
  let payloads = 0, bytes = 0, hasDb = false, unsynced: string[] = [];
  try {
    for await (const entry of readTar(from)) {
      if (signal?.aborted) return null;
      if (hasDb) throw damagedArchive(`${BACKUP_DB} is not its last entry`);
      hasDb = entry.name === BACKUP_DB;
      const path = hasDb ? db : join(files.basePath, placeFor(entry));
      const size = await writeEntry(path, entry);
      if (hasDb) continue;
      payloads++;
      bytes += size;
      onProgress?.({ step: "unpack", done: payloads, total: null, bytes });
      if (unsynced.push(path) < PAGE) continue;
      await sync(unsynced);
      unsynced = [];
    }
  } catch (error) {
    if (error instanceof Deno.errors.InvalidData) {
      throw damagedArchive(error.message, error);
    }
    if (error instanceof Deno.errors.AlreadyExists) {
      throw damagedArchive("it has a payload twice", error);
    }
    throw error;
  }
  if (!hasDb) throw damagedArchive(`it has no ${BACKUP_DB}, or is cut`);
  await sync(unsynced);
  await files.syncFolders();
  return payloads;
}

/** The size of what was written: it is synced later, with many others. */
async function writeEntry(
  path: string,
  { size, bytes }: TarEntry,
): Promise<number> {
  if (size > SMALL) return (await createFileFrom(path, bytes, false)).size;
  const whole = new Uint8Array(size);
  let at = 0;
  for await (const chunk of bytes) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  await createFile(path, whole, false);
  return size;
}

/** The place that an entry's payload gets here. */
function placeFor({ name }: TarEntry): string {
  const place = placeHere(name); // an entry's name is never used as a path
  if (place !== null) return place;
  throw damagedArchive(`${JSON.stringify(name)} is no name of a payload`);
}

function damagedArchive(why: string, cause?: Error): BackupDamagedError {
  return new BackupDamagedError(
    `The archive is no backup, or is damaged: ${why}; nothing was restored`,
    { cause },
  );
}

/** Payloads that are where they belong, and have to be verified. */
class InPlace implements PayloadTarget {
  // deno-lint-ignore require-await -- the contract is asynchronous
  async has(): Promise<null> {
    return null;
  }

  take({ txId }: TxInfo, source: PayloadSource) {
    return digestOfSource(txId, source);
  }
}
