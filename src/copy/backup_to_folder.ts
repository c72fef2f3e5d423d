/**
 * A backup in a folder, which a second one brings up to date.
 *
 * The rule of the store holds here as well: a database refers only to
 * payloads that are durable. New payloads come first; the new database replaces
 * the previous one when all of them are there; only then replaced payloads give
 * way to those that wait under names which their rows tell, and those that
 * nothing refers to go, but for what the store misses itself. A crash at any moment leaves the previous backup or the
 * new one.
 *
 * @module
 */

import { dirname, isAbsolute, join, relative } from "@std/path";
import { PayloadFolder } from "./backup_folder.ts";
import { walk, type WalkReport } from "./backup_walk.ts";
import {
  readRegular,
  regularSize,
  removeFileSync,
  renameFile,
  replaceFile,
  syncFile,
} from "../files/durable_fs.ts";
import {
  BackupPathError,
  MetadataDamagedError,
  StoreBusyError,
} from "../errors.ts";
import { KnownFiles } from "../local/known_files.ts";
import { StoreLocks } from "../files/locks.ts";
import type { OpenStore } from "../local/open_store.ts";
import { SETTLED, writeNaming } from "../local/naming.ts";
import { requirePohDir } from "../files/layout.ts";
import type { DriverChoice } from "../model/driver_info.ts";
import { giveOwnId } from "../local/store_id.ts";
import { nextTurn } from "../async/turn.ts";
import { placeWaiting } from "../local/waiting.ts";
import type { Database } from "../sqlite/database.ts";
import { COMPANIONS } from "../sqlite/database_file.ts";
import { initDatabase, openDatabase } from "../sqlite/open_database.ts";
import { PayloadFiles } from "../payloads/payload_files.ts";
import { placeOf } from "../payloads/payload_layout.ts";
import { readableCases } from "../payloads/quarantine.ts";
import { isPossible } from "../check/source.ts";
import { readSetting } from "../sqlite/log_state.ts";
import { countTxs } from "../sqlite/tx_counts.ts";
import {
  BACKUP_DB,
  type BackupOptions,
  type BackupReport,
} from "./backup_options.ts";
import { copyRows, requireClosed } from "./copy_rows.ts";

/** Files looked at between two turns of others. */
const PAGE = 256;

/**
 * Backs up an open store into a folder, which nobody else uses meanwhile.
 *
 * @throws {BackupPathError} If the folder holds something else.
 * @throws {StoreBusyError} If the folder is in use.
 */
export async function backupToFolder(
  live: OpenStore,
  path: string,
  options: BackupOptions,
): Promise<BackupReport> {
  requireApart(live, path);
  const sync = options.durability !== "relaxed";
  const files = new PayloadFiles(path, { sync });
  await claim(files, live, sync);
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
  live: OpenStore,
  sync: boolean,
): Promise<void> {
  const path = files.basePath;
  requirePohDir(path);
  const marker = join(path, ".poh", "backup");
  const marked = await readRegular(marker);
  // A store of the older package has no id, until it is opened for writing.
  const byPath = `database ${JSON.stringify(realPath(live.rows.path))}`;
  const owner = readSetting(live.rows, "id") ?? byPath;
  if (marked) {
    const known = new TextDecoder().decode(marked).trim();
    if (known === owner) return await files.init();
    if (known !== byPath) {
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
    const missed = await this.#missedThere();
    const sweep = async () => {
      const known = await knownFiles.among(batch);
      for (const place of batch) {
        if (known.has(place) || await this.#isOneOf(missed, place)) continue;
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

  /**
   * The digests of payloads that the store took out of service, by their places:
   * the copies here may be the only sound ones, from which it can be healed.
   */
  async #missedThere(): Promise<Map<string, Set<string>>> {
    const missed = new Map<string, Set<string>>();
    for await (const { note } of readableCases(this.#live.files.basePath)) {
      const { row } = note;
      if (!row || !isPossible(row)) continue;
      const place = placeOf(row.txId);
      missed.set(place, (missed.get(place) ?? new Set()).add(row.storageHash));
    }
    return missed;
  }

  async #isOneOf(
    digests: ReadonlyMap<string, ReadonlySet<string>>,
    place: string,
  ): Promise<boolean> {
    const there = digests.get(place);
    const found = there && await this.#files.digestOfFile(place);
    return found ? there.has(found.digest) : false;
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
