/**
 * Metadata in SQLite: opening, reading and changing it. `schema.ts` says what
 * its tables are.
 *
 * @module
 */

import { dirname } from "@std/path";
import {
  kindOf,
  readAllSync,
  syncDir,
  writeAllSync,
} from "../files/durable_fs.ts";
import {
  InvalidTxError,
  MetadataDamagedError,
  PohStorageError,
  StoreBusyError,
  StoreClosedError,
  StoreNotFoundError,
} from "../errors.ts";
import { TX_FILTER } from "../model/filter.ts";
import { isDiskFull } from "../files/full_disk.ts";
import { type LockWait, waitRules } from "../options.ts";
import { retryBusy } from "../async/wait_for.ts";
import { MOST_ODD_ROWS, type OddRow } from "./odd_row.ts";
import {
  type OptionsType,
  optionsType,
  requireKnown,
  rule,
} from "../options.ts";
import {
  columnList,
  columnsOf,
  damagedColumns,
  isVersionDamaged,
  migrateSchema,
  requireColumns,
  requireKnownVersion,
  SCHEMA_VERSION,
  schemaVersion,
  setSchemaVersion,
} from "./schema.ts";
import { requirePlainRows, requirePlainSchema } from "./schema_check.ts";
import {
  type Connection,
  isLocked,
  isMalformed,
  needsWriting,
  openSqlite,
  reasonOf,
  type SqliteDriverInfo,
  type SqlValue,
  type Statement,
} from "./driver.ts";
import type { DriverChoice } from "../model/driver_info.ts";
import { HEAD_BYTES, MAX_PAYLOAD } from "../model/limits.ts";
import { Place } from "../files/place.ts";
import { requireThere } from "../files/layout.ts";
import type { MetadataStore } from "../model/store.ts";
import { markCommit, SharedRead } from "./shared_read.ts";
import { nextTurn } from "../async/turn.ts";
import {
  conditionsOf,
  cursorGone,
  exactQuotient,
  HAS_TEXT_ID,
  type ResolvedQuery,
  rowLimit,
  selectPage,
  soundRows,
  TX_QUERY,
} from "./tx_query.ts";
import type {
  StoreTotals,
  TxCursor,
  TxFilter,
  TxInfo,
  TxQuery,
} from "../types.ts";

/** What SQLite may have beside a database file. */
export const COMPANIONS: readonly string[] = ["-wal", "-shm", "-journal"];

/**
 * How long SQLite itself waits for another program's transaction, in ms: it
 * stops the event loop meanwhile. The rest of the wait is `retryBusy`'s. Where
 * readers have to wait for writers, not every read is tried again.
 */
const BUSY_TIMEOUT = { withLog: 5, withoutLog: 250, ownThread: 2_000 };

/**
 * Memory for pages: ids are in no order, so that each save needs others of
 * their index.
 */
const CACHE_KIB = 16 * 1024;

/** The length of SQLite's log at which it goes into the database, in pages. */
export const LOG_PAGES = 4_096;

/** SQLite's log is read and written again in pieces of so many bytes. */
const LOG_PIECE = 1024 * 1024;

/** A disk that is waited for without leaving the thread, in ms. */
const FAST_DISK = 1;

/** Rows, or ids alone, fetched at a time by what goes through all of them. */
const PAGE = 512;
const ID_PAGE = 2_048;

/** Rowids up to this one, and what is counted from them, are safe integers. */
const MOST_ROWID = 2 ** 51;

/** What the rows know of an id. */
export interface Found {
  /** The facts. */
  info: TxInfo;
  /** Where in the log its payload is; null: it is a file. */
  place: number | null;
}

/** Databases that this process has open, by real path, and how often. */
const OPEN = new Map<string, number>();

/** Bytes of the record of a row whose payload lives in the log. */
const RECORD_BYTES = `((
    ${HEAD_BYTES + 7} + length(CAST(tx_id AS BLOB))
    + length(CAST(holder_id AS BLOB)) + iif(size > ${MAX_PAYLOAD}, 0, size)
  ) / 8 * 8)`;

/** How far a database has followed the log. */
export interface LogPosition {
  /** The rows have followed up to this position; 0: no record ever. */
  applied: number;
  /** How many changes that were, since the store was made. */
  changes: number;
  /** Up to this position the files have followed and are durable. */
  filesSynced: number;
}

/** A row that follows a durable change, and is to go into the table. */
export interface FollowingRow {
  /** The row. */
  info: TxInfo;
  /** Where in the log its payload is; null: in a file. */
  place: number | null;
  /** Where in the log its change is. */
  position: number;
}

/** What is known of a change that no row has followed yet. */
export interface ChangeAhead {
  /** Of which id. */
  txId: string;
  /** Its row by then; null: a deletion. */
  row: TxInfo | null;
  /** Where in the log its payload is; null: in a file. */
  place: number | null;
}

/** The log of a store that is open read-only. */
export interface LogAhead {
  /** Up to where saves have resolved, as far as a live writer tells. */
  resolved(): number;
  /** The changes up to there that no row has followed yet. */
  changesAhead(until: number): Iterable<ChangeAhead>;
}

/** Rows that are not in the table yet, and how far they have followed the log. */
interface DeferredRows extends LogPosition {
  /** By id, in the order of the log. */
  rows: Map<string, FollowingRow>;
}

/** Options of {@linkcode SqliteStore.open}. */
export interface SqliteStoreOptions extends LockWait {
  /** Which binding; default `"auto"`. */
  driver?: DriverChoice;
  /** Whether a commit waits for the disk; default true. */
  sync?: boolean;
  /** Opens what is there, changes and creates nothing; default false. */
  readOnly?: boolean;
}

/** Checks {@linkcode SqliteStoreOptions}. */
const SQLITE_STORE_OPTIONS: OptionsType = optionsType<SqliteStoreOptions>(
  "SqliteStoreOptions",
  { ...waitRules, driver: rule.driver, sync: rule.flag, readOnly: rule.flag },
);

/**
 * Keeps the facts about transactions in a SQLite database.
 *
 * Needs `--allow-read` and `--allow-write` for the database file and the files
 * SQLite puts beside it (`-wal`, `-shm`, `-journal`).
 *
 * @example Usage
 * ```ts
 * import { SqliteStore } from "@poh/storage";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * await using store = await SqliteStore.open(`${dir}/poh.db`);
 * await store.init();
 * const info = {
 *   txId: "a",
 *   holderId: "alice",
 *   timestamp: 1.5,
 *   storageHash: "00".repeat(32),
 *   size: 3,
 * };
 * await store.save(info);
 * assertEquals(await store.load("a"), info);
 * ```
 */
