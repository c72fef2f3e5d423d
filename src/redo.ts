/**
 * The redo log: how payload files follow the rows.
 *
 * The database is the truth. A change is one SQLite transaction that holds the
 * row and a redo entry with everything the file needs; that commit is the
 * moment from which the change survives. Then the file is written, without
 * waiting for the disk. A checkpoint waits for many files at once and drops
 * their entries. After a crash the entries that are left are carried out
 * again; doing so twice does no harm.
 *
 * Hence: a committed row refers only to bytes that are durable, in the log or
 * in the file; a replacement is old or new, whole, at every moment; an entry
 * whose row has changed since is void. In a database that has gone back to an
 * earlier commit, entries may be older than the files: these are set aside, not
 * replaced.
 *
 * @module
 */

import { join } from "@std/path";
import { lostCommits } from "./commit_note.ts";
import { crashPoint } from "./crash_points.ts";
import { digestOfOpen, makeDir, renameFile } from "./durable_fs.ts";
import type { FileStore } from "./file_store.ts";
import { digestOf } from "./hash.ts";
import { quarantinePath } from "./poh_dir.ts";
import { quarantineFile } from "./quarantine.ts";
import type { RedoEntry, RedoLog, RedoRecord } from "./redo_log.ts";
import type { SqliteStore } from "./sqlite_store.ts";
import type { TxInfo } from "./types.ts";

/** Entries replayed, or at least so many, between two syncs. */
const PAGE = 64;

/** Makes a file follow its row. The disk may still lag behind. */
export async function carryOut(
  entry: RedoEntry,
  files: FileStore,
): Promise<void> {
  switch (entry.action) {
    case "put":
      if (entry.payload) await files.place(entry.txId, entry.payload);
      else await placeStaged(entry, files);
      return crashPoint("file written");
    case "remove":
      files.discard(entry.txId);
      return crashPoint("file removed");
    case "quarantine":
      await setAside(entry, files);
      return crashPoint("file quarantined");
  }
}

async function placeStaged(
  entry: RedoEntry,
  files: FileStore,
): Promise<void> {
  const { txId, staged } = entry;
  if (await files.placeStaged(txId, staged!)) return;
  if (await hasFollowed(entry, files)) return; // done before
  throw new Deno.errors.NotFound(`The staged payload ${staged} is gone`);
}

async function setAside(
  entry: RedoEntry,
  files: FileStore,
): Promise<void> {
  const name = files.find(entry.txId);
  if (name === null) return;
  const quarantine = quarantinePath(files.basePath);
  await makeDir(quarantine, true);
  await renameFile(
    join(files.basePath, name),
    join(quarantine, entry.staged!),
    true,
  );
}

/** What became of a redo entry that was found after a crash. */
export interface Replayed {
  /** Which file it was about. */
  txId: string;
  /** What the entry asked for. */
  action: RedoEntry["action"];
  /**
   * `done`: the file had followed already; `finished`: it does now; `void`: the
   * row has changed since; `stuck`: it cannot follow yet, the entry stays.
   */
  outcome: "done" | "finished" | "void" | "stuck";
  /** Why it is stuck. */
  reason?: string;
}

/** The records of a log, oldest first, without what newer ones have overtaken. */
export function* pendingRecords(log: RedoLog): Generator<RedoRecord> {
  const newest = new Map<string, number>();
  for (const { seq, txId } of log.idsAfter(0, Infinity)) newest.set(txId, seq);
  for (let at = 0, record; (record = log.next(at)) !== null; at = record.seq) {
    const { seq, entries } = record;
    yield {
      seq,
      entries: entries.filter(({ txId }) => newest.get(txId) === seq),
    };
  }
}

/**
 * Carries out every entry that is left in the log, and empties it but for what
 * cannot be carried out: one file in the way is not to keep the rest of the
 * store from its users. Only while nobody else writes: the entries of a live
 * writer are its own business.
 */
