/**
 * A new database in place of one that is lost or damaged: from what can still
 * be read of the old one, and from the payload files for the rest. The old one
 * is kept beside it.
 *
 * @module
 */

import { dirname, join } from "@std/path";
import { forgetCommits } from "./commit_note.ts";
import { crashPoint } from "./crash_points.ts";
import { removeFileSync, renameFile, syncDir, syncFile } from "./durable_fs.ts";
import { MetadataDamagedError, StoreBusyError } from "./errors.ts";
import { FileStore } from "./file_store.ts";
import { sha256HexSync } from "./hash.ts";
import { StoreLocks } from "./locks.ts";
import { copySettings, type StorageOptions } from "./open_store.ts";
import {
  earlierNames,
  hasId,
  isSettled,
  type NamingState,
  readNaming,
  writeNaming,
} from "./naming.ts";
import { requirePohDir } from "./poh_dir.ts";
import { isInLog, keepNewer, pendingRecords } from "./redo.ts";
import { COMPANIONS, SqliteStore } from "./sqlite_store.ts";
import { bindStore } from "./store_id.ts";
import { nextTurn } from "./turn.ts";
import type { TxInfo } from "./types.ts";
import { isBaseMarked, writeOnceSettings } from "./write_once.ts";

/** Rows read or written at a time. */
const PAGE = 256;

/** A database file and what SQLite may have beside it, by suffix. */
const FILES = ["", ...COMPANIONS];

/**
 * Makes the new database and puts it in place; the old files get the suffix
 * `.damaged-<time>`. A crash leaves the old database, or both.
 *
 * @throws {StoreBusyError} If another process has the store open.
 */
export async function rebuildDatabase(
  basePath: string,
  sqlitePath: string,
  options: StorageOptions,
): Promise<void> {
  requirePohDir(basePath);
  const files = new FileStore(basePath);
  const naming = await namingOfBase(basePath);
  await files.init();
  const locks = await StoreLocks.acquire(basePath, options);
  try {
    const done = await locks.whileAlone(async () => {
      if (!isSettled(naming)) await writeNaming(basePath, naming);
      await rebuild(files, sqlitePath, options, naming);
    });
    if (!done) {
      throw new StoreBusyError(
        "The store is open elsewhere, nothing was repaired",
        locks.others(),
      );
    }
  } finally {
    locks.release();
  }
}

/** How the files of a base are named, which its database may tell no more. */
async function namingOfBase(basePath: string): Promise<NamingState> {
  const said = await readNaming(basePath);
  if (said) return said;
  return { naming: hasId(basePath) ? "mixed" : "verbatim", phase: null };
}

async function rebuild(
  files: FileStore,
  path: string,
  options: StorageOptions,
  naming: NamingState,
): Promise<void> {
  const fresh = `${path}.rebuild`;
  for (const suffix of FILES) removeFileSync(fresh + suffix);
  const { driver = "auto" } = options;
  const writeOnce = options.writeOnce || isBaseMarked(files.basePath);
  const rows = await SqliteStore.open(fresh, { driver });
  try {
    await rows.init(writeOnceSettings(writeOnce));
    const deleted = await salvage(files, path, rows, options);
    await describeFiles(files, rows, deleted, naming);
    await bindStore(files, rows);
  } finally {
    await rows.close();
  }
  await syncFile(fresh);
  crashPoint("database rebuilt");
  await setAside(path);
  crashPoint("database set aside");
  await renameFile(fresh, path, true);
  forgetCommits(files.basePath);
}

/**
 * The rows that the old database still gives, whatever their payloads are.
 *
 * @returns Ids that were deleted and whose files may still be there.
 */
async function salvage(
  files: FileStore,
  path: string,
  rows: SqliteStore,
  options: StorageOptions,
): Promise<Set<string>> {
  const { driver = "auto" } = options;
  let old: SqliteStore;
  try {
    old = await SqliteStore.open(path, { driver, readOnly: true });
  } catch {
    return new Set(); // nothing of it can be read
  }
  try {
    await salvageRows(old, rows);
    await attempt(async () => {
      await copySettings(old, rows);
      await rows.change(() => rows.setSetting("id", old.setting("id")));
    });
    await salvageInline(old, rows, path);
    return await salvageLog(old, files, rows);
  } finally {
    await old.close();
  }
}

/**
 * From both ends, since reading stops where the damage is; what lies between
 * is asked for id by id, as far as the files tell the ids.
 */
async function salvageRows(old: SqliteStore, rows: SqliteStore): Promise<void> {
  const keep = (page: TxInfo[]) =>
    rows.transaction(() =>
      page.filter(isPlausible).forEach((r) => rows.put(r))
    );
  await attempt(async () => {
    await old.init();
    let batch: TxInfo[] = [];
    try {
      for await (const info of old.iterate()) {
        batch.push(info);
        if (batch.length < PAGE) continue;
        keep(batch);
        batch = [];
      }
    } finally {
      keep(batch);
    }
  });
  await attempt(async () => {
    for await (const info of old.iterateByRowid()) {
      if (!rows.get(info.txId)) keep([info]);
    }
  });
}

