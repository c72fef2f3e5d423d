/**
 * Rows of a database, for tests of what is made of them.
 *
 * @module
 */

import type { Database } from "../../src/sqlite/database.ts";
import {
  type DatabaseOptions,
  initDatabase,
  openDatabase,
} from "../../src/sqlite/open_database.ts";
import { putRow } from "../../src/sqlite/row_changes.ts";
import { iterateTxs } from "../../src/sqlite/tx_pages.ts";
import type { TxInfo, TxQuery } from "../../src/types.ts";

/** Opens a database, with the newest schema if it may be changed. */
export async function openRows(
  path: string,
  options: DatabaseOptions = {},
): Promise<Database> {
  const rows = await openDatabase(path, options);
  try {
    await initDatabase(rows);
    return rows;
  } catch (error) {
    await rows.close();
    throw error;
  }
}

/** Saves a row in a transaction of its own. */
export async function saveRow(rows: Database, info: TxInfo): Promise<void> {
  await rows.change(() => putRow(rows, info));
}

/** The ids that a query selects. */
export async function idsOf(
  rows: Database,
  query: TxQuery = {},
): Promise<string[]> {
  return await Array.fromAsync(iterateTxs(rows, query), ({ txId }) => txId);
}
