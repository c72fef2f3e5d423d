/**
 * Description of a store.
 *
 * @module
 */

import type { StoreHolder } from "../errors.ts";
import type { DriverInfo } from "./driver_info.ts";
import type { StoreTotals } from "../types.ts";

/** A store at a glance. */
export interface StoreDescription extends StoreTotals {
  /** Absolute path of the payload directory. */
  base: string;
  /** Absolute path of the database. */
  db: string;
  /** The SQLite binding in use. */
  driver: DriverInfo;
  /** Version of the database's schema; 0 is the older Python package's. */
  schemaVersion: number;
  /** Largest payload, in bytes, that lives in the log; 0: all are files. */
  packBelow: number;
  /** The bytes of the log; null where there is none. */
  log: LogUse | null;
  /** True if no save replaces a transaction. */
  writeOnce: boolean;
  /** Number of transactions. */
  txs: number;
  /** Number of holders, and those with the most transactions. */
  holders: { count: number; top: { holderId: string; txs: number }[] };
  /**
   * Transactions by size of the payload, where it is known: each class has
   * payloads of up to `upTo` bytes that are too large for the one before it.
   */
  sizes: { upTo: number; txs: number }[];
  /**
   * Transactions of the 14 days (UTC, `"2016-05-26"`) that end with the newest
   * transaction, the oldest day first.
   */
  days: { day: string; txs: number }[];
  /** Processes that have the store open for writing. */
  writers: StoreHolder[];
  /** Changes whose files may not have followed yet. */
  pending: number;
  /** Cases in quarantine. */
  quarantined: number;
  /** Hints for the operator. */
  hints: Hint[];
}

/** Use of a log's bytes. */
export interface LogUse {
  /** Bytes of its files. */
  bytes: number;
  /** Bytes of the records whose payloads live in it. */
  alive: number;
  /** Bytes that compaction gives back. */
  dead: number;
}

/** Something to look at. */
export interface Hint {
  /**
   * What it is about:
   *
   * - `ffi`: why the built-in SQLite is used and not the FFI binding
   * - `sqlite-wal-reset`: this version of SQLite has the WAL-reset defect
   * - `schema`: the schema is an older one
   * - `permissions`: modes or owners of files that do not go together
   * - `clock`: timestamps that lie in the future
   * - `unfinished`: a crash left changes half-done
   */
  code:
    | "ffi"
    | "sqlite-wal-reset"
    | "schema"
    | "permissions"
    | "clock"
    | "unfinished";
  /** One sentence: what is seen, and what to do. */
  message: string;
}
