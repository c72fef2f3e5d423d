/**
 * Prints docs/cli.md, the reference of every command, from the table that
 * `--help` and the manual page come from:
 * `deno task deno run docs/cli_reference.ts > docs/cli.md`. A test compares.
 *
 * @module
 */

import { EXIT_CODES } from "../src/cli/exit_codes.ts";
import {
  commandLine,
  optionHelp,
  optionTerm,
  variables,
} from "../src/cli/help.ts";
import { commonOptions } from "../src/cli/specs/shared.ts";
import type { CommandSpec, OptionSpec } from "../src/cli/specs/spec.ts";
import { type CommandName, commands } from "../src/cli/table.ts";

const INTRODUCTION = `# On the command line

\`poh-storage <command> [options]\`; from a checkout \`deno task cli <command> [options]\`.

- Data goes to stdout, everything else to stderr. \`--json\` works with every command, \`--help\` has examples.
- A time is UNIX seconds, an ISO 8601 date or an age (\`30d\`); a size is bytes or has a unit (\`64k\`, \`1.5MiB\`).
- Only \`init\` and \`restore\` make a store, and \`import\`, \`recover\` and \`serve\` with \`--create\`. All else ends with 6 where there is
  none. A base that has a store is opened by its own database or refused: a mistyped \`--db\` overwrites nothing.
- No command waits for another process for longer than \`--lock-timeout\`.
- Long commands draw [a bar](verify.png) on a terminal, and print a line every few seconds elsewhere with \`--progress\`. Ctrl-C lets them
  finish what has begun; the command says what was done and ends with 130. A second one stops at once.
- Pass the last id shown as \`--after\` to get the next page of a list.
`;

/** The reference as Markdown. */
export function cliReference(): string {
  const names = Object.keys(commands) as CommandName[];
  return [
    INTRODUCTION,
    ...table("command", "what it does", [
      ...names.map((name) => [
        `[\`${name}\`](#${name})`,
        commands[name].summary,
      ]),
    ]),
    ...names.flatMap(section),
    "## Options of every command",
    "",
    ...options(commonOptions),
    "## Environment",
    "",
    ...table("variable", "what it does", variables().map(codeFirst)),
    "## Exit codes",
    "",
    ...table("code", "meaning", Object.entries(EXIT_CODES)),
    "[errors.md](errors.md) says more of each.",
    "",
  ].join("\n");
}

function section(name: CommandName): string[] {
  const spec: CommandSpec = commands[name];
  return [
    `## ${name}`,
    "",
    `${spec.summary}.`,
    "",
    ...(spec.description ?? []).flatMap((text) => [escape(text), ""]),
    ...table(
      "argument",
      "what it is",
      spec.positionals.map(({ name, help, choices }) =>
        codeFirst([
          `<${name}>`,
          choices ? `${help} One of ${choices.join(", ")}.` : help,
        ])
      ),
    ),
    ...options(spec.options),
    "```sh",
    ...spec.examples.flatMap((example) => [
      `# ${example.note}`,
      commandLine(example),
    ]),
    "```",
    "",
  ];
}

function options(specs: Readonly<Record<string, OptionSpec>>): string[] {
  return table(
    "option",
    "what it does",
    Object.entries(specs).map(([name, spec]) =>
      codeFirst([optionTerm(name, spec), optionHelp(spec)])
    ),
  );
}

function codeFirst([left, right]: readonly string[]): string[] {
  return [`\`${left!.replaceAll("|", "\\|")}\``, right!];
}

/** A table and an empty line; nothing where there are no rows. */
function table(
  left: string,
  right: string,
  rows: readonly (readonly string[])[],
): string[] {
  if (rows.length === 0) return [];
  const cells = rows.map(([one, other]) => [one!, escape(other!)]);
  const width = (column: number, title: string) =>
    Math.max(title.length, ...cells.map((row) => row[column]!.length));
  const widths = [width(0, left), width(1, right)];
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, at) => cell.padEnd(widths[at]!)).join(" | ")} |`;
  return [
    line([left, right]),
    line(widths.map((width) => "-".repeat(width))),
    ...cells.map(line),
    "",
  ];
}

/** Text in which nothing is taken for markup. */
function escape(text: string): string {
  return text.replaceAll(/[<>|*_]/g, "\\$&");
}

if (import.meta.main) console.log(cliReference().trimEnd());
