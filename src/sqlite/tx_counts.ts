/**
 * Counts and sums over rows.
 *
 * @module
 */

import { requireKnown } from "../options.ts";
import { TX_FILTER } from "../model/filter.ts";
import type { Database } from "./database.ts";
import { conditionsOf, rowLimit } from "./tx_query.ts";
import type { StoreTotals, TxFilter } from "../types.ts";

/** How many transactions a filter selects. */
export async function countTxs(
  rows: Database,
  filter: TxFilter = {},
): Promise<number> {
  requireKnown(filter, TX_FILTER);
  const { text, params } = conditionsOf(filter, rows.columns.names);
  const limit = rowLimit(filter.limit);
  const sql = limit === Infinity
    ? `SELECT count(*) FROM txs ${text}`
    : `SELECT count(*) FROM (SELECT 1 FROM txs ${text} LIMIT ?)`;
  if (limit < Infinity) params.push(limit);
  return await rows.patiently(() => rows.first(sql, ...params)![0] as number);
}

/** Sums over all rows. */
export function sumTxs(rows: Database): StoreTotals {
  const { size } = rows.columns;
  const [bytes, unknownSizes, oldest, newest] = rows.first(
    `SELECT total(max(${size}, 0)), count(*) FILTER (WHERE ${size} < 0),
      (SELECT min(timestamp) FROM txs), (SELECT max(timestamp) FROM txs) FROM txs`,
  ) as [number, number, number | null, number | null];
  return { bytes, unknownSizes, oldest, newest };
}

/** How many holders there are, and those with the most transactions. */
export function countHolders(rows: Database, limit: number): {
  count: number;
  top: { holderId: string; txs: number }[];
} {
  const holder = rows.columns.names.holder_id;
  // Groups in the order of the index: no more than one is held at a time.
  const [count] = rows.first(
    `SELECT count(*) FROM (SELECT 1 FROM txs GROUP BY ${holder})`,
  ) as [number];
  const top = rows.all(
    `SELECT CAST(${holder} AS TEXT), count(*) AS txs FROM txs
    GROUP BY ${holder} ORDER BY txs DESC, ${holder} LIMIT ?`,
    limit,
  ) as [string, number][];
  return { count, top: top.map(([holderId, txs]) => ({ holderId, txs })) };
}
