/**
 * Every command and option in one table, from which argument parsing, `--help`
 * and whatever else describes the program are derived. Pure data: nothing here
 * loads a command.
 *
 * @module
 */

import { checks } from "./specs/checks.ts";
import { program } from "./specs/program.ts";
import { proofs } from "./specs/proofs.ts";
import { commonOptions } from "./specs/shared.ts";
import type { CommandSpec, OptionSpec } from "./specs/spec.ts";
import { stores } from "./specs/stores.ts";
import { transactions } from "./specs/transactions.ts";

/** Commands by what they are for, in the order in which help lists them. */
export const groups = {
  "Transactions": transactions,
  "Stores": stores,
  "Damage": checks,
  "Proofs": proofs,
  "Service and shell": program,
} as const satisfies Record<string, Record<string, CommandSpec>>;

/** Every command. */
export const commands = {
  ...transactions,
  ...stores,
  ...checks,
  ...proofs,
  ...program,
} as const satisfies Record<string, CommandSpec>;

/** Name of a command. */
export type CommandName = keyof typeof commands;

/** A command's options and the common ones, in the order in which help lists them. */
export function optionsOf(name: CommandName): Record<string, OptionSpec> {
  return { ...commands[name].options, ...commonOptions };
}

type Value<O> = O extends { type: "flag" } ? boolean
  : O extends { repeats: true } ? readonly string[]
  : O extends { type: "choice"; choices: readonly (infer C)[]; default: string }
    ? C
  : O extends { type: "choice"; choices: readonly (infer C)[] } ? C | undefined
  : O extends
    { type: "time" | "age" | "count" | "size" | "fraction"; default: string }
    ? number
  : O extends { type: "time" | "age" | "count" | "size" | "fraction" }
    ? number | undefined
  : O extends { default: string } ? string
  : string | undefined;

type Values<T> = { [K in keyof T]: Value<T[K]> };

/** The parsed values of the options that every command has. */
export type CommonValues = Values<typeof commonOptions>;

/** The parsed values of a command's options. */
export type OptionValues<N extends CommandName> =
  & Values<(typeof commands)[N]["options"]>
  & CommonValues;
