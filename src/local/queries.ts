/**
 * Queries of a store on this machine.
 *
 * @module
 */

import type { TxQueries } from "../engine.ts";
import type { Database } from "../sqlite/database.ts";
import { findOddRows } from "../sqlite/odd_rows.ts";
import { countTxs, sumTxs } from "../sqlite/tx_counts.ts";
import { iterateByHolder, iterateIds, iterateTxs } from "../sqlite/tx_pages.ts";

/** Returns what reads the rows of a database. */
export function queriesOf(rows: Database): TxQueries {
  return {
    iterate: (query) => iterateTxs(rows, query),
    iterateIds: (query) => iterateIds(rows, query),
    iterateByHolder: () => iterateByHolder(rows),
    count: (filter) => countTxs(rows, filter),
    totals: () => sumTxs(rows),
    oddRows: () => findOddRows(rows),
  };
}
