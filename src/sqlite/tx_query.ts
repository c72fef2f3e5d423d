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
 * A unary plus in front of a column keeps SQLite from using an index of it.
 *
 * @module
 */

import { PohStorageError } from "../errors.ts";
import {
  type Comparison,
  comparisonsOf,
  type FilterColumn,
  filterRules,
  isUnstorable,
  meets,
  sideOf,
} from "../model/filter.ts";
import { oneOf, type OptionsType, optionsType, rule } from "../options.ts";
import type { SqlValue } from "./driver.ts";
import type { TxCursor, TxFilter, TxQuery } from "../types.ts";

/** How many rows are walked past at first, and how many more each time. */
const FIRST_REACH = 1_024;
const GROWTH = 4;

/**
 * True of ids that are text. The key of a row that another program has written
 * may be a BLOB, which comes after all text, or NULL: a page could not go on
 * after such a row.
 */
export const HAS_TEXT_ID = "+tx_id < x''";

/** While one row is looked up, so many are passed that an index tells all of. */
const LOOKUP = 16;

/** Part of a statement, and what is bound to it. */
export interface Sql {
  /** Its text. */
  text: string;
  /** The values of its parameters, in order. */
  params: SqlValue[];
}

/** A query whose cursor is known in full where its order needs that. */
export type ResolvedQuery = Omit<TxQuery, "after"> & { after?: TxCursor };

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

/** What the table's columns are called; an old table lacks some. */
export type ColumnNames = Readonly<Record<FilterColumn, string>>;

/** Runs a statement; all its rows. */
export type RunSql = (sql: string, ...params: SqlValue[]) => SqlValue[][];

/** The columns by whose index a range of rows is found. */
type RangeColumn = Exclude<FilterColumn, "holder_id">;

/** A condition that the index of a column can serve, unless a plus is put in. */
interface Term {
  column: FilterColumn | null;
  text: (plus: "" | "+") => string;
  params: SqlValue[];
}

/** Where the values of a column begin and end. */
interface Range {
  lower?: Term;
  upper?: Term;
}

