/**
 * Options objects of the API: which fields each has, and what their values may
 * be. A mistyped or malformed one is refused before anything is touched, for
 * `prune({ holderId, befor })` would delete all of a holder's transactions.
 *
 * To add an option: its property in the interface, and a line in the
 * {@linkcode OptionsType} that stands below it, which does not compile without.
 *
 * @module
 */

import { listed, nearest } from "./text/suggestion.ts";

/** What a value has to be. */
export interface Rule {
  /** In words, after "must be". */
  what: string;
  /** Whether its type is right. */
  is: (value: unknown) => boolean;
  /** Whether one of the right type is within its range. */
  isInRange?: (value: never) => boolean;
  /** The words that it may be, where it is one of a few. */
  words?: readonly string[];
  /** The options object that it is. */
  of?: OptionsType;
}

/** What the fields of an options object may be. */
export type Rules<T> = Readonly<Record<keyof T, Rule>>;

/** An options object of the API. */
export interface OptionsType {
  /** The name of its type, for messages. */
  readonly name: string;
  /** Its fields. */
  readonly rules: Readonly<Record<string, Rule>>;
}

/** An options object, with a rule for every property of its type. */
export function optionsType<T>(name: string, rules: Rules<T>): OptionsType {
  return { name, rules };
}

const isNumber = (value: unknown) => typeof value === "number";

const rules = {
  flag: {
    what: "true or false",
    is: (value: unknown) => typeof value === "boolean",
  },
  text: { what: "text", is: (value: unknown) => typeof value === "string" },
  callback: {
    what: "a function",
    is: (value: unknown) => typeof value === "function",
  },
  signal: {
    what: "an AbortSignal",
    is: (value: unknown) => value instanceof AbortSignal,
  },
  /** How many there have to be. */
  count: {
    what: "a whole number, 1 or more",
    is: isNumber,
    isInRange: (value: number) => Number.isInteger(value) && value >= 1,
  },
  /** How many there may be. */
  limit: {
    what: "a whole number, 0 or more, or Infinity",
    is: isNumber,
    isInRange: (value: number) =>
      value === Infinity || Number.isInteger(value) && value >= 0,
  },
  size: {
    what: "a number of bytes, 0 or more",
    is: isNumber,
    isInRange: (value: number) => value >= 0 && value < Infinity,
  },
  time: {
    what: "a finite number of seconds",
    is: isNumber,
    isInRange: Number.isFinite,
  },
  duration: {
    what: "a finite number of milliseconds, 0 or more",
    is: isNumber,
    isInRange: (value: number) => value >= 0 && value < Infinity,
  },
  share: {
    what: "a share above 0 and up to 1",
    is: isNumber,
    isInRange: (value: number) => value > 0 && value <= 1,
  },
  ids: {
    what: "a Set of ids",
    is: (value: unknown) => value instanceof Set,
  },
  /** Which SQLite binding. */
  driver: oneOf("auto", "ffi", "builtin"),
  durability: oneOf("full", "relaxed"),
} satisfies Record<string, Rule>;

/** What values may be. */
export const rule: Record<keyof typeof rules, Rule> = rules;

/** One of a few words. */
export function oneOf(...words: string[]): Rule {
  return {
    what: listed(words.map((word) => JSON.stringify(word))),
    is: (value) => words.includes(value as string),
    words,
  };
}

/** An options object within another. */
export function nested(of: OptionsType): Rule {
  return { what: `a ${of.name}`, is: () => true, of };
}

/**
 * Makes sure that an options object is a plain one with none but known,
 * well-formed fields. A field that is `undefined` counts as absent.
 *
 * @param types The types whose fields it may have.
 * @throws {TypeError} If a field is unknown, or its value of a wrong type; the
 * message names the field, and the nearest known one.
 * @throws {RangeError} If a value has the right type and is out of range.
 */
export function requireKnown(
  options: object,
  ...types: [OptionsType, ...OptionsType[]]
): void {
  const what = types.map(({ name }) => name).join(" & ");
  if (!isPlain(options)) {
    throw new TypeError(
      `${what} must be a plain object, got ${shown(options)}`,
    );
  }
  const rules: Readonly<Record<string, Rule>> = Object.assign(
    {},
    ...types.map(({ rules }) => rules),
  );
  for (const [field, value] of Object.entries(options)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(rules, field)) {
      throw unknownField(field, what, Object.keys(rules));
    }
    requireValue(field, value, what, rules[field]!);
  }
}

/**
 * Whether all that an object has is its own: of a class's, a Map's or an
 * inherited field nothing would be seen.
 */
function isPlain(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

function unknownField(
  field: string,
  what: string,
  known: readonly string[],
): TypeError {
  const near = nearest(field, known);
  return new TypeError(
    `Unknown field ${JSON.stringify(field)} of ${what}; ${
      near === null
        ? `it has ${known.join(", ")}`
        : `did you mean ${JSON.stringify(near)}?`
    }`,
  );
}

function requireValue(
  field: string,
  value: unknown,
  what: string,
  { what: must, is, isInRange, words = [], of }: Rule,
): void {
  if (of) return requireKnown(value as object, of);
  const isRight = is(value);
  if (isRight && isInRange?.(value as never) !== false) return;
  const near = typeof value === "string" ? nearest(value, words) : null;
  const message = `Field ${
    JSON.stringify(field)
  } of ${what} must be ${must}, got ${shown(value)}${
    near === null ? "" : `; did you mean ${JSON.stringify(near)}?`
  }`;
  throw isRight ? new RangeError(message) : new TypeError(message);
}

/** A value in a message, however large. */
function shown(value: unknown): string {
  return Deno.inspect(value, {
    depth: 0,
    strAbbreviateSize: 60,
    breakLength: Infinity,
  });
}

/** How long to wait, and what ends the wait early. */
export interface LockWait {
  /** The most that is waited, in ms; default 5,000. */
  lockTimeout?: number;
  /** Ends waits within a quarter of a second when it is aborted. */
  signal?: AbortSignal;
}

/** What the fields of a {@linkcode LockWait} may be. */
export const waitRules: Rules<LockWait> = {
  lockTimeout: rule.duration,
  signal: rule.signal,
};

/** The part of some options that says how to wait. */
export function waitOf({ lockTimeout, signal }: LockWait): LockWait {
  return {
    ...(lockTimeout !== undefined && { lockTimeout }),
    ...(signal && { signal }),
  };
}
