/**
 * The two halves of a store that may lie elsewhere and be shared by machines:
 * objects that hold payloads, and a catalog that says which object is whose.
 *
 * Two rules make every change safe without renames, and without locks between
 * machines:
 *
 * - **An object never changes.** It is created whole under a key that nothing
 *   had, and goes when no row refers to it any more. A transaction's first
 *   payload takes its plain key, `<file name of the id>`, so that the whole
 *   looks like the folder of a local store; where that is taken, a payload gets
 *   a key of its own that nobody ever uses again (see `object_key.ts`).
 * - **The row is the truth.** A save creates its object, then commits a row that
 *   names it; a replacement commits a row that names another object. At every
 *   moment a row names an object that is whole, and was durable before it.
 *
 * What a commit leaves without a row is retired in the same commit, and deleted
 * then. A deletion may reach its server late, for instance when its answer was
 * lost and it is asked again; so a retired key is not used again before
 * {@linkcode GRACE} has passed, which is longer than a signed request is valid.
 * An object without a row that is younger than that may be that of a save under
 * way: nobody touches it, and no save commits an object that is older.
 *
 * @module
 */

import { PohStorageError } from "../errors.ts";
import type { DriverInfo } from "../model/driver_info.ts";
import type { MetadataStore } from "../model/store.ts";
import type { TxInfo, TxQuery } from "../types.ts";
import type { TxQueries } from "../engine.ts";

/**
 * For so long, in seconds, an object may wait for its row, and a deletion for
 * its execution. Measured by the clocks of the servers.
 */
export const GRACE = 3600;

/** Payload bytes on their way in: at hand, or as pieces of known total size. */
export type PayloadSource =
  | Uint8Array
  | { size: number; open: () => AsyncIterable<Uint8Array> };

/** An object as found. */
export interface StoredObject {
  /** Its key. */
  key: string;
  /** Size in bytes. */
  size: number;
  /** When it was made, UNIX seconds by the store's clock. */
  modified: number;
}

/** Payloads as objects that never change. */
export interface ObjectStore {
  /** Where it is, for people: without credentials. */
  readonly url: string;
  /**
   * Creates an object; durable and whole once resolved, and never there in
   * part.
   *
   * @param digest SHA-256 of the payload in hex. What arrives with another one
   * is refused.
   * @returns False, and nothing changed, when the key is taken. After a failure
   * the object may be there or not.
   */
  create(
    key: string,
    payload: PayloadSource,
    digest: string,
  ): Promise<boolean>;
  /**
   * Whether `create` notices a taken key, also one that another machine takes
   * at the same moment. Where not, only keys of one's own are safe.
   */
  canCreateOnce(): Promise<boolean>;
  /** All bytes; null when there is no such object. To verify is the caller's. */
  read(key: string): Promise<Uint8Array | null>;
  /** The bytes as a stream; null when there is no such object. */
  stream(key: string): Promise<ReadableStream<Uint8Array> | null>;
  /** Removes an object; harmless when there is none. */
  delete(key: string): Promise<void>;
  /** All objects whose keys begin so, in no order, read in pages. */
  list(prefix?: string): AsyncIterable<StoredObject>;
  /** The store's own clock, UNIX seconds. */
  now(): Promise<number>;
  /** Removes what uploads that were broken off before a time have left. */
  deleteAbandoned(before: number): Promise<number>;
  /** Lets go of the store. */
  close(): Promise<void>;
}

/** A row, and the object that it names. */
export interface CatalogEntry {
  /** What the metadata says. */
  info: TxInfo;
  /** Key of the object that holds the payload. */
  key: string;
}

/** A change to the catalog. */
export type CatalogChange =
  | {
    /** The row is to say this. */
    put: CatalogEntry;
    /** Not after this, UNIX seconds by the catalog's clock. */
    deadline: number;
    /** Only where the row is still as it was seen; null: where there is none. */
    seen?: CatalogEntry | null;
  }
  | {
    /** The row of this id is to go. */
    remove: string;
    /** Not after this; any time unless given. */
    deadline?: number;
    /** Only where the row is still as it was seen. */
    seen?: CatalogEntry;
  };

/**
 * What became of a change. A put has `created` a row, `replaced` one of another
 * transaction, or given one of the `same` transaction its key; a removal has
 * `removed` one. Or nothing was done: `unchanged`, as there is no such row or it
 * is not as seen; `late`, past its deadline; `retired`, as its key is.
 */
