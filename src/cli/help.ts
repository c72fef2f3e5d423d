/**
 * The text of `--help`, from the table.
 *
 * @module
 */

import { ALIASES, type HelpTopic } from "./args.ts";
import { EXIT_CODES } from "./exit_codes.ts";
import {
  type CommandName,
  commands,
  type CommandSpec,
  commonOptions,
  type Example,
  type OptionSpec,
} from "./table.ts";

/** Widest line, so that it fits the narrowest usual terminal. */
const WIDTH = 80;

/** Variables that stand in for no option. */
const OTHER_VARIABLES: readonly [string, string][] = [
  [
    "AWS_ACCESS_KEY_ID",
    "Credentials for a bucket, with AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.",
  ],
  [
    "AWS_ENDPOINT_URL_S3",
    "Where buckets are that are not Amazon's; AWS_REGION tells where in it.",
  ],
  ["PGPASSWORD", "Password for a database server, unless it is in --db."],
  ["POH_TOKEN", "Bearer token that serve asks for."],
  ["POH_FROM_TOKEN", "Bearer token that nodes of --from ask for."],
  ["PAGER", "Program that shows a long list on a terminal; less unless set."],
  ["NO_COLOR", "No colours, whatever its value."],
  ["FORCE_COLOR", "Colours where there is no terminal as well."],
  ["POH_DEBUG", "1 prints the stack of an error that ends the program."],
  [
    "DENO_SQLITE_PATH",
    "SQLite library for the FFI binding; the driver auto takes it when --allow-ffi is granted.",
  ],
];

/** Help on a command or a topic; null: on the program. */
export function helpOn(topic: HelpTopic | null): string {
  if (topic === null) return programHelp();
  return topic === "environment" ? environmentHelp() : commandHelp(topic);
}

function environmentHelp(): string {
  return sections([["Environment", columns(variables())]]);
}

/** Help for the program. */
function programHelp(): string {
  return sections([
    [
      "",
      [
        "poh-storage keeps transactions: each payload as a file, the facts about it in",
        "SQLite, and a SHA-256 that binds the two.",
      ],
    ],
    ["Usage", ["  poh-storage <command> [options]"]],
    [
      "Commands",
      columns(
        Object.entries(commands).map(([name, { summary }]) => [name, summary]),
      ),
    ],
    ["Options of every command", optionLines(commonOptions)],
    ["Exit codes", exitCodeLines(Object.keys(EXIT_CODES).map(Number))],
    [
      "Examples",
      exampleLines([
        commands.init.examples[0],
        commands.save.examples[0],
        commands.load.examples[0],
        commands.recover.examples[0],
      ]),
    ],
    ["", [
      "poh-storage help <command> explains a command, poh-storage help environment",
      "the variables that it reads.",
    ]],
  ]);
}

/** Help for one command. */
function commandHelp(name: CommandName): string {
  const spec: CommandSpec = commands[name];
  const aliases = Object.keys(ALIASES).filter((word) => ALIASES[word] === name);
  const also = aliases.length > 0 ? ` (also ${aliases.join(", ")})` : "";
  return sections([
    ["", [`poh-storage ${name}${also}: ${spec.summary}`]],
    [
      "Usage",
      spec.usage.map((form) =>
        `  poh-storage ${[name, form, "[options]"].filter(Boolean).join(" ")}`
      ),
    ],
    ...(spec.description ?? []).map((paragraph): Section => [
      "",
      wrap(paragraph, WIDTH),
    ]),
    [
      "Arguments",
      columns(
        spec.positionals.map(({ name, help, choices }) => [
          `<${name}>`,
          choices ? `${help} One of ${choices.join(", ")}.` : help,
        ]),
      ),
    ],
    ["Options", optionLines(spec.options)],
    ["Options of every command", optionLines(commonOptions)],
    ["Examples", exampleLines(spec.examples)],
    ["Exit codes", exitCodeLines([0, 1, 2, ...spec.exitCodes])],
    [
      "Permissions, when run by deno",
      Deno.build.standalone ? [] : permissionLines(spec),
    ],
    ["", ["poh-storage help environment lists the variables that it reads."]],
  ]);
}

