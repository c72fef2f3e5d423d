/**
 * The one table of filter fields. The check of the API, the options of the
 * command line, the query of the HTTP service, its description and the SQL of
 * both databases all derive from it.
 *
 * To add a field: a property of {@linkcode TxFilter}, a row of
 * {@linkcode FILTER_FIELDS} (the compiler asks for it), and an index in
 * `schema.ts` where none serves.
 *
 * @module
 */

import { type OptionsType, optionsType, rule, type Rules } from "../options.ts";
import { compareText } from "../text/text_order.ts";

/** Which transactions. All conditions must hold; none means all. */
export interface TxFilter {
  /** Only ids that begin with this. */
  idPrefix?: string;
  /** Only this holder's. */
  holderId?: string;
  /** Only timestamps at or after this, UNIX seconds. */
  since?: number;
  /** Only timestamps before this, UNIX seconds. */
  before?: number;
  /** Only payloads of so many bytes or more; none whose size is unknown. */
  minSize?: number;
  /** Only payloads of so many bytes or fewer; none whose size is unknown. */
  maxSize?: number;
  /** Only ids greater than this, in the order of their UTF-8 bytes. */
  after?: string;
  /** At most so many: a whole number, or Infinity. */
  limit?: number;
}

/** A column that conditions are about. */
export type FilterColumn = "tx_id" | "holder_id" | "timestamp" | "size";

/** A field of a filter that holds values of type `T`. */
interface FilterField<T> {
  /** Its name on the command line (after `--`) and in a URL's query. */
  option: string;
  /** How the value is checked, and parsed from text. */
  kind: T extends string ? "text" : "time" | "size" | "count";
  /** Placeholder for the value in `--help`. */
  metavar: string;
  /** One sentence for `--help` and for the description of the service. */
  help: string;
  /** Shell completion. */
  completes?: "ids";
  /** The column that it compares; absent where it only limits a page. */
  column?: FilterColumn;
  /** Comparison of the column with the value. */
  operator?: Operator | (T extends string ? "begins with" : never);
}

/** Comparison of a column with a value. */
export type Operator = "=" | "<" | "<=" | ">" | ">=";

/** Every field of a filter, in the order in which help lists them. */
export const FILTER_FIELDS = {
  idPrefix: {
    option: "prefix",
    kind: "text",
    metavar: "text",
    help: "Only ids that begin with this.",
    completes: "ids",
    column: "tx_id",
    operator: "begins with",
  },
  holderId: {
    option: "holder",
    kind: "text",
    metavar: "id",
    help: "Only this holder's transactions.",
    column: "holder_id",
    operator: "=",
  },
  since: {
    option: "since",
    kind: "time",
    metavar: "time",
    help:
      "Only timestamps at or after this: UNIX seconds, an ISO 8601 date, or an age such as 30d.",
    column: "timestamp",
    operator: ">=",
  },
  before: {
    option: "before",
    kind: "time",
    metavar: "time",
    help: "Only timestamps before this.",
    column: "timestamp",
    operator: "<",
  },
  minSize: {
    option: "min-size",
    kind: "size",
    metavar: "size",
    help:
      "Only payloads of so many bytes or more: 4096, 64k or 1.5MiB; k, M and G are powers of 1024.",
    column: "size",
    operator: ">=",
  },
  maxSize: {
    option: "max-size",
    kind: "size",
    metavar: "size",
    help: "Only payloads of so many bytes or fewer.",
    column: "size",
    operator: "<=",
  },
  after: {
    option: "after",
    kind: "text",
    metavar: "id",
    help: "Only ids after this one, in the order of their UTF-8 bytes.",
    completes: "ids",
  },
  limit: {
    option: "limit",
    kind: "count",
    metavar: "n",
    help: "At most so many.",
  },
} as const satisfies {
  [K in keyof TxFilter]-?: FilterField<Required<TxFilter>[K]>;
};

/** The table's type, from which the types of options derive. */
export type FilterFields = typeof FILTER_FIELDS;

/** The fields, each with its name in the API. */
export const filterFields = Object.entries(FILTER_FIELDS) as readonly [
  keyof TxFilter,
  FilterField<string | number>,
][];