export class SqliteStore implements MetadataStore, AsyncDisposable {
  /** The database file. */
  readonly path: string;
  /** Which binding serves. */
  readonly driver: SqliteDriverInfo;
  readonly #connection: Connection;
  /** What look-ups share until the connection does anything else. */
  readonly #lookups: SharedRead;
  readonly #readOnly: boolean;
  readonly #sync: boolean;
  readonly #wait: LockWait;
  /** SQLite's log, where a commit is durable only once `flush` has ended. */
  readonly #log: Deno.FsFile | null;
  readonly #place: Place;
  readonly #realPath: string;
  #isDiskFast = false;
  /** Why what was committed may not be on the disk. */
  #lost: Error | null = null;
  /** Ids that were read and are not what is in their rows. */
  readonly #oddIds = new Set<string>();
  readonly #statements = new Map<string, Statement>();
  #columns = COLUMNS;
  /** Whether the schema may lack a table; null: not known yet. */
  #isOldSchema: boolean | null = null;
  /** The state of the database over which changes are laid; null: none are. */
  #overlaid: { version: number; until: number } | null = null;
  /** The log beside a live writer; null: none is looked at. */
  #ahead: LogAhead | null = null;
  /** Rows that only this store knows yet; null: none. */
  #deferred: DeferredRows | null = null;
  /** Why they cannot be put into the table for now. */
  #whyDeferred: unknown = null;
  /** Whether a transaction of its own is under way. */
  #isWithin = false;
  #closed = false;

