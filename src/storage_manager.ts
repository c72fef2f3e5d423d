/**
 * The public API: saves, verified loads, queries, deletion and repair of a
 * store on one machine.
 *
 * @module
 */

import { resolve } from "@std/path";
import { crashPoint } from "./crash_points.ts";
import { CHUNK, SMALL } from "./durable_fs.ts";
import {
  IntegrityError,
  PayloadUnreadableError,
  StoreClosedError,
} from "./errors.ts";
import type { FileStore } from "./file_store.ts";
import { digestOf, Sha256, sha256HexSync } from "./hash.ts";
import { fileName } from "./key.ts";
import {
  closeStore,
  type OpenStore,
  openStore,
  rememberInlineBelow,
  removal,
  type StorageOptions,
  type StoreWriter,
  writerOf,
} from "./open_store.ts";
import {
  type PruneFilter,
  type PruneOptions,
  type PruneResult,
  pruneRows,
} from "./prune.ts";
import {
  type CheckOptions,
  type RecoverOptions,
  recoverStore,
  type VerifyOptions,
  verifyRows,
} from "./recovery.ts";
import { requireNoBackup } from "./poh_dir.ts";
import { isForDatabase, movePayloads, placement } from "./inline.ts";
import { payloadInLog } from "./redo.ts";
import type { StoreReport } from "./report.ts";
import type { DriverInfo } from "./sqlite_driver.ts";
import { Pacer } from "./turn.ts";
import { validateTx, validateTxHead, validateTxId } from "./tx.ts";
import type {
  StoreTotals,
  Tx,
  TxFilter,
  TxHead,
  TxInfo,
  TxQuery,
} from "./types.ts";

/** Times a load looks again when a writer changes what it reads. */
const READ_ATTEMPTS = 5;

/** What {@linkcode StorageManager.saveTxs} keeps in flight. */
const IN_FLIGHT_TXS = 1_024;
const IN_FLIGHT_BYTES = 16 * 1024 * 1024;

