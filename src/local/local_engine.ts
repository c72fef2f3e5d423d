/**
 * A store on one machine: a log that holds every change, payload files and
 * metadata in SQLite that follow it.
 *
 * @module
 */

import type { RecoverOptions, VerifyOptions } from "../check/check.ts";
import { SMALL } from "../files/durable_fs.ts";
import type {
  Engine,
  MaybePromise,
  Quarantine,
  StreamDemands,
  TxQueries,
  VerifiedTx,
  WithoutSources,
} from "../engine.ts";
import type {
  CompactOptions,
  CompactReport,
  MovePackedOptions,
} from "../model/packing.ts";
import { PohStorageError, StoreBusyError } from "../errors.ts";
import { loadTx, payloadSoon } from "./find_payload.ts";
import { asDiskFull } from "../files/full_disk.ts";
import type { Sources } from "../check/sources.ts";
import type { IfExists, IfMatch, SavedTx } from "../model/if_exists.ts";
import type { LockWait } from "../options.ts";
import { retryBusy } from "../async/wait_for.ts";
import type { StoreTlog } from "../tlog/store_tlog.ts";
import { tlogOf } from "./tlog_of.ts";
import { packBelow, requirePackBelow } from "./pack_below.ts";
import { movePayloads } from "./packed.ts";
import {
  closeStore,
  type OpenStore,
  openStore,
  removal,
  requireInPlace,
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
import { because, type Why } from "../log/why.ts";
import { recoverStore, verifyRows } from "./local_check.ts";
import type { StoreReport } from "../model/report.ts";
import type { DriverInfo } from "../model/driver_info.ts";
import type { StorageOptions } from "../model/storage_options.ts";
import type { Tx, TxHead, TxInfo, TxStream } from "../types.ts";
import { findRowToRead } from "../sqlite/lookups.ts";
import { queriesOf } from "./queries.ts";
import { loadStream } from "./load_stream.ts";
import { Saves } from "./saves.ts";

/** A store on one machine. Any number may share one, in any processes. */
export class LocalEngine implements Engine {
  readonly #store: OpenStore;
  readonly #wait: LockWait;
  readonly #saves: Saves;
  /** {@inheritDoc Engine.queries} */
  readonly queries: TxQueries;
  /** Changes under way, which a repair waits for. */
  #changes = 0;
  #onIdle = () => {};
  #tlog: StoreTlog | null = null;
  /** While a repair has the store for itself, changes wait for this. */
  #repair: Promise<void> | null = null;

  private constructor(store: OpenStore, wait: LockWait) {
    this.#store = store;
    this.#wait = wait;
    this.#saves = new Saves(store.files);
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

  /** {@inheritDoc Engine.quarantine} */
  readonly quarantine: Quarantine = {
    list: () => listQuarantine(this.base),
    restore: (name) =>
      restoreCase(casesIn(this.base), name, {
        info: (txId) => this.info(txId),
        saveStream: (row, payload, rule, { expected }) =>
          this.#saveStream(row, payload, rule, { expected, why: "restored" }),
      }),
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
    ifMatch?: IfMatch,
  ): Promise<SavedTx> {
    return this.#saving((writer) =>
      payload.length > SMALL
        ? this.#saves.saveStaged(writer, head, [payload], rule, { ifMatch })
        : this.#saves.saveSmall(writer, head, payload, rule, ifMatch)
    );
  }

  /** {@inheritDoc Engine.saveStream} */
  saveStream(
    head: TxHead,
    chunks: AsyncIterable<Uint8Array>,
    rule: IfExists,
    demands?: StreamDemands,
  ): Promise<SavedTx> {
    return this.#saveStream(head, chunks, rule, demands);
  }

  #saveStream(
    head: TxHead,
    chunks: AsyncIterable<Uint8Array>,
    rule: IfExists,
    demands?: StreamDemands & { why?: Why },
  ): Promise<SavedTx> {
    return this.#saving((writer) =>
      this.#saves.saveStaged(writer, head, chunks, rule, demands)
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
    return await this.#patiently(() => loadStream(this.#store, txId));
  }

  /** {@inheritDoc Engine.info} */
  info(txId: string): MaybePromise<TxInfo | null> {
    return this.#patiently(() =>
      findRowToRead(this.#store.rows, txId)?.info ?? null
    );
  }

  /** {@inheritDoc Engine.remove} */
  remove(txId: string, ifMatch?: IfMatch): Promise<boolean> {
    return this.#change(async ({ queue }) => {
      await this.#saves.placed(txId);
      return await queue.submit({ entry: removal(txId), ifMatch });
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
  async recover(
    options: WithoutSources<RecoverOptions>,
    sources: Sources | null = null,
  ): Promise<StoreReport> {
    const report = await this.#withoutChanges(() =>
      recoverStore(this.#store, options, sources)
    );
    if (!options.dryRun) await this.tlog().reconcile();
    return report;
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

  /** {@inheritDoc Engine.tlog} */
  tlog(): StoreTlog {
    return this.#tlog ??= tlogOf(
      this.#store,
      (work) =>
        this.#withoutChanges(() =>
          writerOf(this.#store).locks.whileAlone(work)
        ),
    );
  }

  /** {@inheritDoc Engine.whyNotWritable} */
  async whyNotWritable(): Promise<PohStorageError | null> {
    try {
      const { locks, queue, reserve } = writerOf(this.#store);
      const failure = queue.moved() ?? queue.failure();
      if (failure) throw failure;
      const obstacle = locks.whyStuck();
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
  async #removeAll(
    { queue }: StoreWriter,
    seen: TxInfo[],
  ): Promise<boolean[]> {
    const removals = await Promise.allSettled(
      seen.map((info) => {
        const entry = because(removal(info.txId), "pruned");
        return queue.submit({ entry, seen: info });
      }),
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
}
