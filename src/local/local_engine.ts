/**
 * A store on one machine: a log that holds every change, payload files and
 * metadata in SQLite that follow it.
 *
 * @module
 */

import type { RecoverOptions, VerifyOptions } from "../check/check.ts";
import { crashPoint } from "../async/crash_points.ts";
import { ReadAhead, SMALL } from "../files/durable_fs.ts";
import {
  type Engine,
  infoOf,
  type MaybePromise,
  type Quarantine,
  type TxQueries,
  type VerifiedTx,
  type WithoutSources,
} from "../engine.ts";
import type {
  CompactOptions,
  CompactReport,
  MovePackedOptions,
} from "../model/packing.ts";
import { IntegrityError, PohStorageError, StoreBusyError } from "../errors.ts";
import {
  currentRow,
  loadTx,
  openPayload,
  payloadSoon,
} from "./find_payload.ts";
import { asDiskFull } from "../files/full_disk.ts";
import type { Sources } from "../check/sources.ts";
import { digestOf, sha256HexSync } from "../files/hash.ts";
import type { IfExists, SavedTx } from "../model/if_exists.ts";
import type { LockWait } from "../options.ts";
import { retryBusy } from "../async/wait_for.ts";
import { packBelow, requirePackBelow } from "./pack_below.ts";
import { movePayloads } from "./packed.ts";
import {
  closeStore,
  type OpenStore,
  openStore,
  removal,
  requireInPlace,
  saving,
  type StoreWriter,
  writerOf,
} from "./open_store.ts";
import {
  type PruneFilter,
  type PruneOptions,
  type PruneResult,
  pruneRows,
} from "../check/prune.ts";
import {
  casesIn,
  emptyQuarantine,
  listQuarantine,
  restoreCase,
} from "../payloads/quarantine.ts";
import { recoverStore, verifyRows } from "./local_check.ts";
import type { StoreReport } from "../model/report.ts";
import type { DriverInfo } from "../model/driver_info.ts";
import type { StorageOptions } from "../model/storage_options.ts";
import type { Tx, TxHead, TxInfo, TxStream } from "../types.ts";
import { type Pieces, verified } from "../payloads/verifying_stream.ts";
import { findRowToRead } from "../sqlite/lookups.ts";
import { queriesOf } from "./queries.ts";

/** Times a load looks again when a writer changes what it reads. */
const READ_ATTEMPTS = 5;

/** A store on one machine. Any number may share one, in any processes. */
export class LocalEngine implements Engine {
  readonly #store: OpenStore;
  readonly #wait: LockWait;
  /** Changes under way, which a repair waits for. */
  #changes = 0;
  #onIdle = () => {};
  /**
   * Large payloads on their way to the disk: later changes of their ids wait,
   * so that the changes of one id keep the order of their calls.
   */
  readonly #staging = new Map<string, Promise<void>>();
  /** While a repair has the store for itself, changes wait for this. */
  #repair: Promise<void> | null = null;

  private constructor(store: OpenStore, wait: LockWait) {
    this.#store = store;
    this.#wait = wait;
    const queries = queriesOf(store.rows);
    const totals = () => this.#patiently(() => queries.totals());
    this.queries = { ...queries, totals };
  }

  /**
   * Opens a store by absolute paths, or makes it if `create` is set; see
   * {@linkcode StorageManager.create}.
   */
  static async open(
    base: string,
    db: string,
    options: StorageOptions,
    create = false,
  ): Promise<LocalEngine> {
    const store = await openStore(base, db, options, { create });
    return new LocalEngine(store, options);
  }

  /** {@inheritDoc Engine.base} */
  get base(): string {
    return this.#store.files.basePath;
  }

  /** {@inheritDoc Engine.db} */
  get db(): string {
    return this.#store.rows.path;
  }

  /** {@inheritDoc Engine.driver} */
  get driver(): DriverInfo {
    return this.#store.rows.driver;
  }

  /** {@inheritDoc Engine.writeOnce} */
  get writeOnce(): boolean {
    return this.#store.writeOnce;
  }

  /** {@inheritDoc Engine.packBelow} */
  get packBelow(): number {
    return packBelow(this.#store.rows);
  }

  /** {@inheritDoc Engine.queries} */
  readonly queries: TxQueries;

  /** {@inheritDoc Engine.quarantine} */
  readonly quarantine: Quarantine = {
    list: () => listQuarantine(this.base),
    restore: (name) => restoreCase(casesIn(this.base), name, this),
    empty: () =>
      this.#change(() => {
        requireInPlace(this.#store);
        return emptyQuarantine(this.base);
      }),
  };

