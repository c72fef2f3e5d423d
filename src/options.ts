/**
 * Which fields every options object of the API has, and what their values may
 * be: a mistyped or malformed one is refused before anything is touched, for
 * `prune({ holderId, befor })` would delete all of a holder's transactions.
 *
 * To add an option: its property in the interface and one line in the table
 * {@linkcode FIELDS}, which does not compile without it.
 *
 * @module
 */

import type { BackupOptions } from "./backup.ts";
import type { WalkOptions } from "./backup_walk.ts";
import type { CheckOptions, RecoverOptions, VerifyOptions } from "./check.ts";
import type { FileStoreOptions } from "./file_store.ts";
import { filterFields, type TxFilter } from "./filter.ts";
import {
  IF_EXISTS,
  type SaveOptions,
  type SaveStreamOptions,
  type SaveTxsOptions,
} from "./if_exists.ts";
import type { LockWait } from "./lock_wait.ts";
import type { MigrateOptions } from "./migrate.ts";
import type { MovePackedOptions } from "./packed.ts";
import type { StorageOptions } from "./open_store.ts";
import type { PruneFilter, PruneOptions } from "./prune.ts";
import type { RecoveryOptions } from "./recovery.ts";
import type { RestoreOptions } from "./restore.ts";
import type { SqliteStoreOptions } from "./sqlite_store.ts";
import { listed, nearest } from "./suggestion.ts";
import type { TxQuery } from "./types.ts";

/** What a value has to be. */
interface Rule {
  /** In words, after "must be". */
  what: string;
  /** Whether its type is right. */
  is: (value: unknown) => boolean;
  /** Whether one of the right type is within its range. */
  isInRange?: (value: never) => boolean;
  /** The words that it may be, where it is one of a few. */
  words?: readonly string[];
  /** The options object that it is. */
  of?: OptionsName;
}

/** Every options object of the API, by its type's name. */
interface OptionsTypes {
  TxFilter: TxFilter;
  TxQuery: TxQuery;
  PruneFilter: PruneFilter;
  StorageOptions: StorageOptions;
  SaveOptions: SaveOptions;
  SaveStreamOptions: SaveStreamOptions;
  SaveTxsOptions: SaveTxsOptions;
  CheckOptions: CheckOptions;
  VerifyOptions: VerifyOptions;
  RecoverOptions: RecoverOptions;
  RecoveryOptions: RecoveryOptions;
  PruneOptions: PruneOptions;
  BackupOptions: BackupOptions;
  RestoreOptions: RestoreOptions;
  MigrateOptions: MigrateOptions;
  MovePackedOptions: MovePackedOptions;
  FileStoreOptions: FileStoreOptions;
  SqliteStoreOptions: SqliteStoreOptions;
}

/** Name of an options object's type. */
export type OptionsName = keyof OptionsTypes;

const isNumber = (value: unknown) => typeof value === "number";

const flag: Rule = {
  what: "true or false",
  is: (value) => typeof value === "boolean",
};
const text: Rule = { what: "text", is: (value) => typeof value === "string" };
const callback: Rule = {
  what: "a function",
  is: (value) => typeof value === "function",
};
const signal: Rule = {
  what: "an AbortSignal",
  is: (value) => value instanceof AbortSignal,
};
const count: Rule = {
  what: "a whole number, 1 or more",
  is: isNumber,
  isInRange: (value: number) => Number.isInteger(value) && value >= 1,
};
const limit: Rule = {
  what: "a whole number, 0 or more, or Infinity",
  is: isNumber,
  isInRange: (value: number) =>
    value === Infinity || Number.isInteger(value) && value >= 0,
};
const size: Rule = {
  what: "a number of bytes, 0 or more",
  is: isNumber,
  isInRange: (value: number) => value >= 0 && value < Infinity,
};
const time: Rule = {
  what: "a finite number of seconds",
  is: isNumber,
  isInRange: Number.isFinite,
};
const duration: Rule = {
  what: "a finite number of milliseconds, 0 or more",
  is: isNumber,
  isInRange: (value: number) => value >= 0 && value < Infinity,
};
const share: Rule = {
  what: "a share above 0 and up to 1",
  is: isNumber,
  isInRange: (value: number) => value > 0 && value <= 1,
};
const ids: Rule = {
  what: "a Set of ids",
  is: (value) => value instanceof Set,
};
const cursor: Rule = {
  what: "an id, or an object with txId and timestamp",
  is: (value) => {
    if (typeof value === "string") return true;
    const { txId, timestamp } = Object(value);
    return typeof txId === "string" && isNumber(timestamp) &&
      !Number.isNaN(timestamp);
  },
};
const oneOf = (...words: string[]): Rule => ({
  what: listed(words.map((word) => JSON.stringify(word))),
  is: (value) => words.includes(value as string),
  words,
});
const optionsOf = (of: OptionsName): Rule => ({
  what: `a ${of}`,
  is: () => true,
  of,
});

