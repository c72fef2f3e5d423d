/**
 * Every command and option in one table, from which argument parsing, `--help`
 * and whatever else describes the program are derived. Pure data: nothing here
 * loads a command.
 *
 * @module
 */

/** What an option's value is read as; a flag takes none. */
export type ValueType =
  /** Any text. */
  | "text"
  /** A file or folder; not empty. */
  | "path"
  /** UNIX seconds, an ISO 8601 date, or an age such as `30d`. */
  | "time"
  /** An integer, 1 or more. */
  | "count"
  /** A share of a whole: `5%` or `0.05`. */
  | "fraction";

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
  /** Whether it listens on the network: the same. */
  readonly listens?: boolean;
  /** Whether Ctrl-C lets it finish what it has begun. */
  readonly interruptible: boolean;
  /** Exit codes it can end with, beside 0, 1 and 2. */
  readonly exitCodes: readonly number[];
}

/** Options of every command. */
export const commonOptions = {
  base: {
    type: "path",
    metavar: "dir",
    help: "Folder of the payload files.",
    env: "POH_BASE",
    default: "./data",
  },
  db: {
    type: "path",
    metavar: "file",
    help: "SQLite database; <base>/poh.db unless given.",
    env: "POH_DB",
  },
  driver: {
    type: "choice",
    choices: ["auto", "ffi", "builtin"],
    help: "SQLite binding.",
    default: "auto",
  },
  json: { type: "flag", help: "Print the result as JSON." },
  quiet: { type: "flag", help: "No notices and no progress on stderr." },
  help: { type: "flag", help: "Print this help (also -h)." },
  version: { type: "flag", help: "Print versions (also -V)." },
} as const satisfies Record<string, OptionSpec>;

const durability = {
  type: "choice",
  choices: ["full", "relaxed"],
  help:
    "Whether what is done survives power loss (full) or only the end of the process (relaxed).",
  default: "full",
} as const satisfies OptionSpec;

const txId = {
  type: "text",
  metavar: "id",
  help: "The transaction; the same as the argument <id>.",
} as const satisfies OptionSpec;

const filters = {
  prefix: {
    type: "text",
    metavar: "text",
    help: "Only ids that begin with this.",
  },
  holder: {
    type: "text",
    metavar: "id",
    help: "Only this holder's transactions.",
  },
  since: {
    type: "time",
    metavar: "time",
    help:
      "Only timestamps at or after this: UNIX seconds, an ISO 8601 date, or an age such as 30d.",
  },
  before: {
    type: "time",
    metavar: "time",
    help: "Only timestamps before this.",
  },
  after: {
    type: "text",
    metavar: "id",
    help: "Only ids after this one, in the order of their UTF-8 bytes.",
  },
  limit: { type: "count", metavar: "n", help: "At most so many." },
} as const satisfies Record<string, OptionSpec>;

const idArgument = {
  name: "id",
  help: "The transaction. After -- when it begins with a hyphen.",
} as const satisfies PositionalSpec;

