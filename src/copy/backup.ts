/**
 * A backup of a store, taken beside whoever uses it.
 *
 * The rows are copied at one moment; then each row's payload is taken over and
 * verified. What was acknowledged before the backup began, and has not been
 * replaced or deleted since, is in it, whole.
 *
 * In a folder the rule of the store holds as well: a database refers only to
 * payloads that are durable. New payloads come first; the new database replaces
 * the previous one when all of them are there; only then replaced payloads give
 * way to those that wait under names which their rows tell, and those that
 * nothing refers to go. A crash at any moment leaves the previous backup or the
 * new one.
 *
 * @module
 */

import { dirname, isAbsolute, join, relative, resolve } from "@std/path";
import { bytesOf, openPayload, PayloadFolder } from "./backup_folder.ts";
import {
  type PayloadTarget,
  requireSoundDatabase,
  walk,
  type WalkOptions,
  type WalkReport,
  walkRules,
} from "./backup_walk.ts";
import {
  makeDir,
  readAllSync,
  readRegular,
  regularSize,
  removeFileSync,
  renameFile,
  replaceFile,
  SMALL,
  syncFile,
} from "../files/durable_fs.ts";
import {
  BackupPathError,
  IntegrityError,
  MetadataDamagedError,
  StoreBusyError,
} from "../errors.ts";
import { digestOf, digestOfPieces, Sha256 } from "../files/hash.ts";
import { placeOf } from "../payloads/payload_layout.ts";
import { KnownFiles } from "../local/known_files.ts";
import { type LockWait, waitOf, waitRules } from "../options.ts";
import { keepRepairsAway, listHolders, StoreLocks } from "../files/locks.ts";
import { makeRows } from "../log/follow.ts";
import { segmentOf } from "../log/segment.ts";
import { type PayloadSource, unreadable } from "../local/find_payload.ts";
import { closeStore, type OpenStore, openStore } from "../local/open_store.ts";
import { SETTLED, writeNaming } from "../local/naming.ts";
import {
  type OptionsType,
  optionsType,
  requireKnown,
  rule,
} from "../options.ts";
import { requirePohDir } from "../files/layout.ts";
import type { DriverChoice } from "../model/driver_info.ts";
import { giveOwnId } from "../local/store_id.ts";
import { TarWriter } from "./tar.ts";
import { nextTurn } from "../async/turn.ts";
import type { TxInfo } from "../types.ts";
import { placeWaiting } from "../local/waiting.ts";
import type { Database } from "../sqlite/database.ts";
import { COMPANIONS } from "../sqlite/database_file.ts";
import { openDatabase } from "../sqlite/open_database.ts";
import { PayloadFiles } from "../payloads/payload_files.ts";
import { initDatabase } from "../sqlite/open_database.ts";
import { logState, readSetting, writeSetting } from "../sqlite/log_state.ts";
import { countTxs } from "../sqlite/tx_counts.ts";
import { forgetLog } from "../sqlite/places.ts";

/** The name of the database in every backup. */
export const BACKUP_DB = "poh.db";

/** Files looked at between two turns of others. */
const PAGE = 256;

/** How to back up. */
export interface BackupOptions extends WalkOptions, LockWait {
  /**
   * Copy every payload. Otherwise a folder on the store's own file system gets
   * hard links, which take no room and protect from deletion, not from a
   * failing disk.
   */
  copy?: boolean;
  /**
   * Read payloads whole that the folder has already. Otherwise their size has
   * to be right.
   */
  verify?: boolean;
  /** Which SQLite binding; default `"auto"`. */
  driver?: DriverChoice;
  /** As of a store: whether a finished backup survives power loss. */
  durability?: "full" | "relaxed";
}

/** Checks {@linkcode BackupOptions}. */
const BACKUP_OPTIONS: OptionsType = optionsType<BackupOptions>(
  "BackupOptions",
  {
    ...walkRules,
    ...waitRules,
    copy: rule.flag,
    verify: rule.flag,
    driver: rule.driver,
    durability: rule.durability,
  },
);

