/**
 * Types of the specifications of commands and options.
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
  /** The type that the value is parsed as. */
  readonly type: ValueType;
  /** Placeholder for the value in `--help`. */
  readonly metavar: string;
  /** One sentence for `--help`. */
  readonly help: string;
  /** Environment variable that stands in for the option. */
  readonly env?: string;
  /** Value when neither option nor variable is given, written as on the command line. */
  readonly default?: string;
  /** Shell completion; files if `type` is `"path"`. */
  readonly completes?: "ids";
  /** The option may be repeated; its value is then a list. */
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
  /** Placeholder in `--help`. */
  readonly name: string;
  /** One sentence for `--help`. */
  readonly help: string;
  /** The values it may have; any when absent. */
  readonly choices?: readonly string[];
  /** Shell completion. */
  readonly completes?: "ids" | "files";
  /** More arguments of this kind may follow; only for the last one. */
  readonly repeats?: true;
}

/** An example for `--help`. */
export interface Example {
  /** The arguments of `poh-storage`, or a whole line if it has a pipe. */
  readonly line: string;
  /** One line that explains it. */
  readonly note: string;
}

/** A command. */
export interface CommandSpec {
  /** One line for the list of commands. */
  readonly summary: string;
  /** Paragraphs for the command's own `--help`. */
  readonly description?: readonly string[];
  /** Forms of the arguments, one a line. */
  readonly usage: readonly string[];
  /** Arguments without a name, in order; all optional as far as parsing goes. */
  readonly positionals: readonly PositionalSpec[];
  /** Its options, by name, beside the common ones. */
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** Examples for `--help`. */
  readonly examples: readonly Example[];
  /** The command changes the store, and so needs write permission. */
  readonly writes: boolean;
  /** The command works only on stores on this machine. */
  readonly local?: boolean;
  /** Further Deno permissions, for what is not the store. */
  readonly permissions?: readonly string[];
  /** Ctrl-C lets the command finish what it has begun. */
  readonly interruptible: boolean;
  /** Exit codes it can end with, beside 0, 1 and 2. */
  readonly exitCodes: readonly number[];
}
