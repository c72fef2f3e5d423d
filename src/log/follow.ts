/**
 * Files and rows follow the log. Following is replay: a live writer and whoever
 * opens a store after a crash run this code on the same records, and to run it
 * twice does no harm.
 *
 * Nothing here is called for a record that is not durable: else a row or a
 * replaced file could outlive a record that a power cut took.
 *
 * @module
 */

import { join } from "@std/path";
import { crashPoint } from "../async/crash_points.ts";
import {
  digestOfOpen,
  makeDir,
  openRegular,
  renameFile,
} from "../files/durable_fs.ts";
import { quarantinePath } from "../files/layout.ts";
import { quarantineFile } from "../payloads/quarantine.ts";
import { Pacer } from "../async/turn.ts";
import { type LogRecord, rowOf } from "./record.ts";
import type { Database } from "../sqlite/database.ts";
import type { FollowingRow } from "../sqlite/row.ts";
import type { PayloadFiles } from "../payloads/payload_files.ts";
import { logState, setLogState } from "../sqlite/log_state.ts";
import { deleteRow, putRow } from "../sqlite/row_changes.ts";
import { findRow } from "../sqlite/lookups.ts";

/** What follows a log. */
export interface Followers {
  /** The payload files. */
  files: PayloadFiles;
  /** The rows. */
  rows: Database;
}

/** Why a record's file cannot follow, by the record's position. */
export type Stuck = Map<number, Error>;

/** The row of a record that saves something. */
export function followingRow(record: LogRecord): FollowingRow {
  const { position, isPacked } = record;
  return { info: rowOf(record)!, place: isPacked ? position : null, position };
}

/** Of each id its last record. */
function lastRecords(records: LogRecord[]): Map<string, LogRecord> {
  return new Map(records.map((record) => [record.txId, record]));
}

/**
 * Makes the files follow, of each id as its last record says. The disk may
 * still lag behind.
 *
 * @returns Those that could not follow.
 */
export async function makeFiles(
  records: LogRecord[],
  followers: Followers,
  onMade: (record: LogRecord) => void,
): Promise<Stuck> {
  const stuck: Stuck = new Map();
  const last = lastRecords(records);
  const pacer = new Pacer();
  for (const record of records) {
    if (last.get(record.txId) !== record) {
      dropOvertaken(record, followers);
      continue;
    }
    try {
      await makeFile(record, followers);
    } catch (error) {
      stuck.set(record.position, error as Error);
    }
    onMade(record);
    await pacer.giveWay();
  }
  return stuck;
}

/** Drops a staged payload that a later change of its id has overtaken. */
export function dropOvertaken(record: LogRecord, { files }: Followers): void {
  if (record.kind === "put-staged") files.staged.remove(record.name);
}

/** Makes one file follow. */
export async function makeFile(
  record: LogRecord,
  { files, rows }: Followers,
): Promise<void> {
  switch (record.kind) {
    case "put":
      if (record.isPacked) {
        if (!mayHaveFile(record, rows)) return;
        files.discard(record.txId);
        return crashPoint("file removed");
      }
      await files.place(record.txId, record.payload!);
      return crashPoint("file written");
    case "put-staged":
      await placeStaged(record, files);
      return crashPoint("file written");
    case "remove":
      files.discard(record.txId);
      return crashPoint("file removed");
    case "quarantine":
      await setAside(record, files);
      return crashPoint("file quarantined");
  }
}

/** Whether an older version of a transaction may have left a file. */
function mayHaveFile({ txId, position }: LogRecord, rows: Database) {
  const row = findRow(rows, txId);
  return row !== null && (row.place === null || row.place === position);
}

async function placeStaged(
  record: LogRecord,
  files: PayloadFiles,
): Promise<void> {
  const { txId, name } = record;
  if (await files.placeStaged(txId, name)) return;
  const found = await files.digest(txId);
  if (found?.digest === record.storageHash) return; // done before
  throw new Deno.errors.NotFound(`The staged payload ${name} is gone`);
}

async function setAside(
  record: LogRecord,
  files: PayloadFiles,
): Promise<void> {
  const name = files.find(record.txId);
  if (name === null) return;
  const quarantine = quarantinePath(files.basePath);
  await makeDir(quarantine, true);
  const from = join(files.basePath, name), to = join(quarantine, record.name);
  if (await isAnother(from, to)) {
    const { txId } = record;
    return await quarantineFile(files.basePath, from, {
      txId,
      reason: "orphan-payload",
    });
  }
  await renameFile(from, to, true);
}

/** Whether something else than a file is kept where it is to go. */
async function isAnother(path: string, kept: string): Promise<boolean> {
  const there = openRegular(kept);
  if (!there) return false;
  const { digest } = await digestOfOpen(there);
  const file = openRegular(path);
  return file !== null && (await digestOfOpen(file)).digest !== digest;
}

/** Whether a record's file is as the record wants it. */
export async function hasFollowed(
  record: LogRecord,
  { files }: Followers,
): Promise<boolean> {
  const { txId, isPacked, storageHash } = record;
  if (rowOf(record) === null || isPacked) return files.find(txId) === null;
  return (await files.digest(txId))?.digest === storageHash;
}

/**
 * Whether the row says no more what the record did to it: it was changed since,
 * by a later record, by a repair or by hand. The record's file is not to follow
 * then: it may be the only copy of what the row says by now.
 */
export function isVoid(record: LogRecord, { rows }: Followers): boolean {
  const { txId, position, isPacked } = record;
  const row = findRow(rows, txId);
  const wanted = rowOf(record);
  if (row === null || wanted === null) return row !== wanted;
  if (row.info.storageHash !== wanted.storageHash) return true;
  const isHere = row.place === position;
  return isPacked ? !isHere : !isHere && row.place !== null;
}

/** Sets aside a file that may be newer than the record that would replace it. */
export async function keepNewer(
  txId: string,
  { files }: Followers,
): Promise<void> {
  const name = files.find(txId);
  if (name === null) return;
  await quarantineFile(files.basePath, join(files.basePath, name), {
    txId,
    reason: "metadata-outdated",
  });
}

/**
 * Makes the rows follow, in the order of the log, and moves on the position up
 * to which that is done: in one transaction, so that SQLite may lose its last
 * commits in a power cut, and the position goes back with them.
 *
 * A payload whose file is stuck stays where it is, in the log. Rows that were
 * put off follow first.
 *
 * @param records All of the log from the position up to `end`, or more.
 */
export async function makeRows(
  records: LogRecord[],
  end: number,
  rows: Database,
  stuck: Stuck = new Map(),
): Promise<void> {
  await rows.change(() => {
    const { applied, changes } = logState(rows);
    if (end <= applied) return;
    let made = 0;
    for (const record of records) {
      if (record.position < applied) continue;
      made++;
      const row = rowOf(record);
      const staysInLog = record.isPacked || stuck.has(record.position);
      if (row) putRow(rows, row, staysInLog ? record.position : null);
      else deleteRow(rows, record.txId);
    }
    setLogState(rows, { applied: end, changes: changes + made });
  });
  crashPoint("rows applied");
}