  private constructor(
    path: string,
    db: Connection,
    options: {
      readOnly: boolean;
      sync: boolean;
      log: Deno.FsFile | null;
      wait: LockWait;
    },
  ) {
    this.path = path;
    this.driver = db.driver;
    this.#connection = db;
    this.#lookups = new SharedRead(db);
    this.#readOnly = options.readOnly;
    this.#sync = options.sync;
    this.#log = options.log;
    this.#wait = options.wait;
    this.#place = new Place(path);
    this.#realPath = Deno.realPathSync(path);
    OPEN.set(this.#realPath, (OPEN.get(this.#realPath) ?? 0) + 1);
  }

  /**
   * Whether this process has a database open. To close its file in any other way
   * than by SQLite would drop the locks that SQLite has on it.
   *
   * @internal
   */
  static isOpenHere(path: string): boolean {
    return OPEN.has(Deno.realPathSync(path));
  }

  /**
   * Opens a database. Before the first use, call `init`.
   *
   * @throws {StoreNotFoundError} If `readOnly` is set and there is no database.
   * @throws {MetadataDamagedError} If the file is no sound database.
   * @throws {PohStorageError} `FOREIGN_SCHEMA` if it has triggers, views or
   * other things that could change what is saved.
   * @throws {PohStorageError} `UNFINISHED` if `readOnly` is set and a crash has
   * left the database so that it must be written before it can be read.
   * @throws {StoreBusyError} If another program keeps it locked for too long.
   */
  static async open(
    path: string,
    options: SqliteStoreOptions = {},
  ): Promise<SqliteStore> {
    requireKnown(options, SQLITE_STORE_OPTIONS);
    return await SqliteStore.openAdmitted(path, options, async () => {});
  }

  /**
   * As `open`; but `admit` looks at the database first, before anything in it is
   * changed, and throws to refuse it.
   *
   * @internal
   */
  static async openAdmitted(
    path: string,
    options: SqliteStoreOptions,
    admit: (db: Connection) => Promise<void>,
  ): Promise<SqliteStore> {
    if (options.readOnly) requireThere(path);
    return await retryBusy(
      () => SqliteStore.#open(path, options, admit),
      options,
    );
  }

  /**
   * Opens what is left of a database, read-only, whatever else damage has made
   * of its schema: only its rows are read.
   *
   * @internal
   */
  static async openDamaged(
    path: string,
    driver: DriverChoice,
  ): Promise<SqliteStore> {
    const options = { driver, readOnly: true };
    await requireThere(path);
    const rows = await SqliteStore.#open(
      path,
      options,
      async () => {},
      requirePlainRows,
    );
    translatedSync(path, () => rows.#columns = damagedColumns(rows.#db));
    return rows;
  }

  static async #open(
    path: string,
    options: SqliteStoreOptions,
    admit: (db: Connection) => Promise<void>,
    requireSchema = requirePlainSchema,
  ): Promise<SqliteStore> {
    const { driver = "auto", sync = true, readOnly = false } = options;
    requireFiles(path);
    const db = await translated(path, () => openSqlite(path, driver, readOnly));
    let hasLog = false, log: Deno.FsFile | null = null;
    try {
      translatedSync(path, () => {
        db.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT.withLog}`);
        db.exec("PRAGMA foreign_keys = ON");
        db.exec("PRAGMA trusted_schema = OFF");
        db.exec(`PRAGMA cache_size = -${CACHE_KIB}`);
        requireSchema(db, path);
      });
      await translated(path, () => admit(db));
      translatedSync(path, () => {
        if (!readOnly) {
          // EXTRA: else a power cut can bring back the journal of this change
          // of mode, and a read-only connection could not undo it.
          if (sync) db.exec("PRAGMA synchronous = EXTRA");
          // In the mode that stays on, SQLite answers with the mode it has.
          const mode = db.prepare("PRAGMA journal_mode = WAL").get();
          // Pages that are written again before that go there once.
          db.exec(`PRAGMA wal_autocheckpoint = ${LOG_PAGES}`);
          hasLog = mode?.[0] === "wal";
        }
        if (!hasLog) {
          db.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT.withoutLog}`);
        }
        // Opens the log as well.
        db.prepare("SELECT count(*) FROM sqlite_schema").get();
        if (readOnly) return;
        if (sync && hasLog) log = openLog(path);
        // With the log at hand commits wait in flush(), and not in SQLite.
        // Without one a commit is the removal of the journal, which only EXTRA
        // brings to the disk.
        db.exec(`PRAGMA synchronous = ${sync && !log ? "EXTRA" : "NORMAL"}`);
      });
      // SQLite says nothing when it cannot open the directory to sync the names
      // of a new database and its log.
      if (sync && !readOnly) await syncDir(dirname(Deno.realPathSync(path)));
    } catch (error) {
      (log as Deno.FsFile | null)?.close();
      db.close();
      if (needsWriting(error) && hasUnknownFormat(path)) {
        throw new MetadataDamagedError(path, "its header names no format", {
          cause: error,
        });
      }
      if (readOnly && needsWriting(error)) {
        throw new PohStorageError(
          "UNFINISHED",
          `The database ${path} is as a crash left it and can only be read once it has been opened for writing, as recover does`,
          { cause: error },
        );
      }
      throw error;
    }
    return new SqliteStore(path, db, { readOnly, sync, log, wait: options });
  }

  /**
   * Brings the schema to the newest version; harmless when it is.
   *
   * @param settings What a database that is new remembers from the start.
   * @throws {StoreNotFoundError} If the database is read-only and has no store.
   */
  async init(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.migrate(settings);
  }

  /**
   * As `init`.
   *
   * @internal
   * @param alongside What else is done in the transaction of a change.
   */
  async migrate(
    settings: Readonly<Record<string, string>>,
    alongside: () => void = () => {},
  ): Promise<void> {
    await this.#patiently(() => {
      requireKnownVersion(this.#db, this.path);
      if (!this.#readOnly && isVersionDamaged(this.#db)) {
        setSchemaVersion(this.#db);
      }
      requireColumns(this.#db, this.path);
      if (this.#readOnly) return this.#adaptToOldSchema();
      if (schemaVersion(this.#db) < SCHEMA_VERSION) {
        this.transaction(() => {
          // Another process may have done it while this one waited.
          requireKnownVersion(this.#db, this.path);
          if (schemaVersion(this.#db) === SCHEMA_VERSION) return;
          const isNew = columnsOf(this.#db, "txs").size === 0;
          migrateSchema(this.#db);
          alongside();
          if (!isNew) return;
          for (const [name, value] of Object.entries(settings)) {
            this.setSetting(name, value);
          }
        });
      }
    });
  }

  /** {@inheritDoc MetadataStore.save} */
  async save(info: TxInfo): Promise<void> {
    requireTime(info, true);
    await this.change(() => this.put(info));
    await this.flush();
  }

  /** {@inheritDoc MetadataStore.load} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async load(txId: string): Promise<TxInfo | null> {
    return this.get(txId);
  }

  /** {@inheritDoc MetadataStore.remove} */
  async remove(txId: string): Promise<boolean> {
    const existed = await this.change(() => this.delete(txId));
    await this.flush();
    return existed;
  }

  /** {@inheritDoc MetadataStore.listIds} */
  async listIds(): Promise<string[]> {
    return await Array.fromAsync(this.iterate(), (info) => info.txId);
  }

  /** {@inheritDoc MetadataStore.iterate} */
  async *iterate(query: TxQuery = {}): AsyncIterableIterator<TxInfo> {
    requireKnown(query, TX_QUERY);
    for await (
      const page of this.#pages(query, PAGE, this.#columns.all, toInfo)
    ) yield* page.map(toInfo);
  }

  /**
   * The ids that a query selects, in its order, page by page. An index tells
   * them, where rows would have to be looked up.
   */
  async *iterateIds(query: TxQuery = {}): AsyncIterableIterator<string[]> {
    requireKnown(query, TX_QUERY);
    const columns = query.sort === "time"
      ? "CAST(tx_id AS TEXT), CAST(timestamp AS REAL)"
      : "CAST(tx_id AS TEXT)";
    const toCursor = ([txId, timestamp = 0]: SqlValue[]) => (
      { txId, timestamp } as TxCursor
    );
    for await (const page of this.#pages(query, ID_PAGE, columns, toCursor)) {
      yield page.map(([txId]) => txId as string);
    }
  }

  async *#pages(
    query: TxQuery,
    size: number,
    columns: string,
    toCursor: (row: SqlValue[]) => TxCursor,
  ): AsyncIterableIterator<SqlValue[][]> {
    let left = rowLimit(query.limit);
    let next = this.#resolve(query);
    while (left > 0) {
      const limit = Math.min(left, size);
      const page = await this.#patiently(() =>
        this.#select({ ...next, limit }, columns)
      );
      yield page;
      if (page.length < limit) return;
      left -= page.length;
      next = { ...next, after: toCursor(page.at(-1)!) };
      await nextTurn();
    }
  }

  /**
   * All rows, backwards in the order in which the table keeps them: what a
   * damaged index does not give, and what lies behind a damaged page.
   */
  async *iterateByRowid(): AsyncIterableIterator<TxInfo> {
    for (let before = Number.MAX_SAFE_INTEGER;;) {
      const page = await this.#patiently(() =>
        this.#all(
          `SELECT rowid, ${this.#columns.all} FROM txs NOT INDEXED
          WHERE rowid < ? AND typeof(tx_id) = 'text'
          ORDER BY rowid DESC LIMIT ?`,
          before,
          PAGE,
        )
      );
      for (const [, ...row] of page) yield toInfo(row);
      if (page.length < PAGE) return;
      before = page.at(-1)![0] as number;
      await nextTurn();
    }
  }

  /**
   * All rows by holder, each holder's by time: what sums up a store in one pass
   * needs to keep no more than one holder at a time.
   */
  async *iterateByHolder(): AsyncIterableIterator<TxInfo> {
    const { all, names: { holder_id: holder } } = this.#columns;
    for (let last: TxInfo | null = null;;) {
      const after: TxInfo | null = last;
      const read = (limit: number) =>
        this.#all(
          // A time that is no number, as one edited by hand, is in no order.
          `SELECT ${all} FROM txs WHERE typeof(timestamp) = 'real'
        AND typeof(${holder}) = 'text' AND ${HAS_TEXT_ID} ${
            after
              ? `AND (${holder}, timestamp, tx_id) > (?, CAST(? AS REAL) / ?, ?)`
              : ""
          } ORDER BY ${holder}, timestamp, tx_id LIMIT ?`,
          ...after
            ? [after.holderId, ...exactQuotient(after.timestamp), after.txId]
            : [],
          limit,
        );
      const isSound = (row: SqlValue[]) => {
        const { txId, holderId } = toInfo(row);
        return txId !== after?.txId && this.isAsRead(txId) &&
          (!holderId.includes("\uFFFD") || this.#hasHolder(txId, holderId));
      };
      const page: TxInfo[] = (await this.#patiently(() =>
        soundRows(PAGE, read, isSound)
      )).map(toInfo);
      yield* page;
      if (page.length < PAGE) {
        return;
      }
      last = page.at(-1)!;
      await nextTurn();
    }
  }

  #hasHolder(txId: string, holderId: string): boolean {
    return this.#get(
      "SELECT 1 FROM txs WHERE tx_id = ? AND holder_id = ?",
      txId,
      holderId,
    ) !== undefined;
  }

  /** {@inheritDoc MetadataStore.count} */
  async count(filter: TxFilter = {}): Promise<number> {
    requireKnown(filter, TX_FILTER);
    const { text, params } = conditionsOf(filter, this.#columns.names);
    const limit = rowLimit(filter.limit);
    const sql = limit === Infinity
      ? `SELECT count(*) FROM txs ${text}`
      : `SELECT count(*) FROM (SELECT 1 FROM txs ${text} LIMIT ?)`;
    if (limit < Infinity) params.push(limit);
    return await this.#patiently(() => this.#get(sql, ...params)![0] as number);
  }

  /** Sums over all rows. */
  totals(): StoreTotals {
    const { size } = this.#columns;
    const [bytes, unknownSizes, oldest, newest] = this.#get(
      `SELECT total(max(${size}, 0)), count(*) FILTER (WHERE ${size} < 0),
        (SELECT min(timestamp) FROM txs), (SELECT max(timestamp) FROM txs) FROM txs`,
    ) as [number, number, number | null, number | null];
    return { bytes, unknownSizes, oldest, newest };
  }

  /** How many holders there are, and those with the most transactions. */
  holders(limit: number): {
    count: number;
    top: { holderId: string; txs: number }[];
  } {
    const holder = this.#columns.names.holder_id;
    // Groups in the order of the index: no more than one is held at a time.
    const [count] = this.#get(
      `SELECT count(*) FROM (SELECT 1 FROM txs GROUP BY ${holder})`,
    ) as [number];
    const rows = this.#all(
      `SELECT CAST(${holder} AS TEXT), count(*) AS txs FROM txs
      GROUP BY ${holder} ORDER BY txs DESC, ${holder} LIMIT ?`,
      limit,
    ) as [string, number][];
    return { count, top: rows.map(([holderId, txs]) => ({ holderId, txs })) };
  }

  /**
   * Rows that are no transactions, of those with an id of bytes that are no
   * UTF-8 the ones that have been read.
   */
  oddRows(): OddRow[] {
    const ids = this.#all(
      `SELECT quote(substr(tx_id, 1, 64)) FROM txs
      WHERE tx_id >= x'' OR tx_id IS NULL LIMIT ?`,
      MOST_ODD_ROWS,
    );
    const times = this.#all(
      `SELECT CAST(tx_id AS TEXT) FROM txs
      WHERE (timestamp >= '' OR timestamp IS NULL) AND ${HAS_TEXT_ID} LIMIT ?`,
      MOST_ODD_ROWS,
    );
    return [
      ...ids.map(([id]) => oddId(id as string)),
      ...Array.from(this.#oddIds, (id) => oddId(JSON.stringify(id))),
      ...times.map(([id]) => ({
        id: JSON.stringify(id),
        reason: "its timestamp is no number",
        listed: true,
      })),
    ];
  }

  /** Deletes the rows that no list has. Within a transaction. */
  deleteUnlisted(): void {
    this.#run("DELETE FROM txs WHERE tx_id >= x'' OR tx_id IS NULL");
    if (this.#oddIds.size === 0) return;
    for (let before = Number.MAX_SAFE_INTEGER;;) {
      const page = this.#all(
        `SELECT rowid, CAST(tx_id AS TEXT) FROM txs NOT INDEXED
        WHERE rowid < ? ORDER BY rowid DESC LIMIT ?`,
        before,
        PAGE,
      );
      for (const [rowid, txId] of page) {
        if (!this.#oddIds.has(txId as string)) continue;
        if (this.get(txId as string) !== null) continue; // which is another row
        this.#run("DELETE FROM txs WHERE rowid = ?", rowid!);
      }
      if (page.length < PAGE) return;
      before = page.at(-1)![0] as number;
    }
  }

  /** The version of the schema; 0 is the older Python package's. */
  get schemaVersion(): number {
    return translatedSync(this.path, () => schemaVersion(this.#db));
  }

  /** The version to which `init` brings a schema. */
  get newestSchemaVersion(): number {
    return SCHEMA_VERSION;
  }

  /** {@inheritDoc MetadataStore.close} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async close(): Promise<void> {
    // SQLite removes its log by name, which may be another database's by now.
    const isOwnLog = !this.#closed && !this.#readOnly && !this.#lost &&
      !this.hasMoved();
    if (isOwnLog) this.#leaveWal();
    this.abandon();
  }

  /** Closes the database, and leaves SQLite's log as it is, as far as it can. */
  abandon(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#log?.close();
    // Closing would take into the database what the disk may not have.
    if (this.#lost) return;
    this.#db.close();
    const left = OPEN.get(this.#realPath)! - 1;
    if (left > 0) OPEN.set(this.#realPath, left);
    else OPEN.delete(this.#realPath);
  }

  /** Closes the database. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Waits until all that was committed is on the disk. SQLite would do so within
   * each commit, at `synchronous = FULL`; but it would stop the event loop, and
   * wait for the log's time of change as well, where only its bytes matter.
   * What SQLite syncs besides, at a checkpoint, it still does by itself.
   *
   * A failure is final: systems tell of a lost write once, and the next call
   * would be told that all is well.
   */
  async flush(): Promise<void> {
    if (this.#lost) throw this.#lost;
    if (!this.#log) return;
    const start = performance.now();
    try {
      // Another thread costs more than a disk that answers at once.
      if (this.#isDiskFast) this.#log.syncDataSync();
      else await this.#log.syncData();
    } catch (error) {
      throw this.#lost = error as Error;
    }
    this.#isDiskFast = performance.now() - start < FAST_DISK;
  }

  /**
   * Writes SQLite's log again as it looks; `flush` then waits for the disk. For
   * when whoever waited for it has died, and may have been the only one to learn
   * that the disk refused it: memory shows it all the same.
   *
   * @internal
   */
  async writeLogAgain(): Promise<void> {
    const log = this.#log;
    if (!log) return;
    for (let at = 0, read = LOG_PIECE; read === LOG_PIECE; at += read) {
      await nextTurn();
      read = await this.change(() => { // nobody else writes to it meanwhile
        log.seekSync(at, Deno.SeekMode.Start);
        const bytes = readAllSync(log, LOG_PIECE);
        log.seekSync(at, Deno.SeekMode.Start);
        writeAllSync(log, bytes);
        return bytes.length;
      });
    }
  }

  /** Why the disk may not have what was committed; null when it has. */
  get failure(): Error | null {
    return this.#lost;
  }

  /** Whether something else is at the database's path by now, or nothing. */
  hasMoved(): boolean {
    return this.#place.hasChanged();
  }

  /**
   * Takes SQLite's log into the database, which leaves it empty. While nobody
   * else commits.
   *
   * @returns False when a reader or the disk did not let it.
   */
  shrinkLog(): boolean {
    try {
      return this.#ofId("PRAGMA wal_checkpoint(TRUNCATE)")?.[0] === 0;
    } catch (error) {
      if (isDiskFull(error) || error instanceof StoreBusyError) return false;
      throw error;
    }
  }

  /** How long the log is when a commit itself takes it into the database. */
  checkpointWithinCommits(pages: number): void {
    this.#db.exec(`PRAGMA wal_autocheckpoint = ${pages}`);
  }

  // --- synchronous parts, for the transactions of the storage manager --------

  /**
   * Runs `work` in a write transaction: all of it is committed, or nothing. It
   * waits while another program is writing, and may be run several times.
   *
   * @throws {StoreBusyError} If the other program takes too long.
   */
  change<T>(work: () => T): Promise<T> {
    return this.#patiently(() => this.transaction(work));
  }

  #patiently<T>(work: () => T): Promise<T> {
    return retryBusy(() => translatedSync(this.path, work), this.#wait);
  }

  /** As `change`, for databases that no other program has open: waits for none. */
  transaction<T>(work: () => T): T {
    return translatedSync(this.path, () => {
      this.#db.exec("BEGIN IMMEDIATE");
      this.#isWithin = true;
      const deferred = this.#deferred;
      this.#deferred = null;
      try {
        if (deferred) this.followRows(deferred.rows.values(), deferred.applied);
        const result = work();
        this.#db.exec("COMMIT");
        markCommit();
        this.#whyDeferred = null;
        return result;
      } catch (error) {
        this.#deferred = deferred;
        this.#rollback();
        throw error;
      } finally {
        this.#isWithin = false;
      }
    });
  }

  /**
   * Runs `work`, all of which sees the database at one moment.
   *
   * @internal
   */
  atOneMoment<T>(work: () => T): T {
    return translatedSync(this.path, () => {
      this.#settle();
      this.#db.exec("BEGIN");
      this.#isWithin = true;
      try {
        return work();
      } finally {
        this.#isWithin = false;
        this.#db.exec("COMMIT");
      }
    });
  }

  // --- rows that follow later -------------------------------------------------

  /**
   * Takes rows of new ids, which go into the table later, many in one
   * transaction: with the next change, or before anything is read but by its id.
   * Until then no other connection sees them, so nobody else may change the
   * database.
   *
   * @internal
   * @param end The position up to which rows have followed with these.
   */
  defer(rows: FollowingRow[], end: number): void {
    this.#deferred ??= { rows: new Map(), ...this.logState() };
    for (const row of rows) {
      requireStorable(row.info);
      this.#deferred.rows.set(row.info.txId, row);
    }
    this.#deferred.applied = end;
    this.#deferred.changes += rows.length;
  }

  /** How many rows are not in the table yet. */
  get deferredRows(): number {
    return this.#deferred?.rows.size ?? 0;
  }

  /**
   * The rows that are not in the table yet, in the order of the log, and up to
   * which position the table will have followed it with them.
   *
   * @internal
   */
  deferred(): { following: FollowingRow[]; until: number } {
    const { rows, applied } = this.#deferred ?? { rows: new Map(), applied: 0 };
    return { following: [...rows.values()], until: applied };
  }

  /**
   * Forgets deferred rows that are in the table by now: another connection has
   * had the rows follow up to a position.
   *
   * @internal
   */
  haveFollowed(until: number): void {
    if (!this.#deferred) return;
    markCommit(); // reads to come look at the database as it is now
    const { rows } = this.#deferred;
    for (const [txId, { position }] of rows) {
      if (position >= until) break; // they are in the log's order
      rows.delete(txId);
    }
    if (rows.size === 0) this.#deferred = null;
  }

  /**
   * Says that rows could not be put into the table, and nobody else is kept from
   * changing the database any more: whoever needs the table is told why, until a
   * change succeeds.
   *
   * @internal
   */
  holdDeferred(why: unknown): void {
    if (this.#deferred) this.#whyDeferred = why;
  }

  /** Has the table show all that is known. */
  #settle(): void {
    if (this.#ahead) this.#refresh();
    if (!this.#deferred) return;
    if (this.#whyDeferred !== null) throw this.#whyDeferred;
    // A thread of this process may be at it.
    const [usual] = this.#ofId("PRAGMA busy_timeout")!;
    this.#db.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT.ownThread}`);
    try {
      this.transaction(() => {});
    } finally {
      this.#db.exec(`PRAGMA busy_timeout = ${usual}`);
    }
  }

  /**
   * Puts rows of new ids into the table that follow the log up to a position.
   * Somebody else may have had some of them follow by now. Within a transaction.
   *
   * @internal
   */
  followRows(rows: Iterable<FollowingRow>, until: number): void {
    const { applied, changes } = this.logState();
    let made = 0;
    for (const { info, place, position } of rows) {
      if (position < applied) continue;
      this.put(info, place);
      made++;
    }
    if (until <= applied) return;
    this.setLogState({ applied: until, changes: changes + made });
  }

  /** All rows that a statement gives: for further tables of who builds on this. */
  query(sql: string, ...params: SqlValue[]): SqlValue[][] {
    return this.#all(sql, ...params);
  }

  /** The facts about an id, or null. */
  get(txId: string): TxInfo | null {
    const deferred = this.#deferred?.rows.get(txId);
    if (deferred) return deferred.info;
    const row = this.#rowOf(txId, this.#columns.get);
    return row ? toInfo(row) : null;
  }

  /** The facts about those of these ids that are known. */
  getMany(txIds: string[]): Map<string, TxInfo> {
    const found = new Map<string, TxInfo>();
    const missing: string[] = [];
    for (const txId of txIds) {
      const known = txIds.length === 1
        ? this.get(txId)
        : this.#deferred?.rows.get(txId)?.info;
      if (known) found.set(txId, known);
      else missing.push(txId);
    }
    if (txIds.length === 1) return found;
    const rows = this.#allInTable(
      `SELECT ${this.#columns.all} FROM txs
      WHERE tx_id IN (SELECT value FROM json_each(?))`,
      JSON.stringify(missing),
    );
    for (const row of rows) found.set(row[0] as string, toInfo(row));
    return found;
  }

  /** One page of what a query selects, in its order. */
  page(query: TxQuery & { limit: number }): TxInfo[] {
    return this.#selectPage(query, this.#columns.all).map(toInfo);
  }

  /**
   * As `page`, with the places of the payloads.
   *
   * @internal
   */
  foundPage(query: TxQuery & { limit: number }): Found[] {
    const { all, place } = this.#columns;
    return this.#selectPage(query, `${all}, ${place}`).map(toFound);
  }

  #selectPage(query: TxQuery & { limit: number }, columns: string) {
    return this.#select(
      { ...this.#resolve(query), limit: query.limit },
      columns,
    );
  }

  /**
   * The first and the last rowid; null where there is no row, where another
   * program has given one that is too large for a number, and where rows of a log
   * are laid over those of the table: they have none.
   *
   * @internal
   */
  rowids(): { first: number; last: number } | null {
    this.#settle();
    if (this.#overlaid !== null) return null;
    const row = this.#get(
      `SELECT first, last FROM (
        SELECT (SELECT min(rowid) FROM txs) AS first,
          (SELECT max(rowid) FROM txs) AS last
      ) WHERE first >= ? AND last <= ?`,
      -MOST_ROWID,
      MOST_ROWID,
    );
    return row ? { first: row[0] as number, last: row[1] as number } : null;
  }

  /**
   * Rows in the order in which they were first saved, which is about that of
   * their files and of the log, from behind a rowid up to another. Those whose id
   * is no text are left out.
   *
   * @internal
   */
  foundBetween(
    after: number,
    until: number,
    limit: number,
  ): (Found & { rowid: number })[] {
    const { all, place } = this.#columns;
    return this.#allInTable(
      `SELECT ${all}, ${place}, rowid FROM main.txs NOT INDEXED
      WHERE rowid > ? AND rowid <= ? AND typeof(tx_id) = 'text'
      ORDER BY rowid LIMIT ?`,
      after,
      until,
      limit,
    ).map((row) => ({ ...toFound(row), rowid: row[6] as number }));
  }

  /**
   * The facts about an id, and where its payload is.
   *
   * @internal
   */
  lookup(txId: string): Found | null {
    return this.#lookup(txId, false);
  }

  /**
   * As `lookup`, for loads: those of one turn of the event loop may see the
   * database at one moment. Whoever decides about a change asks `lookup`.
   *
   * @internal
   */
  lookupToRead(txId: string): Found | null {
    return this.#lookup(txId, true);
  }

  #lookup(txId: string, isToRead: boolean): Found | null {
    const deferred = this.#deferred?.rows.get(txId);
    if (deferred) return deferred;
    const row = this.#rowOf(txId, this.#columns.lookup, isToRead);
    return row ? toFound(row) : null;
  }

  /** All look-ups by id in the table go through here. */
  #rowOf(
    txId: string,
    sql: string,
    isToRead = false,
  ): SqlValue[] | undefined {
    try {
      const row = this.#statement(sql, isToRead).get(txId);
      if (row || !this.#refresh()) return row;
      return this.#statement(sql, isToRead).get(txId);
    } catch (error) {
      throw translate(this.path, error);
    }
  }

  /** Which of these ids have a row whose payload is in a file. */
  inFiles(txIds: string[]): Set<string> {
    const rows = this.#all(
      // "+": not by the index of places, in which most rows may be NULL.
      `SELECT tx_id FROM txs
      WHERE tx_id IN (SELECT value FROM json_each(?))
        AND +${this.#columns.place} IS NULL`,
      JSON.stringify(txIds),
    );
    return new Set(rows.map(([txId]) => txId as string));
  }

  /**
   * Inserts or replaces a row. Within a transaction.
   *
   * @param place Where in the log the payload is; null: in a file.
   */
  put(info: TxInfo, place: number | null = null): void {
    requireStorable(info);
    const [numerator, denominator] = exactQuotient(info.timestamp);
    this.#run(
      `INSERT INTO txs (tx_id, storage_hash, timestamp, holder_id, size, place)
      VALUES (?, ?, CAST(? AS REAL) / ?, ?, ?, ?)
      ON CONFLICT (tx_id) DO UPDATE SET storage_hash = excluded.storage_hash,
        timestamp = excluded.timestamp, holder_id = excluded.holder_id,
        size = excluded.size, place = excluded.place`,
      info.txId,
      info.storageHash,
      numerator,
      denominator,
      info.holderId,
      info.size,
      place,
    );
  }

  /** Deletes a row; false when there was none. Within a transaction. */
  delete(txId: string): boolean {
    return this.#run("DELETE FROM txs WHERE tx_id = ?", txId) > 0;
  }

  /** Whether an id has a row whose payload is in a file. */
  isInFile(txId: string): boolean {
    return this.lookup(txId)?.place === null;
  }

  /** Whether any row's payload is in the log. */
  hasPlaces(from = 0, to = Number.MAX_SAFE_INTEGER): boolean {
    if (this.#columns.place === "NULL") return false;
    return this.#get(
      "SELECT 1 FROM txs WHERE place >= ? AND place < ? LIMIT 1",
      from,
      to,
    ) !== undefined;
  }

  /**
   * Bytes of the records in a part of the log whose payloads live there. Looks
   * at each of their rows.
   */
  bytesInLog(from: number, to: number): number {
    const [bytes] = this.#get(
      `SELECT total(${RECORD_BYTES}) FROM txs WHERE place >= ? AND place < ?`,
      from,
      to,
    ) as [number];
    return bytes;
  }

  /** As `bytesInLog`, about: how many they are, and how long the first ones. */
  aboutInLog(from: number, to: number): number {
    const [mean] = this.#get(
      `SELECT total(bytes) / max(count(*), 1) FROM (
        SELECT ${RECORD_BYTES} AS bytes FROM txs
        WHERE place >= ? AND place < ? LIMIT 64)`,
      from,
      to,
    ) as [number];
    return mean * this.countInLog(from, to);
  }

  /** How many payloads live in a part of the log. */
  countInLog(from: number, to: number): number {
    const [count] = this.#get(
      "SELECT count(*) FROM txs WHERE place >= ? AND place < ?",
      from,
      to,
    ) as [number];
    return count;
  }

  /** The ids whose payloads are in this part of the log, and where. */
  places(from: number, to: number): { txId: string; place: number }[] {
    const rows = this.#all(
      "SELECT tx_id, place FROM txs WHERE place >= ? AND place < ?",
      from,
      to,
    );
    return rows.map(([txId, place]) => ({
      txId: txId as string,
      place: place as number,
    }));
  }

  /** Says that a payload is in a file by now. Within a transaction. */
  clearPlace(txId: string, place: number): void {
    this.#run(
      "UPDATE txs SET place = NULL WHERE tx_id = ? AND place = ?",
      txId,
      place,
    );
  }

  /**
   * Lays changes over the rows of a store that is open read-only: those of a log
   * that nobody has had them follow. They are there until somebody does.
   *
   * @internal
   * @param changes Of each id the last; a null row is a deletion.
   */
  overlay(changes: Iterable<ChangeAhead>, until = Infinity): void {
    if (this.#overlaid !== null) this.#dropOverlay();
    const exec = (sql: string) => this.#db.exec(sql);
    const version = this.#versionNow();
    exec(`CREATE TEMP TABLE changed (tx_id TEXT PRIMARY KEY, storage_hash TEXT,
      timestamp REAL, holder_id TEXT, size INTEGER, place INTEGER)`);
    const insert = this.#db.prepare(
      `INSERT INTO changed VALUES (?, ?, CAST(? AS REAL) / ?, ?, ?, ?)`,
    );
    for (const { txId, row, place } of changes) {
      const [numerator, denominator] = exactQuotient(row?.timestamp ?? 0);
      insert.run(
        txId,
        row && row.storageHash,
        numerator,
        denominator,
        row && row.holderId,
        row && row.size,
        place,
      );
    }
    const columns = "tx_id, storage_hash, timestamp, holder_id, size, place";
    exec(`CREATE TEMP VIEW txs AS SELECT ${columns} FROM main.txs
        WHERE tx_id NOT IN (SELECT tx_id FROM changed)
      UNION ALL SELECT ${columns} FROM changed WHERE storage_hash IS NOT NULL`);
    this.#statements.clear();
    this.#overlaid = { version, until };
  }

  /**
   * From now on also shows the saves that have resolved and have no row yet: a
   * writer that is alone makes rows of many saves at once. Only new ids: to
   * replace or delete one it waits for the rows.
   *
   * @internal
   */
  readAhead(log: LogAhead): void {
    this.#ahead = log;
  }

  /** Looks at the log; true when it had anything that was not seen before. */
  #refresh(): boolean {
    const log = this.#ahead;
    if (!log || this.#isWithin || this.#closed) return false;
    const resolved = log.resolved();
    if (resolved === 0) return false;
    this.#requireFreshOverlay();
    if (resolved <= (this.#overlaid?.until ?? this.logState().applied)) {
      return false;
    }
    this.overlay(log.changesAhead(resolved), resolved);
    return true;
  }

  /** For a copy that follows no log: all payloads are in files there. */
  forgetLog(): void {
    this.#run("UPDATE txs SET place = NULL WHERE place IS NOT NULL");
    this.setLogState({ applied: 0, filesSynced: 0 });
  }

  /** Whether the database is of a version that follows a log. */
  get hasLog(): boolean {
    if (this.#columns.place === "NULL") {
      // A writer may have upgraded it since this one opened it to read.
      this.#lookups.end();
      this.#adaptToOldSchema();
    }
    return this.#columns.place !== "NULL";
  }

  /**
   * How far rows, and durable files, have followed the log.
   *
   * @internal
   */
  logState(): LogPosition {
    if (this.#deferred) {
      const { applied, changes, filesSynced } = this.#deferred;
      return { applied, changes, filesSynced };
    }
    // Damage may have left any text there: then all of the log is followed anew.
    const number = (name: string) => {
      const value = Number(this.setting(name) ?? 0);
      return Number.isSafeInteger(value) && value >= 0 ? value : 0;
    };
    return {
      applied: number("applied"),
      changes: number("changes"),
      filesSynced: number("files_synced"),
    };
  }

  /**
   * Says how far they have. Within a transaction.
   *
   * @internal
   */
  setLogState(
    { applied, changes, filesSynced }: Partial<LogPosition>,
  ): void {
    if (applied !== undefined) this.setSetting("applied", String(applied));
    if (changes !== undefined) this.setSetting("changes", String(changes));
    if (filesSynced === undefined) return;
    this.setSetting("files_synced", String(filesSynced));
  }

  /** Another number once another connection has changed the database. */
  dataVersion(): number {
    return this.#versionNow();
  }

  /** Whether there is no row at all. */
  isEmpty(): boolean {
    return this.#get("SELECT 1 FROM txs LIMIT 1") === undefined;
  }

  /** What the database remembers under a name, or null. */
  setting(name: string): string | null {
    if (!this.#hasTable("settings")) return null;
    const row = this.#ofId("SELECT value FROM settings WHERE name = ?", name);
    return row ? row[0] as string : null;
  }

  /** Remembers a setting, or forgets it. Within a transaction. */
  setSetting(name: string, value: string | null): void {
    if (value === null) {
      this.#run("DELETE FROM settings WHERE name = ?", name);
      return;
    }
    this.#run(
      "INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)",
      name,
      value,
    );
  }

  /**
   * Copies the database as it is now to a new file, without keeping writers
   * waiting. This thread does nothing else meanwhile.
   */
  async backup(path: string): Promise<void> {
    await retryBusy(
      () =>
        translated(this.path, () => {
          this.#settle();
          return this.#db.backup(path);
        }),
      this.#wait,
    );
  }

  /** What SQLite finds wrong with the database; empty when it is sound. */
  checkIntegrity(): string[] {
    try {
      return this.#all("PRAGMA integrity_check(20)")
        .map(([line]) => String(line))
        .filter((line) => line !== "ok");
    } catch (error) {
      if (error instanceof MetadataDamagedError) return [error.message];
      throw error;
    }
  }

  #select(
    query: ResolvedQuery & { limit: number },
    columns: string,
  ): SqlValue[][] {
    return selectPage(
      query,
      columns,
      this.#columns.names,
      (sql, ...params) => this.#all(sql, ...params),
      (txId) => this.isAsRead(txId),
    );
  }

  /**
   * Whether an id is what is in its row: bytes that are no UTF-8 are replaced.
   * Those that are not are remembered as odd rows.
   *
   * @internal
   */
  isAsRead(txId: string): boolean {
    if (isSurelyAsRead(txId) || this.get(txId) !== null) return true;
    if (this.#oddIds.size < MOST_ODD_ROWS) this.#oddIds.add(txId);
    return false;
  }

  /** An order of time goes on from a time, not from an id alone. */
  #resolve({ after, ...query }: TxQuery): ResolvedQuery {
    if (after === undefined) return query;
    if (typeof after !== "string") return { ...query, after };
    if (query.sort !== "time") {
      return { ...query, after: { txId: after, timestamp: 0 } };
    }
    const info = this.get(after);
    if (info) return { ...query, after: info };
    throw cursorGone(after);
  }

  #adaptToOldSchema(): void {
    const columns = columnsOf(this.#db, "txs");
    if (columns.size === 0) throw new StoreNotFoundError(this.path);
    const named = (name: string) => columns.has(name) ? name : null;
    this.#columns = columnList(
      named("holder_id"),
      named("size"),
      named("place"),
    );
  }

  /** An older store that is not migrated may lack a table. */
  #hasTable(name: string): boolean {
    if (this.#isOldSchema !== false) {
      this.#isOldSchema = schemaVersion(this.#db) < SCHEMA_VERSION;
    }
    return !this.#isOldSchema || columnsOf(this.#db, name).size > 0;
  }

  #rollback(): void {
    try {
      this.#db.exec("ROLLBACK");
    } catch {
      // SQLite has rolled back by itself, as it does when the disk is full.
    }
  }

  /**
   * A database left in rollback mode can be read without write permission,
   * which one in WAL mode cannot. Whoever still has it open keeps it in WAL.
   */
  #leaveWal(): void {
    try {
      this.#db.exec("PRAGMA busy_timeout = 0");
      if (this.#sync) this.#db.exec("PRAGMA synchronous = EXTRA");
      this.#db.exec("PRAGMA journal_mode = DELETE");
    } catch {
      // It is in use, or damaged: then its files stay as they are.
    }
  }

  /** Whoever has the store open for writing may have had the rows follow. */
  #requireFreshOverlay(): void {
    if (this.#overlaid === null) return;
    if (this.#versionNow() !== this.#overlaid.version) this.#dropOverlay();
  }

  #versionNow(): number {
    return this.#db.prepare("PRAGMA data_version").get()![0] as number;
  }

  #dropOverlay(): void {
    this.#overlaid = null;
    this.#statements.clear();
    this.#db.exec("DROP VIEW temp.txs; DROP TABLE temp.changed");
  }

  /** The connection, for what is no look-up. */
  get #db(): Connection {
    this.#lookups.end();
    return this.#connection;
  }

  #statement(sql: string, isToRead = false): Statement {
    if (this.#closed) throw new StoreClosedError();
    if (isToRead && !this.#isWithin && this.#overlaid === null) {
      this.#lookups.join();
    } else this.#lookups.end();
    this.#requireFreshOverlay();
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#connection.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #run(sql: string, ...params: SqlValue[]): number {
    this.#settle();
    const changed = translatedSync(
      this.path,
      () => this.#statement(sql).run(...params),
    );
    markCommit();
    return changed;
  }

  #get(sql: string, ...params: SqlValue[]): SqlValue[] | undefined {
    this.#settle();
    return translatedSync(this.path, () => this.#statement(sql).get(...params));
  }

  #all(sql: string, ...params: SqlValue[]): SqlValue[][] {
    this.#settle();
    return this.#allInTable(sql, ...params);
  }

  /** As `#all`, without rows that are not in the table yet. */
  #allInTable(sql: string, ...params: SqlValue[]): SqlValue[][] {
    return translatedSync(this.path, () => this.#statement(sql).all(...params));
  }

  /** As `#get`, for what rows that are not in the table yet do not change. */
  #ofId(sql: string, ...params: SqlValue[]): SqlValue[] | undefined {
    return translatedSync(this.path, () => this.#statement(sql).get(...params));
  }
}

