/**
 * Parses arguments into a command and typed option values, by the table.
 *
 * @module
 */

import { UsageError } from "../format/usage_error.ts";
import { listed, nearest } from "../text/suggestion.ts";
import type { OptionSpec, PositionalSpec } from "./specs/spec.ts";
import {
  type CommandName,
  commands,
  optionsOf,
  type OptionValues,
} from "./table.ts";
import { readValue } from "../format/values.ts";

/** Topics of `help`. */
export type HelpTopic = CommandName | (typeof TOPICS)[number];

/** Topics of `help` other than commands. */
export const TOPICS = ["environment", "exit-codes", "permissions"] as const;

/** The parsed arguments. */
export type Invocation =
  | { kind: "help"; topic: HelpTopic | null }
  /** Help that nobody asked for. */
  | { kind: "nothing" }
  | { kind: "version"; json: boolean }
  | { kind: "run"; command: CommandName; args: ParsedArgs };

/** A command's arguments, checked against the table. */
export interface ParsedArgs {
  /** Every option of the command, by name. */
  options: Record<
    string,
    string | number | boolean | readonly string[] | undefined
  >;
  /** Arguments without a name, verbatim. */
  positionals: string[];
}

/** {@linkcode ParsedArgs} with the types that the table gives a command. */
export interface CommandArgs<N extends CommandName> {
  /** Every option of the command, by name. */
  options: OptionValues<N>;
  /** Arguments without a name, verbatim. */
  positionals: string[];
}

/** Reads an environment variable; undefined when unset, empty or not allowed. */
export type ReadEnv = (variable: string) => string | undefined;

/**
 * Reads the program's arguments.
 *
 * @throws {UsageError} If they do not fit the table.
 */
export function parse(args: readonly string[], env: ReadEnv): Invocation {
  const named = args.slice(0, endOfOptions(args));
  const { command: word, rest } = splitCommand(args);
  if (word === "help") return { kind: "help", topic: helpTopic(rest) };
  const isVersion = word === "version";
  const command = word === null || isVersion ? null : commandName(word);
  if (named.includes("--help") || helpLetter(named)) {
    return { kind: "help", topic: command };
  }
  if (command === null) {
    if (isVersion) requireOneWord("version", rest);
    if (isVersion || named.includes("--version") || named.includes("-V")) {
      return { kind: "version", json: named.includes("--json") };
    }
    if (args.length === 0) return { kind: "nothing" };
    throw new UsageError("No command given", {
      hint: "see poh-storage --help",
    });
  }
  const parsed = parseCommand(command, rest, env);
  return parsed.options.version
    ? { kind: "version", json: parsed.options.json === true }
    : { kind: "run", command, args: parsed };
}

/** Parses what stands beside the command's name. */
function parseCommand(
  command: CommandName,
  args: readonly string[],
  env: ReadEnv,
): ParsedArgs {
  const specs = optionsOf(command);
  const { given, positionals } = split(command, args, specs);
  checkPositionals(command, positionals);
  const options: ParsedArgs["options"] = {};
  for (const [name, spec] of Object.entries(specs)) {
    options[name] = valueOf(name, spec, given.get(name), env);
  }
  return { options, positionals };
}

/** Tells options, with their values where they take one, from the rest. */
function split(
  command: CommandName,
  args: readonly string[],
  specs: Record<string, OptionSpec>,
): { given: Map<string, string[]>; positionals: string[] } {
  const given = new Map<string, string[]>();
  const positionals: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === "--") {
      positionals.push(...args.slice(i + 1));
      break;
    }
    if (!arg.startsWith("-") || arg === "-") {
      positionals.push(arg);
      continue;
    }
    const { name, value } = splitOption(command, arg, specs);
    const spec = specs[name]!;
    const isFlag = spec.type === "flag";
    const repeats = "repeats" in spec && spec.repeats;
    if (isFlag && value !== undefined) {
      throw new UsageError(`Option --${name} takes no value`);
    }
    if (given.has(name) && !isFlag && !repeats) {
      throw new UsageError(`Option --${name} is given twice`);
    }
    const text = isFlag ? "" : value ?? valueAfter(name, args[++i]);
    given.set(name, [...given.get(name) ?? [], text]);
  }
  return { given, positionals };
}

function splitOption(
  command: CommandName,
  arg: string,
  specs: Record<string, OptionSpec>,
): { name: string; value: string | undefined } {
  const letter = LETTERS[arg];
  if (letter !== undefined) return { name: letter, value: undefined };
  const equals = arg.indexOf("=");
  const written = equals < 0 ? arg : arg.slice(0, equals);
  const name = written.slice(2);
  if (!written.startsWith("--") || !Object.hasOwn(specs, name)) {
    throw new UsageError(`Unknown option ${written} for ${command}`, {
      hint: didYouMean(
        written,
        Object.keys(specs).map((known) => `--${known}`),
        `see poh-storage ${command} --help`,
      ),
    });
  }
  return { name, value: equals < 0 ? undefined : arg.slice(equals + 1) };
}

/** A value of its own may begin with one hyphen (`-`, `-5`), not with two. */
function valueAfter(name: string, next: string | undefined): string {
  if (next === undefined) {
    throw new UsageError(`Option --${name} needs a value`);
  }
  if (next.startsWith("--")) {
    throw new UsageError(
      `Option --${name} needs a value`,
      { hint: `write --${name}=${next} if that is it` },
    );
  }
  return next;
}