/** What a backup came to. */
export interface BackupReport extends WalkReport {
  /** Transactions in the backup. */
  txs: number;
  /** How many of those written are hard links. */
  linked: number;
  /** Payload files of the previous backup that are not needed any more. */
  removed: number;
}

/**
 * Backs up a store, verified, while others may use it.
 *
 * Into a folder: a store of its own with the database `poh.db`, to be verified
 * as every store, and not to be written to. A second backup into the same
 * folder takes only what is new. Into a stream: a tar archive of the same.
 * Damaged transactions are reported and left out; quarantine is not backed up.
 *
 * While SQLite copies the database, this thread does nothing else.
 *
 * Needs `--allow-read` for the base directory and the database, and
 * `--allow-read` and `--allow-write` for the folder; `--allow-write` for the
 * base directory as well for hard links, and for a stream.
 *
 * @param target A folder, made where there is none; or where a tar archive goes.
 * @returns What was done. `interrupted`: the previous backup, if any, is what
 * the folder still has, and calling again goes on; a stream was aborted.
 * @throws {BackupPathError} If the folder holds something else.
 * @throws {StoreBusyError} If the store is being repaired, or the folder in use.
 * @throws {MetadataDamagedError} If the store's database is damaged.
 *
 * @example Usage
 * ```ts
 * import { backupStore, restoreStore, StorageManager } from "@poh/storage";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * const [base, db] = [`${dir}/store`, `${dir}/store/poh.db`];
 * {
 *   await using store = await StorageManager.create(base, db);
 *   const payload = new TextEncoder().encode("hello");
 *   await store.saveTx({ txId: "a", holderId: "alice", timestamp: 0, payload });
 *
 *   const report = await backupStore(base, db, `${dir}/backup`);
 *   assertEquals(report.txs, 1);
 * }
 * await restoreStore(`${dir}/backup`, `${dir}/new`, `${dir}/new/poh.db`);
 * await Deno.remove(dir, { recursive: true });
 * ```
 */
export async function backupStore(
  basePath: string,
  sqlitePath: string,
  target: string | WritableStream<Uint8Array>,
  options: BackupOptions = {},
): Promise<BackupReport> {
  requireKnown(options, BACKUP_OPTIONS);
  const { driver = "auto" } = options;
  const live = await openStore(resolve(basePath), resolve(sqlitePath), {
    ...waitOf(options),
    driver,
    readOnly: true,
  });
  try {
    using _ = await keepRepairsAway(live.files.basePath, options);
    return typeof target === "string"
      ? await backupToFolder(live, resolve(target), options)
      : await backupToTar(live, target, options);
  } finally {
    await closeStore(live);
  }
}

/** A copy of a store's rows as they are now, that follows no log. */
async function copyRows(
  live: OpenStore,
  path: string,
  driver: DriverChoice,
): Promise<Database> {
  for (;;) {
    const until = resolvedIn(live);
    await live.rows.backup(path);
    // It is synced as a whole at its end.
    const rows = await openDatabase(path, { driver, sync: false });
    try {
      await requireSoundDatabase(rows, live.rows.path);
      await initDatabase(rows);
      if (await catchUp(live, rows, until)) {
        rows.transaction(() => forgetLog(rows));
        return rows;
      }
      await rows.close();
    } catch (error) {
      await rows.close();
      throw error;
    }
  }
}

/**
 * Up to where the log counts: after a crash to its end, beside a writer as far
 * as saves have resolved; the rest is its own business.
 */
function resolvedIn({ files, log }: OpenStore): number {
  const hasWriter = listHolders(files.basePath).length > 0;
  return hasWriter ? log.resolved() : Infinity;
}

/**
 * Has copied rows follow the log.
 *
 * @returns False when a writer has dropped that part of it meanwhile: by now the
 * rows have followed it, and can be copied again.
 */
async function catchUp(
  { log }: OpenStore,
  rows: Database,
  until: number,
): Promise<boolean> {
  const { applied } = logState(rows);
  if (!log.dir.exists() || until <= applied) return true;
  for (const record of log.recordsFrom(applied)) {
    if (record.position >= until) break;
    await makeRows([record], record.position + record.length, rows);
  }
  const [first = 0] = log.dir.numbers();
  return until === Infinity || first <= segmentOf(applied);
}