function oddId(id: string): OddRow {
  return { id, reason: "its id is no text", listed: false };
}

/** Whether nothing of an id can have been replaced when it was read. */
export function isSurelyAsRead(txId: string): boolean {
  return !txId.includes("\uFFFD");
}

const COLUMNS = columnList("holder_id", "size", "place");

/** Whether two rows say the same. */
export function isSameRow(a: TxInfo, b: TxInfo): boolean {
  return a.txId === b.txId && a.holderId === b.holderId &&
    a.timestamp === b.timestamp && a.storageHash === b.storageHash &&
    a.size === b.size;
}

function toInfo(row: SqlValue[]): TxInfo {
  const [txId, storageHash, timestamp, holderId, size] = row as [
    string,
    string,
    number,
    string,
    number,
  ];
  return { txId, holderId, timestamp, storageHash, size };
}

function toFound(row: SqlValue[]): Found {
  return { info: toInfo(row), place: row[5] as number | null };
}

/** Rows of the older package may have infinite times, new ones may not. */
function requireTime({ timestamp }: TxInfo, isNew: boolean): void {
  if (isNew ? Number.isFinite(timestamp) : !Number.isNaN(timestamp)) return;
  throw new InvalidTxError(
    "timestamp",
    `timestamp must be a finite number of seconds, got ${timestamp}`,
  );
}

