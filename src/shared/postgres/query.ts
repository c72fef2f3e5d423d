/**
 * From a query to SQL.
 *
 * Rows are read in pages, each a statement of its own that begins behind the
 * last row of the page before, and not through a cursor of the server's: that
 * would be open as long as its reader takes, would hold up for hours the
 * clean-up of what others have changed, and would be lost with its connection.
 * In an order that is an index's a page costs what its rows cost, wherever it
 * begins. Which index serves is the server's choice, who knows how many rows
 * conditions select.
 *
 * @module
 */

import {
  comparisonsOf,
  type FilterColumn,
  isUnstorable,
} from "../../model/filter.ts";
import type { ResolvedQuery } from "../../sqlite/selection.ts";

/** A part of a statement, and what is bound to it. */
export interface Sql {
  /** Its text. */
  text: string;
  /** The values of its parameters, in order. */
  values: unknown[];
}

/** The conditions of a query, as `WHERE …`; empty when there are none. */
export function conditionsOf(query: ResolvedQuery): Sql {
  const values: unknown[] = [];
  const terms: string[] = [];
  const bind = (value: unknown, type: string) =>
    `$${values.push(value)}::${type}`;
  const compare = (
    column: FilterColumn,
    operator: string,
    value: unknown,
  ) => terms.push(`${column} ${operator} ${bind(value, TYPES[column])}`);
  const { after } = query;
  const comparisons = isUnstorable(after?.txId) ? null : comparisonsOf(query);
  if (comparisons === null) return { text: "WHERE FALSE", values };
  for (const { column, operator, value } of comparisons) {
    compare(column, operator, value);
  }
  if (after) {
    const operator = query.reverse ? "<" : ">";
    if (query.sort === "time") {
      const at = bind(after.timestamp, "float8");
      const place = `(${at}, ${bind(after.txId, "text")})`;
      terms.push(`(timestamp, tx_id) ${operator} ${place}`);
    } else {
      compare("tx_id", operator, after.txId);
    }
  }
  const text = terms.length === 0 ? "" : `WHERE ${terms.join(" AND ")}`;
  return { text, values };
}

/** The order of a query, as `ORDER BY …`. */
export function orderOf({ sort, reverse }: ResolvedQuery): string {
  const direction = reverse ? "DESC" : "ASC";
  return sort === "time"
    ? `ORDER BY timestamp ${direction}, tx_id ${direction}`
    : `ORDER BY tx_id ${direction}`;
}

const TYPES: Readonly<Record<FilterColumn, string>> = {
  tx_id: "text",
  holder_id: "text",
  timestamp: "float8",
  size: "int8",
};