/** A payload as a stream, with what the metadata says of it. */
export interface TxStream {
  /** What the metadata says. */
  info: TxInfo;
  /**
   * The bytes. Errors with an {@linkcode IntegrityError} at its end when they
   * do not have the promised digest. Read it to its end or cancel it. A reader
   * with `mode: "byob"` has its own buffer filled.
   */
  payload: ReadableStream<Uint8Array<ArrayBuffer>>;
}

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
  /** Absolute path of the payload directory. */
  readonly basePath: string;
  /** Absolute path of the database. */
  readonly sqlitePath: string;
  readonly #store: OpenStore;
  /** Calls under way, which `close` waits for. */
  readonly #calls = new Set<Promise<unknown>>();
  readonly #pacer = new Pacer();
  #closing: Promise<void> | null = null;
  /** Those of them that change the store, which a repair waits for. */
  readonly #changes = new Set<Promise<unknown>>();
  /**
   * Large payloads on their way to the disk: later changes of their ids wait,
   * so that the changes of one id keep the order of their calls.
   */
  readonly #staging = new Map<string, Promise<void>>();
  /** While a repair has the store for itself, changes wait for this. */
  #repair: Promise<void> | null = null;

  private constructor(store: OpenStore) {
    this.#store = store;
    this.basePath = store.files.basePath;
    this.sqlitePath = store.rows.path;
  }

  /**
   * Opens a store, and makes it where there is none.
   *
   * What a crash left half-done is finished first, unless another process has
   * the store open.
   *
   * @param basePath Directory of the payload files.
   * @param sqlitePath Database file.
   * @throws {StoreNotFoundError} If there is no store and none may be made.
   * @throws {MetadataDamagedError} If the database is damaged: see `recover`.
   * @throws {StoreBusyError} If another process is repairing the store.
   * @throws {BackupReadOnlyError} If it is a backup and not opened read-only.
   * @throws {DriverUnavailableError} If the binding asked for cannot be had.
   */
  static async create(
    basePath: string,
    sqlitePath: string,
    options: StorageOptions = {},
  ): Promise<StorageManager> {
    if (!options.readOnly) requireNoBackup(resolve(basePath));
    return new StorageManager(
      await openStore(resolve(basePath), resolve(sqlitePath), options),
    );
  }

  /** Which SQLite binding serves. */
  get driver(): DriverInfo {
    return this.#store.rows.driver;
  }

  /**
   * Saves a transaction; an older one of that id is replaced. Once resolved it
   * survives as `durability` promises; until then it is there whole or not at
   * all. A payload of more than 64 KiB must not be changed before that.
   *
   * @throws {InvalidTxError} If it cannot be stored; nothing was touched.
   */
  async saveTx(tx: Tx): Promise<TxInfo> {
    this.#requireOpen();
    validateTx(tx);
    fileName(tx.txId); // refuses what no file can stand for
    const { txId, holderId, timestamp } = tx;
    const head = { txId, holderId, timestamp };
    const { payload: large } = tx;
    if (large.length > SMALL) {
      return await this.#change((writer) =>
        this.#saveStaged(writer, head, [large])
      );
    }
    // A copy: the caller's buffer is the caller's again at once.
    const payload = new Uint8Array(tx.payload);
    return await this.#change((writer) =>
      this.#saveSmall(writer, head, payload)
    );
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
   * @param expected The payload's SHA-256 in hex, where it is known.
   * @throws {InvalidTxError} If it cannot be stored.
   * @throws {IntegrityError} If the payload is not the expected one; nothing
   * was saved.
   */
  saveTxStream(
    head: TxHead,
    payload: AsyncIterable<Uint8Array>,
    expected?: string,
  ): Promise<TxInfo> {
    return this.#change((writer) => {
      validateTxHead(head);
      fileName(head.txId);
      return this.#saveStaged(writer, head, payload, expected);
    });
  }

  /**
   * Saves transactions, many in flight at once. Takes no more from the iterable
   * than it can keep up with.
   *
   * @returns How many were saved: all of them.
   * @throws The first error, once the saves in flight have ended; what was
   * saved by then stays saved.
   */
  async saveTxs(txs: Iterable<Tx> | AsyncIterable<Tx>): Promise<number> {
    const failures: unknown[] = [];
    let saved = 0, inFlight = 0, bytes = 0;
    let onEnd = () => {};
    const roomFor = async (txs: number, payloads: number) => {
      while (inFlight > txs || bytes > payloads) {
        await new Promise<void>((resolve) => onEnd = resolve);
      }
    };
    const save = async (tx: Tx) => {
      const size = tx.payload?.length ?? 0;
      inFlight++;
      bytes += size;
      try {
        await this.saveTx(tx);
        saved++;
      } catch (error) {
        failures.push(error);
      }
      inFlight--;
      bytes -= size;
      onEnd();
    };
    try {
      for await (const tx of txs) {
        save(tx);
        await roomFor(IN_FLIGHT_TXS, IN_FLIGHT_BYTES);
        if (failures.length > 0) break;
      }
    } catch (error) {
      failures.push(error); // of the iterable: what is in flight goes on
    }
    await roomFor(0, 0);
    if (failures.length > 0) throw failures[0];
    return saved;
  }

  /**
   * Loads a transaction and verifies it.
   *
   * @returns The transaction, or null when the id is unknown.
   * @throws {IntegrityError} If its payload is damaged or gone.
   * @throws {PayloadUnreadableError} If the system would not give it.
   */
  loadTx(txId: string): Promise<Tx | null> {
    return this.#call(async () => {
      fileName(txId); // refuses what no file can stand for
      const { files, rows } = this.#store;
      for (let attempt = 1;; attempt++) {
        const found = rows.lookup(txId);
        if (!found) return null;
        const { info, inline } = found;
        if (inline && await digestOf(inline) === info.storageHash) {
          return toTx(info, inline);
        }
        const { payload, failure } = await attemptRead(() => files.load(txId));
        const bytes = payload ?? inline;
        const digest = bytes && await digestOf(bytes);
        if (digest === info.storageHash) return toTx(info, bytes!);
        const logged = await payloadInLog(info, files, rows);
        if (logged) return toTx(info, logged);
        if (failure) throw unreadable(txId, failure);
        if (attempt === READ_ATTEMPTS) {
          throw new IntegrityError(txId, info.storageHash, digest);
        }
      }
    });
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
    return this.#call(async () => {
      fileName(txId); // refuses what no file can stand for
      const { files, rows } = this.#store;
      for (let attempt = 1;; attempt++) {
        const row = rows.lookup(txId);
        if (!row) return null;
        const { info, inline } = row;
        if (inline && await digestOf(inline) === info.storageHash) {
          return { info, payload: new Blob([inline as BlobPart]).stream() };
        }
        const entry = rows.redoOf(txId);
        const logged = entry?.payload && await payloadInLog(info, files, rows);
        if (logged) {
          return { info, payload: new Blob([logged as BlobPart]).stream() };
        }
        const opened = openPayload(txId, entry?.staged ?? null, files);
        // The same row before and after: then this is the file it refers to.
        if (opened && rows.get(txId)?.storageHash === info.storageHash) {
          return { info, payload: verified(info, opened.file) };
        }
        opened?.file.close();
        if (attempt === READ_ATTEMPTS) {
          const found = inline && await digestOf(inline);
          throw new IntegrityError(txId, info.storageHash, found);
        }
      }
    });
  }

  /** Whether an id is known. Its payload is not looked at. */
  hasTx(txId: string): Promise<boolean> {
    return this.#call(() => this.#store.rows.get(txId) !== null);
  }

  /** What the metadata knows of an id; null when it is unknown. */
  infoTx(txId: string): Promise<TxInfo | null> {
    return this.#call(() => this.#store.rows.get(txId));
  }

  /**
   * The ids that a query selects, in its order, that of their UTF-8 bytes
   * unless it asks for another. All of them at once: for a large store see
   * {@linkcode iterateTxs}.
   *
   * @throws {PohStorageError} `CURSOR_GONE` if an order of time is to go on
   * after an id that is not there.
   */
  listTxs(query: TxQuery = {}): Promise<string[]> {
    return this.#call(() =>
      Array.fromAsync(this.#store.rows.iterate(query), (info) => info.txId)
    );
  }

  /**
   * What a query selects, in its order, read in pages as it is asked for.
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
  async *iterateTxs(query: TxQuery = {}): AsyncIterableIterator<TxInfo> {
    this.#requireOpen();
    for await (const info of this.#store.rows.iterate(query)) {
      yield info;
      this.#requireOpen();
    }
  }

  /**
   * All transactions by holder, each holder's by time, read in pages as they
   * are asked for: sums by holder need to keep no more than one of them.
   */
  async *iterateByHolder(): AsyncIterableIterator<TxInfo> {
    this.#requireOpen();
    for await (const info of this.#store.rows.iterateByHolder()) {
      yield info;
      this.#requireOpen();
    }
  }

  /** How many transactions a filter selects. */
  countTxs(filter: TxFilter = {}): Promise<number> {
    return this.#call(() => this.#store.rows.count(filter));
  }

  /** Bytes of all payloads of known size, oldest and newest UNIX time. */
  totals(): Promise<StoreTotals> {
    return this.#call(() => this.#store.rows.totals());
  }

  /**
   * Deletes a transaction.
   *
   * @returns False when the id is unknown.
   */
  deleteTx(txId: string): Promise<boolean> {
    return this.#change(async ({ queue }) => {
      validateTxId(txId);
      await this.#staging.get(txId);
      return await queue.submit({ info: null, entry: removal(txId) });
    });
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
      if (!options.dryRun) writerOf(this.#store);
      return pruneRows(
        this.#store.rows,
        filter,
        options,
        (seen) => this.#changing((writer) => this.#removeAll(writer, seen)),
      );
    });
  }

  /** Reads everything, reports what is wrong, changes nothing. */
  verify(options: VerifyOptions = {}): Promise<StoreReport> {
    return this.#call(() => verifyRows(this.#store, options));
  }

  /**
   * Verifies the store and repairs what is proven to be damaged. Changes made
   * meanwhile through this manager wait.
   *
   * @returns The ids that are sound, all at once; for a large store see
   * {@linkcode performRecovery}.
   * @throws {StoreBusyError} If another process has the store open; nothing
   * was repaired.
   */
  recover(options: RecoverOptions = {}): Promise<string[]> {
    return this.#call(async () => {
      const sound: string[] = [];
      const onSound = (txId: string) => {
        sound.push(txId);
        options.onSound?.(txId);
      };
      await this.#withoutChanges(() =>
        recoverStore(this.#store, { ...options, onSound })
      );
      return sound;
    });
  }

  /**
   * From now on payloads of up to so many bytes live in the database, others in
   * files; moves those that are there. Small payloads are saved faster there,
   * and a copy of the database is a copy of them; but they are not to be seen
   * as files, and the older Python package does not find them.
   *
   * What is damaged stays where it is.
   *
   * @param bytes From 0, for all in files, to 65,536.
   * @returns How many payloads were moved.
   */
  moveInline(
    bytes: number,
    options: Pick<CheckOptions, "signal" | "onProgress"> = {},
  ): Promise<number> {
    return this.#change(async (writer) => {
      const { rows } = this.#store;
      await writer.locks.whileCommitting(() =>
        rememberInlineBelow(rows, bytes)
      );
      writer.inlineBelow = bytes;
      return await movePayloads(this.#store, writer, options);
    });
  }

  /** Waits for the calls in flight, then lets go of the store. Safe to repeat. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  /** Closes the store. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#calls);
    await closeStore(this.#store);
  }

  /** What `close` waits for, and what a closed manager refuses. */
  async #call<T>(work: () => T | Promise<T>): Promise<T> {
    this.#requireOpen();
    // Reads do not leave the thread: a loop of them would keep it.
    const turn = this.#pacer.giveWay();
    const call = (async () => {
      if (turn) await turn;
      return await work();
    })();
    this.#calls.add(call);
    try {
      return await call;
    } finally {
      this.#calls.delete(call);
    }
  }

  /** A call that changes the store: not while a repair has it for itself. */
  #change<T>(work: (writer: StoreWriter) => T | Promise<T>): Promise<T> {
    return this.#call(() => this.#changing(work));
  }

  /** A change that is all of a call, or a part of it. */
  async #changing<T>(
    work: (writer: StoreWriter) => T | Promise<T>,
  ): Promise<T> {
    const writer = writerOf(this.#store);
    while (this.#repair) await this.#repair;
    const change = (async () => await work(writer))();
    this.#changes.add(change);
    try {
      return await change;
    } finally {
      this.#changes.delete(change);
    }
  }

  /** Which of these were deleted: those that are still as they were seen. */
  async #removeAll({ queue }: StoreWriter, seen: TxInfo[]): Promise<boolean[]> {
    const removals = await Promise.allSettled(
      seen.map((info) =>
        queue.submit({ info: null, entry: removal(info.txId), seen: info })
      ),
    );
    return removals.map((removal) => {
      if (removal.status === "rejected") throw removal.reason;
      return removal.value;
    });
  }

  /** Waits for the changes under way; those that come meanwhile wait. */
  async #withoutChanges<T>(work: () => Promise<T>): Promise<T> {
    while (this.#repair) await this.#repair;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#repair = promise;
    try {
      await Promise.allSettled(this.#changes);
      return await work();
    } finally {
      this.#repair = null;
      resolve();
    }
  }

  #requireOpen(): void {
    if (this.#closing) throw new StoreClosedError();
  }

  async #saveSmall(
    writer: StoreWriter,
    head: TxHead,
    payload: Uint8Array,
  ): Promise<TxInfo> {
    const info = toInfo(head, sha256HexSync(payload), payload.length);
    await this.#staging.get(head.txId);
    await writer.queue.submit(placement(writer, info, payload));
    return info;
  }

  async #saveStaged(
    writer: StoreWriter,
    head: TxHead,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    expected?: string,
  ): Promise<TxInfo> {
    const { files } = this.#store;
    const { txId } = head;
    const earlier = this.#staging.get(txId);
    const submitted = Promise.withResolvers<void>();
    this.#staging.set(txId, submitted.promise);
    try {
      const { name, digest, size } = await files.stage(chunks);
      crashPoint("payload staged");
      if (expected !== undefined && digest !== expected) {
        files.unstage(name);
        throw new IntegrityError(txId, expected, digest);
      }
      await earlier;
      const info = toInfo(head, digest, size);
      const change = isForDatabase(size, writer)
        ? placement(writer, info, await files.takeStaged(name))
        : {
          info,
          entry: {
            txId,
            action: "put" as const,
            storageHash: digest,
            payload: null,
            staged: name,
          },
        };
      const committed = writer.queue.submit(change);
      submitted.resolve();
      await committed;
      return info;
    } finally {
      submitted.resolve();
      if (this.#staging.get(txId) === submitted.promise) {
        this.#staging.delete(txId);
      }
    }
  }
}