function requireStorable(info: TxInfo): void {
  requireTime(info, false);
  if (info.txId.includes("\0") || info.holderId.includes("\0")) {
    throw new InvalidTxError(
      info.txId.includes("\0") ? "tx_id" : "holder_id",
      "SQLite cannot keep text with NUL",
    );
  }
}

/**
 * Whether the header has a format version that there is none of. SQLite opens
 * such a file read-only, in case it is of a later version of SQLite.
 */
function hasUnknownFormat(path: string): boolean {
  using file = Deno.openSync(path, { read: true });
  const [write, read] = readAllSync(file, 20).subarray(18);
  return [write, read].some((version) => version !== undefined && version > 2);
}

/**
 * Makes sure that SQLite opens files: to read a FIFO never ends. The database
 * may be a link to one.
 *
 * @throws {Deno.errors.InvalidData} If something else has a name of theirs.
 */
export function requireFiles(path: string): void {
  for (const suffix of ["", ...COMPANIONS]) {
    let info: Deno.FileInfo;
    try {
      info = Deno.statSync(path + suffix);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) continue;
      // SQLite asks for no permission for what it has beside the database.
      const isBeside = suffix !== "";
      if (isBeside && error instanceof Deno.errors.NotCapable) continue;
      throw error;
    }
    if (info.isFile) continue;
    throw new Deno.errors.InvalidData(
      `The database ${path} cannot be opened: ${path}${suffix} is ${
        kindOf(info)
      }`,
    );
  }
}

/** SQLite's write-ahead log, open to be synced; null when it has none. */
function openLog(path: string): Deno.FsFile | null {
  // It is beside the database itself, where the path is a link to that.
  const log = `${Deno.realPathSync(path)}-wal`;
  try {
    // Windows flushes only through a handle that may write.
    return Deno.openSync(log, { read: true, write: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** Runs `work`; what SQLite throws of a database becomes this package's. */
export async function translated<T>(
  path: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw translate(path, error);
  }
}

/** As `translated`, for what is done at once. */
export function translatedSync<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw translate(path, error);
  }
}

/** SQLite's errors as this package's; all others as they are. */
function translate(path: string, error: unknown): unknown {
  if (error instanceof PohStorageError) return error;
  if (isMalformed(error)) {
    return new MetadataDamagedError(path, reasonOf(error), { cause: error });
  }
  if (isLocked(error)) {
    return new StoreBusyError(
      `The database ${path} is locked by another program`,
      [],
    );
  }
  return error;
}
