/**
 * The text of `--help`, from the table.
 *
 * @module
 */

import { ALIASES, type HelpTopic, TOPICS } from "./args.ts";
import { EXIT_CODES } from "./exit_codes.ts";
import { commonOptions } from "./specs/shared.ts";
import type { CommandSpec, Example, OptionSpec } from "./specs/spec.ts";
import type { Paint } from "./style.ts";
import { type CommandName, commands, groups } from "./table.ts";

/** Widest line, so that it fits the narrowest usual terminal. */
const WIDTH = 80;

/** Longest name of a command. */
const NAME_WIDTH = Math.max(...Object.keys(commands).map((n) => n.length));

/** Variables that stand in for no option. */
const OTHER_VARIABLES: readonly [string, string][] = [
  [
    "AWS_ACCESS_KEY_ID",
    "Credentials for a bucket, with AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.",
  ],
  [
    "AWS_ENDPOINT_URL_S3",
    "Endpoint of a non-AWS object store; AWS_REGION sets its region.",
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
export function helpOn(topic: HelpTopic | null, paint: Paint): string {
  switch (topic) {
    case null:
      return sections(programHelp(), paint);
    case "environment":
      return sections([["Environment", columns(variables())]], paint);
    case "exit-codes":
      return sections([["Exit codes", exitCodeLines()]], paint);
    case "permissions":
      return sections(permissionHelp(), paint);
    default:
      return sections(commandHelp(topic), paint);
  }
}

/** Help for the program. */
function programHelp(): Section[] {
  return [
    [
      "",
      [
        "poh-storage keeps transactions: each payload as a file, the facts about it in",
        "SQLite, and a SHA-256 that binds the two.",
      ],
    ],
    ["Usage", ["  poh-storage <command> [options]"]],
    ...Object.entries(groups).map(([title, group]): Section => [
      title,
      columns(
        Object.entries(group).map(([name, { summary }]) => [
          name.padEnd(NAME_WIDTH),
          summary,
        ]),
      ),
    ]),
    ["Options of every command", optionLines(commonOptions)],
    ["", [
      "poh-storage help <command> explains a command. Further pages:",
      TOPICS
        .filter((topic) => !Deno.build.standalone || topic !== "permissions")
        .map((topic) => `help ${topic}`).join(", "),
    ]],
  ];
}

/** Help for one command. */
function commandHelp(name: CommandName): Section[] {
  const spec: CommandSpec = commands[name];
  const aliases = Object.keys(ALIASES).filter((word) => ALIASES[word] === name);
  const also = aliases.length > 0 ? ` (also ${aliases.join(", ")})` : "";
  return [
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
    ["Examples", exampleLines(spec.examples)],
    ["", [
      `Ends with ${
        exitCodesOf(spec).join(", ")
      }: see poh-storage help exit-codes.`,
      "Options of every command: see poh-storage --help.",
    ]],
  ];
}

/** The exit codes a command can end with. */
function exitCodesOf({ exitCodes }: CommandSpec): number[] {
  return [0, 1, 2, ...exitCodes];
}

/** The Deno flags that commands need, and those that they can do without. */
function permissionHelp(): Section[] {
  if (Deno.build.standalone) {
    return [["", [
      "This program brings its permissions along: it needs no option of Deno's.",
    ]]];
  }
  const specs = Object.entries<CommandSpec>(commands);
  const writers = specs.filter(([, { writes }]) => writes);
  const paths = "=<base>,<folder of db>";
  return [
    ["Commands that read", [`  --allow-read${paths}`]],
    [
      "Commands that change the store",
      [
        ...wrap(writers.map(([name]) => name).join(", "), WIDTH - 2)
          .map((line) => `  ${line}`),
        `  --allow-read${paths}`,
        `  --allow-write${paths}`,
        "  --allow-read of the parent of a folder that has to be made",
        "  --allow-sys=hostname (optional)",
      ],
    ],
    ...specs.flatMap(([name, { permissions = [] }]): Section[] =>
      permissions.length === 0
        ? []
        : [[`Beside those, ${name}`, permissions.map((line) => `  ${line}`)]]
    ),
    ["For a bucket or a server, in the place of folder and file", [
      ...wrap(
        `(not for ${
          specs.filter(([, { local }]) => local).map(([name]) => name)
            .join(", ")
        })`,
        WIDTH - 2,
      ).map((line) => `  ${line}`),
      "  --allow-net=<host>:<port> of each",
      "  --allow-env=AWS_ACCESS_KEY_ID,AWS_SECRET_ACCESS_KEY (for a bucket)",
      "  --allow-env=AWS_ENDPOINT_URL_S3,AWS_REGION,PGPASSWORD (where they are set)",
    ]],
    ["Optional for all", [
      "  --allow-env=POH_BASE,POH_DB,POH_DEBUG",
      "  --allow-ffi --allow-env=DENO_SQLITE_PATH,DENO_SQLITE_LOCAL (FFI binding)",
      "  --allow-run=less --allow-env=PAGER,LESS (pager of list)",
    ]],
  ];
}

type Section = readonly [title: string, lines: readonly string[]];

function sections(all: readonly Section[], paint: Paint): string {
  return all
    .filter(([, lines]) => lines.length > 0)
    .map(([title, lines]) =>
      (title ? [paint("heading", `${title}:`), ...lines] : lines)
        .map((line) => `${line}\n`)
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

/** An option's help, with its environment variable and default. */
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

function exitCodeLines(): string[] {
  return columns(Object.entries(EXIT_CODES));
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