function toInfo(head: TxHead, storageHash: string, size: number): TxInfo {
  const { txId, holderId, timestamp } = head;
  return { txId, holderId, timestamp, storageHash, size };
}

function toTx(info: TxInfo, payload: Uint8Array): Tx {
  const { txId, holderId, timestamp } = info;
  return { txId, holderId, timestamp, payload };
}

/** What keeps a file from being read is no damage: it is told as it is. */
async function attemptRead(
  read: () => Promise<Uint8Array | null>,
): Promise<{ payload: Uint8Array | null; failure?: Error }> {
  try {
    return { payload: await read() };
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return { payload: null, failure: error as Error };
  }
}

function openPayload(
  txId: string,
  staged: string | null,
  files: FileStore,
): { file: Deno.FsFile; size: number } | null {
  try {
    return staged !== null && files.openStaged(staged) || files.open(txId);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw unreadable(txId, error as Error);
  }
}

function unreadable(txId: string, cause: Error): PayloadUnreadableError {
  return new PayloadUnreadableError(txId, cause.message, { cause });
}

/**
 * A stream that ends in an error unless its bytes have the row's digest. It
 * fills the reader's own buffer where the reader brings one.
 */
function verified(
  info: TxInfo,
  file: Deno.FsFile,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const hash = new Sha256();
  return new ReadableStream({
    type: "bytes",
    autoAllocateChunkSize: CHUNK,
    async pull(controller) {
      const request = controller.byobRequest!;
      const view = request.view as Uint8Array<ArrayBuffer>;
      let read: number | null;
      try {
        read = await file.read(view);
      } catch (error) {
        file.close();
        throw unreadable(info.txId, error as Error);
      }
      if (read !== null) {
        hash.update(view.subarray(0, read));
        return request.respond(read);
      }
      file.close();
      const found = hash.hex();
      if (found === info.storageHash) {
        controller.close();
        request.respond(0);
      } else {
        const { txId, storageHash } = info;
        controller.error(new IntegrityError(txId, storageHash, found));
      }
    },
    cancel: () => file.close(),
  });
}
