/**
 * What describes a command and its options.
 *
 * @module
 */

import type { ValueType } from "../../format/values.ts";

/** An option that is there or not. */
export interface FlagSpec {
  /** Says that it takes no value. */
  readonly type: "flag";
  /** One sentence for `--help`. */
  readonly help: string;
}

/** An option with a value. */
export interface ValueSpec {
  /** How the value is read. */
  readonly type: ValueType;
  /** What stands for the value in `--help`. */
  readonly metavar: string;
  /** One sentence for `--help`. */
  readonly help: string;
  /** Environment variable that stands in for the option. */
  readonly env?: string;
  /** Value when neither option nor variable is given, written as on the command line. */
  readonly default?: string;
  /** What completes it in a shell; files where `type` is `"path"`. */
  readonly completes?: "ids";
  /** Whether it may be given several times; its value is a list then. */
  readonly repeats?: true;
}

/** An option with one of a few values. */
export interface ChoiceSpec {
  /** Says that the value is one of `choices`. */
  readonly type: "choice";
  /** The values. */
  readonly choices: readonly string[];
  /** One sentence for `--help`. */
  readonly help: string;
  /** Value when the option is not given. */
  readonly default?: string;
}

/** An option. */
export type OptionSpec = FlagSpec | ValueSpec | ChoiceSpec;

/** An argument without a name. */
export interface PositionalSpec {
  /** What stands for it in `--help`. */
  readonly name: string;
  /** One sentence for `--help`. */
  readonly help: string;
  /** The values it may have; any when absent. */
  readonly choices?: readonly string[];
  /** What completes it in a shell. */
  readonly completes?: "ids" | "files";
  /** Whether more of the same may follow; of the last one only. */
  readonly repeats?: true;
}

/** An example for `--help`. */
export interface Example {
  /** What follows `poh-storage`, or a whole line when it holds a pipe. */
  readonly line: string;
  /** What it does. */
  readonly note: string;
}

/** A command. */
export interface CommandSpec {
  /** One line for the list of commands. */
  readonly summary: string;
  /** Paragraphs for the command's own `--help`. */
  readonly description?: readonly string[];
  /** What may follow the command's name, one form a line. */
  readonly usage: readonly string[];
  /** Arguments without a name, in order; all optional as far as parsing goes. */
  readonly positionals: readonly PositionalSpec[];
  /** Its options, by name, beside the common ones. */
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** Examples for `--help`. */
  readonly examples: readonly Example[];
  /** Whether it changes the store: decides the Deno permissions it needs. */
  readonly writes: boolean;
  /** Whether it is for stores on this machine only. */
  readonly local?: boolean;
  /** Further Deno permissions, for what is not the store. */
  readonly permissions?: readonly string[];
  /** Whether Ctrl-C lets it finish what it has begun. */
  readonly interruptible: boolean;
  /** Exit codes it can end with, beside 0, 1 and 2. */
  readonly exitCodes: readonly number[];
}
