/**
 * Rows that are no transactions: another program, or a hand, has left them.
 *
 * @module
 */

import type { Database } from "./database.ts";
import { findInfo } from "./lookups.ts";
import { HAS_TEXT_ID } from "./selection.ts";

/** A row of which a part cannot be that of a transaction. */
export interface OddRow {
  /** The row's id, as SQL writes it where it is no text. */
  id: string;
  /** What is wrong with it. */
  reason: string;
  /**
   * Whether lists have it all the same. Not where its id is what is wrong: no
   * call could name it.
   */
  listed: boolean;
}

/** As many are told; more say nothing that these do not. */
const MOST = 1_000;

/** Rows fetched at a time by what goes through all of them. */
const PAGE = 512;

/**
 * Rows that are no transactions, of those with an id of bytes that are no
 * UTF-8 the ones that have been read.
 */
export function findOddRows(rows: Database): OddRow[] {
  const ids = rows.all(
    `SELECT quote(substr(tx_id, 1, 64)) FROM txs
    WHERE tx_id >= x'' OR tx_id IS NULL LIMIT ?`,
    MOST,
  );
  const times = rows.all(
    `SELECT CAST(tx_id AS TEXT) FROM txs
    WHERE (timestamp >= '' OR timestamp IS NULL) AND ${HAS_TEXT_ID} LIMIT ?`,
    MOST,
  );
  return [
    ...ids.map(([id]) => oddId(id as string)),
    ...Array.from(rows.oddIds, (id) => oddId(JSON.stringify(id))),
    ...times.map(([id]) => ({
      id: JSON.stringify(id),
      reason: "its timestamp is no number",
      listed: true,
    })),
  ];
}

function oddId(id: string): OddRow {
  return { id, reason: "its id is no text", listed: false };
}

/** Deletes the rows that no list has. Within a transaction. */
export function deleteUnlisted(rows: Database): void {
  rows.run("DELETE FROM txs WHERE tx_id >= x'' OR tx_id IS NULL");
  if (rows.oddIds.size === 0) return;
  for (let before = Number.MAX_SAFE_INTEGER;;) {
    const page = rows.all(
      `SELECT rowid, CAST(tx_id AS TEXT) FROM txs NOT INDEXED
      WHERE rowid < ? ORDER BY rowid DESC LIMIT ?`,
      before,
      PAGE,
    );
    for (const [rowid, txId] of page as [number, string][]) {
      if (!rows.oddIds.has(txId)) continue;
      if (findInfo(rows, txId) !== null) continue; // which is another row
      rows.run("DELETE FROM txs WHERE rowid = ?", rowid);
    }
    if (page.length < PAGE) return;
    before = page.at(-1)![0] as number;
  }
}

/**
 * Whether an id is what is in its row: bytes that are no UTF-8 are replaced.
 * Those that are not are remembered as odd rows.
 */
export function isAsRead(rows: Database, txId: string): boolean {
  if (isSurelyAsRead(txId) || findInfo(rows, txId) !== null) return true;
  if (rows.oddIds.size < MOST) rows.oddIds.add(txId);
  return false;
}

/** Whether nothing of an id can have been replaced when it was read. */
export function isSurelyAsRead(txId: string): boolean {
  return !txId.includes("\uFFFD");
}