  /** {@inheritDoc Engine.save} */
  save(
    head: TxHead,
    payload: Uint8Array,
    rule: IfExists,
  ): Promise<SavedTx> {
    return this.#saving((writer) =>
      payload.length > SMALL
        ? this.#saveStaged(writer, head, [payload], rule)
        : this.#saveSmall(writer, head, payload, rule)
    );
  }

  /** {@inheritDoc Engine.saveStream} */
  saveStream(
    head: TxHead,
    chunks: AsyncIterable<Uint8Array>,
    rule: IfExists,
    expected?: string,
  ): Promise<SavedTx> {
    return this.#saving((writer) =>
      this.#saveStaged(writer, head, chunks, rule, expected)
    );
  }

  /** {@inheritDoc Engine.load} */
  load(txId: string): MaybePromise<Tx | null> {
    return this.#patiently(() => loadTx(this.#store, txId));
  }

  /** {@inheritDoc Engine.loadSoon} */
  loadSoon(txId: string): VerifiedTx | null {
    try {
      const found = findRowToRead(this.#store.rows, txId);
      const soon = found && payloadSoon(this.#store, found);
      return soon ? { info: found.info, payload: soon.slice() } : null;
    } catch {
      return null; // whoever loads it in the other way is told
    }
  }

  /** {@inheritDoc Engine.loadStream} */
  async loadStream(txId: string): Promise<TxStream | null> {
    return await this.#patiently(() => this.#loadStream(txId));
  }

  async #loadStream(txId: string): Promise<TxStream | null> {
    const found = findRowToRead(this.#store.rows, txId);
    const soon = found && payloadSoon(this.#store, found);
    if (soon) return { info: found.info, payload: streamOf(soon.slice()) };
    const whole = found && isSmall(found.info) && await this.#loadWhole(txId);
    if (whole) return whole;
    let info = found?.info ?? null;
    for (let attempt = 1; info; attempt++) {
      const opened = await openPayload(this.#store, info);
      if (opened) {
        const bytes = opened instanceof Uint8Array
          ? once(opened)
          : piecesOf(opened);
        return { info, payload: verified(info, bytes) };
      }
      if (attempt === READ_ATTEMPTS) {
        throw new IntegrityError(txId, info.storageHash, null);
      }
      info = currentRow(this.#store, txId);
    }
    return null;
  }

  /** A sound payload that is read whole in one go; null when it is none. */
  async #loadWhole(txId: string): Promise<TxStream | null> {
    try {
      const tx = await loadTx(this.#store, txId);
      if (!tx) return null;
      const { payload, ...head } = tx;
      const info = infoOf(head, await digestOf(payload), payload.length);
      return { info, payload: streamOf(payload) };
    } catch (error) {
      if (error instanceof IntegrityError) return null;
      throw error;
    }
  }

  /** {@inheritDoc Engine.info} */
  info(txId: string): MaybePromise<TxInfo | null> {
    return this.#patiently(() =>
      findRowToRead(this.#store.rows, txId)?.info ?? null
    );
  }

  /** {@inheritDoc Engine.remove} */
  remove(txId: string): Promise<boolean> {
    return this.#change(async ({ queue }) => {
      const staging = this.#staging.get(txId);
      if (staging) await staging;
      return await queue.submit({ entry: removal(txId) });
    });
  }

  /** {@inheritDoc Engine.prune} */
  // deno-lint-ignore require-await -- what it throws, it rejects with
  async prune(
    filter: PruneFilter,
    options: PruneOptions,
  ): Promise<PruneResult> {
    if (!options.dryRun) writerOf(this.#store);
    return pruneRows(
      this.queries,
      filter,
      options,
      (seen) => this.#change((writer) => this.#removeAll(writer, seen)),
    );
  }

  /** {@inheritDoc Engine.verify} */
  verify(
    options: WithoutSources<VerifyOptions>,
    sources: Sources | null = null,
  ): Promise<StoreReport> {
    return verifyRows(this.#store, options, sources);
  }

  /** {@inheritDoc Engine.recover} */
  recover(
    options: WithoutSources<RecoverOptions>,
    sources: Sources | null = null,
  ): Promise<StoreReport> {
    return this.#withoutChanges(() =>
      recoverStore(this.#store, options, sources)
    );
  }

  /** {@inheritDoc Engine.movePacked} */
  movePacked(options: MovePackedOptions): Promise<number> {
    return this.#change(async (writer) => {
      const { packBelow } = options;
      requirePackBelow(packBelow);
      requireInPlace(this.#store);
      if (packBelow !== undefined) {
        await writer.locks.whileCommitting(() =>
          writer.packBelow.set(packBelow)
        );
      }
      return await movePayloads(this.#store, writer, options);
    });
  }

  /** {@inheritDoc Engine.compact} */
  compact(options: CompactOptions): Promise<CompactReport> {
    return this.#change(({ queue }) => queue.compact(options));
  }

  /** {@inheritDoc Engine.whyNotWritable} */
  async whyNotWritable(): Promise<PohStorageError | null> {
    try {
      const { locks, queue, reserve } = writerOf(this.#store);
      const obstacle = queue.moved() ?? locks.whyStuck();
      if (!obstacle) await reserve.requireWhole();
      return obstacle;
    } catch (error) {
      if (error instanceof PohStorageError) return error;
      throw error;
    }
  }

  /** {@inheritDoc Engine.close} */
  close(): Promise<void> {
    return closeStore(this.#store);
  }

  /** A read that waits while another program keeps readers away. */
  #patiently<T>(read: () => MaybePromise<T>): MaybePromise<T> {
    const again = (error: unknown) => {
      if (!(error instanceof StoreBusyError)) throw error;
      return retryBusy(read, this.#wait);
    };
    try {
      const result = read();
      return result instanceof Promise ? result.catch(again) : result;
    } catch (error) {
      return again(error);
    }
  }

  /** A change that takes room: not from what deletions need. */
  #saving<T>(work: (writer: StoreWriter) => Promise<T>): Promise<T> {
    return this.#change((writer) => {
      if (!writer.reserve.isGivenUp) return work(writer);
      return writer.reserve.requireWhole().then(() => work(writer));
    });
  }

  /** A change: not while a repair has the store for itself. */
  async #change<T>(
    work: (writer: StoreWriter) => T | Promise<T>,
  ): Promise<T> {
    const writer = writerOf(this.#store);
    while (this.#repair) await this.#repair;
    this.#changes++;
    try {
      return await work(writer);
    } catch (error) {
      throw asDiskFull(error);
    } finally {
      if (--this.#changes === 0) this.#onIdle();
    }
  }

  /** Which of these were deleted: those that are still as they were seen. */
  async #removeAll({ queue }: StoreWriter, seen: TxInfo[]): Promise<boolean[]> {
    const removals = await Promise.allSettled(
      seen.map((info) =>
        queue.submit({ entry: removal(info.txId), seen: info })
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
      while (this.#changes > 0) {
        await new Promise<void>((resolve) => this.#onIdle = resolve);
      }
      return await work();
    } finally {
      this.#repair = null;
      resolve();
    }
  }

  async #saveSmall(
    writer: StoreWriter,
    head: TxHead,
    payload: Uint8Array,
    rule: IfExists,
  ): Promise<SavedTx> {
    const info = infoOf(head, sha256HexSync(payload), payload.length);
    const staging = this.#staging.get(head.txId);
    if (staging) await staging;
    const how = { payload, isPacked: writer.packBelow.covers(payload.length) };
    return await writer.queue.save({ entry: saving(info, how) }, rule);
  }

  async #saveStaged(
    writer: StoreWriter,
    head: TxHead,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    rule: IfExists,
    expected?: string,
  ): Promise<SavedTx> {
    const { files } = this.#store;
    const { txId } = head;
    const earlier = this.#staging.get(txId);
    const submitted = Promise.withResolvers<void>();
    this.#staging.set(txId, submitted.promise);
    try {
      const { name, digest, size } = await files.staged.add(chunks)
        .catch((error) => {
          throw writer.queue.moved() ?? error;
        });
      crashPoint("payload staged");
      if (expected !== undefined && digest !== expected) {
        files.staged.remove(name);
        throw new IntegrityError(txId, expected, digest);
      }
      await earlier;
      const info = infoOf(head, digest, size);
      const how = writer.packBelow.covers(size)
        ? { payload: await files.staged.take(name), isPacked: true }
        : { staged: name };
      const committed = writer.queue.save({ entry: saving(info, how) }, rule);
      submitted.resolve();
      return await committed;
    } finally {
      submitted.resolve();
      if (this.#staging.get(txId) === submitted.promise) {
        this.#staging.delete(txId);
      }
    }
  }
}

/** Whether a payload is read whole, in one go. */
function isSmall({ size }: TxInfo): boolean {
  return size >= 0 && size <= SMALL;
}

function streamOf(payload: Uint8Array) {
  return new Blob([payload as BlobPart]).stream();
}

function once(bytes: Uint8Array): Pieces {
  const pieces = [new Uint8Array(bytes)].values();
  return {
    next: () => Promise.resolve(pieces.next().value ?? null),
    end: () => Promise.resolve(),
  };
}

function piecesOf(file: Deno.FsFile): Pieces {
  const ahead = new ReadAhead(file);
  return { next: () => ahead.next(), end: () => ahead[Symbol.asyncDispose]() };
}
