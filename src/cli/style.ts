/**
 * Colours for people.
 *
 * @module
 */

import { readEnv } from "./permissions.ts";

/** When to use colours. */
export type ColorChoice = "auto" | "always" | "never";

/** ANSI codes by kind of text. */
const CODES = {
  heading: "1", // bold
  count: "1",
  damage: "31", // red
  hint: "33", // yellow
  good: "32", // green
  bar: "36", // cyan
} as const;

/** Kind of text. */
export type Mark = keyof typeof CODES;

/** Marks text for a stream, or leaves it as it is. */
export type Paint = (mark: Mark, text: string) => string;

/**
 * Returns the paint for a stream. `--color` decides; then NO_COLOR, FORCE_COLOR,
 * and whether a person is looking.
 */
export function paintFor(choice: ColorChoice, isTerminal: boolean): Paint {
  const isOn = choice === "auto"
    ? !Deno.noColor && (isTerminal || isForced())
    : choice === "always";
  return isOn
    ? (mark, text) => text && `\x1b[${CODES[mark]}m${text}\x1b[0m`
    : (_mark, text) => text;
}

/** As other programs have it: `0` and `false` force nothing. */
function isForced(): boolean {
  return !["0", "false", undefined].includes(readEnv("FORCE_COLOR"));
}