const driver = oneOf("auto", "ffi", "builtin");
const durability = oneOf("full", "relaxed");
const ifExists = oneOf(...IF_EXISTS);

const filter = Object.fromEntries(
  filterFields.map(([name, { kind }]) => [
    name,
    { text, time, size, count: limit }[kind],
  ]),
) as Record<keyof TxFilter, Rule>;
const { after: _, ...pruneFilter } = filter;

const sources: Rule = {
  what: "a source or an array of them",
  is: (value) =>
    typeof value === "string" ||
    Array.isArray(value) && value.every((one) => typeof one === "string"),
};
const tokens: Rule = {
  what: "a token, or an object of tokens by URL",
  is: (value) =>
    typeof value === "string" ||
    Object.values(Object(value)).every((one) => typeof one === "string"),
};

const check = {
  from: sources,
  fromToken: tokens,
  signal,
  onFinding: callback,
  onProgress: callback,
  onSound: callback,
};

const wait: Record<keyof LockWait, Rule> = { lockTimeout: duration, signal };

const storage: Record<keyof StorageOptions, Rule> = {
  ...wait,
  durability,
  checkpointAfter: count,
  packBelow: size,
  inlineBelow: size,
  writeOnce: flag,
  driver,
  readOnly: flag,
  onUpgrade: callback,
  upgradeQuiet: duration,
};

const recover: Record<keyof RecoverOptions, Rule> = {
  ...check,
  dryRun: flag,
  purge: flag,
  orphans: oneOf("keep", "adopt", "quarantine"),
  rebuild: flag,
  only: ids,
  skipPayloads: flag,
  workers: count,
};

const walk: Record<keyof WalkOptions, Rule> = {
  signal,
  onFinding: callback,
  onProgress: callback,
};

const FIELDS: {
  readonly [N in OptionsName]: Readonly<Record<keyof OptionsTypes[N], Rule>>;
} = {
  TxFilter: filter,
  TxQuery: {
    ...filter,
    after: cursor,
    sort: oneOf("id", "time"),
    reverse: flag,
  },
  PruneFilter: pruneFilter,
  StorageOptions: storage,
  SaveOptions: { ifExists },
  SaveStreamOptions: { ifExists, expected: text },
  SaveTxsOptions: { ifExists, onSaved: callback },
  CheckOptions: check,
  VerifyOptions: {
    ...check,
    filter: optionsOf("TxFilter"),
    sample: share,
    after: text,
    limit,
    until: text,
    workers: count,
  },
  RecoverOptions: recover,
  RecoveryOptions: { ...storage, ...recover, create: flag },
  PruneOptions: { dryRun: flag, signal, onProgress: callback },
  BackupOptions: {
    ...walk,
    ...wait,
    copy: flag,
    verify: flag,
    driver,
    durability,
  },
  RestoreOptions: { ...walk, ...wait, driver, durability },
  MigrateOptions: {
    signal,
    onProgress: callback,
    onLeftOut: callback,
    verify: flag,
  },
  MovePackedOptions: { packBelow: size, signal, onProgress: callback },
  FileStoreOptions: { sync: flag },
  SqliteStoreOptions: { ...wait, driver, sync: flag, readOnly: flag },
};

/**
 * Makes sure that an options object is a plain one with none but known,
 * well-formed fields. A field that is `undefined` counts as absent.
 *
 * @param names The types whose fields it may have.
 * @throws {TypeError} If a field is unknown, or its value of a wrong type; the
 * message names the field, and the nearest known one.
 * @throws {RangeError} If a value has the right type and is out of range.
 */
export function requireKnown(
  options: object,
  ...names: [OptionsName, ...OptionsName[]]
): void {
  const what = names.join(" & ");
  if (!isPlain(options)) {
    throw new TypeError(
      `${what} must be a plain object, got ${shown(options)}`,
    );
  }
  const rules: Readonly<Record<string, Rule>> = Object.assign(
    {},
    ...names.map((name) => FIELDS[name]),
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
