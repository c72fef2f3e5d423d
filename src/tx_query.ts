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

import { PohStorageError } from "./errors.ts";
import type { SqlValue } from "./sqlite_driver.ts";
import type { TxCursor, TxFilter, TxQuery } from "./types.ts";

/** How many rows are walked past at first, and how many more each time. */
const FIRST_REACH = 1_024;
const GROWTH = 4;

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

/** What the table's columns are called; an old table lacks some. */
export type ColumnNames = Readonly<Record<Column, string>>;

/** Runs a statement; all its rows. */
export type RunSql = (sql: string, ...params: SqlValue[]) => SqlValue[][];

type Column = "tx_id" | "timestamp" | "holder_id" | "size";

/** The columns by whose index a range of rows is found. */
type RangeColumn = Exclude<Column, "holder_id">;

/** A condition that the index of a column can serve, unless a plus is put in. */
interface Term {
  column: Column | null;
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
 * The first `limit` rows that a query selects, in its order.
 *
 * @param columns What to select of them.
 */
export function selectPage(
  query: ResolvedQuery & { limit: number },
  columns: string,
  names: ColumnNames,
  run: RunSql,
): SqlValue[][] {
  let left = selectionOf(query, names);
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
  const terms = [...holder, ...termsOf(ranges[order])];
  const { text, params } = clause(
    terms.filter((term) => serves(order, term)),
    order,
  );
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
    holder: query.holderId === undefined
      ? []
      : [compare("holder_id", "=", query.holderId, names)],
    ranges: {
      tx_id: idRange(query),
      timestamp: timeRange(query),
      size: sizeRange(query, names),
    },
    others: [query.holderId, query.idPrefix, after?.txId].some(isUnstorable)
      ? [{ column: null, text: () => "FALSE", params: [] }]
      : [],
  };
  return after ? begunAfter(selection, query, after) : selection;
}

/** Leaves out all up to a cursor, which may lie anywhere. */
function begunAfter(
  selection: Selection,
  { idPrefix = "", since = -Infinity, before = Infinity }: ResolvedQuery,
  after: TxCursor,
): Selection {
  const { order, reverse, others } = selection;
  const isWithin = order === "tx_id"
    ? after.txId.startsWith(idPrefix)
    : after.timestamp >= since && after.timestamp < before;
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

function idRange({ idPrefix: prefix }: ResolvedQuery): Range {
  if (!prefix) return {};
  const end = successor(prefix);
  return {
    lower: compare("tx_id", ">=", prefix),
    ...(end !== null && { upper: compare("tx_id", "<", end) }),
  };
}

function timeRange({ since, before, sort }: ResolvedQuery): Range {
  return {
    ...(since !== undefined && { lower: compareTime(">=", since) }),
    ...(before !== undefined
      ? { upper: compareTime("<", before) }
      // Text in a row edited by hand, greater than any number, has no place.
      : sort === "time" && { upper: compare("timestamp", "<", "") }),
  };
}

function sizeRange(
  { minSize, maxSize }: ResolvedQuery,
  names: ColumnNames,
): Range {
  if (minSize === undefined && maxSize === undefined) return {};
  const least = Math.max(minSize ?? 0, 0); // an unknown size is -1
  return {
    lower: compare("size", ">=", wholeBytes(Math.ceil(least)), names),
    ...(maxSize !== undefined && {
      upper: compare("size", "<=", wholeBytes(Math.floor(maxSize)), names),
    }),
  };
}

/** Text that no row has: bindings would cut it, or put another in its place. */
export function isUnstorable(text: string | undefined): boolean {
  return text !== undefined && (text.includes("\0") || !text.isWellFormed());
}

/**
 * The least text that comes after every text with a prefix, in the order of
 * UTF-8 bytes, which is that of code points; null when there is none.
 */
export function successor(prefix: string): string | null {
  const points = Array.from(prefix, (character) => character.codePointAt(0)!);
  while (points.at(-1) === 0x10FFFF) points.pop();
  const last = points.pop();
  if (last === undefined) return null;
  // The surrogates are no characters.
  return String.fromCodePoint(...points, last === 0xD7FF ? 0xE000 : last + 1);
}

/** A limit of sizes as a number of bytes that a 64-bit integer holds. */
export function wholeBytes(size: number): number {
  if (Number.isNaN(size)) throw new RangeError("A size must be a number");
  return Math.max(-1, Math.min(size, Number.MAX_SAFE_INTEGER));
}

/** A limit of rows: whole, none below zero, Infinity where there is none. */
export function rowLimit(limit = Infinity): number {
  if (!(limit >= 1)) return 0;
  return limit > Number.MAX_SAFE_INTEGER ? Infinity : Math.floor(limit);
}

/** Why an order of time cannot go on after an id. */
export function cursorGone(txId: string): PohStorageError {
  return new PohStorageError(
    "CURSOR_GONE",
    `There is no tx ${JSON.stringify(txId)} whose time tells where to go on`,
  );
}

/** A time as it is, which must be one. */
export function requireTime(seconds: number): number {
  if (Number.isFinite(seconds)) return seconds;
  throw new RangeError(
    `A time must be a finite number of seconds, got ${seconds}`,
  );
}

/**
 * A number as two that both bindings bind exactly, whose quotient it is. The
 * FFI binding takes every whole number for a 64-bit integer, which 1e300 is not.
 */
export function exactQuotient(value: number): [number, number] {
  let numerator = requireTime(value), denominator = 1;
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
  column: Column,
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