export async function replay(
  files: FileStore,
  rows: SqliteStore,
  onEntry: (replayed: Replayed) => void = () => {},
): Promise<void> {
  const isOutdated = lostCommits(files.basePath, rows) > 0;
  let done: { seq: number; txIds: string[] }[] = [], count = 0;
  const drop = async () => {
    const txIds = done.flatMap(({ txIds }) => txIds);
    const refused = new Set<string>();
    await files.sync(txIds, (txId) => refused.add(txId));
    const safe = done.filter(({ txIds }) =>
      !txIds.some((id) => refused.has(id))
    );
    await rows.change(() => safe.forEach(({ seq }) => rows.redo.drop(seq)));
    done = [];
    count = 0;
  };
  for (const { seq, entries } of pendingRecords(rows.redo)) {
    let isSettled = true;
    for (const entry of entries) {
      const replayed = await replayOne(entry, files, rows, isOutdated);
      if (replayed.outcome === "stuck") isSettled = false;
      onEntry(replayed);
      crashPoint("entry replayed");
    }
    count += entries.length;
    if (isSettled) done.push({ seq, txIds: entries.map(({ txId }) => txId) });
    if (count >= PAGE) await drop();
  }
  await drop();
}

async function replayOne(
  entry: RedoEntry,
  files: FileStore,
  rows: SqliteStore,
  isOutdated: boolean,
): Promise<Replayed> {
  const { txId, action } = entry;
  if (isVoid(entry, rows)) return { txId, action, outcome: "void" };
  try {
    if (await hasFollowed(entry, files)) {
      // Its bytes may be in memory only, after a sync that failed: the system
      // tells of that once, and the next sync succeeds.
      if (entry.payload) await carryOut(entry, files);
      return { txId, action, outcome: "done" };
    }
    if (isOutdated) await keepNewer(txId, files);
    await carryOut(entry, files);
    return { txId, action, outcome: "finished" };
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    const reason = (error as Error).message;
    return { txId, action, outcome: "stuck", reason };
  }
}

/** Sets aside a file that may be newer than the entry that would replace it. */
export async function keepNewer(
  txId: string,
  files: FileStore,
): Promise<void> {
  const name = files.find(txId);
  if (name === null) return;
  await quarantineFile(files.basePath, join(files.basePath, name), {
    txId,
    reason: "metadata-outdated",
  });
}

/** Whether an entry has nothing to say any more: its row has changed since. */
export function isVoid(entry: RedoEntry, rows: SqliteStore): boolean {
  const isEmpty = entry.payload === null && entry.staged === null;
  if (isEmpty && entry.action !== "remove") return true;
  const row = rows.get(entry.txId);
  return entry.action === "put"
    ? row?.storageHash !== entry.storageHash || rows.isInline(row)
    : row !== null && !rows.isInline(row);
}

/** Whether a file is as its entry wants it. */
export async function hasFollowed(
  entry: RedoEntry,
  files: FileStore,
): Promise<boolean> {
  if (entry.action !== "put") return files.find(entry.txId) === null;
  const found = await files.digest(entry.txId);
  return found?.digest === entry.storageHash;
}

/** Whether the log still has the payload that a row refers to. */
export async function isInLog(
  info: TxInfo,
  files: FileStore,
  rows: SqliteStore,
): Promise<boolean> {
  const entry = rows.redo.of(info.txId);
  if (entry?.action !== "put" || entry.storageHash !== info.storageHash) {
    return false;
  }
  if (entry.payload) return await digestOf(entry.payload) === info.storageHash;
  const opened = entry.staged && files.openStaged(entry.staged);
  return opened
    ? (await digestOfOpen(opened)).digest === info.storageHash
    : false;
}

/**
 * The payload that a row refers to, if the log still has it. Not for routine
 * use: a staged payload is read whole.
 */
export async function payloadInLog(
  info: TxInfo,
  files: FileStore,
  rows: SqliteStore,
): Promise<Uint8Array | null> {
  const entry = rows.redo.of(info.txId);
  if (entry?.action !== "put" || entry.storageHash !== info.storageHash) {
    return null;
  }
  const payload = entry.payload ??
    (entry.staged && await files.loadStaged(entry.staged));
  const isWhole = payload && await digestOf(payload) === info.storageHash;
  return isWhole ? payload : null;
}
