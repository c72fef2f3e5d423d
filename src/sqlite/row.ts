/**
 * A row of `txs` as the program has it.
 *
 * @module
 */

import { InvalidTxError } from "../errors.ts";
import type { SqlValue } from "./driver.ts";
import type { TxInfo } from "../types.ts";

/** What the rows know of an id. */
export interface Found {
  /** The facts. */
  info: TxInfo;
  /** Where in the log its payload is; null: it is a file. */
  place: number | null;
}

/** A row that follows a durable change, and is to go into the table. */
export interface FollowingRow extends Found {
  /** Where in the log its change is. */
  position: number;
}

/** Whether two rows say the same. */
export function isSameRow(a: TxInfo, b: TxInfo): boolean {
  return a.txId === b.txId && a.holderId === b.holderId &&
    a.timestamp === b.timestamp && a.storageHash === b.storageHash &&
    a.size === b.size;
}

/** The facts in the columns of `columnList`. */
export function toInfo(row: SqlValue[]): TxInfo {
  const [txId, storageHash, timestamp, holderId, size] = row as [
    string,
    string,
    number,
    string,
    number,
  ];
  return { txId, holderId, timestamp, storageHash, size };
}

/** The facts and the place, which is the next column. */
export function toFound(row: SqlValue[]): Found {
  return { info: toInfo(row), place: row[5] as number | null };
}

/**
 * Checks that SQLite can keep a row. Rows of the older package may have infinite
 * times.
 *
 * @throws {InvalidTxError} If it cannot.
 */
export function requireStorable(info: TxInfo): void {
  if (Number.isNaN(info.timestamp)) throw noTime(info);
  if (info.txId.includes("\0") || info.holderId.includes("\0")) {
    throw new InvalidTxError(
      info.txId.includes("\0") ? "tx_id" : "holder_id",
      "SQLite cannot keep text with NUL",
    );
  }
}

/** The error for a time that is no number of seconds. */
export function noTime({ timestamp }: TxInfo): InvalidTxError {
  return new InvalidTxError(
    "timestamp",
    `timestamp must be a finite number of seconds, got ${timestamp}`,
  );
}
