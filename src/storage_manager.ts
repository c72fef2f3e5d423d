/**
 * The public API: saves, verified loads, queries, deletion and repair of a
 * store.
 *
 * @module
 */

import { join, resolve } from "@std/path";
import {
  type CheckOptions,
  RECOVER_OPTIONS,
  type RecoverOptions,
  VERIFY_OPTIONS,
  type VerifyOptions,
} from "./check/check.ts";
import { SMALL } from "./files/durable_fs.ts";
import {
  type Engine,
  idPages,
  type MaybePromise,
  type VerifiedTx,
} from "./engine.ts";
import {
  COMPACT_OPTIONS,
  type CompactOptions,
  type CompactReport,
  MOVE_PACKED_OPTIONS,
  type MovePackedOptions,
} from "./model/packing.ts";
import {
  InvalidTxError,
  type PohStorageError,
  StoreClosedError,
} from "./errors.ts";
import { TX_FILTER } from "./model/filter.ts";
import {
  DELETE_OPTIONS,
  type DeleteOptions,
  ruleOf,
  SAVE_OPTIONS,
  SAVE_STREAM_OPTIONS,
  SAVE_TXS_OPTIONS,
  type SaveCounts,
  type SavedTx,
  type SaveOptions,
  type SaveStreamOptions,
  type SaveTxsOptions,
} from "./model/if_exists.ts";
import { fileName } from "./files/file_name.ts";
import { LocalEngine } from "./local/local_engine.ts";
import { openSources } from "./copy/sources/open_sources.ts";
import type { Sources } from "./check/sources.ts";
import { requireKnown } from "./options.ts";
import { requireNoBackup } from "./files/layout.ts";
import {
  PRUNE_FILTER,
  PRUNE_OPTIONS,
  type PruneFilter,
  type PruneOptions,
  type PruneResult,
} from "./check/prune.ts";
import type { QuarantineEntry } from "./payloads/quarantine.ts";
import type { StoreReport } from "./model/report.ts";
import type { DriverInfo } from "./model/driver_info.ts";
import { isRemote, remoteStores } from "./remote_url.ts";
import {
  STORAGE_OPTIONS,
  type StorageOptions,
} from "./model/storage_options.ts";
import { Pacer } from "./async/turn.ts";
import {
  isText,
  looksLikeMilliseconds,
  validateTx,
  validateTxHead,
  validateTxId,
} from "./tx.ts";
import { TX_QUERY } from "./sqlite/tx_query.ts";
import type {
  StoreTotals,
  Tx,
  TxFilter,
  TxHead,
  TxInfo,
  TxQuery,
  TxStream,
} from "./types.ts";
import type { OddRow } from "./sqlite/odd_rows.ts";
import { abortable, inOrder } from "./async/in_order.ts";
import { saveMany } from "./async/save_many.ts";
import { ndjsonOf, txsOf } from "./format/ndjson.ts";
import type { StoreLog } from "./model/tlog.ts";

/** Concurrent loads, whose payloads are in memory, and concurrent deletions. */
const LOADS = 8;
const DELETIONS = 128;

/**
 * A store of transactions: payloads in files, metadata in SQLite, a SHA-256
 * that binds them.
 *
 * Many calls may be in flight at once, many managers may share a store, in one
 * process or in several.
 *
 * Needs `--allow-read` and `--allow-write` for the base directory and the
 * database (read-only: `--allow-read`); `--allow-sys=hostname` to be named in
 * full when others wait for the store; `--allow-ffi` and
 * `--allow-env=DENO_SQLITE_PATH,DENO_SQLITE_LOCAL` for the FFI binding.
 *
 * @example Usage
 * ```ts
 * import { StorageManager } from "@poh/storage";
 * import { assertEquals } from "@std/assert";
 *
 * const base = await Deno.makeTempDir();
 * {
 *   await using store = await StorageManager.create(base, `${base}/poh.db`);
 *   await store.saveTx({
 *     txId: "tx1",
 *     holderId: "alice",
 *     timestamp: Date.now() / 1000,
 *     payload: new TextEncoder().encode("hello"),
 *   });
 *   const tx = await store.loadTx("tx1");
 *   assertEquals(new TextDecoder().decode(tx?.payload), "hello");
 * }
 * await Deno.remove(base, { recursive: true });
 * ```
 */
export class StorageManager implements AsyncDisposable {
  readonly #engine: Engine;
  /** Calls under way, which `close` waits for. */
  #calls = 0;
  #onIdle = () => {};
  /** A folder that goes when the store is closed. */
  #folder: string | null = null;
  readonly #refusesMilliseconds: boolean;
  readonly #pacer = new Pacer();
  #closing: Promise<void> | null = null;

