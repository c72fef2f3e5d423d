/**
 * What the rows know of single ids. These see rows that are not in the table yet.
 *
 * @module
 */

import type { Database } from "./database.ts";
import { type Found, toFound, toInfo } from "./row.ts";
import type { TxInfo } from "../types.ts";

/** The facts about an id, or null. */
export function findInfo(rows: Database, txId: string): TxInfo | null {
  const deferred = rows.deferred.find(txId);
  if (deferred) return deferred.info;
  const row = rows.getById(rows.columns.get, txId);
  return row ? toInfo(row) : null;
}

/** The facts about those of these ids that are known. */
export function findInfos(
  rows: Database,
  txIds: string[],
): Map<string, TxInfo> {
  const found = new Map<string, TxInfo>();
  const missing: string[] = [];
  for (const txId of txIds) {
    const known = txIds.length === 1
      ? findInfo(rows, txId)
      : rows.deferred.find(txId)?.info;
    if (known) found.set(txId, known);
    else missing.push(txId);
  }
  if (txIds.length === 1) return found;
  const inTable = rows.allInTable(
    `SELECT ${rows.columns.all} FROM txs
    WHERE tx_id IN (SELECT value FROM json_each(?))`,
    JSON.stringify(missing),
  );
  for (const row of inTable) found.set(row[0] as string, toInfo(row));
  return found;
}

/** The facts about an id, and where its payload is. */
export function findRow(rows: Database, txId: string): Found | null {
  return find(rows, txId, false);
}

/**
 * As `findRow`, for loads: those of one turn of the event loop may see the
 * database at one moment. Whoever decides about a change asks `findRow`.
 */
export function findRowToRead(rows: Database, txId: string): Found | null {
  return find(rows, txId, true);
}

function find(rows: Database, txId: string, isToRead: boolean): Found | null {
  const deferred = rows.deferred.find(txId);
  if (deferred) return deferred;
  const row = rows.getById(rows.columns.lookup, txId, isToRead);
  return row ? toFound(row) : null;
}

/** Which of these ids have a row whose payload is in a file. */
export function idsInFiles(rows: Database, txIds: string[]): Set<string> {
  const found = rows.all(
    // "+": not by the index of places, in which most rows may be NULL.
    `SELECT tx_id FROM txs
    WHERE tx_id IN (SELECT value FROM json_each(?))
      AND +${rows.columns.place} IS NULL`,
    JSON.stringify(txIds),
  );
  return new Set(found.map(([txId]) => txId as string));
}