/** What the fields of a filter may be. */
export const filterRules = Object.fromEntries(
  filterFields.map(([name, { kind }]) => [
    name,
    kind === "count" ? rule.limit : rule[kind],
  ]),
) as Rules<TxFilter>;

/** Checks a {@linkcode TxFilter}. */
export const TX_FILTER: OptionsType = optionsType<TxFilter>(
  "TxFilter",
  filterRules,
);

/** A comparison of a column with a value, as SQL can say it. */
export interface Comparison {
  /** The column. */
  column: FilterColumn;
  /** The comparison. */
  operator: Operator;
  /** With what. */
  value: string | number;
}

/**
 * What a filter demands of a row's columns, its page aside: no more than one
 * lower and one upper bound of each. Null when no row can have it.
 *
 * @throws {RangeError} If a bound is no finite number.
 */
export function comparisonsOf(
  filter: Omit<TxFilter, "after">,
): Comparison[] | null {
  const comparisons: Comparison[] = [];
  for (const [name, { column, operator }] of filterFields) {
    if (!column || !operator) continue;
    const value = (filter as TxFilter)[name];
    if (value === undefined) continue;
    if (typeof value === "string") {
      if (isUnstorable(value)) return null;
      comparisons.push(...comparisonsOfText(column, operator, value));
    } else {
      comparisons.push(
        ...comparisonsOfNumber(column, operator as Operator, value),
      );
    }
  }
  return tightest(comparisons);
}

function comparisonsOfText(
  column: FilterColumn,
  operator: Operator | "begins with",
  value: string,
): Comparison[] {
  if (operator !== "begins with") return [{ column, operator, value }];
  if (value === "") return [];
  const end = successor(value);
  return [
    { column, operator: ">=", value },
    ...end === null ? [] : [{ column, operator: "<" as const, value: end }],
  ];
}

function comparisonsOfNumber(
  column: FilterColumn,
  operator: Operator,
  value: number,
): Comparison[] {
  if (!Number.isFinite(value)) {
    throw new RangeError(`A bound must be a finite number, got ${value}`);
  }
  if (column !== "size") return [{ column, operator, value }];
  return [
    { column, operator: ">=", value: 0 }, // an unknown size is -1
    { column, operator, value: wholeBytes(value, operator) },
  ];
}

/** Which way a comparison limits its column. */
export function sideOf({ operator }: Comparison): "lower" | "upper" | "both" {
  if (operator === "=") return "both";
  return operator.startsWith(">") ? "lower" : "upper";
}

/** Returns true if a value satisfies a comparison, in the order of databases. */
export function meets(
  value: string | number,
  { operator, value: bound }: Comparison,
): boolean {
  const order = compare(value, bound);
  if (operator.endsWith("=") && order === 0) return true;
  return operator.startsWith(">")
    ? order > 0
    : operator.startsWith("<") && order < 0;
}

function compare(a: string | number, b: string | number): number {
  return typeof a === "string" ? compareText(a, String(b)) : a - Number(b) || 0; // of two infinities
}

/** Of two bounds on one side only the tighter one counts. */
function tightest(comparisons: Comparison[]): Comparison[] {
  return comparisons.filter((one, n) =>
    sideOf(one) === "both" ||
    !comparisons.some((other, m) =>
      m !== n && other.column === one.column &&
      sideOf(other) === sideOf(one) &&
      (isTighter(other, one) || m < n && !isTighter(one, other))
    )
  );
}

function isTighter(a: Comparison, b: Comparison): boolean {
  const order = compare(a.value, b.value);
  if (order === 0) return a.operator.length < b.operator.length;
  return sideOf(a) === "lower" ? order > 0 : order < 0;
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

/** A bound of sizes as a number of bytes that a 64-bit integer holds. */
function wholeBytes(size: number, operator: Operator): number {
  const whole = operator === ">=" || operator === "<"
    ? Math.ceil(size)
    : Math.floor(size);
  return Math.min(whole, Number.MAX_SAFE_INTEGER);
}
