/**
 * Where in the log payloads are, by the rows.
 *
 * @module
 */

import { HEAD_BYTES, MAX_PAYLOAD } from "../model/limits.ts";
import type { Database } from "./database.ts";
import { setLogState } from "./log_state.ts";

/** Bytes of the record of a row whose payload lives in the log. */
const RECORD_BYTES = `((
    ${HEAD_BYTES + 7} + length(CAST(tx_id AS BLOB))
    + length(CAST(holder_id AS BLOB)) + iif(size > ${MAX_PAYLOAD}, 0, size)
  ) / 8 * 8)`;

/** Rows whose payloads are in a part of the log. */
const IN_PART = "FROM txs WHERE place >= ? AND place < ?";

/** Whether any row's payload is in a part of the log, or in all of it. */
export function hasPlaces(
  rows: Database,
  from = 0,
  to = Number.MAX_SAFE_INTEGER,
): boolean {
  if (!rows.columns.hasPlace) return false;
  return rows.first(`SELECT 1 ${IN_PART} LIMIT 1`, from, to) !== undefined;
}

/** How many payloads live in a part of the log. */
export function countInLog(rows: Database, from: number, to: number): number {
  return rows.first(`SELECT count(*) ${IN_PART}`, from, to)![0] as number;
}

/**
 * Bytes of the records in a part of the log whose payloads live there. Looks
 * at each of their rows.
 */
export function bytesInLog(rows: Database, from: number, to: number): number {
  const sql = `SELECT total(${RECORD_BYTES}) ${IN_PART}`;
  return rows.first(sql, from, to)![0] as number;
}

/** As `bytesInLog`, about: how many they are, and how long the first ones. */
export function aboutInLog(rows: Database, from: number, to: number): number {
  const [mean] = rows.first(
    `SELECT total(bytes) / max(count(*), 1) FROM (
      SELECT ${RECORD_BYTES} AS bytes ${IN_PART} LIMIT 64)`,
    from,
    to,
  ) as [number];
  return mean * countInLog(rows, from, to);
}

/** The ids whose payloads are in a part of the log, and where. */
export function placesIn(
  rows: Database,
  from: number,
  to: number,
): { txId: string; place: number }[] {
  return rows.all(`SELECT tx_id, place ${IN_PART}`, from, to).map((
    [txId, place],
  ) => ({ txId: txId as string, place: place as number }));
}

/** Says that a payload is in a file by now. Within a transaction. */
export function clearPlace(rows: Database, txId: string, place: number): void {
  rows.run(
    "UPDATE txs SET place = NULL WHERE tx_id = ? AND place = ?",
    txId,
    place,
  );
}

/**
 * For a copy that follows no log: all payloads are in files there. Within a
 * transaction.
 */
export function forgetLog(rows: Database): void {
  rows.run("UPDATE txs SET place = NULL WHERE place IS NOT NULL");
  setLogState(rows, { applied: 0, filesSynced: 0 });
}