/** Payloads that live in the database, and rows for those that have lost them. */
async function salvageInline(
  old: SqliteStore,
  rows: SqliteStore,
  path: string,
): Promise<void> {
  await attempt(async () => {
    for (let at = 0;;) {
      const page = old.inlinePage(at, PAGE);
      rows.transaction(() => {
        for (const { txId, storageHash, payload } of page) {
          if (sha256HexSync(payload) !== storageHash) continue;
          const row = rows.get(txId);
          if (row && row.storageHash !== storageHash) continue;
          const info = row ?? {
            ...described(txId, path),
            storageHash,
            size: payload.length,
          };
          rows.put(info);
          rows.putInline(info, payload);
        }
      });
      if (page.length < PAGE) return;
      at = page.at(-1)!.at;
      await nextTurn();
    }
  });
  await salvageInlineOneByOne(old, rows);
}

/** Most stores have none, and need no second look at every row. */
function mayHaveInline(old: SqliteStore): boolean {
  try {
    return old.hasInline();
  } catch (error) {
    if (!(error instanceof MetadataDamagedError)) throw error;
    return true;
  }
}

/** What lies behind a damaged page, for the rows that are known. */
async function salvageInlineOneByOne(
  old: SqliteStore,
  rows: SqliteStore,
): Promise<void> {
  if (!mayHaveInline(old)) return;
  for await (const info of rows.iterate()) {
    if (rows.isInline(info)) continue;
    try {
      const payload = old.inlinePayload(info);
      if (!payload || sha256HexSync(payload) !== info.storageHash) continue;
      rows.transaction(() => rows.putInline(info, payload));
    } catch (error) {
      if (!(error instanceof MetadataDamagedError)) throw error;
    }
  }
}

/**
 * Payloads that were committed but may not have reached their file.
 *
 * @returns Ids that were deleted, as far as their files may not have followed.
 */
async function salvageLog(
  old: SqliteStore,
  files: FileStore,
  rows: SqliteStore,
): Promise<Set<string>> {
  const deleted = new Set<string>();
  await attempt(async () => {
    for (const { entries } of pendingRecords(old.redo)) {
      for (const entry of entries) {
        const { txId } = entry;
        const row = rows.get(txId);
        if (entry.action !== "put" && !row) deleted.add(txId);
        if (entry.action !== "put") continue;
        if (row?.storageHash !== entry.storageHash) continue;
        if ((await files.digest(txId))?.digest === row.storageHash) continue;
        if (!await isInLog(row, files, old)) continue;
        await keepNewer(txId, files);
        if (entry.payload) await files.save(txId, entry.payload);
        else await files.placeStaged(txId, entry.staged!);
      }
    }
  });
  return deleted;
}

/** Rows for the payload files that have none yet. */
async function describeFiles(
  files: FileStore,
  rows: SqliteStore,
  deleted: ReadonlySet<string>,
  naming: NamingState,
): Promise<void> {
  let batch: TxInfo[] = [];
  const keep = () => {
    rows.transaction(() => batch.forEach((info) => rows.put(info)));
    batch = [];
  };
  const { txIdsOf } = isSettled(naming)
    ? { txIdsOf: (name: string) => files.txIdsOf(name) }
    : earlierNames(files.basePath, naming);
  for await (const { name } of files.files()) {
    const ids = txIdsOf(name);
    const known = ids.map((id) => rows.get(id)).filter((row) => row !== null);
    const txId = ids.find((id) => rows.get(id) === null);
    if (txId === undefined || ids.some((id) => deleted.has(id))) continue;
    const path = join(files.basePath, name);
    let found: { digest: string; size: number } | null;
    try {
      found = await files.digestOfFile(name);
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      continue; // unreadable: it stays where it is, an orphan for now
    }
    if (!found || known.some((row) => row.storageHash === found.digest)) {
      continue;
    }
    batch.push({
      ...described(txId, path),
      storageHash: found.digest,
      size: found.size,
    });
    if (batch.length === PAGE) keep();
    await nextTurn();
  }
  keep();
}

/** What a file tells of the transaction that it holds. */
function described(
  txId: string,
  path: string,
): Pick<TxInfo, "txId" | "holderId" | "timestamp"> {
  const { mtime } = Deno.statSync(path);
  return { txId, holderId: "", timestamp: (mtime?.getTime() ?? 0) / 1000 };
}

/** A row that damage has not made nonsense of. */
function isPlausible(info: TxInfo): boolean {
  return typeof info.txId === "string" &&
    /^[0-9a-f]{64}$/.test(info.storageHash) &&
    typeof info.holderId === "string" && typeof info.timestamp === "number";
}

async function attempt(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    // As far as it went: the rest cannot be read.
  }
}

/**
 * The database is copied before its journal goes: at no moment is there less
 * than there was.
 */
async function setAside(path: string): Promise<void> {
  const stamp = new Date().toISOString().replace(/[:.]/g, "-");
  for (const suffix of FILES) {
    try {
      await Deno.copyFile(path + suffix, `${path}.damaged-${stamp}${suffix}`);
      await syncFile(`${path}.damaged-${stamp}${suffix}`);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  await syncDir(dirname(path));
  for (const suffix of COMPANIONS) removeFileSync(path + suffix);
}
