/**
 * Rows that a query selects, read in pages: between two pages other work goes on.
 *
 * @module
 */

import { requireKnown } from "../options.ts";
import { nextTurn } from "../async/turn.ts";
import type { Database } from "./database.ts";
import type { SqlValue } from "./driver.ts";
import { findInfo } from "./lookups.ts";
import { isAsRead } from "./odd_rows.ts";
import { type Found, toFound, toInfo } from "./row.ts";
import { exactQuotient, HAS_TEXT_ID, type ResolvedQuery } from "./selection.ts";
import {
  cursorGone,
  rowLimit,
  selectPage,
  soundRows,
  TX_QUERY,
} from "./tx_query.ts";
import type { TxCursor, TxInfo, TxQuery } from "../types.ts";

/** Rows, or ids alone, fetched at a time by what goes through all of them. */
const PAGE = 512;
const ID_PAGE = 2_048;

/** Rowids up to this one, and what is counted from them, are safe integers. */
const MOST_ROWID = 2 ** 51;

/** A query that gives one page. */
export type PageQuery = TxQuery & { limit: number };

/** The facts that a query selects, in its order. */
export async function* iterateTxs(
  rows: Database,
  query: TxQuery = {},
): AsyncIterableIterator<TxInfo> {
  requireKnown(query, TX_QUERY);
  for await (const page of pages(rows, query, PAGE, rows.columns.all, toInfo)) {
    yield* page.map(toInfo);
  }
}

/**
 * The ids that a query selects, in its order, page by page. An index tells them,
 * where rows would have to be looked up.
 */
export async function* iterateIds(
  rows: Database,
  query: TxQuery = {},
): AsyncIterableIterator<string[]> {
  requireKnown(query, TX_QUERY);
  const columns = query.sort === "time"
    ? "CAST(tx_id AS TEXT), CAST(timestamp AS REAL)"
    : "CAST(tx_id AS TEXT)";
  const toCursor = ([txId, timestamp = 0]: SqlValue[]) => (
    { txId, timestamp } as TxCursor
  );
  for await (const page of pages(rows, query, ID_PAGE, columns, toCursor)) {
    yield page.map(([txId]) => txId as string);
  }
}

async function* pages(
  rows: Database,
  query: TxQuery,
  size: number,
  columns: string,
  toCursor: (row: SqlValue[]) => TxCursor,
): AsyncIterableIterator<SqlValue[][]> {
  let left = rowLimit(query.limit);
  let next = resolve(rows, query);
  while (left > 0) {
    const limit = Math.min(left, size);
    const page = await rows.patiently(() =>
      select(rows, { ...next, limit }, columns)
    );
    yield page;
    if (page.length < limit) return;
    left -= page.length;
    next = { ...next, after: toCursor(page.at(-1)!) };
    await nextTurn();
  }
}

/** One page of what a query selects, in its order. */
export function pageOfTxs(rows: Database, query: PageQuery): TxInfo[] {
  const { limit } = query;
  return select(rows, { ...resolve(rows, query), limit }, rows.columns.all)
    .map(toInfo);
}

/** As `pageOfTxs`, with the places of the payloads. */
export function pageOfRows(rows: Database, query: PageQuery): Found[] {
  const { limit } = query;
  const { all, place } = rows.columns;
  const columns = `${all}, ${place}`;
  return select(rows, { ...resolve(rows, query), limit }, columns).map(toFound);
}

function select(
  rows: Database,
  query: ResolvedQuery & { limit: number },
  columns: string,
): SqlValue[][] {
  return selectPage(
    query,
    columns,
    rows.columns.names,
    (sql, ...params) => rows.all(sql, ...params),
    (txId) => isAsRead(rows, txId),
  );
}

/** An order of time goes on from a time, not from an id alone. */
function resolve(rows: Database, { after, ...query }: TxQuery): ResolvedQuery {
  if (after === undefined) return query;
  if (typeof after !== "string") return { ...query, after };
  if (query.sort !== "time") {
    return { ...query, after: { txId: after, timestamp: 0 } };
  }
  const info = findInfo(rows, after);
  if (info) return { ...query, after: info };
  throw cursorGone(after);
}

