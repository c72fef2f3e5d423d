/**
 * A new database in place of one that is lost or damaged: from what can still
 * be read of the old one, from the log, which knows all about each change that
 * it has, and from the payload files for the rest. The old database is kept
 * beside it.
 *
 * @module
 */

import { dirname, join } from "@std/path";
import { crashPoint } from "../async/crash_points.ts";
import {
  removeFileSync,
  renameFile,
  syncDir,
  syncFile,
} from "../files/durable_fs.ts";
import { StoreBusyError } from "../errors.ts";
import type { Sources } from "../check/sources.ts";
import { StoreLocks } from "../files/locks.ts";
import { addDamage, rememberRebuilt } from "../log/damage.ts";
import { makeRows } from "../log/follow.ts";
import { LogDir } from "../log/log_dir.ts";
import type { LogRecord } from "../log/record.ts";
import { scanLog } from "../log/scan.ts";
import { FIRST_RECORD, positionOf, storeTag } from "../log/segment.ts";
import {
  earlierNames,
  hasId,
  isSettled,
  type NamingState,
  readNaming,
  writeNaming,
} from "./naming.ts";
import { PACK_BELOW } from "./pack_below.ts";
import { requirePohDir } from "../files/layout.ts";
import { type Doubt, salvage, type Salvaged } from "./salvage.ts";
import type { StorageOptions } from "../model/storage_options.ts";
import { bindStore, idOfBase, requireNoOtherDatabase } from "./store_id.ts";
import { nextTurn } from "../async/turn.ts";
import type { TxInfo } from "../types.ts";
import { isBaseMarked, writeOnceSettings } from "./write_once.ts";
import type { Database } from "../sqlite/database.ts";
import { COMPANIONS } from "../sqlite/database_file.ts";
import { openDatabase } from "../sqlite/open_database.ts";
import { PayloadFiles } from "../payloads/payload_files.ts";
import { initDatabase } from "../sqlite/open_database.ts";
import { readSetting, setLogState } from "../sqlite/log_state.ts";
import { putRow } from "../sqlite/row_changes.ts";
import { findInfo } from "../sqlite/lookups.ts";
import { hasPlaces } from "../sqlite/places.ts";

/** What a new database was made from. */
export interface Rebuilt {
  /** Rows made from payload files alone: without holder, with the file's time. */
  withoutHolder: number;
  /** What of a row the old database had two versions of. */
  doubts: Doubt[];
  /** Whether payloads are in the log, and up to which size is not known. */
  isPackBelowLost: boolean;
}

/** Rows read or written at a time. */
const PAGE = 256;

/** A database file and what SQLite may have beside it, by suffix. */
const FILES = ["", ...COMPANIONS];

/**
 * Makes the new database and puts it in place; the old files get the suffix
 * `.damaged-<time>`. A crash leaves the old database, or both.
 *
 * @param sources Where rows may be of which this store has payload files alone.
 * @throws {StoreBusyError} If another process has the store open.
 * @throws {StoreMismatchError} If the database of the base is another one.
 */
export async function rebuildDatabase(
  basePath: string,
  sqlitePath: string,
  options: StorageOptions,
  sources: Sources | null,
): Promise<Rebuilt> {
  requirePohDir(basePath);
  const files = new PayloadFiles(basePath);
  const naming = namingOfBase(basePath);
  await files.init();
  const locks = await StoreLocks.acquire(basePath, options);
  try {
    const done = await locks.whileAlone(async () => {
      // It reads the file beside SQLite, which must not have it open meanwhile.
      await requireNoOtherDatabase(basePath, sqlitePath);
      if (!isSettled(naming)) await writeNaming(basePath, naming);
      return await rebuild(files, sqlitePath, options, naming, sources);
    });
    if (!done) {
      throw new StoreBusyError(
        "The store is open elsewhere, nothing was repaired",
        locks.others(),
      );
    }
    return done.value;
  } finally {
    locks.release();
  }
}

/** How the files of a base are named, which its database may tell no more. */
function namingOfBase(basePath: string): NamingState {
  const said = readNaming(basePath);
  if (said) return said;
  return { naming: hasId(basePath) ? "mixed" : "verbatim", phase: null };
}

async function rebuild(
  files: PayloadFiles,
  path: string,
  options: StorageOptions,
  naming: NamingState,
  sources: Sources | null,
): Promise<Rebuilt> {
  const fresh = `${path}.rebuild`;
  for (const suffix of FILES) removeFileSync(fresh + suffix);
  const { driver = "auto" } = options;
  const writeOnce = options.writeOnce || isBaseMarked(files.basePath);
  const rows = await openDatabase(fresh, { driver });
  using dir = new LogDir(files.basePath, { sync: true, write: true });
  let rebuilt: Rebuilt;
  try {
    await initDatabase(rows, writeOnceSettings(writeOnce));
    await dir.init();
    const id = await idOfBase(files.basePath);
    if (id !== null) dir.belongTo(storeTag(id));
    const old = await salvage(path, rows, { dir, files }, id, options);
    const deleted = await followLog(rows, dir, old);
    const withoutHolder = await describeFiles(
      files,
      rows,
      deleted,
      naming,
      sources,
    );
    const isPackBelowLost = options.packBelow === undefined &&
      hasPlaces(rows) && readSetting(rows, PACK_BELOW) === null;
    rebuilt = { withoutHolder, doubts: old?.doubts ?? [], isPackBelowLost };
    await bindStore(files, rows);
  } finally {
    await rows.close();
  }
  await syncFile(fresh);
  crashPoint("database rebuilt");
  await setAside(path);
  crashPoint("database set aside");
  await renameFile(fresh, path, true);
  return rebuilt;
}