// --- into a folder ----------------------------------------------------------

async function backupToFolder(
  live: OpenStore,
  path: string,
  options: BackupOptions,
): Promise<BackupReport> {
  requireApart(live, path);
  const sync = options.durability !== "relaxed";
  const files = new PayloadFiles(path, { sync });
  await claim(files, readSetting(live.rows, "id"), sync);
  const inUse = `The backup folder ${path} is in use`;
  let locks: StoreLocks;
  try {
    locks = await StoreLocks.acquire(path, options);
  } catch (error) {
    if (!(error instanceof StoreBusyError)) throw error;
    throw new StoreBusyError(inUse, error.holders);
  }
  try {
    const done = await locks.whileAlone(() =>
      new FolderBackup(live, files, sync, options).run()
    );
    if (!done) throw new StoreBusyError(inUse, locks.others());
    return done.value;
  } finally {
    locks.release();
  }
}

/** Neither may hold the other, or what is tidied up here is lost there. */
function requireApart(live: OpenStore, path: string): void {
  const folder = realPath(path);
  const base = realPath(live.files.basePath);
  const db = realPath(live.rows.path);
  if (!isIn(folder, base) && !isIn(base, folder) && !isIn(db, folder)) return;
  throw new BackupPathError(
    `The backup folder ${path} and the store overlap: choose one outside of ${live.files.basePath} that holds neither it nor its database`,
  );
}

/** A path without symbolic links, as far as it exists. */
function realPath(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    const parent = dirname(path);
    return parent === path
      ? path
      : join(realPath(parent), relative(parent, path));
  }
}

function isIn(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return !isAbsolute(way) && way.split(/[/\\]/)[0] !== "..";
}

/**
 * Marks a folder as this store's backup. One that holds anything else is left
 * alone: what nothing refers to is deleted here.
 */
async function claim(
  files: PayloadFiles,
  storeId: string | null,
  sync: boolean,
): Promise<void> {
  const path = files.basePath;
  requirePohDir(path);
  const marker = join(path, ".poh", "backup");
  const marked = await readRegular(marker);
  const owner = storeId ?? "unknown";
  if (marked) {
    const known = new TextDecoder().decode(marked).trim();
    if (known === owner) return await files.init();
    if (known !== "unknown") {
      throw new BackupPathError(`${path} is the backup of another store`);
    }
  } else if (!await isEmpty(path)) {
    throw new BackupPathError(
      `${path} is neither empty nor a backup: choose another folder`,
    );
  }
  await files.init();
  const tmp = join(files.tmpPath, crypto.randomUUID());
  const bytes = new TextEncoder().encode(`${owner}\n`);
  await replaceFile(marker, bytes, tmp, sync);
}

/** Whether nothing is there, but for what a claim that was cut off has made. */
async function isEmpty(path: string): Promise<boolean> {
  for await (const { name } of entriesOf(path)) {
    if (name !== ".poh") return false;
  }
  for await (const { name } of entriesOf(join(path, ".poh"))) {
    if (name !== "tmp" && name !== "staged") return false;
  }
  return true;
}