function checkPositionals(command: CommandName, positionals: string[]): void {
  const specs: readonly PositionalSpec[] = commands[command].positionals;
  const extra = positionals[specs.length];
  if (extra !== undefined && !specs.at(-1)?.repeats) {
    throw new UsageError(
      specs.length === 0
        ? `${command} takes no argument, got ${JSON.stringify(extra)}`
        : `${command} takes no further argument, got ${JSON.stringify(extra)}`,
    );
  }
  specs.forEach((spec, i) => {
    const word = positionals[i];
    if (word === undefined || !spec.choices) return;
    if (!spec.choices.some((choice) => choice === word)) {
      throw new UsageError(
        `${command} ${JSON.stringify(word)} is not known: ${
          listed(spec.choices)
        }`,
      );
    }
  });
}

/** An option's value: the one given, else the environment's, else the default. */
function valueOf(
  name: string,
  spec: OptionSpec,
  given: readonly string[] | undefined,
  env: ReadEnv,
): ParsedArgs["options"][string] {
  if (spec.type === "flag") return given !== undefined;
  if ("repeats" in spec && spec.repeats) {
    return (given ?? []).map((text) =>
      String(convert(`--${name}`, spec, text))
    );
  }
  if (given !== undefined) return convert(`--${name}`, spec, given[0]!);
  if ("env" in spec && spec.env !== undefined) {
    const value = env(spec.env);
    if (value !== undefined) return convert(spec.env, spec, value);
  }
  return spec.default === undefined
    ? undefined
    : convert(`--${name}`, spec, spec.default);
}

function convert(
  source: string,
  spec: Exclude<OptionSpec, { type: "flag" }>,
  text: string,
): string | number {
  if (spec.type !== "choice") return readValue(spec.type, source, text);
  if (spec.choices.includes(text)) return text;
  throw new UsageError(
    `${source} must be ${listed(spec.choices)}, got ${JSON.stringify(text)}`,
  );
}

// --- finding the command ----------------------------------------------------

/** Letters that people try first. */
const LETTERS: Readonly<Record<string, string>> = {
  "-h": "help",
  "-V": "version",
};

/** Options of any command: they may stand before its name. */
function allOptions(): Map<string, OptionSpec> {
  const names = Object.keys(commands) as CommandName[];
  return new Map(names.flatMap((name) => Object.entries(optionsOf(name))));
}

/** Returns true if the next argument is the value of this one. */
function takesValue(arg = ""): boolean {
  const spec = arg.startsWith("--") && allOptions().get(arg.slice(2));
  return spec ? spec.type !== "flag" : false;
}

/** Returns the index of `--`, which ends the options. */
export function endOfOptions(args: readonly string[]): number {
  const end = args.indexOf("--");
  return end < 0 ? args.length : end;
}

/** Takes the first argument that is neither an option nor an option's value. */
function splitCommand(
  args: readonly string[],
): { command: string | null; rest: string[] } {
  for (let i = 0; i < args.length && args[i] !== "--"; i++) {
    const arg = args[i]!;
    if (!arg.startsWith("-") || arg === "-") {
      return { command: arg, rest: args.toSpliced(i, 1) };
    }
    requireOption(arg.split("=", 1)[0]!);
    if (takesValue(arg) && !args[i + 1]?.startsWith("--")) i++;
  }
  return { command: null, rest: [...args] };
}

function requireOption(option: string): void {
  const known = [
    ...Object.keys(LETTERS),
    ...Array.from(allOptions().keys(), (name) => `--${name}`),
  ];
  if (known.includes(option)) return;
  throw new UsageError(`Unknown option ${option}`, {
    hint: didYouMean(option, known, "see poh-storage --help"),
  });
}

/** Returns true if `-h` is an option, and not the value of one. */
function helpLetter(args: readonly string[]): boolean {
  return args.some((arg, i) => arg === "-h" && !takesValue(args[i - 1]));
}

function helpTopic(rest: readonly string[]): HelpTopic | null {
  const { command: word, rest: others } = splitCommand(rest);
  const { command: extra } = splitCommand(others);
  if (extra !== null) {
    throw new UsageError(
      `help takes one command, got ${JSON.stringify(extra)} as well`,
    );
  }
  if (word === null) return null;
  return TOPICS.find((topic) => topic === word) ?? commandName(word);
}

function requireOneWord(word: string, rest: readonly string[]): void {
  const { command: extra } = splitCommand(rest);
  if (extra === null) return;
  throw new UsageError(
    `${word} takes no argument, got ${JSON.stringify(extra)}`,
  );
}

/** Names that other programs have for these commands. */
export const ALIASES: Readonly<Record<string, CommandName>> = {
  get: "load",
  ls: "list",
  put: "save",
  rm: "delete",
  stats: "info",
};

function commandName(word: string): CommandName {
  if (Object.hasOwn(ALIASES, word)) return ALIASES[word]!;
  if (Object.hasOwn(commands, word)) return word as CommandName;
  throw new UsageError(`Unknown command ${JSON.stringify(word)}`, {
    hint: didYouMean(word, Object.keys(commands), "see poh-storage --help"),
  });
}

// --- wording ----------------------------------------------------------------

function didYouMean(
  word: string,
  known: readonly string[],
  otherwise: string,
): string {
  const best = nearest(word, known);
  return best === null ? otherwise : `did you mean ${best}?`;
}