/**
 * The log has every change since its beginning: what it says of an id counts.
 * But where a part of it is damaged, what is before that may be overtaken, and
 * what the old database says counts. Whoever opens the store next has the files
 * follow as well.
 *
 * @param old What the old database had; null: nothing that can be read.
 * @returns Ids that were deleted and whose files may still be there.
 */
async function followLog(
  rows: Database,
  dir: LogDir,
  old: Salvaged | null,
): Promise<Set<string>> {
  const deleted = new Set<string>();
  const [first] = dir.numbers().filter((number) => !dir.isForeign(number));
  if (first === undefined) return deleted;
  const changes = dir.segment(first)?.header.changes ?? 0;
  const start = positionOf(first, FIRST_RECORD);
  const { applied, isWhole } = old ?? { applied: 0, isWhole: false };
  const damage = damageBefore(dir, start, applied);
  rows.transaction(() => {
    setLogState(rows, { applied: 0, changes });
    rememberRebuilt(rows);
    addDamage(rows, { lostChanges: 0, details: damage.details });
  });
  const byLogAlone = new Set<string>();
  const mayBeOvertaken = ({ position, txId }: LogRecord) => {
    if (position >= damage.until || byLogAlone.has(txId)) return false;
    if (isWhole || findInfo(rows, txId) !== null) return true;
    byLogAlone.add(txId);
    return false;
  };
  let page: LogRecord[] = [];
  const follow = async () => {
    const last = page.at(-1);
    const end = last && last.position + last.length;
    const counting = page.filter((record) => !mayBeOvertaken(record));
    if (end) await makeRows(counting, end, rows);
    page = [];
  };
  for (const { record } of scanLog(dir, start)) {
    if (!record) continue;
    if (record.kind.startsWith("put")) deleted.delete(record.txId);
    else deleted.add(record.txId);
    if (page.push(record) === PAGE) await follow();
  }
  await follow();
  return deleted;
}

/** What is damaged of the part of a log that a database had followed. */
function damageBefore(
  dir: LogDir,
  start: number,
  applied: number,
): { until: number; details: string[] } {
  let until = 0;
  const scan = scanLog(dir, start);
  let next = scan.next();
  for (; !next.done; next = scan.next()) {
    const { gap } = next.value;
    if (gap && gap.from < applied) until = gap.to; // it is told when it is opened
  }
  const isShort = start < applied && next.value < applied;
  if (!isShort) return { until, details: [] };
  return {
    until: applied,
    details: ["the last records of the log are damaged"],
  };
}

/**
 * Rows for the payload files that have none yet: a source may have them, as a
 * backup does. The files tell no more than ids and digests.
 */
async function describeFiles(
  files: PayloadFiles,
  rows: Database,
  deleted: ReadonlySet<string>,
  naming: NamingState,
  sources: Sources | null,
): Promise<number> {
  let withoutHolder = 0;
  let batch: TxInfo[] = [];
  const keep = () => {
    rows.transaction(() => batch.forEach((info) => putRow(rows, info)));
    batch = [];
  };
  const { txIdsOf } = isSettled(naming)
    ? { txIdsOf: (place: string) => files.txIdsOf(place) }
    : earlierNames(files.basePath, () => naming);
  for await (const { place } of files.files()) {
    const ids = txIdsOf(place);
    const known = ids.map((id) => findInfo(rows, id)).filter((row) =>
      row !== null
    );
    const txId = ids.find((id) => findInfo(rows, id) === null);
    if (txId === undefined || ids.some((id) => deleted.has(id))) continue;
    const path = join(files.basePath, place);
    let found: { digest: string; size: number } | null;
    try {
      found = await files.digestOfFile(place);
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      continue; // unreadable: it stays where it is, an orphan for now
    }
    if (!found || known.some((row) => row.storageHash === found.digest)) {
      continue;
    }
    const { digest, size } = found;
    const row = sources?.rowFor(txId, digest) ?? null;
    if (!row) withoutHolder++;
    batch.push({
      ...row ?? described(txId, path),
      storageHash: digest,
      size,
    });
    if (batch.length === PAGE) keep();
    await nextTurn();
  }
  keep();
  return withoutHolder;
}

/** What a file tells of the transaction that it holds. */
function described(
  txId: string,
  path: string,
): Pick<TxInfo, "txId" | "holderId" | "timestamp"> {
  const { mtime } = Deno.statSync(path);
  return { txId, holderId: "", timestamp: (mtime?.getTime() ?? 0) / 1000 };
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
