/**
 * From a query to conditions, ordered by the indexes that can serve them, and
 * from these to SQL.
 *
 * A unary plus in front of a column keeps SQLite from using an index of it.
 *
 * @module
 */

import {
  type Comparison,
  comparisonsOf,
  type FilterColumn,
  isUnstorable,
  meets,
  sideOf,
} from "../model/filter.ts";
import type { SqlValue } from "./driver.ts";
import type { TxCursor, TxQuery } from "../types.ts";

/**
 * True of ids that are text. The key of a row that another program has written
 * may be a BLOB, which comes after all text, or NULL: a page could not go on
 * after such a row.
 */
export const HAS_TEXT_ID = "+tx_id < x''";

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
export type ColumnNames = Readonly<Record<FilterColumn, string>>;

/** The columns by whose index a range of rows is found. */
export type RangeColumn = Exclude<FilterColumn, "holder_id">;

/** A condition that the index of a column can serve, unless a plus is put in. */
export interface Term {
  column: FilterColumn | null;
  text: (plus: "" | "+") => string;
  params: SqlValue[];
}

/** Where the values of a column begin and end. */
export interface Range {
  lower?: Term;
  upper?: Term;
}

/** Conditions, by the indexes that can serve them, and an order. */
export interface Selection {
  order: "tx_id" | "timestamp";
  reverse: boolean;
  holder: Term[];
  ranges: Record<RangeColumn, Range>;
  /** What no index is to serve. */
  others: Term[];
}

// --- from a query to conditions ---------------------------------------------

export function selectionOf(
  query: ResolvedQuery,
  names: ColumnNames,
): Selection {
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
export function listable(selection: Selection): Selection {
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
export function from(selection: Selection, cursor: TxCursor): Selection {
  return selection.reverse
    ? bounded(selection, "upper", "<", cursor)
    : bounded(selection, "lower", ">", cursor);
}

/** What there is up to a row that the selection has, and with it. */
export function upTo(selection: Selection, cursor: TxCursor): Selection {
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
export function serves(by: RangeColumn, { column }: Term): boolean {
  return column === by || (column === "holder_id" && by === "timestamp");
}

/** All conditions, written so that one index serves; null: SQLite chooses. */
export function where(
  { holder, ranges, others }: Selection,
  by: RangeColumn | null,
): Sql {
  const inRange = Object.values(ranges).flatMap(termsOf);
  return clause([...holder, ...inRange, ...others], by);
}

export function clause(terms: Term[], by: RangeColumn | null): Sql {
  const texts = terms.map((term) =>
    term.text(by === null || serves(by, term) ? "" : "+")
  );
  return {
    text: texts.length === 0 ? "" : `WHERE ${texts.join(" AND ")}`,
    params: terms.flatMap(({ params }) => params),
  };
}

export function termsOf({ lower, upper }: Range): Term[] {
  return [...lower ? [lower] : [], ...upper ? [upper] : []];
}

export function orderBy(
  { order, reverse }: Selection,
  plus: "" | "+" = "",
): string {
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
export function plainTerm(text: string): Term {
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
