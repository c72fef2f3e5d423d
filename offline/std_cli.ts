/**
 * The part of `@std/cli/parse-args` that is used here, by `node:util`.
 *
 * It gives the same results for arguments in which every option with a value
 * is written `--name=value`, as `src/cli/args.ts` writes them.
 *
 * @module
 */

import { parseArgs as parseNodeArgs } from "node:util";

/** The options of `@std/cli/parse-args` that are supported. */
export interface ParseOptions {
  /** Names whose values stay text; `_` keeps positional arguments text. */
  string?: string[];
  /** Names without a value: false where absent. */
  boolean?: string[];
}

/** Option values by name; arguments without a name in `_`. */
export interface Args {
  /** Arguments that are no options, among them all that follow `--`. */
  _: (string | number)[];
  /** An option's value. */
  [name: string]: unknown;
}

/** Reads options and positional arguments from `args`. */
export function parseArgs(
  args: readonly string[],
  { string = [], boolean = [] }: ParseOptions = {},
): Args {
  const textual = string.includes("_");
  const names = string.filter((name) => name !== "_");
  const { values, positionals } = parseNodeArgs({
    args: [...args],
    strict: false,
    allowPositionals: true,
    options: Object.fromEntries([
      ...names.map((name) => [name, { type: "string" as const }] as const),
      ...boolean.map((name) => [name, { type: "boolean" as const }] as const),
    ]),
  });
  const absent = Object.fromEntries(boolean.map((name) => [name, false]));
  return {
    ...absent,
    ...values,
    _: textual ? positionals : positionals.map(numberWhereNumeric),
  };
}

function numberWhereNumeric(text: string): string | number {
  const number = Number(text);
  return text.trim() !== "" && Number.isFinite(number) ? number : text;
}