  private constructor(engine: Engine, options: StorageOptions) {
    this.#engine = engine;
    this.#refusesMilliseconds = options.refuseMilliseconds ?? false;
  }

  /**
   * Opens a store, and makes it where there is none. A base whose database is
   * gone has a store: it is refused, and not given a new database.
   *
   * What a crash left half-done is finished first, unless another process has
   * the store open. With `readOnly` nothing is made.
   *
   * @param basePath Directory of the payload files, or `s3://bucket/prefix`.
   * @param sqlitePath Database file, or `postgres://user@host/database`.
   * @throws {StoreMismatchError} If base and database do not belong together.
   * @throws {MetadataDamagedError} If the database is damaged: see `recover`.
   * @throws {StoreBusyError} If another process is repairing the store.
   * @throws {BackupReadOnlyError} If it is a backup and not opened read-only.
   * @throws {DriverUnavailableError} If the requested binding is not available.
   */
  static create(
    basePath: string,
    sqlitePath: string,
    options: StorageOptions = {},
  ): Promise<StorageManager> {
    return StorageManager.#open(basePath, sqlitePath, options, true);
  }

  /**
   * Opens a store that is there. Never makes one, not even a folder: the call
   * for a program that is not to begin anew by a mistyped path.
   *
   * @example A path that has no store
   * ```ts
   * import { StorageManager, StoreNotFoundError } from "@poh/storage";
   * import { assertRejects } from "@std/assert";
   *
   * const dir = await Deno.makeTempDir();
   * await assertRejects(
   *   () => StorageManager.open(`${dir}/data`, `${dir}/data/poh.db`),
   *   StoreNotFoundError,
   * );
   * await Deno.remove(dir); // nothing is in it
   * ```
   *
   * @throws {StoreNotFoundError} If there is no store.
   * @throws As {@linkcode StorageManager.create} does.
   */
  static open(
    basePath: string,
    sqlitePath: string,
    options: StorageOptions = {},
  ): Promise<StorageManager> {
    return StorageManager.#open(basePath, sqlitePath, options, false);
  }

