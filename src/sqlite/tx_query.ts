/**
 * From a query to rows: which index is read, from where, how far.
 *
 * A page is what comes first in an order. The index of that order gives it at
 * once, unless other conditions leave out nearly all that it walks past. Then
 * an index of another condition may have only few rows, which are soon sorted.
 * Which of the two is the shorter way is not known beforehand: both are tried,
 * each a little further in turn, so that a page costs little more than the
 * shorter one.
 *
 * @module
 */

import { PohStorageError } from "../errors.ts";
import { filterRules } from "../model/filter.ts";
import { oneOf, type OptionsType, optionsType, rule } from "../options.ts";
import type { SqlValue } from "./driver.ts";
import {
  clause,
  type ColumnNames,
  from,
  HAS_TEXT_ID,
  listable,
  orderBy,
  plainTerm,
  type RangeColumn,
  type ResolvedQuery,
  type Selection,
  selectionOf,
  serves,
  type Sql,
  termsOf,
  upTo,
  where,
} from "./selection.ts";
import type { TxCursor, TxFilter, TxQuery } from "../types.ts";

/** How many rows are walked past at first, and how many more each time. */
const FIRST_REACH = 1_024;
const GROWTH = 4;

/** While one row is looked up, so many are passed that an index tells all of. */
const LOOKUP = 16;

/** Checks a {@linkcode TxQuery}. */
export const TX_QUERY: OptionsType = optionsType<TxQuery>("TxQuery", {
  ...filterRules,
  after: {
    what: "an id, or an object with txId and timestamp",
    is: (value) => typeof value === "string" || isCursor(Object(value)),
  },
  sort: oneOf("id", "time"),
  reverse: rule.flag,
});

function isCursor({ txId, timestamp }: Partial<TxCursor>): boolean {
  return typeof txId === "string" && typeof timestamp === "number" &&
    !Number.isNaN(timestamp);
}

/** Runs a statement; all its rows. */
export type RunSql = (sql: string, ...params: SqlValue[]) => SqlValue[][];

/** A limit of rows that a 64-bit integer holds; Infinity where there is none. */
export function rowLimit(limit = Infinity): number {
  return limit > Number.MAX_SAFE_INTEGER ? Infinity : limit;
}

/** Why an order of time cannot go on after an id. */
export function cursorGone(txId: string): PohStorageError {
  return new PohStorageError(
    "CURSOR_GONE",
    `There is no tx ${JSON.stringify(txId)} whose time tells where to go on`,
  );
}

/** What a filter asks for, for SQLite to choose the index. */
export function conditionsOf(
  { after, ...filter }: TxFilter,
  names: ColumnNames,
): Sql {
  const cursor = after === undefined
    ? {}
    : { after: { txId: after, timestamp: 0 } };
  return where(selectionOf({ ...filter, ...cursor }, names), null);
}

/**
 * The first `limit` sound rows that a query selects, in its order.
 *
 * @param columns What to select of them; the id comes first.
 * @param isAsRead Whether an id is what is in its row.
 */
export function selectPage(
  query: ResolvedQuery & { limit: number },
  columns: string,
  names: ColumnNames,
  run: RunSql,
  isAsRead: (txId: string) => boolean,
): SqlValue[][] {
  return soundRows(
    query.limit,
    (limit) => selectRows({ ...query, limit }, columns, names, run),
    ([txId]) => txId !== query.after?.txId && isAsRead(txId as string),
  );
}

/**
 * The first `limit` rows of those behind which the next page can begin: where a
 * row has bytes that are none of UTF-8, what is read of it leads elsewhere.
 *
 * @param read Reads the first so many rows, sound or not.
 */
export function soundRows(
  limit: number,
  read: (limit: number) => SqlValue[][],
  isSound: (row: SqlValue[]) => boolean,
): SqlValue[][] {
  for (let reach = limit;; reach *= GROWTH) {
    const rows = read(reach);
    const sound = rows.filter(isSound);
    if (sound.length >= limit || rows.length < reach) {
      return sound.slice(0, limit);
    }
  }
}

