/**
 * What a save does where the store has a transaction of that id already, and
 * what became of it.
 *
 * @module
 */

import { PreconditionError, TxExistsError } from "../errors.ts";
import {
  oneOf,
  type OptionsType,
  optionsType,
  type Rule,
  rule,
} from "../options.ts";
import type { TxInfo } from "../types.ts";

/**
 * What a save does where there is another transaction of that id: `"replace"`
 * it, `"keep"` it and save nothing, or `"fail"`. The same transaction again,
 * with the same bytes, holder and time, is no conflict under any of them.
 */
export type IfExists = "replace" | "keep" | "fail";

/** Every {@linkcode IfExists}. */
export const IF_EXISTS = ["replace", "keep", "fail"] as const;

/**
 * What must be there for a change to be made: a payload that has one of these
 * SHA-256 digests, in hex, or, with `"*"`, any transaction of that id.
 */
export type IfMatch = "*" | readonly string[];

/** Options of a save. */
export interface SaveOptions {
  /**
   * What to do where there is another transaction of that id; default
   * `"replace"`. A write-once store never replaces: there `"replace"` is
   * `"fail"`.
   */
  ifExists?: IfExists;
  /** Required current transaction; default: anything or nothing. */
  ifMatch?: IfMatch;
}

/** Options of a deletion. */
export interface DeleteOptions {
  /** Required current transaction; default: anything. */
  ifMatch?: IfMatch;
}

/** Options of a save whose payload comes in pieces. */
export interface SaveStreamOptions extends SaveOptions {
  /** SHA-256 that the payload is to have, in hex, where it is known. */
  expected?: string;
}

/** Options of a save of many transactions. */
export interface SaveTxsOptions extends Pick<SaveOptions, "ifExists"> {
  /** Told of each transaction that is done, and its place in the iterable. */
  onSaved?: (tx: SavedTx, index: number) => void;
  /** Takes no further transaction once aborted; what was begun is finished. */
  signal?: AbortSignal;
}

const ifExists = oneOf(...IF_EXISTS);
const ifMatch: Rule = {
  what: '"*" or a list of SHA-256 digests in hex',
  is: (value) =>
    value === "*" ||
    Array.isArray(value) && value.every((one) => typeof one === "string"),
};

/** Checks {@linkcode SaveOptions}. */
export const SAVE_OPTIONS: OptionsType = optionsType<SaveOptions>(
  "SaveOptions",
  { ifExists, ifMatch },
);

/** Checks {@linkcode DeleteOptions}. */
export const DELETE_OPTIONS: OptionsType = optionsType<DeleteOptions>(
  "DeleteOptions",
  { ifMatch },
);

/** Checks {@linkcode SaveStreamOptions}. */
export const SAVE_STREAM_OPTIONS: OptionsType = optionsType<SaveStreamOptions>(
  "SaveStreamOptions",
  { ifExists, ifMatch, expected: rule.text },
);

/** Checks {@linkcode SaveTxsOptions}. */
export const SAVE_TXS_OPTIONS: OptionsType = optionsType<SaveTxsOptions>(
  "SaveTxsOptions",
  { ifExists, onSaved: rule.callback, signal: rule.signal },
);

/**
 * What became of a save: the transaction was `"created"`; it `"replaced"`
 * another one; it was there already, `"unchanged"`; another one was `"kept"`.
 */
export type SaveOutcome = "created" | "replaced" | "unchanged" | "kept";

/** The row after a save, and the outcome of the save. */
export interface SavedTx extends TxInfo {
  /** Outcome of the save. */
  outcome: SaveOutcome;
  /** True if the store has changed: for `created` and `replaced`. */
  saved: boolean;
}

/** Counts of outcomes. */
export interface SaveCounts extends Record<SaveOutcome, number> {
  /** All of them. */
  txs: number;
}

/** The rule of a save with these options. */
export function ruleOf(
  { ifExists = "replace" }: SaveOptions,
  writeOnce: boolean,
): IfExists {
  return writeOnce && ifExists === "replace" ? "fail" : ifExists;
}

/**
 * Decides what a save comes to where there is a row of its id.
 *
 * @throws {TxExistsError} If the rule is `"fail"` and the row says otherwise.
 */
export function decide(
  there: TxInfo,
  given: TxInfo,
  rule: IfExists,
): Exclude<SaveOutcome, "created"> {
  if (isSameTx(there, given)) return "unchanged";
  if (rule === "replace") return "replaced";
  if (rule === "keep") return "kept";
  throw new TxExistsError(there.txId, there.storageHash, given.storageHash);
}

/**
 * Makes sure that what is there is what a change demands.
 *
 * @throws {PreconditionError} If it is not.
 */
export function requireMatch(
  ifMatch: IfMatch,
  txId: string,
  there: TxInfo | null,
): void {
  const matches = there !== null &&
    (ifMatch === "*" || ifMatch.includes(there.storageHash));
  if (!matches) throw new PreconditionError(txId, there?.storageHash ?? null);
}

/** Returns true if two rows describe the same transaction; sizes may be unknown. */
export function isSameTx(a: TxInfo, b: TxInfo): boolean {
  return a.txId === b.txId && a.holderId === b.holderId &&
    a.timestamp === b.timestamp && a.storageHash === b.storageHash;
}

/** The result of a save after which the store has this row. */
export function savedTx(info: TxInfo, outcome: SaveOutcome): SavedTx {
  const { txId, holderId, timestamp, storageHash, size } = info;
  const saved = outcome === "created" || outcome === "replaced";
  return { txId, holderId, timestamp, storageHash, size, outcome, saved };
}

/** Counts of nothing yet. */
export function noSaves(): SaveCounts {
  return { txs: 0, created: 0, replaced: 0, unchanged: 0, kept: 0 };
}

/** Counts one more save. */
export function countSave(counts: SaveCounts, { outcome }: SavedTx): void {
  counts.txs++;
  counts[outcome]++;
}
