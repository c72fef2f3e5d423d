/**
 * What does the work of a store behind {@linkcode StorageManager}, which
 * checks what it is given and waits for what is under way.
 *
 * @module
 */

import type {
  CheckOptions,
  RecoverOptions,
  VerifyOptions,
} from "./check/check.ts";
import type { PohStorageError } from "./errors.ts";
import type {
  CompactOptions,
  CompactReport,
  MovePackedOptions,
} from "./model/packing.ts";
import type { Sources } from "./check/sources.ts";
import type { IfExists, IfMatch, SavedTx } from "./model/if_exists.ts";
import type { PruneFilter, PruneOptions, PruneResult } from "./check/prune.ts";
import type { QuarantineEntry } from "./payloads/quarantine.ts";
import type { StoreReport } from "./model/report.ts";
import type { DriverInfo } from "./model/driver_info.ts";
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
import type { StoreLog } from "./model/tlog.ts";

/** How to check a store, whose caller opens what it is to be healed from. */
export type WithoutSources<Options extends CheckOptions> = Omit<
  Options,
  "from" | "fromToken"
>;

/** What a save of a stream demands. */
export interface StreamDemands {
  /** SHA-256 that the payload is to have, in hex. */
  expected?: string | undefined;
  /** What must be there. */
  ifMatch?: IfMatch | undefined;
}

/** A value, at once or later. */
export type MaybePromise<T> = T | Promise<T>;

/** A transaction's metadata and its payload, which has the digest of it. */
export interface VerifiedTx {
  /** What the metadata says. */
  info: TxInfo;
  /** The payload. */
  payload: Uint8Array<ArrayBuffer>;
}

/** Reads what the rows of a store tell. */
export interface TxQueries {
  /** What a query selects, in its order, read in pages. */
  iterate(query?: TxQuery): AsyncIterableIterator<TxInfo>;
  /** The ids alone, page by page, where these come quicker than the rows. */
  iterateIds?(query: TxQuery): AsyncIterableIterator<string[]>;
  /** All rows by holder, each holder's by time. */
  iterateByHolder(): AsyncIterableIterator<TxInfo>;
  /** How many transactions a filter selects. */
  count(filter?: TxFilter): Promise<number>;
  /** Sums over all rows; see {@linkcode StoreTotals}. */
  totals(): MaybePromise<StoreTotals>;
  /** Rows that are no transactions, where the database can have any. */
  oddRows?(): MaybePromise<OddRow[]>;
}

/** What recover took out of service. */
export interface Quarantine {
  /** The cases, in no order. */
  list(): AsyncIterableIterator<QuarantineEntry>;
  /** Puts a case back into service. */
  restore(name: string): Promise<TxInfo>;
  /** Deletes all of them; how many. */
  empty(): Promise<number>;
}

/**
 * An open store. Ids and transactions have been checked by its caller; what
 * each method promises stands at the method of the same purpose of
 * {@linkcode StorageManager}.
 */
export interface Engine {
  /** Where payloads are: an absolute path, or a URL without credentials. */
  readonly base: string;
  /** Where metadata is: an absolute path, or a URL without credentials. */
  readonly db: string;
  /** What keeps the metadata. */
  readonly driver: DriverInfo;
  /** Whether no transaction is ever replaced: decided when the store is made. */
  readonly writeOnce: boolean;
  /** Payloads of at most so many bytes live in a log; 0: none. */
  readonly packBelow: number;
  /** Its rows. */
  readonly queries: TxQueries;
  /** Its quarantine. */
  readonly quarantine: Quarantine;
  /**
   * Saves a transaction. Its payload is the engine's until it resolves. Where
   * there is another one of that id the rule decides, within the commit; that of
   * a write-once store is never `"replace"`.
   *
   * @throws {TxExistsError} If the rule forbids it; nothing was changed.
   * @throws {PreconditionError} If what is there does not match, which is decided
   * within the commit, too; nothing was changed.
   */
  save(
    head: TxHead,
    payload: Uint8Array,
    rule: IfExists,
    ifMatch?: IfMatch,
  ): Promise<SavedTx>;
  /**
   * Saves one whose payload comes in pieces.
   *
   * @throws {IntegrityError} If the payload is not the expected one.
   * @throws {TxExistsError} As `save` does, and {@linkcode PreconditionError}.
   */
  saveStream(
    head: TxHead,
    chunks: AsyncIterable<Uint8Array>,
    rule: IfExists,
    demands?: StreamDemands,
  ): Promise<SavedTx>;
  /** Loads and verifies. */
  load(txId: string): MaybePromise<Tx | null>;
  /**
   * Loads a small payload and verifies it without waiting for anything; null when
   * it cannot, which says nothing of the transaction.
   */
  loadSoon(txId: string): VerifiedTx | null;
  /** Loads as a stream that errors at its end unless it is as promised. */
  loadStream(txId: string): Promise<TxStream | null>;
  /** What the metadata knows. */
  info(txId: string): MaybePromise<TxInfo | null>;
  /**
   * Deletes; false where there is nothing.
   *
   * @throws {PreconditionError} As `save` does.
   */
  remove(txId: string, ifMatch?: IfMatch): Promise<boolean>;
  /** Deletes what a filter selects. */
  prune(filter: PruneFilter, options: PruneOptions): Promise<PruneResult>;
  /** Checks; tells what the sources could heal. */
  verify(
    options: WithoutSources<VerifyOptions>,
    sources?: Sources | null,
  ): Promise<StoreReport>;
  /** Checks and repairs, and heals from the sources. */
  recover(
    options: WithoutSources<RecoverOptions>,
    sources?: Sources | null,
  ): Promise<StoreReport>;
  /** Moves payloads into the log, or out of it. */
  movePacked(options: MovePackedOptions): Promise<number>;
  /** Gives back the dead bytes of the log. */
  compact(options: CompactOptions): Promise<CompactReport>;
  /** The transparency log of a store on this machine, open for writing. */
  tlog(): StoreLog;
  /** Why changes fail for now; null when they do not, as far as is known. */
  whyNotWritable(): MaybePromise<PohStorageError | null>;
  /** Lets go of the store. Nothing is under way any more. */
  close(): Promise<void>;
}

/** Ids page by page, or one by one where these come no quicker than rows. */
export async function* idPages(
  queries: TxQueries,
  query: TxQuery,
): AsyncIterableIterator<string[]> {
  if (queries.iterateIds) return yield* queries.iterateIds(query);
  for await (const { txId } of queries.iterate(query)) yield [txId];
}

/** The row of a payload. */
export function infoOf(
  { txId, holderId, timestamp }: TxHead,
  storageHash: string,
  size: number,
): TxInfo {
  return { txId, holderId, timestamp, storageHash, size };
}

/** The transaction of a row. */
export function txOf(
  { txId, holderId, timestamp }: TxInfo,
  payload: Uint8Array,
): Tx {
  return { txId, holderId, timestamp, payload };
}
