/**
 * SQLite's journal modes: write-ahead log while a database is open for writing,
 * rollback journal while it is closed.
 *
 * @module
 */

import { isDiskFull } from "../files/full_disk.ts";
import { StoreBusyError } from "../errors.ts";
import type { Connection } from "./driver.ts";
import type { Sql } from "./log_state.ts";
import { WalFile } from "./wal_file.ts";

/**
 * How long SQLite itself waits for another program's transaction, in ms: it
 * stops the event loop meanwhile. The rest of the wait is `retryBusy`'s. Where
 * readers have to wait for writers, not every read is tried again.
 */
const BUSY_TIMEOUT = { withWal: 5, withoutWal: 250 };

/** The length of SQLite's log at which it goes into the database, in pages. */
export const LOG_PAGES = 4_096;

/** Has SQLite wait that long at most for locks. */
export function setBusyTimeout(db: Connection, hasWal: boolean): void {
  const { withWal, withoutWal } = BUSY_TIMEOUT;
  db.exec(`PRAGMA busy_timeout = ${hasWal ? withWal : withoutWal}`);
}

/**
 * Has a database that is open for writing use a log, where it can.
 *
 * @param sync Whether commits wait for the disk.
 */
export function enterWal(db: Connection, path: string, sync: boolean): WalFile {
  // EXTRA: else a power cut can bring back the journal of this change of mode,
  // and a read-only connection could not undo it.
  if (sync) db.exec("PRAGMA synchronous = EXTRA");
  // The pragma returns the mode now in effect.
  const [mode] = db.prepare("PRAGMA journal_mode = WAL").get()!;
  checkpointWithinCommits(db, LOG_PAGES);
  const hasWal = mode === "wal";
  setBusyTimeout(db, hasWal);
  openFiles(db);
  const wal = sync && hasWal ? WalFile.open(path) : WalFile.none();
  // With the log at hand commits wait in flush(), and not in SQLite. Without one
  // a commit is the removal of the journal, which only EXTRA brings to the disk.
  const isEnough = !sync || wal.isThere;
  db.exec(`PRAGMA synchronous = ${isEnough ? "NORMAL" : "EXTRA"}`);
  return wal;
}

/** Has SQLite open the database and its log, which it does when it must. */
export function openFiles(db: Connection): void {
  db.prepare("SELECT count(*) FROM sqlite_schema").get();
}

/**
 * A database left in rollback mode can be read without write permission,
 * which one in WAL mode cannot. Whoever still has it open keeps it in WAL.
 */
export function leaveWal(db: Connection, sync: boolean): void {
  try {
    db.exec("PRAGMA busy_timeout = 0");
    if (sync) db.exec("PRAGMA synchronous = EXTRA");
    db.exec("PRAGMA journal_mode = DELETE");
  } catch {
    // It is in use, or damaged: then its files stay as they are.
  }
}

/** Says how long the log is when a commit itself takes it into the database. */
export function checkpointWithinCommits(db: Connection, pages: number): void {
  db.exec(`PRAGMA wal_autocheckpoint = ${pages}`);
}

/**
 * Takes SQLite's log into the database, which leaves it empty. While nobody
 * else commits.
 *
 * @returns False when a reader or the disk did not let it.
 */
export function shrinkWal(db: Sql): boolean {
  try {
    return db.firstInTable("PRAGMA wal_checkpoint(TRUNCATE)")?.[0] === 0;
  } catch (error) {
    if (isDiskFull(error) || error instanceof StoreBusyError) return false;
    throw error;
  }
}
