/**
 * The thread of `follower.ts`.
 *
 * @module
 */

import { answerAs } from "../async/thread.ts";
import type { DriverChoice } from "../model/driver_info.ts";
import { openSqlite } from "../sqlite/driver.ts";
import type { Database } from "../sqlite/database.ts";
import { openDatabase } from "../sqlite/open_database.ts";
import type { FollowingRow } from "../sqlite/row.ts";
import { PayloadFiles } from "../payloads/payload_files.ts";
import { followRows } from "../sqlite/row_changes.ts";
import { checkpointWithinCommits } from "../sqlite/wal_mode.ts";

/** What the thread is called. */
export const FOLLOWER = "poh-storage follower";

/** The store whose log it follows. */
export interface FollowedStore {
  /** The folder of its payload files. */
  base: string;
  /** The database. */
  path: string;
  /**
   * The binding that the asking thread has it open with: two copies of SQLite
   * in one process would drop each other's locks.
   */
  driver: DriverChoice;
  /** Whether the store waits for the disk. */
  sync: boolean;
}

/** A payload that is to be in its file. */
export interface FollowingPayload {
  txId: string;
  payload: Uint8Array;
}

/** Why the file of a payload could not be made, or not be synced. */
export interface FileFailure {
  /** Which of those that were asked for. */
  at: number;
  message: string;
}

/** What it is asked for. */
export type FollowerJob =
  /** To put payloads in their files, atomically for whoever reads. */
  | { task: "files"; payloads: FollowingPayload[] }
  /** To wait until the files of ids, or their absence, are on the disk. */
  | { task: "sync"; txIds: string[] }
  /** To put rows that follow the log up to a position into the table. */
  | { task: "rows"; rows: FollowingRow[]; until: number }
  /** SQLite's log into the database. */
  | { task: "checkpoint" }
  /** To let go of the store. */
  | { task: "close" };

/**
 * The files that could not be made or synced; whether it was done, and of a
 * checkpoint all of it; null where the thread could not do it, or not all of it.
 */
export type FollowerAnswer = FileFailure[] | boolean | null;

/** The database as this thread has it open, between two jobs. */
let table: Database | null = null;

/** The payload files, likewise. */
let files: PayloadFiles | null = null;

async function answer(
  job: FollowerJob & FollowedStore,
): Promise<FollowerAnswer> {
  try {
    switch (job.task) {
      case "files":
        return await makeFiles(job);
      case "sync":
        return await syncFiles(job);
      case "checkpoint":
        return await checkpoint(job);
      case "rows":
        await makeRows(job);
        return true;
      case "close":
        close();
        return true;
    }
  } catch {
    close();
    return null; // the asking thread's own try tells why
  }
}

async function makeFiles(
  { payloads, base, sync }:
    & Extract<FollowerJob, { task: "files" }>
    & FollowedStore,
): Promise<FileFailure[]> {
  files ??= new PayloadFiles(base, { sync });
  const failures: FileFailure[] = [];
  for (const [at, { txId, payload }] of payloads.entries()) {
    try {
      await files.place(txId, payload);
    } catch (error) {
      failures.push({ at, message: (error as Error).message });
    }
  }
  return failures;
}

async function syncFiles(
  { txIds, base, sync }: Extract<FollowerJob, { task: "sync" }> & FollowedStore,
): Promise<FileFailure[]> {
  files ??= new PayloadFiles(base, { sync });
  const at = new Map(txIds.map((txId, at) => [txId, at]));
  const failures: FileFailure[] = [];
  await files.sync(txIds, (txId, { message }) => {
    failures.push({ at: at.get(txId)!, message });
  });
  return failures;
}

async function makeRows(
  { rows, until, path, driver, sync }:
    & Extract<FollowerJob, { task: "rows" }>
    & FollowedStore,
): Promise<void> {
  const open = table ??= await openDatabase(path, { driver, sync });
  checkpointWithinCommits(open.connection, 0); // the asking thread says when
  await open.change(() => followRows(open, rows, until));
}

function close(): void {
  table?.abandon();
  table = null;
}

/** Whether all is in the database, so that SQLite begins its log anew. */
async function checkpoint({ path, driver }: FollowedStore): Promise<boolean> {
  const db = await openSqlite(path, driver, false);
  try {
    const [isBusy, logged, done] = db.prepare("PRAGMA wal_checkpoint(PASSIVE)")
      .get()!;
    return isBusy === 0 && logged === done;
  } finally {
    db.close();
  }
}

answerAs(FOLLOWER, answer);
