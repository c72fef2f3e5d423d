/**
 * What may stand where on the command line, from the table: all that the
 * completion scripts of the shells have in common.
 *
 * @module
 */

import { commonOptions } from "../specs/shared.ts";
import type { OptionSpec, PositionalSpec } from "../specs/spec.ts";
import { type CommandName, commands, optionsOf } from "../table.ts";

/** Completes one place of the command line. */
export type Slot =
  /** One of these words, each with what it means. */
  | { kind: "words"; words: readonly (readonly [word: string, help: string])[] }
  /** The id of a transaction. */
  | { kind: "ids" }
  /** A file or a folder. */
  | { kind: "files" };

/**
 * Every place that can be completed. A key is the command (empty before there
 * is one), a colon, and one of: an option whose value is to come, `--` for the
 * name of an option, the position of an argument from 0.
 */
export function slots(): Map<string, Slot> {
  const names = Object.keys(commands) as CommandName[];
  const commandWords: Slot = {
    kind: "words",
    words: [
      ...names.map((name) => [name, commands[name].summary] as const),
      ["help", "Print help for the program or for a command"],
    ],
  };
  return new Map<string, Slot>([
    [":0", commandWords],
    ["help:0", commandWords],
    ...ofOptions("", commonOptions),
    ...names.flatMap((name) => [
      ...ofOptions(name, optionsOf(name)),
      ...ofPositionals(name),
    ]),
  ]);
}

/** The options that take a value, whatever their command. */
export function valuedOptions(): string[] {
  const names = (Object.keys(commands) as CommandName[]).flatMap((name) =>
    Object.entries(optionsOf(name)).filter(([, { type }]) => type !== "flag")
      .map(([option]) => `--${option}`)
  );
  return [...new Set(names)].sort();
}

function ofOptions(
  command: string,
  options: Readonly<Record<string, OptionSpec>>,
): [string, Slot][] {
  const all = Object.entries(options);
  const values = all.flatMap(([name, spec]): [string, Slot][] => {
    const slot = slotOf(spec);
    return slot ? [[`${command}:--${name}`, slot]] : [];
  });
  const words = all.map(([name, { help }]) => [`--${name}`, help] as const);
  return [[`${command}:--`, { kind: "words", words }], ...values];
}

function slotOf(spec: OptionSpec): Slot | null {
  if (spec.type === "choice") return oneOf(spec.choices);
  if (spec.type === "path") return { kind: "files" };
  return spec.type === "text" && spec.completes
    ? { kind: spec.completes }
    : null;
}

function ofPositionals(command: CommandName): [string, Slot][] {
  const specs: readonly PositionalSpec[] = commands[command].positionals;
  return specs.flatMap(({ choices, completes }, i): [string, Slot][] => {
    const key = `${command}:${i}`;
    if (choices) return [[key, oneOf(choices)]];
    return completes ? [[key, { kind: completes }]] : [];
  });
}

function oneOf(choices: readonly string[]): Slot {
  return { kind: "words", words: choices.map((word) => [word, ""] as const) };
}