/** Conditions, by the indexes that can serve them, and an order. */
interface Selection {
  order: "tx_id" | "timestamp";
  reverse: boolean;
  holder: Term[];
  ranges: Record<RangeColumn, Range>;
  /** What no index is to serve. */
  others: Term[];
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

// --- from a query to conditions ---------------------------------------------

function selectionOf(query: ResolvedQuery, names: ColumnNames): Selection {
  const { sort = "id", reverse = false, after } = query;
  const selection: Selection = {
    order: sort === "time" ? "timestamp" : "tx_id",
    reverse,
    holder: [],
    ranges: { tx_id: {}, timestamp: {}, size: {} },
    others: [],
  };
  const comparisons = isUnstorable(after?.txId) ? null : comparisonsOf(query);
  if (comparisons === null) {
    return { ...selection, others: [plainTerm("FALSE")] };
  }
  for (const comparison of comparisons) place(comparison, selection, names);
  if (selection.order === "timestamp") {
    // Text in a row edited by hand, greater than any number, has no place.
    selection.ranges.timestamp.upper ??= compare("timestamp", "<", "");
  }
  return after ? begunAfter(selection, comparisons, after) : selection;
}

/** Puts a condition where the index is that can serve it. */
function place(
  comparison: Comparison,
  { holder, ranges, others }: Selection,
  names: ColumnNames,
): void {
  const { column, operator, value } = comparison;
  const side = sideOf(comparison);
  const term = column === "timestamp"
    ? compareTime(operator, value as number)
    : compare(column, operator, value, names);
  if (column === "holder_id" && side === "both") holder.push(term);
  else if (column !== "holder_id" && side !== "both") {
    ranges[column][side] = term;
  } else others.push({ ...term, column: null });
}

/** Leaves out rows behind which a page could not go on. */
function listable(selection: Selection): Selection {
  const others = [...selection.others, plainTerm(HAS_TEXT_ID)];
  return { ...selection, others };
}

/** Leaves out all up to a cursor, which may lie anywhere. */
function begunAfter(
  selection: Selection,
  comparisons: Comparison[],
  after: TxCursor,
): Selection {
  const { order, reverse, others } = selection;
  const key = order === "tx_id" ? after.txId : after.timestamp;
  const isWithin = comparisons.every((comparison) =>
    comparison.column !== order || meets(key, comparison)
  );
  // One bound on a side: SQLite would begin at either of two.
  if (isWithin) return from(selection, after);
  const term = {
    ...keyTerm(order, reverse ? "<" : ">", after),
    column: null,
  };
  return { ...selection, others: [...others, term] };
}

/** What is left behind a row that the selection has. */
function from(selection: Selection, cursor: TxCursor): Selection {
  return selection.reverse
    ? bounded(selection, "upper", "<", cursor)
    : bounded(selection, "lower", ">", cursor);
}

/** What there is up to a row that the selection has, and with it. */
function upTo(selection: Selection, cursor: TxCursor): Selection {
  return selection.reverse
    ? bounded(selection, "lower", ">=", cursor)
    : bounded(selection, "upper", "<=", cursor);
}

function bounded(
  selection: Selection,
  side: "lower" | "upper",
  operator: string,
  cursor: TxCursor,
): Selection {
  const { order, ranges } = selection;
  const range = { ...ranges[order], [side]: keyTerm(order, operator, cursor) };
  return { ...selection, ranges: { ...ranges, [order]: range } };
}

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

/**
 * A number as two that both bindings bind exactly, whose quotient it is. The
 * FFI binding takes every whole number for a 64-bit integer, which 1e300 is not.
 * A row edited by hand may have an infinite one.
 */
export function exactQuotient(value: number): [number, number] {
  if (Math.abs(value) === Infinity) return [Math.sign(value), Number.MIN_VALUE];
  let numerator = value, denominator = 1;
  while (Math.abs(numerator) > Number.MAX_SAFE_INTEGER) {
    numerator /= 2;
    denominator /= 2;
  }
  return [numerator, denominator];
}

// --- from conditions to SQL -------------------------------------------------

/** Whether the index by which a range is found serves a condition as well. */
function serves(by: RangeColumn, { column }: Term): boolean {
  return column === by || (column === "holder_id" && by === "timestamp");
}

/** All conditions, written so that one index serves; null: SQLite chooses. */
function where(
  { holder, ranges, others }: Selection,
  by: RangeColumn | null,
): Sql {
  const inRange = Object.values(ranges).flatMap(termsOf);
  return clause([...holder, ...inRange, ...others], by);
}

function clause(terms: Term[], by: RangeColumn | null): Sql {
  const texts = terms.map((term) =>
    term.text(by === null || serves(by, term) ? "" : "+")
  );
  return {
    text: texts.length === 0 ? "" : `WHERE ${texts.join(" AND ")}`,
    params: terms.flatMap(({ params }) => params),
  };
}

function termsOf({ lower, upper }: Range): Term[] {
  return [...lower ? [lower] : [], ...upper ? [upper] : []];
}

function orderBy({ order, reverse }: Selection, plus: "" | "+" = ""): string {
  const columns = order === "timestamp" ? ["timestamp", "tx_id"] : ["tx_id"];
  const direction = reverse ? "DESC" : "ASC";
  return `ORDER BY ${
    columns.map((column) => `${plus}${column} ${direction}`).join(", ")
  }`;
}

function compare(
  column: FilterColumn,
  operator: string,
  value: SqlValue,
  names?: ColumnNames,
): Term {
  const name = names?.[column] ?? column;
  return {
    column,
    text: (plus) => `${plus}${name} ${operator} ?`,
    params: [value],
  };
}

/** A condition that no index is to serve. */
function plainTerm(text: string): Term {
  return { column: null, text: () => text, params: [] };
}

function compareTime(operator: string, seconds: number): Term {
  return {
    column: "timestamp",
    text: (plus) => `${plus}timestamp ${operator} CAST(? AS REAL) / ?`,
    params: exactQuotient(seconds),
  };
}

/** Compares with the place of a row in an order. */
function keyTerm(
  order: Selection["order"],
  operator: string,
  { txId, timestamp }: TxCursor,
): Term {
  if (order === "tx_id") return compare("tx_id", operator, txId);
  return {
    column: "timestamp",
    text: (plus) =>
      `(${plus}timestamp, ${plus}tx_id) ${operator} (CAST(? AS REAL) / ?, ?)`,
    params: [...exactQuotient(timestamp), txId],
  };
}
