/**
 * The façade over the transaction types: the one file that says which `Tx` the
 * whole package uses. `@poh/types` is an import-map name, so that a package
 * shared with sibling services can take its place by one line in `deno.json`.
 *
 * @module
 */

import type { TxFilter } from "./model/filter.ts";

export type { TxFilter } from "./model/filter.ts";
export type { Tx, TxHead, TxJson } from "@poh/types";

/** What the metadata knows of a stored transaction. */
export interface TxInfo {
  /** The transaction's id. */
  txId: string;
  /** Id of its holder; `""` when an older package saved it. */
  holderId: string;
  /** UNIX time in seconds. */
  timestamp: number;
  /** SHA-256 of the payload, 64 lower-case hex digits. */
  storageHash: string;
  /** Payload size in bytes; -1 when an older package saved it. */
  size: number;
}

/** Where a transaction stands in every order; a {@linkcode TxInfo} is one. */
export type TxCursor = Pick<TxInfo, "txId" | "timestamp">;

/** Which transactions, and in which order. */
export interface TxQuery extends Omit<TxFilter, "after"> {
  /**
   * What comes first: `"id"` (default), in the order of UTF-8 bytes, or
   * `"time"`, where transactions of one time are in the order of their ids.
   */
  sort?: "id" | "time";
  /** The other way round. */
  reverse?: boolean;
  /**
   * Only what follows this one in that order: the last one of the page before.
   * By its id alone it is looked up where the order is one of time.
   */
  after?: string | TxCursor;
}

/** Sums over all transactions of a store. */
export interface StoreTotals {
  /** Bytes of all payloads whose size is known. */
  bytes: number;
  /** Transactions whose size is not known: an older package saved them. */
  unknownSizes: number;
  /** The smallest timestamp, UNIX seconds; null in an empty store. */
  oldest: number | null;
  /** The largest timestamp, UNIX seconds; null in an empty store. */
  newest: number | null;
}

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
