/**
 * A new database in place of one that is lost or damaged: from what can still
 * be read of the old one, from the log, which knows all about each change that
 * it has, and from the payload files for the rest. The old database is kept
 * beside it.
 *
 * @module
 */

import { dirname, join } from "@std/path";
import { crashPoint } from "./crash_points.ts";
import { removeFileSync, renameFile, syncDir, syncFile } from "./durable_fs.ts";
import { MetadataDamagedError, StoreBusyError } from "./errors.ts";
import { FileStore } from "./file_store.ts";
import { StoreLocks } from "./locks.ts";
import { makeRows } from "./log/follow.ts";
import { hasRedoTables, movedEntries, writeEntries } from "./log/from_redo.ts";
import { LogDir } from "./log/log_dir.ts";
import type { LogRecord } from "./log/record.ts";
import { scanLog } from "./log/scan.ts";
import { FIRST_RECORD, positionOf, storeTag } from "./log/segment.ts";
import {
  earlierNames,
  hasId,
  isSettled,
  type NamingState,
  readNaming,
  writeNaming,
} from "./naming.ts";
import { copySettings } from "./open_store.ts";
import { requirePohDir } from "./poh_dir.ts";
import { COMPANIONS, SqliteStore } from "./sqlite_store.ts";
import type { StorageOptions } from "./storage_options.ts";
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
  using dir = new LogDir(files.basePath, { sync: true, write: true });
  try {
    await rows.init(writeOnceSettings(writeOnce));
    await dir.init();
    await salvage(path, rows, dir, options);
    const deleted = await followLog(rows, dir);
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
}

/**
 * The log has every change since its beginning: what it says of an id counts.
 * Whoever opens the store next has the files follow as well.
 *
 * @returns Ids that were deleted and whose files may still be there.
 */
async function followLog(
  rows: SqliteStore,
  dir: LogDir,
): Promise<Set<string>> {
  const deleted = new Set<string>();
  const [first] = dir.numbers();
  if (first === undefined) return deleted;
  const changes = dir.segment(first)?.header.changes ?? 0;
  rows.transaction(() => rows.setLogState({ applied: 0, changes }));
  let page: LogRecord[] = [];
  const follow = async () => {
    const last = page.at(-1);
    if (last) await makeRows(page, last.position + last.length, rows);
    page = [];
  };
  for (const { record } of scanLog(dir, positionOf(first, FIRST_RECORD))) {
    if (!record) continue;
    if (record.kind.startsWith("put")) deleted.delete(record.txId);
    else deleted.add(record.txId);
    if (page.push(record) === PAGE) await follow();
  }
  await follow();
  return deleted;
}

/**
 * The rows that the old database still gives, whatever their payloads are. What
 * one of an older version has besides goes into the log.
 */
async function salvage(
  path: string,
  rows: SqliteStore,
  dir: LogDir,
  options: StorageOptions,
): Promise<void> {
  const { driver = "auto" } = options;
  let old: SqliteStore;
  try {
    old = await SqliteStore.open(path, { driver, readOnly: true });
  } catch {
    return; // nothing of it can be read
  }
  try {
    await salvageRows(old, rows);
    await attempt(async () => {
      await copySettings(old, rows);
      await rows.change(() => rows.setSetting("id", old.setting("id")));
    });
    await attempt(async () => {
      if (!hasRedoTables(old)) return;
      const storeId = storeTag(old.setting("id") ?? "");
      const entries = salvaged(movedEntries(old));
      for (const number of dir.numbers()) dir.drop(number);
      await writeEntries(entries, dir, storeId, 0, true);
    });
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
      page.filter(isPlausible).forEach((row) =>
        rows.put(row, placeOf(old, row))
      )
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

/** Where in the log a payload is, as far as that can be read. */
function placeOf(old: SqliteStore, { txId }: TxInfo): number | null {
  try {
    return old.lookup(txId)?.place ?? null;
  } catch (error) {
    if (!(error instanceof MetadataDamagedError)) throw error;
    return null; // the log tells, where it is in there
  }
}

/** As many as can be read. */
function* salvaged<T>(things: Iterator<T>): Generator<T> {
  for (;;) {
    let next: IteratorResult<T>;
    try {
      next = things.next();
    } catch (error) {
      if (!(error instanceof MetadataDamagedError)) throw error;
      return;
    }
    if (next.done) return;
    yield next.value;
  }
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
