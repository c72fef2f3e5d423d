/**
 * The façade over the transaction types: the one file that says which `Tx` the
 * whole package uses. `@poh/types` is an import-map name, so that a package
 * shared with sibling services can take its place by one line in `deno.json`.
 *
 * @module
 */

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

/** Which transactions to list. All conditions must hold; none means all. */
export interface TxFilter {
  /** Only this holder's. */
  holderId?: string;
  /** Only ids that begin with this. */
  idPrefix?: string;
  /** Only timestamps at or after this, UNIX seconds. */
  since?: number;
  /** Only timestamps before this, UNIX seconds. */
  before?: number;
  /** Only ids greater than this, in the order of their UTF-8 bytes. */
  after?: string;
  /** At most so many. */
  limit?: number;
}

/** Sums over all transactions of a store. */
export interface StoreTotals {
  /** Bytes of all payloads whose size is known. */
  bytes: number;
  /** The smallest timestamp, UNIX seconds; null in an empty store. */
  oldest: number | null;
  /** The largest timestamp, UNIX seconds; null in an empty store. */
  newest: number | null;
}