/** Every command, in the order in which help lists them. */
export const commands = {
  init: {
    summary: "Make a store, or check that one opens",
    usage: [""],
    positionals: [],
    options: { durability },
    examples: [
      { line: "init", note: "A store in ./data" },
      {
        line: "init --base /var/lib/poh --db /var/lib/poh/meta.db",
        note: "Payloads and database where you want them",
      },
    ],
    writes: true,
    interruptible: false,
    exitCodes: [4, 5],
  },
  save: {
    summary: "Save a transaction",
    description: [
      "The transaction is a JSON object with the text fields tx_id and holder_id, the number timestamp (UNIX seconds) and payload in base64; or the fields come as options and the payload as the bytes of a file, which may be larger than memory. An id that is there already is replaced.",
    ],
    usage: [
      "--tx <json|-|@file>",
      "--tx-id <id> --holder-id <id> [--timestamp <time>] --payload-file <file|->",
    ],
    positionals: [],
    options: {
      tx: {
        type: "text",
        metavar: "json|-|@file",
        help:
          "The transaction as JSON, or - for stdin, or a file's name after @.",
      },
      "tx-id": { type: "text", metavar: "id", help: "Id of the transaction." },
      "holder-id": { type: "text", metavar: "id", help: "Id of its holder." },
      timestamp: {
        type: "time",
        metavar: "time",
        help:
          "Its time: UNIX seconds, an ISO 8601 date, or an age such as 30d; now unless given.",
      },
      "payload-file": {
        type: "path",
        metavar: "file|-",
        help: "File that holds the payload, or - for stdin.",
      },
      durability,
    },
    examples: [
      {
        line:
          `save --tx '{"tx_id":"a","holder_id":"alice","timestamp":1464307123.0,"payload":"aGVsbG8="}'`,
        note: "From the command line",
      },
      { line: "save --tx @tx.json", note: "From a file" },
      {
        line: "poh-storage load a | poh-storage save --base copy --tx -",
        note: "From one store to another",
      },
      {
        line: "save --tx-id scan-7 --holder-id alice --payload-file scan.tiff",
        note: "A large payload, streamed",
      },
    ],
    writes: true,
    interruptible: true,
    exitCodes: [4, 5, 130],
  },
  load: {
    summary: "Print a transaction, verified",
    description: [
      "Prints the JSON that save --tx takes. The payload is checked against its SHA-256: when they disagree, or the payload is gone, the exit code is 4. With --raw the bytes are printed while they are being checked, so damage shows only in the exit code at the end.",
    ],
    usage: ["<id>", "--tx-id <id>"],
    positionals: [idArgument],
    options: {
      "tx-id": txId,
      raw: { type: "flag", help: "Print the payload's bytes, streamed." },
    },
    examples: [
      { line: "load a", note: "As JSON" },
      { line: "load --tx-id=-x", note: "An id that begins with a hyphen" },
      { line: "load a --raw > payload.bin", note: "The payload alone" },
    ],
    writes: false,
    interruptible: false,
    exitCodes: [3, 4],
  },
  delete: {
    summary: "Delete a transaction",
    usage: ["<id>", "--tx-id <id>"],
    positionals: [idArgument],
    options: { "tx-id": txId, durability },
    examples: [{ line: "delete a", note: "Row and payload" }],
    writes: true,
    interruptible: false,
    exitCodes: [3, 4, 5],
  },
  list: {
    summary: "List transactions by id",
    description: [
      "With --json one object a line: tx_id, holder_id, timestamp, storage_hash and size (-1 where an older package saved none).",
    ],
    usage: [""],
    positionals: [],
    options: filters,
    examples: [
      { line: "list", note: "All ids" },
      { line: "list --holder alice --since 30d", note: "Some of them" },
      {
        line: "list --json --limit 100 --after 5b4a",
        note: "One page, with all that the metadata knows",
      },
    ],
    writes: false,
    interruptible: false,
    exitCodes: [4],
  },
  import: {
    summary: "Save transactions from NDJSON",
    description: [
      "One transaction a line, in the JSON form of save --tx; blank lines are skipped. Import stops at the first bad line: what stands before it is saved, and running it again with the line mended is harmless. With --skip-bad it reports the line and goes on. Either way a bad line makes the exit code 2.",
      "Memory stays flat however long the input. A line longer than 8 MiB must have payload as its last field, as export writes it.",
    ],
    usage: ["[file|-]"],
    positionals: [{
      name: "file",
      help: "File to read; stdin when absent or -.",
    }],
    options: {
      "skip-bad": { type: "flag", help: "Report bad lines and go on." },
      durability,
    },
    examples: [
      { line: "import txs.ndjson", note: "From a file" },
      {
        line: "poh-storage export --base old | poh-storage import --base new",
        note: "From one store to another",
      },
    ],
    writes: true,
    interruptible: true,
    exitCodes: [4, 5, 130],
  },
  export: {
    summary: "Print transactions as NDJSON, verified",
    description: [
      "One transaction a line, ordered by id. What is damaged or cannot be read is reported on stderr and left out.",
    ],
    usage: [""],
    positionals: [],
    options: filters,
    examples: [
      { line: "export > txs.ndjson", note: "Everything" },
      { line: "export --holder alice", note: "One holder's" },
    ],
    writes: false,
    interruptible: true,
    exitCodes: [4, 130],
  },
  verify: {
    summary: "Check payloads against their digests; change nothing",
    description: [
      "Reads only, and works on a read-only file system. A run that was limited or interrupted says where it stopped; --after goes on from there, so that a large store can be checked a part each night.",
    ],
    usage: [""],
    positionals: [],
    options: {
      sample: {
        type: "fraction",
        metavar: "share",
        help: "Check a random share of the payloads: 5% or 0.05.",
      },
      ...filters,
    },
    examples: [
      { line: "verify", note: "Everything" },
      { line: "verify --sample 5%", note: "A twentieth, chosen at random" },
      {
        line: "verify --limit 100000 --after 5b4a --json",
        note: "The next part of a large store",
      },
    ],
    writes: false,
    interruptible: true,
    exitCodes: [4, 130],
  },
  recover: {
    summary: "Verify, then repair what is proven to be damaged",
    description: [
      "A damaged transaction is taken out of service: its bytes and its row go to quarantine. Half-finished work is finished or dropped. What cannot be read is reported and left alone.",
      "Repairs need the store for themselves: while another process has it open for writing, recover says which one, repairs nothing and ends with 5. Damage that was repaired ends with 0, or with 4 under --strict; a damaged database ends with 4 unless --rebuild mends it. With --dry-run the exit code is the one a real run would have.",
    ],
    usage: [""],
    positionals: [],
    options: {
      "dry-run": { type: "flag", help: "Show what would be done." },
      purge: {
        type: "flag",
        help: "Delete what is damaged instead of keeping it in quarantine.",
      },
      orphans: {
        type: "choice",
        choices: ["keep", "adopt", "quarantine"],
        help: "What to do with payload files that no transaction names.",
        default: "keep",
      },
      rebuild: {
        type: "flag",
        help:
          "When the database is lost or malformed, move it aside and make a new one from the payload files.",
      },
      strict: {
        type: "flag",
        help: "End with 4 when anything had to be repaired.",
      },
      durability,
    },
    examples: [
      { line: "recover", note: "At the start of a service" },
      { line: "recover --dry-run --json", note: "What would be done" },
      { line: "recover --orphans adopt", note: "Give orphans a row again" },
    ],
    writes: true,
    interruptible: true,
    exitCodes: [4, 5, 130],
  },
  quarantine: {
    summary: "List, restore or empty what recover took out of service",
    description: [
      "restore verifies an entry again before it puts it back, and refuses one that is still damaged.",
    ],
    usage: ["[list]", "restore <name>", "empty --yes"],
    positionals: [
      {
        name: "action",
        help: "What to do; list when absent.",
        choices: ["list", "restore", "empty"],
      },
      { name: "name", help: "The entry to restore, as list names it." },
    ],
    options: {
      yes: {
        type: "flag",
        help: "Confirms empty, which deletes the entries for good.",
      },
      durability,
    },
    examples: [
      { line: "quarantine", note: "What is there, and why" },
      { line: "quarantine empty --yes", note: "Delete it all" },
    ],
    writes: true,
    interruptible: false,
    exitCodes: [3, 4, 5],
  },
  info: {
    summary: "Describe the store and what serves it",
    usage: [""],
    positionals: [],
    options: {},
    examples: [{ line: "info --json", note: "For scripts" }],
    writes: false,
    interruptible: false,
    exitCodes: [4],
  },
  serve: {
    summary: "Serve the store by HTTP, with a page for people",
    description: [
      "Recovers first, as recover does; until then /readyz and all transactions answer 503. Where another process has the store open it starts without recovery and says so. The page is at /, the description of the interface at /openapi.json, figures for Prometheus at /metrics.",
      "Only this machine can reach it unless --host says otherwise; then it needs a token, which clients send as Authorization: Bearer <token>, and browsers as the password that they ask for. It speaks HTTP without TLS: put a proxy that does before it. Ctrl-C, or SIGTERM, finishes what is in flight and ends with 0.",
    ],
    usage: [""],
    positionals: [],
    options: {
      host: {
        type: "text",
        metavar: "address",
        help: "Address to listen on.",
        default: "127.0.0.1",
      },
      port: {
        type: "text",
        metavar: "n",
        help: "TCP port; 0 for any that is free.",
        default: "8420",
      },
      "token-file": {
        type: "path",
        metavar: "file",
        help:
          "File that holds the bearer token, 16 characters or more; instead of the environment's POH_TOKEN.",
      },
      "max-body": {
        type: "count",
        metavar: "bytes",
        help: "Longest transaction, as JSON.",
        default: "16777216",
      },
      "skip-recovery": {
        type: "flag",
        help: "Start at once, for a store that is recovered otherwise.",
      },
      durability,
    },
    examples: [
      { line: "serve", note: "http://127.0.0.1:8420/" },
      {
        line: "serve --host 0.0.0.0 --token-file /etc/poh/token",
        note: "For other machines",
      },
    ],
    writes: true,
    listens: true,
    interruptible: true,
    exitCodes: [4, 5],
  },
} as const satisfies Record<string, CommandSpec>;

/** Name of a command. */
export type CommandName = keyof typeof commands;

/** A command's options and the common ones, in the order in which help lists them. */
export function optionsOf(name: CommandName): Record<string, OptionSpec> {
  return { ...commands[name].options, ...commonOptions };
}

type Value<O> = O extends { type: "flag" } ? boolean
  : O extends { type: "choice"; choices: readonly (infer C)[]; default: string }
    ? C
  : O extends { type: "choice"; choices: readonly (infer C)[] } ? C | undefined
  : O extends { type: "time" | "count" | "fraction"; default: string } ? number
  : O extends { type: "time" | "count" | "fraction" } ? number | undefined
  : O extends { default: string } ? string
  : string | undefined;

type Values<T> = { [K in keyof T]: Value<T[K]> };

/** The parsed values of the options that every command has. */
export type CommonValues = Values<typeof commonOptions>;

/** The parsed values of a command's options. */
export type OptionValues<N extends CommandName> =
  & Values<(typeof commands)[N]["options"]>
  & CommonValues;
