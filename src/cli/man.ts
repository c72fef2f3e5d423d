import config from "../../deno.json" with { type: "json" };
import type { Call } from "./call.ts";
import { Exit, EXIT_CODES } from "./exit_codes.ts";
import { commandLine, optionHelp, optionTerm, variables } from "./help.ts";
import { commonOptions } from "./specs/shared.ts";
import type { CommandSpec, OptionSpec } from "./specs/spec.ts";
import { type CommandName, commands } from "./table.ts";

/** `poh-storage man` */
export async function run({ options, output }: Call<"man">): Promise<number> {
  const page = manPage();
  await output.print(
    options.json ? `${JSON.stringify({ page })}\n` : page,
  );
  return Exit.done;
}

/** The manual page, in the man(7) macros of roff. */
export function manPage(): string {
  return [
    `.TH POH\\-STORAGE 1 "" "poh\\-storage ${roff(config.version)}"`,
    ".SH NAME",
    "poh\\-storage \\- verified, crash\\-safe storage of transactions",
    ".SH SYNOPSIS",
    ".B poh\\-storage",
    ".I command",
    "[options]",
    ".SH DESCRIPTION",
    "Keeps transactions: each payload as a file, the facts about it in SQLite, and a SHA\\-256 that binds the two.",
    ".SH COMMANDS",
    ...(Object.keys(commands) as CommandName[]).flatMap(commandLines),
    ".SH OPTIONS OF EVERY COMMAND",
    ...optionLines(commonOptions),
    ".SH ENVIRONMENT",
    ...variables().flatMap(([name, help]) => term(bold(name), help)),
    ".SH EXIT STATUS",
    ...Object.entries(EXIT_CODES).flatMap(([code, help]) =>
      term(bold(code), help)
    ),
    "",
  ].join("\n");
}

function commandLines(name: CommandName): string[] {
  const spec: CommandSpec = commands[name];
  return [
    `.SS ${roff(name)}`,
    `${roff(spec.summary)}.`,
    ...spec.usage.flatMap((form) => [
      ".PP",
      `${bold(`poh-storage ${name}`)} ${roff(form)}`.trim(),
    ]),
    ...(spec.description ?? []).flatMap((text) => [".PP", line(text)]),
    ...spec.positionals.flatMap(({ name, help, choices }) =>
      term(
        `\\fI${roff(name)}\\fR`,
        choices ? `${help} One of ${choices.join(", ")}.` : help,
      )
    ),
    ...optionLines(spec.options),
    ...spec.examples.flatMap((example) => [
      ".PP",
      `${line(example.note)}:`,
      ".PP",
      ".RS 4",
      ".nf",
      line(commandLine(example)),
      ".fi",
      ".RE",
    ]),
  ];
}

function optionLines(options: Readonly<Record<string, OptionSpec>>): string[] {
  return Object.entries(options).flatMap(([name, spec]) =>
    term(bold(optionTerm(name, spec)), optionHelp(spec))
  );
}

function term(head: string, text: string): string[] {
  return [".TP", head, line(text)];
}

function bold(text: string): string {
  return `\\fB${roff(text)}\\fR`;
}

/** A line of text: what begins with a dot or a quote would be a request. */
function line(text: string): string {
  return roff(text).replace(/^(?=[.'])/, "\\&");
}

/** Text in which nothing is roff's own, and no hyphen or quote is made typographic. */
function roff(text: string): string {
  const names: Record<string, string> = {
    "\\": "\\e",
    "-": "\\-",
    "'": "\\(aq",
    "`": "\\(ga",
    "^": "\\(ha",
    "~": "\\(ti",
  };
  return text.replace(/[\\\-'`^~]/g, (character) => names[character]!);
}