function selectRows(
  query: ResolvedQuery & { limit: number },
  columns: string,
  names: ColumnNames,
  run: RunSql,
): SqlValue[][] {
  let left = listable(selectionOf(query, names));
  const rows: SqlValue[][] = [];
  const missing = () => query.limit - rows.length;
  const others = otherRanges(left);
  if (others.length === 0) return walk(left, columns, missing(), run);
  for (let reach = FIRST_REACH;; reach *= GROWTH) {
    const few = others.find((by) => {
      const most = reach * costOf(left, left.order) / costOf(left, by);
      return countUpTo(left, by, most + 1, run) <= most;
    });
    if (few) return rows.concat(gather(left, few, columns, missing(), run));
    const end = cursorAt(left, reach, run);
    const stretch = end ? upTo(left, end) : left;
    rows.push(...walk(stretch, columns, missing(), run));
    if (!end || missing() === 0) return rows;
    left = from(left, end);
  }
}

// --- the ways ---------------------------------------------------------------

/** Reads in the order of the query, past what other conditions leave out. */
function walk(
  selection: Selection,
  columns: string,
  limit: number,
  run: RunSql,
): SqlValue[][] {
  const { text, params } = where(selection, selection.order);
  return run(
    `SELECT ${columns} FROM txs ${text} ${orderBy(selection)} LIMIT ?`,
    ...params,
    limit,
  );
}

/** Takes all of a range, sorts it, and reads only what comes first. */
function gather(
  selection: Selection,
  by: RangeColumn,
  columns: string,
  limit: number,
  run: RunSql,
): SqlValue[][] {
  const { text, params } = where(selection, by);
  return run(
    `SELECT ${columns} FROM txs WHERE rowid IN (
      SELECT rowid FROM txs ${text} ${orderBy(selection, "+")} LIMIT ?
    ) ${orderBy(selection, "+")}`,
    ...params,
    limit,
  );
}

/** How many rows a range has, counted no further than `limit`. */
function countUpTo(
  { holder, ranges }: Selection,
  by: RangeColumn,
  limit: number,
  run: RunSql,
): number {
  const terms = [...holder, ...termsOf(ranges[by])];
  const { text, params } = clause(terms.filter((term) => serves(by, term)), by);
  const [row] = run(
    `SELECT count(*) FROM (SELECT 1 FROM txs ${text} LIMIT ?)`,
    ...params,
    limit,
  );
  return row![0] as number;
}

/**
 * What a row costs by the index of a column: that tells all that the conditions
 * are about, or the row has to be looked up.
 */
function costOf({ holder }: Selection, by: RangeColumn): number {
  const isTold = by === "timestamp" ||
    (by === "size" && holder.length === 0);
  return isTold ? 1 : LOOKUP;
}

/** Where the walk stands after so many rows; null when it has ended by then. */
function cursorAt(
  selection: Selection,
  reach: number,
  run: RunSql,
): TxCursor | null {
  const { order, holder, ranges } = selection;
  const terms = [...holder, ...termsOf(ranges[order])]
    .filter((term) => serves(order, term));
  const { text, params } = clause([...terms, plainTerm(HAS_TEXT_ID)], order);
  const [row] = run(
    `SELECT CAST(tx_id AS TEXT), CAST(timestamp AS REAL) FROM txs ${text} ${
      orderBy(selection)
    } LIMIT 1 OFFSET ?`,
    ...params,
    reach - 1,
  );
  return row ? { txId: row[0] as string, timestamp: row[1] as number } : null;
}

/** The ranges that are limited, beside that of the order. */
function otherRanges({ order, holder, ranges }: Selection): RangeColumn[] {
  return (["tx_id", "timestamp", "size"] as const).filter((column) =>
    column !== order &&
    [...holder, ...termsOf(ranges[column])].some((term) => serves(column, term))
  );
}
