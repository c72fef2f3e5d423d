/**
 * An open database: its statements, transactions and locks. `open_database.ts`
 * opens it, `schema.ts` says what its tables are; what is asked of them stands in
 * files of its own.
 *
 * @module
 */

import { Place } from "../files/place.ts";
import { StoreClosedError } from "../errors.ts";
import type { LockWait } from "../options.ts";
import { retryBusy } from "../async/wait_for.ts";
import { DeferredRows } from "./deferred_rows.ts";
import type {
  Connection,
  SqliteDriverInfo,
  SqlValue,
  Statement,
} from "./driver.ts";
import { logState, type Sql } from "./log_state.ts";
import { Overlay } from "./overlay.ts";
import { followRows } from "./row_changes.ts";
import { columnList, columnsOf, type RowColumns } from "./schema.ts";
import { markCommit, SharedRead } from "./shared_read.ts";
import { translate, translated, translatedSync } from "./sqlite_errors.ts";
import type { WalFile } from "./wal_file.ts";
import { leaveWal } from "./wal_mode.ts";

/**
 * How long SQLite itself waits for a transaction of another thread of this
 * process, in ms: it stops the event loop meanwhile.
 */
const OWN_THREAD = 2_000;

/**
 * Looks at rows and log until they fit: what the log has no more, the rows have
 * by then, unless one of them is older than the other.
 */
const LOOKS = 3;

/** Databases that this process has open, by real path, and how often. */
const OPEN = new Map<string, number>();

/**
 * Whether this process has a database open. To close its file in any other way
 * than by SQLite would drop the locks that SQLite has on it.
 */
export function isOpenHere(path: string): boolean {
  return OPEN.has(Deno.realPathSync(path));
}

/** How a database is open. */
export interface DatabaseMode extends LockWait {
  /** Whether it is open read-only. */
  readOnly: boolean;
  /** Whether a commit waits for the disk. */
  sync: boolean;
  /** SQLite's log, where a commit is durable only once it is flushed. */
  wal: WalFile;
}

/** Runs statements and transactions on a connection. */
export class Database implements Sql, AsyncDisposable {
  /** The database file. */
  readonly path: string;
  /** Which binding serves. */
  readonly driver: SqliteDriverInfo;
  /** SQLite's log: a commit is durable once it is flushed. */
  readonly wal: WalFile;
  /** Rows that only this connection knows yet. */
  readonly deferred = new DeferredRows();
  /** What a log has beyond the rows, of a database that is open read-only. */
  readonly overlay: Overlay;
  /** Ids that were read and are not what is in their rows. */
  readonly oddIds = new Set<string>();
  /** What to select of a row. */
  columns: RowColumns = columnList("holder_id", "size", "place");
  readonly #connection: Connection;
  /** What look-ups share until the connection does anything else. */
  readonly #lookups: SharedRead;
  readonly #mode: DatabaseMode;
  readonly #place: Place;
  readonly #realPath: string;
  readonly #statements = new Map<string, Statement>();
  #hasSettings = false;
  /** Whether a transaction of its own is under way. */
  #isWithin = false;
  #closed = false;

  /** Of an open connection to the file at a path. */
  constructor(path: string, connection: Connection, mode: DatabaseMode) {
    this.path = path;
    this.driver = connection.driver;
    this.wal = mode.wal;
    this.overlay = new Overlay(
      () => this.connection,
      () => this.#statements.clear(),
    );
    this.#connection = connection;
    this.#lookups = new SharedRead(connection);
    this.#mode = mode;
    this.#place = new Place(path);
    this.#realPath = Deno.realPathSync(path);
    OPEN.set(this.#realPath, (OPEN.get(this.#realPath) ?? 0) + 1);
  }

  /** Whether it is open read-only. */
  get isReadOnly(): boolean {
    return this.#mode.readOnly;
  }

  /** The connection, for what is no look-up. */
  get connection(): Connection {
    this.#lookups.end();
    return this.#connection;
  }

  /** Whether it has settings; an older store that is not migrated may not. */
  get hasSettings(): boolean {
    return this.#hasSettings ||=
      columnsOf(this.connection, "settings").size > 0;
  }

  // --- statements -------------------------------------------------------------

  /** Runs a statement; the number of rows changed. */
  run(sql: string, ...params: SqlValue[]): number {
    this.#settle();
    const changed = translatedSync(
      this.path,
      () => this.#statement(sql).run(...params),
    );
    markCommit();
    return changed;
  }

  /** The first row that a statement gives. */
  first(sql: string, ...params: SqlValue[]): SqlValue[] | undefined {
    return this.#seeingAll(() => this.firstInTable(sql, ...params));
  }

  /** All rows that a statement gives: bound the number by LIMIT. */
  all(sql: string, ...params: SqlValue[]): SqlValue[][] {
    return this.#seeingAll(() => this.allInTable(sql, ...params));
  }

  /** As `first`, for what rows that are not in the table yet do not change. */
  firstInTable(sql: string, ...params: SqlValue[]): SqlValue[] | undefined {
    return translatedSync(this.path, () => this.#statement(sql).get(...params));
  }

  /** As `all`, without rows that are not in the table yet. */
  allInTable(sql: string, ...params: SqlValue[]): SqlValue[][] {
    return translatedSync(this.path, () => this.#statement(sql).all(...params));
  }

  /**
   * The row of an id in the table. All look-ups by id go through here.
   *
   * @param isToRead Whether it may see the moment of other look-ups.
   */
  getById(
    sql: string,
    txId: string,
    isToRead = false,
  ): SqlValue[] | undefined {
    try {
      const row = this.#statement(sql, isToRead).get(txId);
      if (row || !this.#mayBeAhead()) return row;
      return this.#seeingAll(() => this.#statement(sql).get(txId));
    } catch (error) {
      throw translate(this.path, error);
    }
  }

  #statement(sql: string, isToRead = false): Statement {
    if (this.#closed) throw new StoreClosedError();
    if (isToRead && !this.#isWithin && !this.overlay.isLaid) {
      this.#lookups.join();
    } else this.#lookups.end();
    this.overlay.requireFresh();
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#connection.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  /** Runs work to which the table shows all that is known. */
  #seeingAll<T>(work: () => T): T {
    if (this.#mayBeAhead()) return this.#seeingLog(work);
    this.#settle();
    return work();
  }

  /** Has the table show all that is known. */
  #settle(): void {
    if (!this.deferred.requireFree()) return;
    const [usual] = this.firstInTable("PRAGMA busy_timeout")!;
    this.connection.exec(`PRAGMA busy_timeout = ${OWN_THREAD}`);
    try {
      this.transaction(() => {});
    } finally {
      this.connection.exec(`PRAGMA busy_timeout = ${usual}`);
    }
  }

  /** Whether a log may have what the table does not show. */
  #mayBeAhead(): boolean {
    return this.overlay.hasLog && !this.#isWithin && !this.#closed;
  }

  /**
   * Runs work at a moment at which the table shows all that had resolved before,
   * by itself or with what the log has beyond it.
   */
  #seeingLog<T>(work: () => T): T {
    for (let look = 1;; look++) {
      const resolved = this.overlay.resolved();
      const seen = this.#within(() => {
        const applied = () => logState(this).applied;
        const isSeen = this.overlay.follow(resolved, applied, look < LOOKS);
        return isSeen ? { value: work() } : null;
      });
      if (seen) return seen.value;
    }
  }