export type CatalogOutcome =
  | "created"
  | "replaced"
  | "same"
  | "removed"
  | "unchanged"
  | "late"
  | "retired";

/** Whether a change was made. */
export function isMade(outcome: CatalogOutcome): boolean {
  return outcome !== "unchanged" && outcome !== "late" && outcome !== "retired";
}

/** A key that a commit has left without a row. */
export interface RetiredKey {
  /** The key. */
  key: string;
  /** Whether its object is known to be deleted. */
  deleted: boolean;
}

/** How many holders there are, and those with the most transactions. */
export interface HolderCounts {
  /** Holders. */
  count: number;
  /** Those with the most transactions. */
  top: { holderId: string; txs: number }[];
}

/** The right to repair a store, for one at a time. */
export interface Lease extends AsyncDisposable {
  /**
   * Greater than that of every earlier lease: repairs are committed with it, so
   * that one whose lease has passed to another can change nothing any more.
   */
  readonly token: number;
  /** Aborted once the lease is lost. */
  readonly signal: AbortSignal;
}

/** Metadata that several machines may share. */
export interface Catalog extends MetadataStore, TxQueries {
  /** Where it is, for people: without credentials. */
  readonly url: string;
  /**
   * Makes changes, in order, in one transaction that is durable once resolved.
   * Keys that lose their row by it are retired in it.
   *
   * @param token Of the lease under which it is done; nothing is done, and an
   * error thrown, when that is not the newest any more.
   * @returns What became of each.
   */
  commit(
    changes: CatalogChange[],
    token?: number,
  ): Promise<CatalogOutcome[]>;
  /** The rows of these ids, in this order; null where there is none. */
  find(txIds: string[]): Promise<(CatalogEntry | null)[]>;
  /** What a query selects, in its order, with keys, read in pages. */
  entries(query?: TxQuery): AsyncIterableIterator<CatalogEntry>;
  /** Which of these keys some row names. */
  named(keys: string[]): Promise<Set<string>>;
  /**
   * Retires keys, again where they are, unless a row names them.
   *
   * @param token As in `commit`.
   * @returns Those that no row names.
   */
  retire(keys: string[], token?: number): Promise<Set<string>>;
  /** Which of these keys are retired. */
  retiredOf(keys: string[]): Promise<Set<string>>;
  /** Keys retired by anyone, the oldest first, not deleted ones first. */
  retired(limit: number): Promise<RetiredKey[]>;
  /** Notes that these keys' objects are deleted; their grace begins anew. */
  noteDeleted(keys: string[]): Promise<void>;
  /** Forgets retired keys whose objects were deleted a grace ago. */
  forgetRetired(): Promise<number>;
  /** The catalog's own clock, UNIX seconds. */
  now(): Promise<number>;
  /** Names this catalog, and no other, for as long as it is there. */
  id(): Promise<string>;
  /**
   * Whether it is that of a write-once store: decided when it is made. To keep
   * to it is the engine's.
   */
  isWriteOnce(): Promise<boolean>;
  /** How many holders there are, and those with the most transactions. */
  holders(limit: number): Promise<HolderCounts>;
  /** What the database finds wrong with itself, where it can tell. */
  checkIntegrity?(): Promise<string[]>;
  /** Ids that cut all rows into so many ranges of about the same length. */
  boundaries(ranges: number): Promise<string[]>;
  /**
   * Takes the right to repair, and keeps it until disposed of.
   *
   * @throws {StoreBusyError} If somebody else has it.
   */
  lease(): Promise<Lease>;
}

/** Why a repair may not go on: its lease is not the newest any more. */
export function leaseLost(): PohStorageError {
  return new PohStorageError(
    "LEASE_LOST",
    "Cannot repair: the right to do so has passed to somebody else",
  );
}

/** The parts of a store. */
export interface RemoteParts {
  /** Its payloads. */
  objects: ObjectStore;
  /** Its metadata. */
  catalog: Catalog;
  /** What keeps the metadata. */
  driver: DriverInfo;
}

/** Lets go of the parts of a store. */
export async function closeParts(
  { objects, catalog }: Pick<RemoteParts, "objects" | "catalog">,
): Promise<void> {
  try {
    await objects.close();
  } finally {
    await catalog.close();
  }
}