  static async #open(
    basePath: string,
    sqlitePath: string,
    options: StorageOptions,
    create: boolean,
  ): Promise<StorageManager> {
    requireKnown(options, STORAGE_OPTIONS);
    if (isRemote(basePath, sqlitePath)) {
      const { openRemote } = await remoteStores();
      return new StorageManager(
        await openRemote(basePath, sqlitePath, options, create),
        options,
      );
    }
    const base = resolve(basePath), db = resolve(sqlitePath);
    if (!options.readOnly) requireNoBackup(base);
    return new StorageManager(
      await LocalEngine.open(base, db, options, create),
      options,
    );
  }

  /**
   * Makes a store in a temporary folder, for tests: {@linkcode close} deletes it.
   * It does all that others do, and syncs nothing unless `durability` is given.
   * Needs `--allow-write` for the folder of temporary files.
   *
   * @example A test
   * ```ts
   * import { StorageManager } from "@poh/storage";
   * import { assertEquals } from "@std/assert";
   *
   * await using store = await StorageManager.temporary();
   * const payload = new Uint8Array([1, 2, 3]);
   * await store.saveTx({ txId: "a", holderId: "b", timestamp: 0, payload });
   * assertEquals(await store.listTxs(), ["a"]);
   * ```
   */
  static async temporary(
    options: StorageOptions = {},
  ): Promise<StorageManager> {
    requireKnown(options, STORAGE_OPTIONS);
    const folder = await Deno.makeTempDir({ prefix: "poh-" });
    try {
      const store = await StorageManager.create(
        folder,
        join(folder, "poh.db"),
        {
          durability: "relaxed",
          ...options,
        },
      );
      store.#folder = folder;
      return store;
    } catch (error) {
      await Deno.remove(folder, { recursive: true });
      throw error;
    }
  }

  /** Absolute path of the payload directory, or URL of the bucket. */
  get basePath(): string {
    return this.#engine.base;
  }

  /** Absolute path of the database, or its URL, without a password. */
  get sqlitePath(): string {
    return this.#engine.db;
  }

  /** Which SQLite binding serves, or which PostgreSQL. */
  get driver(): DriverInfo {
    return this.#engine.driver;
  }

  /** True if the store is write-once: no transaction is ever replaced. */
  get writeOnce(): boolean {
    return this.#engine.writeOnce;
  }

  /** Largest payload, in bytes, that lives in the log; 0: all are files. */
  get packBelow(): number {
    return this.#engine.packBelow;
  }

  /**
   * Saves a transaction; another one of that id is replaced, unless `ifExists`
   * or a write-once store has it otherwise. Once resolved it survives as
   * `durability` promises; until then it is there whole or not at all. A payload
   * of more than 64 KiB must not be changed before that.
   *
   * The same transaction again is no conflict: its outcome is `"unchanged"`, and
   * a payload that was damaged or gone is mended by it.
   *
   * @returns What the store has under that id now, and how that came about.
   * @throws {InvalidTxError} If it cannot be stored; nothing was touched.
   * @throws {TxExistsError} If there is another transaction of that id and it
   * may not be replaced; nothing was changed.
   * @throws {PreconditionError} If what is there does not match `ifMatch`; nothing
   * was changed.
   *
   * @example An id is taken once
   * ```ts
   * import { StorageManager, TxExistsError } from "@poh/storage";
   * import { assertEquals, assertRejects } from "@std/assert";
   *
   * const base = await Deno.makeTempDir();
   * {
   *   await using store = await StorageManager.create(base, `${base}/poh.db`);
   *   const payload = new TextEncoder().encode("hello");
   *   const tx = { txId: "a", holderId: "alice", timestamp: 0, payload };
   *   assertEquals((await store.saveTx(tx)).outcome, "created");
   *   assertEquals((await store.saveTx(tx)).outcome, "unchanged");
   *
   *   const other = { ...tx, holderId: "bob" };
   *   await assertRejects(
   *     () => store.saveTx(other, { ifExists: "fail" }),
   *     TxExistsError,
   *   );
   *   const kept = await store.saveTx(other, { ifExists: "keep" });
   *   assertEquals([kept.outcome, kept.holderId], ["kept", "alice"]);
   *   assertEquals((await store.saveTx(other)).outcome, "replaced");
   * }
   * await Deno.remove(base, { recursive: true });
   * ```
   *
   * @example Only what was read is replaced
   * ```ts
   * import { PreconditionError, sha256Hex, StorageManager } from "@poh/storage";
   * import { assertEquals, assertRejects } from "@std/assert";
   *
   * const base = await Deno.makeTempDir();
   * {
   *   await using store = await StorageManager.create(base, `${base}/poh.db`);
   *   const tx = {
   *     txId: "a",
   *     holderId: "alice",
   *     timestamp: 0,
   *     payload: new TextEncoder().encode("hello"),
   *   };
   *   const { storageHash } = await store.saveTx(tx);
   *   const payload = new TextEncoder().encode("goodbye");
   *   const options = { ifMatch: [storageHash] };
   *   await store.saveTx({ ...tx, payload }, options);
   *   // By now it is another one.
   *   await assertRejects(() => store.saveTx(tx, options), PreconditionError);
   *   await assertRejects(() => store.deleteTx("a", options), PreconditionError);
   *   assertEquals((await store.infoTx("a"))?.storageHash, await sha256Hex(payload));
   * }
   * await Deno.remove(base, { recursive: true });
   * ```
   */
  saveTx(tx: Tx, options?: SaveOptions): Promise<SavedTx> {
    return this.#call(() => {
      if (options !== undefined) requireKnown(options, SAVE_OPTIONS);
      const rule = ruleOf(options ?? {}, this.writeOnce);
      validateTx(tx);
      fileName(tx.txId); // refuses what no file can stand for
      this.#requireSeconds(tx);
      const { txId, holderId, timestamp, payload } = tx;
      // A copy: the caller's buffer is the caller's again at once.
      return this.#engine.save(
        { txId, holderId, timestamp },
        payload.length > SMALL ? payload : new Uint8Array(payload),
        rule,
        options?.ifMatch,
      );
    });
  }

  /**
   * Saves a transaction whose payload comes in pieces and is never held whole.
   *
   * @example Usage
   * ```ts
   * import { StorageManager } from "@poh/storage";
   * import { assertEquals } from "@std/assert";
   *
   * const base = await Deno.makeTempDir();
   * {
   *   await using store = await StorageManager.create(base, `${base}/poh.db`);
   *   const head = { txId: "tx1", holderId: "alice", timestamp: 0 };
   *   const info = await store.saveTxStream(head, new Blob(["hello"]).stream());
   *   assertEquals(info.size, 5);
   * }
   * await Deno.remove(base, { recursive: true });
   * ```
   *
   * @param options As of {@linkcode saveTx}, and `expected`: the payload's
   * SHA-256 in hex, where it is known.
   * @returns As {@linkcode saveTx}.
   * @throws {InvalidTxError} If it cannot be stored.
   * @throws {IntegrityError} If the payload is not the expected one; nothing
   * was saved.
   * @throws {TxExistsError} As {@linkcode saveTx} does, and
   * {@linkcode PreconditionError}.
   */
  saveTxStream(
    head: TxHead,
    payload: AsyncIterable<Uint8Array>,
    options: SaveStreamOptions = {},
  ): Promise<SavedTx> {
    return this.#call(() => {
      requireKnown(options, SAVE_STREAM_OPTIONS);
      const rule = ruleOf(options, this.writeOnce);
      validateTxHead(head);
      fileName(head.txId);
      this.#requireSeconds(head);
      return this.#engine.saveStream(head, payload, rule, options);
    });
  }

  /**
   * Saves transactions, many in flight at once, those of one id in the order in
   * which they come. Takes no more from the iterable than it can keep up with.
   *
   * @param options As of {@linkcode saveTx}, and `onSaved`.
   * @returns How many were created, replaced, unchanged and kept.
   * @throws {SaveTxsError} For the first transaction that could not be saved,
   * once the saves in flight have ended; what was saved by then stays saved.
   * Errors of the iterable are thrown unchanged.
   */
  async saveTxs(
    txs: Iterable<Tx> | AsyncIterable<Tx>,
    options: SaveTxsOptions = {},
  ): Promise<SaveCounts> {
    this.#requireOpen();
    requireKnown(options, SAVE_TXS_OPTIONS); // before anything is read
    const { ifExists, onSaved, signal } = options;
    const how = ifExists && { ifExists };
    return await saveMany(
      signal ? abortable(txs, signal) : txs,
      (tx) => this.saveTx(tx, how),
      onSaved,
    );
  }

  /**
   * Saves the transactions of NDJSON, one a line in the form of
   * {@linkcode txToJson}, as {@linkcode saveTxs} does. A line is held in memory
   * and may have 64 MiB.
   *
   * @param options As of {@linkcode saveTxs}.
   * @throws {InvalidTxError} At the first line that is no transaction, which the
   * message names; what stands before it is saved.
   * @throws {SaveTxsError} As {@linkcode saveTxs} does.
   *
   * @example From one store to another
   * ```ts
   * import { StorageManager } from "@poh/storage";
   * import { assertEquals } from "@std/assert";
   *
   * await using from = await StorageManager.temporary();
   * await using to = await StorageManager.temporary();
   * const payload = new Uint8Array([1, 2, 3]);
   * await from.saveTx({ txId: "a", holderId: "b", timestamp: 0, payload });
   * assertEquals((await to.importNdjson(from.exportNdjson())).created, 1);
   * ```
   */
  importNdjson(
    lines: AsyncIterable<Uint8Array>,
    options: SaveTxsOptions = {},
  ): Promise<SaveCounts> {
    return this.saveTxs(txsOf(lines), options);
  }

  /**
   * Loads a transaction and verifies it.
   *
   * @returns The transaction, or null when the id is unknown.
   * @throws {IntegrityError} If its payload is damaged or gone.
   * @throws {PayloadUnreadableError} If the system would not give it.
   */
  loadTx(txId: string): Promise<Tx | null> {
    return this.#read(() =>
      this.#withId(txId, fileName, () => this.#engine.load(txId))
    );
  }

  /**
   * Loads transactions and verifies them, some ahead of the one that is asked
   * for. Null stands for an id that is unknown.
   *
   * @throws As {@linkcode loadTx} does, when it is the turn of the one that
   * failed; the reason of `signal` once it is aborted.
   */
  loadTxs(
    txIds: Iterable<string> | AsyncIterable<string>,
    { signal }: { signal?: AbortSignal } = {},
  ): AsyncIterableIterator<Tx | null> {
    return inOrder(txIds, LOADS, (txId) => this.loadTx(txId), signal);
  }

  /**
   * Iterates over what a query selects, in its order, loading and verifying as
   * {@linkcode loadTxs} does. One that is deleted meanwhile is left out.
   *
   * @example Every payload of a holder
   * ```ts
   * import { StorageManager } from "@poh/storage";
   *
   * await using store = await StorageManager.temporary();
   * for await (const tx of store.iterateLoaded({ holderId: "alice" })) {
   *   console.log(tx.txId, tx.payload.length);
   * }
   * ```
   */
  async *iterateLoaded(
    query: TxQuery = {},
    options: { signal?: AbortSignal } = {},
  ): AsyncIterableIterator<Tx> {
    for await (const tx of this.loadTxs(this.iterateTxIds(query), options)) {
      if (tx !== null) yield tx;
    }
  }

  /**
   * Streams what a query selects as NDJSON, one transaction a line in the form of
   * {@linkcode txToJson}, each verified. The stream errors at the first that is
   * damaged; the command `export` leaves such out.
   */
  exportNdjson(
    query: TxQuery = {},
    options: { signal?: AbortSignal } = {},
  ): ReadableStream<Uint8Array<ArrayBuffer>> {
    this.#requireOpen();
    requireKnown(query, TX_QUERY);
    return ReadableStream.from(ndjsonOf(this.iterateLoaded(query, options)));
  }

  /**
   * Loads a small transaction in one go, for a server that answers from it: null
   * when it takes more, or the id is unknown. Then ask {@linkcode loadTxStream}.
   *
   * @internal
   */
  loadTxSoon(txId: string): VerifiedTx | null {
    this.#requireOpen();
    return this.#engine.loadSoon(txId);
  }

  /**
   * Loads a transaction as a stream, for payloads that should not sit in
   * memory.
   *
   * @returns The stream, or null when the id is unknown.
   * @throws {IntegrityError} If the payload is gone.
   * @throws {PayloadUnreadableError} If the system would not give it.
   */
  loadTxStream(txId: string): Promise<TxStream | null> {
    return this.#read(() =>
      this.#withId(txId, fileName, () => this.#engine.loadStream(txId))
    );
  }

  /** Returns true if an id is known. Does not look at the payload. */
  async hasTx(txId: string): Promise<boolean> {
    return await this.infoTx(txId) !== null;
  }

  /** Returns the metadata of an id; null if it is unknown. */
  infoTx(txId: string): Promise<TxInfo | null> {
    return this.#read(() => this.#engine.info(txId));
  }

  /**
   * The ids that a query selects, in its order, that of their UTF-8 bytes
   * unless it asks for another. All of them at once: for a large store see
   * {@linkcode iterateTxIds}.
   *
   * @throws {PohStorageError} `CURSOR_GONE` if an order of time is to go on
   * after an id that is not there.
   * @throws {TypeError} If a field of the query is unknown or malformed, which
   * the message names; {@linkcode RangeError} if its value is out of range. So
   * does every call that takes options.
   */
  listTxs(query: TxQuery = {}): Promise<string[]> {
    return this.#call(async () => {
      requireKnown(query, TX_QUERY);
      return (await Array.fromAsync(idPages(this.#engine.queries, query)))
        .flat();
    });
  }

  /**
   * As {@linkcode listTxs}, read in pages as they are asked for. Changes made
   * meanwhile may or may not show.
   */
  async *iterateTxIds(query: TxQuery = {}): AsyncIterableIterator<string> {
    const pages = this.#each(() => {
      requireKnown(query, TX_QUERY);
      return idPages(this.#engine.queries, query);
    });
    for await (const page of pages) yield* page;
  }

  /**
   * Iterates over the metadata that a query selects, in its order, in pages.
   * Changes made meanwhile may or may not show.
   *
   * @throws {PohStorageError} As {@linkcode listTxs} does.
   *
   * @example The newest ten of a holder
   * ```ts
   * import { StorageManager } from "@poh/storage";
   *
   * const base = await Deno.makeTempDir();
   * {
   *   await using store = await StorageManager.create(base, `${base}/poh.db`);
   *   const newest = store.iterateTxs({
   *     holderId: "alice",
   *     sort: "time",
   *     reverse: true,
   *     limit: 10,
   *   });
   *   for await (const { txId, timestamp } of newest) {
   *     console.log(txId, timestamp);
   *   }
   * }
   * await Deno.remove(base, { recursive: true });
   * ```
   */
  iterateTxs(query: TxQuery = {}): AsyncIterableIterator<TxInfo> {
    return this.#each(() => {
      requireKnown(query, TX_QUERY);
      return this.#engine.queries.iterate(query);
    });
  }

  /**
   * All transactions by holder, each holder's by time, read in pages as they
   * are asked for: sums by holder need to keep no more than one of them.
   */
  iterateByHolder(): AsyncIterableIterator<TxInfo> {
    return this.#each(() => this.#engine.queries.iterateByHolder());
  }

  /** Counts the transactions that a filter selects. */
  countTxs(filter: TxFilter = {}): Promise<number> {
    return this.#call(() => {
      requireKnown(filter, TX_FILTER);
      return this.#engine.queries.count(filter);
    });
  }

  /**
   * Rows that are no transactions, as another program or a hand has left them:
   * at most 1,000 of each kind. Those whose id is no text are in no list.
   */
  oddRows(): Promise<OddRow[]> {
    return this.#call(() => this.#engine.queries.oddRows?.() ?? []);
  }

  /** Bytes of all payloads of known size, oldest and newest UNIX time. */
  totals(): Promise<StoreTotals> {
    return this.#call(() => this.#engine.queries.totals());
  }

  /**
   * Deletes a transaction.
   *
   * @returns False when the id is unknown.
   * @throws {PreconditionError} If what is there does not match `ifMatch`; nothing
   * was changed.
   */
  deleteTx(txId: string, options: DeleteOptions = {}): Promise<boolean> {
    return this.#call(() => {
      requireKnown(options, DELETE_OPTIONS);
      const { ifMatch } = options;
      return this.#withId(
        txId,
        validateTxId,
        () => this.#engine.remove(txId, ifMatch),
      );
    });
  }

  /**
   * Deletes transactions, some at the same time.
   *
   * @returns How many there were; ids that are unknown do not count.
   * @throws What {@linkcode deleteTx} throws for the first that fails, and the
   * reason of `signal` once it is aborted; what was deleted stays so.
   */
  async deleteTxs(
    txIds: Iterable<string> | AsyncIterable<string>,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<number> {
    let deleted = 0;
    const remove = (txId: string) => this.deleteTx(txId);
    for await (const wasThere of inOrder(txIds, DELETIONS, remove, signal)) {
      if (wasThere) deleted++;
    }
    return deleted;
  }

  /**
   * Deletes every transaction that a filter selects, in batches, the oldest
   * first where the filter is one of time. One that is replaced before it is
   * its turn stays. Others may use the store meanwhile.
   *
   * @throws {PohStorageError} `NO_CRITERION` if nothing but a limit is given:
   * everything is never deleted by mistake.
   *
   * @example What is older than 30 days
   * ```ts
   * import { StorageManager } from "@poh/storage";
   * import { assertEquals } from "@std/assert";
   *
   * const base = await Deno.makeTempDir();
   * {
   *   await using store = await StorageManager.create(base, `${base}/poh.db`);
   *   const payload = new TextEncoder().encode("hello");
   *   await store.saveTx({ txId: "a", holderId: "b", timestamp: 0, payload });
   *   const before = Date.now() / 1000 - 30 * 86_400;
   *   const { deleted, bytes } = await store.prune({ before });
   *   assertEquals([deleted, bytes], [1, 5]);
   * }
   * await Deno.remove(base, { recursive: true });
   * ```
   */
  prune(
    filter: PruneFilter,
    options: PruneOptions = {},
  ): Promise<PruneResult> {
    return this.#call(() => {
      requireKnown(filter, PRUNE_FILTER);
      requireKnown(options, PRUNE_OPTIONS);
      return this.#engine.prune(filter, options);
    });
  }

  /** Reads everything, reports what is wrong, changes nothing. */
  verify(options: VerifyOptions = {}): Promise<StoreReport> {
    return this.#call(() => {
      requireKnown(options, VERIFY_OPTIONS);
      return this.#withSources(
        options,
        (sources) => this.#engine.verify(options, sources),
      );
    });
  }

  /**
   * Verifies the store and repairs what is proven to be damaged. Changes made
   * meanwhile through this manager wait.
   *
   * What is missing or damaged is healed from the sources that `from` names,
   * where they have it; the rest goes to quarantine. `onSound` is told the ids of
   * the transactions that are sound.
   *
   * @returns What was found and done. Damage to the database itself is reported,
   * not thrown.
   * @throws {StoreBusyError} If another process has the store open; nothing
   * was repaired.
   * @throws {PohStorageError} `NO_SOURCE` if a source cannot be opened; nothing
   * was repaired.
   *
   * @example A lost payload comes back from a backup
   * ```ts
   * import { backupStore, StorageManager } from "@poh/storage";
   * import { assertEquals } from "@std/assert";
   *
   * const dir = await Deno.makeTempDir();
   * const base = `${dir}/data`, backup = `${dir}/backup`;
   * {
   *   await using store = await StorageManager.create(base, `${base}/poh.db`);
   *   const payload = new TextEncoder().encode("hello");
   *   await store.saveTx({ txId: "a", holderId: "b", timestamp: 0, payload });
   *   await backupStore(base, `${base}/poh.db`, backup);
   *   await Deno.remove(`${base}/a.bin`);
   *   const report = await store.recover({ from: backup });
   *   assertEquals(report.findings[0]?.action, "healed");
   *   assertEquals((await store.loadTx("a"))?.payload, payload);
   * }
   * await Deno.remove(dir, { recursive: true });
   * ```
   */
  recover(options: RecoverOptions = {}): Promise<StoreReport> {
    return this.#call(() => {
      requireKnown(options, RECOVER_OPTIONS);
      return this.#withSources(
        options,
        (sources) => this.#engine.recover(options, sources),
      );
    });
  }

  /** Does something with what a check is to heal from. */
  async #withSources<T>(
    options: CheckOptions,
    work: (sources: Sources | null) => Promise<T>,
  ): Promise<T> {
    const { base, driver: { name } } = this.#engine;
    const driver = name === "builtin" ? "builtin" : "auto";
    await using sources = await openSources({ ...options, driver }, base);
    return await work(sources);
  }

  /**
   * Lists what {@linkcode recover} took out of service, in no order; none of it is
   * part of the store any more.
   *
   * @example Entries, with the reason for each
   * ```ts
   * import { StorageManager } from "@poh/storage";
   *
   * const base = await Deno.makeTempDir();
   * {
   *   await using store = await StorageManager.create(base, `${base}/poh.db`);
   *   for await (const { name, txId, reason } of store.listQuarantine()) {
   *     console.log(name, txId, reason);
   *   }
   * }
   * await Deno.remove(base, { recursive: true });
   * ```
   *
   * @throws {PohStorageError} `NOTE_DAMAGED` if a note is not what was written.
   */
  listQuarantine(): AsyncIterableIterator<QuarantineEntry> {
    return this.#each(() => this.#engine.quarantine.list());
  }

  /**
   * Puts a case back into service when its bytes have the digest that its row
   * promised, as they have when a disk gave wrong bytes for a while.
   *
   * @param name {@linkcode QuarantineEntry.name}
   * @throws {IntegrityError} If they do not; the case stays where it is.
   * @throws {PohStorageError} `NOT_IN_QUARANTINE`; `NO_ROW` if it is an orphan's;
   * `NOTE_DAMAGED`.
   * @throws {TxExistsError} If another transaction of that id was saved since.
   */
  restoreQuarantined(name: string): Promise<TxInfo> {
    return this.#call(() => this.#engine.quarantine.restore(name));
  }

  /**
   * Deletes every case for good.
   *
   * @returns How many.
   * @throws {StoreBusyError} If a store that machines share is being repaired.
   */
  emptyQuarantine(): Promise<number> {
    return this.#call(() => this.#engine.quarantine.empty());
  }

  /**
   * Moves payloads of at most `packBelow` bytes from files into the log, where
   * they are saved and loaded faster, and larger ones from the log into files.
   * Others may use the store meanwhile. A damaged payload stays where it is.
   *
   * To interrupt it loses nothing: what has moved stays moved, and the next call
   * moves the rest. Needs `--allow-read` and `--allow-write` for the store.
   *
   * @returns How many payloads were moved.
   * @throws {RangeError} If `packBelow` is not a whole number from 0 to 65,536.
   * @throws {PohStorageError} `READ_ONLY`; `LOCAL_ONLY` for a store that
   * machines share.
   *
   * @example Into the log, and back into files
   * ```ts
   * import { StorageManager } from "@poh/storage";
   * import { assertEquals } from "@std/assert";
   *
   * const base = await Deno.makeTempDir();
   * {
   *   await using store = await StorageManager.create(base, `${base}/poh.db`);
   *   const payload = new TextEncoder().encode("hello");
   *   await store.saveTx({ txId: "a", holderId: "alice", timestamp: 0, payload });
   *   assertEquals(await store.movePacked({ packBelow: 4096 }), 1);
   *   assertEquals(await store.movePacked({ packBelow: 0 }), 1);
   * }
   * await Deno.remove(base, { recursive: true });
   * ```
   */
  movePacked(options: MovePackedOptions = {}): Promise<number> {
    return this.#call(() => {
      requireKnown(options, MOVE_PACKED_OPTIONS);
      return this.#engine.movePacked(options);
    });
  }

  /**
   * Gives back the bytes of the log that belong to payloads which were replaced,
   * deleted or moved to files: {@linkcode LogUse.dead} of `describeStore`. The
   * store does so by itself once they are more than half of a log of 4 MiB or
   * more; this gives back all of them. Segments go oldest first, so it writes
   * again what lives before the last dead byte: up to the whole log. Others may
   * use the store meanwhile.
   *
   * To interrupt it loses nothing; the next call goes on. Needs `--allow-read`
   * and `--allow-write` for the store.
   *
   * @throws {PohStorageError} `READ_ONLY`; `LOCAL_ONLY` for a store that
   * machines share.
   *
   * @example After a large deletion
   * ```ts
   * import { StorageManager } from "@poh/storage";
   * import { assertEquals } from "@std/assert";
   *
   * const base = await Deno.makeTempDir();
   * {
   *   await using store = await StorageManager.create(base, `${base}/poh.db`, {
   *     packBelow: 4096,
   *   });
   *   const payload = new TextEncoder().encode("hello");
   *   await store.saveTx({ txId: "a", holderId: "alice", timestamp: 0, payload });
   *   await store.saveTx({ txId: "b", holderId: "alice", timestamp: 0, payload });
   *   await store.deleteTx("a");
   *   const { moved, dead } = await store.compact();
   *   assertEquals({ moved, dead }, { moved: 1, dead: 0 });
   * }
   * await Deno.remove(base, { recursive: true });
   * ```
   */
  compact(options: CompactOptions = {}): Promise<CompactReport> {
    return this.#call(() => {
      requireKnown(options, COMPACT_OPTIONS);
      return this.#engine.compact(options);
    });
  }

  /**
   * Why changes fail for now: what a readiness check asks. It does not wait, and
   * tells of a process that keeps the store locked once a change, or an earlier
   * call of this, has waited for it as long as `lockTimeout` allows.
   *
   * @returns The error that changes meet; null when they meet none, as far as
   * is known.
   */
  whyNotWritable(): Promise<PohStorageError | null> {
    return this.#call(() => this.#engine.whyNotWritable());
  }

  /**
   * Waits for the calls in flight, then lets go of the store, whatever goes
   * wrong. Safe to repeat.
   *
   * @throws {StoreBusyError} If another process keeps the store locked: what
   * this one had to finish, whoever opens it next does.
   */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  /**
   * The transparency log of a store on this machine that is open for writing.
   */
  get tlog(): StoreLog {
    this.#requireOpen();
    return this.#engine.tlog();
  }

  /** Closes the store. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    while (this.#calls > 0) {
      await new Promise<void>((resolve) => this.#onIdle = resolve);
    }
    await this.#engine.close();
    if (this.#folder !== null) {
      await Deno.remove(this.#folder, { recursive: true });
    }
  }

  /** Runs a call that `close` waits for, and that a closed manager refuses. */
  async #call<T>(work: () => MaybePromise<T>): Promise<T> {
    this.#requireOpen();
    this.#calls++;
    try {
      const result = work();
      return result instanceof Promise ? await result : result;
    } finally {
      if (--this.#calls === 0) this.#onIdle();
    }
  }

  /** The same for what is read piece by piece. */
  async *#each<T>(
    open: () => AsyncIterable<T>,
  ): AsyncIterableIterator<T> {
    this.#requireOpen();
    for await (const one of open()) {
      yield one;
      this.#requireOpen();
    }
  }

  /**
   * Runs `work` with an id that passes a check for new transactions, or that a
   * row has all the same: stores of the older Python package have such.
   */
  #withId<T>(
    txId: string,
    check: (txId: string) => unknown,
    work: () => MaybePromise<T>,
  ): MaybePromise<T> {
    try {
      check(txId);
    } catch (error) {
      if (!isText(txId)) throw error;
      return (async () => {
        if (await this.#engine.info(txId) === null) throw error;
        return await work();
      })();
    }
    return work();
  }

  /** A call that need not leave the thread: a loop of them would keep it. */
  #read<T>(work: () => MaybePromise<T>): Promise<T> {
    return this.#call(() => {
      const turn = this.#pacer.giveWay();
      return turn ? turn.then(work) : work();
    });
  }

  #requireSeconds({ timestamp }: TxHead): void {
    if (!this.#refusesMilliseconds || !looksLikeMilliseconds(timestamp)) return;
    throw new InvalidTxError(
      "timestamp",
      `timestamp must be UNIX seconds, and ${timestamp} looks like milliseconds`,
    );
  }

  #requireOpen(): void {
    if (this.#closing) throw new StoreClosedError();
  }
}