  // --- transactions -----------------------------------------------------------

  /**
   * Runs `work` in a write transaction: all of it is committed, or nothing. It
   * waits while another program is writing, and may be run several times.
   *
   * @throws {StoreBusyError} If the other program takes too long.
   */
  change<T>(work: () => T): Promise<T> {
    return this.patiently(() => this.transaction(work));
  }

  /** Runs `work`, again while another program keeps the database locked. */
  patiently<T>(work: () => T): Promise<T> {
    return retryBusy(() => translatedSync(this.path, work), this.#mode);
  }

  /** As `change`, for databases that no other program has open: waits for none. */
  transaction<T>(work: () => T): T {
    return translatedSync(this.path, () => {
      this.connection.exec("BEGIN IMMEDIATE");
      this.#isWithin = true;
      const taken = this.deferred.take();
      try {
        if (taken) followRows(this, taken.rows.values(), taken.applied);
        const result = work();
        this.connection.exec("COMMIT");
        markCommit();
        this.deferred.free();
        return result;
      } catch (error) {
        this.deferred.putBack(taken);
        this.#rollback();
        throw error;
      } finally {
        this.#isWithin = false;
      }
    });
  }

  /** Runs `work`, all of which sees the database at one moment. */
  atOneMoment<T>(work: () => T): T {
    return translatedSync(this.path, () => {
      if (this.#mayBeAhead()) return this.#seeingLog(work);
      this.#settle();
      return this.#within(work);
    });
  }

  #within<T>(work: () => T): T {
    return translatedSync(this.path, () => {
      this.connection.exec("BEGIN");
      this.#isWithin = true;
      let result: T;
      try {
        result = work();
      } catch (error) {
        this.#rollback(); // it would tell the same again, as its own error
        throw error;
      } finally {
        this.#isWithin = false;
      }
      this.connection.exec("COMMIT");
      return result;
    });
  }

  #rollback(): void {
    try {
      this.connection.exec("ROLLBACK");
    } catch {
      // SQLite has rolled back by itself, as it does when the disk is full.
    }
  }

  // --- the file ---------------------------------------------------------------

  /**
   * Copies the database as it is now to a new file, without keeping writers
   * waiting. This thread does nothing else meanwhile.
   */
  async backup(path: string): Promise<void> {
    await retryBusy(
      () =>
        translated(this.path, () => {
          this.#settle();
          return this.connection.backup(path);
        }),
      this.#mode,
    );
  }

  /** Whether something else is at the database's path by now, or nothing. */
  hasMoved(): boolean {
    return this.#place.hasChanged();
  }

  /** Closes the database. */
  // deno-lint-ignore require-await -- whoever closes a store waits
  async close(): Promise<void> {
    // SQLite removes its log by name, which may be another database's by now.
    const isOwnLog = !this.#closed && !this.isReadOnly && !this.wal.failure &&
      !this.hasMoved();
    if (isOwnLog) leaveWal(this.connection, this.#mode.sync);
    this.abandon();
  }

  /** Closes the database, and leaves SQLite's log as it is, as far as it can. */
  abandon(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.wal.close();
    // Closing would take into the database what the disk may not have.
    if (this.wal.failure) return;
    this.connection.close();
    const left = OPEN.get(this.#realPath)! - 1;
    if (left > 0) OPEN.set(this.#realPath, left);
    else OPEN.delete(this.#realPath);
  }

  /** Closes the database. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