/** The Deno flags that a command needs, and those that it can do without. */
function permissionLines(
  { writes, local = false, permissions = [] }: CommandSpec,
): string[] {
  const paths = "=<base>,<folder of db>";
  const ffi = "DENO_SQLITE_PATH,DENO_SQLITE_LOCAL";
  return [
    `  --allow-read${paths}`,
    ...(writes
      ? [
        `  --allow-write${paths}`,
        "  --allow-read of the parent of a folder that has to be made",
      ]
      : []),
    ...permissions.map((line) => `  ${line}`),
    ...(local ? [] : [
      "  For a bucket or a server, in the place of folder and file:",
      "  --allow-net=<host>:<port> of each",
      "  --allow-env=AWS_ACCESS_KEY_ID,AWS_SECRET_ACCESS_KEY (for a bucket)",
      "  --allow-env=AWS_ENDPOINT_URL_S3,AWS_REGION,PGPASSWORD (where they are set)",
    ]),
    "  --allow-env=POH_BASE,POH_DB,POH_DEBUG (optional)",
    ...(writes ? ["  --allow-sys=hostname (optional)"] : []),
    `  --allow-ffi --allow-env=${ffi} (optional: FFI binding)`,
  ];
}

type Section = readonly [title: string, lines: readonly string[]];

function sections(all: readonly Section[]): string {
  return all
    .filter(([, lines]) => lines.length > 0)
    .map(([title, lines]) =>
      (title ? [`${title}:`, ...lines] : lines).map((line) => `${line}\n`)
        .join("")
    )
    .join("\n");
}

function optionLines(options: Readonly<Record<string, OptionSpec>>): string[] {
  return columns(
    Object.entries(options).map((
      [name, spec],
    ) => [optionTerm(name, spec), optionHelp(spec)]),
  );
}

/** An option as it is written. */
export function optionTerm(name: string, spec: OptionSpec): string {
  if (spec.type === "flag") return `--${name}`;
  return spec.type === "choice"
    ? `--${name} ${spec.choices.join("|")}`
    : `--${name} <${spec.metavar}>`;
}

/** What an option does, and what holds without it. */
export function optionHelp(spec: OptionSpec): string {
  return spec.help + fallbackText(spec);
}

function fallbackText(spec: OptionSpec): string {
  if (spec.type === "flag") return "";
  const parts = [
    ...("env" in spec && spec.env ? [`environment: ${spec.env}`] : []),
    ...(spec.default === undefined ? [] : [`default: ${spec.default}`]),
  ];
  return parts.length > 0 ? ` [${parts.join("; ")}]` : "";
}

/** The environment variables that the program reads, with what each does. */
export function variables(): [string, string][] {
  const ofOptions = Object.entries<OptionSpec>(commonOptions).flatMap((
    [name, spec],
  ): [string, string][] =>
    "env" in spec && spec.env ? [[spec.env, `Stands in for --${name}.`]] : []
  );
  return [
    ...ofOptions,
    ...OTHER_VARIABLES,
  ];
}

function exitCodeLines(codes: readonly number[]): string[] {
  return columns(codes.map((code) => [String(code), EXIT_CODES[code]!]));
}

function exampleLines(examples: readonly Example[]): string[] {
  return examples.flatMap((example) => [
    `  # ${example.note}`,
    `  ${commandLine(example)}`,
  ]);
}

/** An example as a whole line. */
export function commandLine({ line }: Example): string {
  return line.includes("poh-storage ") ? line : `poh-storage ${line}`;
}

/** Two columns; what is too wide for the first gets a line of its own. */
function columns(rows: readonly (readonly [string, string])[]): string[] {
  const widest = Math.min(
    26,
    Math.max(0, ...rows.map(([left]) => left.length)),
  );
  const indent = widest + 4;
  return rows.flatMap(([left, right]) => {
    const lines = wrap(right, WIDTH - indent).map((line) =>
      " ".repeat(indent) + line
    );
    if (left.length > widest) return [`  ${left}`, ...lines];
    return [
      `  ${left.padEnd(widest)}  ${lines[0]!.trimStart()}`,
      ...lines.slice(1),
    ];
  });
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) {
      lines[lines.length - 1] = `${last} ${word}`;
    } else lines.push(word);
  }
  return lines;
}