async function* entriesOf(path: string): AsyncGenerator<Deno.DirEntry> {
  try {
    yield* Deno.readDir(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** One backup into a folder that nobody else uses meanwhile. */
class FolderBackup {
  readonly #live: OpenStore;
  readonly #files: PayloadFiles;
  readonly #sync: boolean;
  readonly #options: BackupOptions;
  readonly #driver: DriverChoice;
  readonly #db: string;

  constructor(
    live: OpenStore,
    files: PayloadFiles,
    sync: boolean,
    options: BackupOptions,
  ) {
    this.#live = live;
    this.#files = files;
    this.#sync = sync;
    this.#options = options;
    this.#driver = options.driver ?? "auto";
    this.#db = join(files.basePath, BACKUP_DB);
  }

  async run(): Promise<BackupReport> {
    const previous = await this.#openSettled();
    const fresh = join(this.#files.tmpPath, BACKUP_DB);
    let report: WalkReport, linked: number;
    try {
      await this.#clearLeftovers();
      ({ report, linked } = await this.#fill(fresh, previous));
    } finally {
      await previous?.close();
    }
    if (report.interrupted) {
      await this.#clearLeftovers();
      return { ...report, linked, txs: 0, removed: 0 };
    }
    // What has another name belongs to no row of the fresh database.
    await writeNaming(this.#files.basePath, SETTLED);
    await this.#replaceDatabase(fresh);
    return { ...report, linked, ...await this.#tidyUp() };
  }

  /** The backup that is there, its replaced payloads in their places. */
  async #openSettled(): Promise<Database | null> {
    if (regularSize(this.#db) === null) return null;
    try {
      if (!this.#isClosed()) await (await this.#openRows(false)).close();
      const rows = await this.#openRows(true);
      await placeWaiting(this.#files, rows);
      return rows;
    } catch (error) {
      // Its payloads are looked at all the same, and the new one replaces it.
      if (error instanceof MetadataDamagedError) return null;
      throw error;
    }
  }

  /**
   * Whether the database can be left as it is. To open it for writing is to
   * change it: a crash would leave it so that it has to be opened so again.
   */
  #isClosed(): boolean {
    return COMPANIONS.every((suffix) =>
      regularSize(this.#db + suffix) === null
    );
  }

  async #openRows(readOnly: boolean): Promise<Database> {
    const rows = await openDatabase(this.#db, {
      driver: this.#driver,
      sync: this.#sync,
      readOnly,
    });
    try {
      await initDatabase(rows);
      return rows;
    } catch (error) {
      await rows.close();
      throw error;
    }
  }

  /** Payloads first, for which the fresh database waits under another name. */
  async #fill(
    fresh: string,
    previous: Database | null,
  ): Promise<{ report: WalkReport; linked: number }> {
    const { copy = false, verify = false } = this.#options;
    const folder = new PayloadFolder(this.#files, {
      sync: this.#sync,
      link: !copy && await mayWrite(this.#live.files.basePath),
      unlink: copy,
      previous,
      verify,
    });
    const rows = await copyRows(this.#live, fresh, this.#driver);
    try {
      const report = await walk(
        "backup",
        this.#live,
        rows,
        rows,
        folder,
        this.#options,
      );
      await giveOwnId(this.#files, rows);
      return { report, linked: folder.linked };
    } finally {
      await rows.close();
    }
  }

  /** The moment from which the new backup is the one that is there. */
  async #replaceDatabase(fresh: string): Promise<void> {
    await this.#files.staged.sync();
    await this.#files.syncFolders();
    requireClosed(fresh);
    if (this.#sync) await syncFile(fresh);
    for (const suffix of COMPANIONS) removeFileSync(this.#db + suffix);
    await renameFile(fresh, this.#db, this.#sync);
  }

  /** Replaced payloads give way, what nothing refers to goes. */
  async #tidyUp(): Promise<{ txs: number; removed: number }> {
    await using rows = (await this.#openSettled())!;
    let removed = 0, batch: string[] = [];
    const knownFiles = new KnownFiles(this.#files, rows);
    const sweep = async () => {
      const known = await knownFiles.among(batch);
      for (const place of batch) {
        if (known.has(place)) continue;
        if (removeFileSync(join(this.#files.basePath, place))) removed++;
      }
      batch = [];
    };
    for await (const { place } of this.#files.files()) {
      if (batch.push(place) < PAGE) continue;
      await sweep();
      await nextTurn();
    }
    await sweep();
    await this.#files.syncFolders();
    return { txs: await countTxs(rows), removed };
  }

  /** What was on its way when an earlier backup ended. */
  async #clearLeftovers(): Promise<void> {
    for (const dir of [this.#files.tmpPath, this.#files.staged.path]) {
      for await (const { name } of Deno.readDir(dir)) {
        removeFileSync(join(dir, name));
      }
    }
  }
}

async function mayWrite(path: string): Promise<boolean> {
  const { state } = await Deno.permissions.query({ name: "write", path });
  return state === "granted";
}

/** A database is one file when SQLite could close it as it should. */
export function requireClosed(path: string): void {
  for (const suffix of COMPANIONS) {
    if (regularSize(path + suffix) === null) continue;
    throw new Error(`The database ${path} could not be closed`);
  }
}

// --- into a tar archive -----------------------------------------------------

async function backupToTar(
  live: OpenStore,
  to: WritableStream<Uint8Array>,
  options: BackupOptions,
): Promise<BackupReport> {
  const { driver = "auto" } = options;
  const { tmpPath } = live.files;
  await makeDir(tmpPath, false);
  const path = join(tmpPath, `${crypto.randomUUID()}.db`);
  const tar = await TarWriter.create(to);
  try {
    let report: WalkReport, txs: number;
    const rows = await copyRows(live, path, driver);
    try {
      const target = new PayloadArchive(tar);
      report = await walk("backup", live, rows, rows, target, options);
      // Whoever unpacks it has a store that is not the original.
      rows.transaction(() => writeSetting(rows, "id", crypto.randomUUID()));
      txs = await countTxs(rows);
    } finally {
      await rows.close();
    }
    if (report.interrupted) {
      await tar.abort(new Error("The backup was interrupted"));
      return { ...report, linked: 0, txs: 0, removed: 0 };
    }
    requireClosed(path);
    // The last entry: without it an archive is not whole.
    using file = Deno.openSync(path, { read: true });
    await tar.add(BACKUP_DB, file.statSync().size, bytesOf("", file));
    await tar.finish();
    return { ...report, linked: 0, txs, removed: 0 };
  } catch (error) {
    await tar.abort(error as Error);
    throw error;
  } finally {
    for (const suffix of ["", ...COMPANIONS]) removeFileSync(path + suffix);
  }
}

/** Puts payloads into an archive, from which nothing can be taken back. */
class PayloadArchive implements PayloadTarget {
  readonly #tar: TarWriter;

  constructor(tar: TarWriter) {
    this.#tar = tar;
  }

  // deno-lint-ignore require-await -- the contract is asynchronous
  async has(): Promise<null> {
    return null;
  }

  async take(
    { txId, storageHash }: TxInfo,
    source: PayloadSource,
  ): Promise<{ digest: string; size: number } | null> {
    const name = placeOf(txId);
    const add = async (payload: Uint8Array) => {
      const digest = await digestOf(payload);
      const size = payload.length;
      if (digest === storageHash) await this.#tar.add(name, size, [payload]);
      return { digest, size };
    };
    if (typeof source !== "string") return await add(source);
    using file = openPayload(txId, source);
    if (!file) return null;
    const { size } = file.statSync();
    if (size <= SMALL) return await add(readSmall(txId, file, size));
    // Read twice: an entry that has begun cannot be taken back.
    const found = await digestOfPieces(bytesOf(txId, file));
    if (found.digest !== storageHash) return found;
    file.seekSync(0, Deno.SeekMode.Start);
    await this.#tar.add(name, found.size, verified(txId, storageHash, file));
    return found;
  }
}

function readSmall(txId: string, file: Deno.FsFile, size: number): Uint8Array {
  try {
    return readAllSync(file, size);
  } catch (error) {
    throw unreadable(txId, error);
  }
}

/** The second reading: what goes wrong now cuts the archive. */
async function* verified(
  txId: string,
  expected: string,
  file: Deno.FsFile,
): AsyncGenerator<Uint8Array> {
  const hash = new Sha256();
  try {
    for await (const chunk of bytesOf(txId, file)) {
      hash.update(chunk);
      yield chunk;
    }
  } catch (error) {
    const { message } = error as Error;
    throw new Error(`The archive is cut: ${message}`, { cause: error });
  }
  const found = hash.hex();
  if (found !== expected) throw new IntegrityError(txId, expected, found);
}
