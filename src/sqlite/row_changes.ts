/**
 * Changes of rows, within a transaction.
 *
 * @module
 */

import { logState, setLogState, type Sql } from "./log_state.ts";
import { type FollowingRow, requireStorable } from "./row.ts";
import { exactQuotient } from "./selection.ts";
import type { TxInfo } from "../types.ts";

/**
 * Inserts or replaces a row. Within a transaction.
 *
 * @param place Where in the log the payload is; null: in a file.
 */
export function putRow(
  db: Sql,
  info: TxInfo,
  place: number | null = null,
): void {
  requireStorable(info);
  db.run(
    `INSERT INTO txs (tx_id, storage_hash, timestamp, holder_id, size, place)
    VALUES (?, ?, CAST(? AS REAL) / ?, ?, ?, ?)
    ON CONFLICT (tx_id) DO UPDATE SET storage_hash = excluded.storage_hash,
      timestamp = excluded.timestamp, holder_id = excluded.holder_id,
      size = excluded.size, place = excluded.place`,
    info.txId,
    info.storageHash,
    ...exactQuotient(info.timestamp),
    info.holderId,
    info.size,
    place,
  );
}

/** Deletes a row; false when there was none. Within a transaction. */
export function deleteRow(db: Sql, txId: string): boolean {
  return db.run("DELETE FROM txs WHERE tx_id = ?", txId) > 0;
}

/**
 * Puts rows of new ids into the table that follow the log up to a position.
 * Somebody else may have had some of them follow by now. Within a transaction.
 */
export function followRows(
  db: Sql,
  rows: Iterable<FollowingRow>,
  until: number,
): void {
  const { applied, changes } = logState(db);
  let made = 0;
  for (const { info, place, position } of rows) {
    if (position < applied) continue;
    putRow(db, info, place);
    made++;
  }
  if (until <= applied) return;
  setLogState(db, { applied: until, changes: changes + made });
}