/**
 * All rows, backwards in the order in which the table keeps them: what a
 * damaged index does not give, and what lies behind a damaged page.
 */
export async function* iterateByRowid(
  rows: Database,
): AsyncIterableIterator<TxInfo> {
  for (let before = Number.MAX_SAFE_INTEGER;;) {
    const page = await rows.patiently(() =>
      rows.all(
        `SELECT rowid, ${rows.columns.all} FROM txs NOT INDEXED
        WHERE rowid < ? AND typeof(tx_id) = 'text'
        ORDER BY rowid DESC LIMIT ?`,
        before,
        PAGE,
      )
    );
    for (const [, ...row] of page) yield toInfo(row);
    if (page.length < PAGE) return;
    before = page.at(-1)![0] as number;
    await nextTurn();
  }
}

/**
 * All rows by holder, each holder's by time: what sums up a store in one pass
 * needs to keep no more than one holder at a time.
 */
export async function* iterateByHolder(
  rows: Database,
): AsyncIterableIterator<TxInfo> {
  const { all, names: { holder_id: holder } } = rows.columns;
  for (let last: TxInfo | null = null;;) {
    const after: TxInfo | null = last;
    const read = (limit: number) =>
      rows.all(
        // Skip rows whose timestamp is not REAL (edited by hand): they have no
        // sort order.
        `SELECT ${all} FROM txs WHERE typeof(timestamp) = 'real'
        AND typeof(${holder}) = 'text' AND ${HAS_TEXT_ID} ${
          after
            ? `AND (${holder}, timestamp, tx_id) > (?, CAST(? AS REAL) / ?, ?)`
            : ""
        } ORDER BY ${holder}, timestamp, tx_id LIMIT ?`,
        ...after
          ? [after.holderId, ...exactQuotient(after.timestamp), after.txId]
          : [],
        limit,
      );
    const isSound = (row: SqlValue[]) => {
      const { txId, holderId } = toInfo(row);
      return txId !== after?.txId && isAsRead(rows, txId) &&
        (!holderId.includes("\uFFFD") || hasHolder(rows, txId, holderId));
    };
    const page: TxInfo[] = (await rows.patiently(() =>
      soundRows(PAGE, read, isSound)
    )).map(toInfo);
    yield* page;
    if (page.length < PAGE) return;
    last = page.at(-1)!;
    await nextTurn();
  }
}

function hasHolder(rows: Database, txId: string, holderId: string): boolean {
  return rows.first(
    "SELECT 1 FROM txs WHERE tx_id = ? AND holder_id = ?",
    txId,
    holderId,
  ) !== undefined;
}

/**
 * The first and the last rowid; null where there is no row, where another
 * program has given one that is too large for a number, and where rows of a log
 * are laid over those of the table: they have none.
 */
export function rowidRange(
  rows: Database,
): { first: number; last: number } | null {
  const row = rows.first(
    `SELECT first, last FROM (
      SELECT (SELECT min(rowid) FROM main.txs) AS first,
        (SELECT max(rowid) FROM main.txs) AS last
    ) WHERE first >= ? AND last <= ?`,
    -MOST_ROWID,
    MOST_ROWID,
  );
  if (!row || rows.overlay.isLaid) return null;
  return { first: row[0] as number, last: row[1] as number };
}

/**
 * Rows in the order in which they were first saved, which is about that of
 * their files and of the log, from behind a rowid up to another. Those whose id
 * is no text are left out.
 */
export function rowsBetween(
  rows: Database,
  after: number,
  until: number,
  limit: number,
): (Found & { rowid: number })[] {
  const { all, place } = rows.columns;
  return rows.allInTable(
    `SELECT ${all}, ${place}, rowid FROM main.txs NOT INDEXED
    WHERE rowid > ? AND rowid <= ? AND typeof(tx_id) = 'text'
    ORDER BY rowid LIMIT ?`,
    after,
    until,
    limit,
  ).map((row) => ({ ...toFound(row), rowid: row[6] as number }));
}
