/**
 * Every command and option in one table, from which argument parsing, `--help`
 * and whatever else describes the program are derived. Pure data: nothing here
 * loads a command.
 *
 * @module
 */

import { type FilterFields, filterFields } from "../model/filter.ts";
import type { ValueType } from "../format/values.ts";

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

/** Options of every command. */
export const commonOptions = {
  base: {
    type: "path",
    metavar: "dir|url",
    help: "Folder of the payload files, or s3://bucket/prefix.",
    env: "POH_BASE",
    default: "./data",
  },
  db: {
    type: "path",
    metavar: "file|url",
    help:
      "SQLite database, or postgres://user@host/name; <base>/poh.db unless given.",
    env: "POH_DB",
  },
  driver: {
    type: "choice",
    choices: ["auto", "ffi", "builtin"],
    help: "SQLite binding.",
    default: "auto",
  },
  "lock-timeout": {
    type: "age",
    metavar: "time",
    help:
      "How long to wait for another process that holds the store or writes the database, such as 30s.",
    default: "5s",
  },
  json: { type: "flag", help: "Print the result as JSON." },
  color: {
    type: "choice",
    choices: ["auto", "always", "never"],
    help: "Colours: auto uses them on a terminal, unless NO_COLOR is set.",
    default: "auto",
  },
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

const ifExists = {
  type: "choice",
  choices: ["replace", "keep", "fail"],
  help:
    "What to do where there is another transaction of that id: replace it, keep it and save nothing, or fail with exit code 2. A write-once store never replaces.",
  default: "replace",
} as const satisfies OptionSpec;

const create = {
  type: "flag",
  help: "Make the store where there is none, as on a first start.",
} as const satisfies OptionSpec;

const progress = {
  type: "flag",
  help:
    "Tell progress on stderr every few seconds where there is no terminal to draw a bar on.",
} as const satisfies OptionSpec;

const from = {
  from: {
    type: "path",
    metavar: "source",
    help:
      "Look for payloads that are missing or damaged in a backup folder, a tar archive, another store (<base>, or <base>,<db>), a bucket (s3://bucket/prefix, or with ,<db>) or another node (http[s]://host:port). May be given several times; they are asked in turn.",
    repeats: true,
  },
  "from-token-file": {
    type: "path",
    metavar: "file",
    help:
      "File with the bearer token that nodes of --from ask for, or with lines of URL and token; instead of the environment's POH_FROM_TOKEN.",
  },
} as const satisfies Record<string, OptionSpec>;

/** What sources take beside the store's own permissions. */
const FROM_PERMISSIONS = [
  "--allow-read=<source>, or --allow-net=<host>:<port> (for --from)",
  "--allow-env=POH_FROM_TOKEN, or --allow-read=<token file> (where a node asks for it)",
] as const;

const workers = {
  type: "count",
  metavar: "n",
  help:
    "Payloads read at the same time where they are in a bucket; 32 unless given.",
} as const satisfies OptionSpec;

const packBelow = {
  type: "size",
  metavar: "size",
  help:
    "Payloads of at most this size, up to 64KiB, live in the log; 0: all in files.",
} as const satisfies OptionSpec;

const txId = {
  type: "text",
  metavar: "id",
  help: "The transaction; the same as the argument <id>.",
  completes: "ids",
} as const satisfies OptionSpec;

/** The options that choose transactions, by the table of filter fields. */
const { after, limit, ...conditions } = Object.fromEntries(
  filterFields.map(([, { option, kind, metavar, help, completes }]) => [
    option,
    { type: kind, metavar, help, ...(completes && { completes }) },
  ]),
) as {
  readonly [K in keyof FilterFields as FilterFields[K]["option"]]:
    & ValueSpec
    & { readonly type: FilterFields[K]["kind"]; readonly default?: never };
};

const filters = { ...conditions, after, limit };

const idArgument = {
  name: "id",
  help: "The transaction. After -- when it begins with a hyphen.",
  completes: "ids",
} as const satisfies PositionalSpec;

/** Every command, in the order in which help lists them. */
export const commands = {
  init: {
    summary: "Make a store",
    usage: [""],
    positionals: [],
    description: [
      "A store that is there already is left as it is. All other commands but restore, and import, recover and serve with --create, make none: they end with 6 where there is none.",
      "With --write-once no save ever replaces a transaction: another one of an id that is there already is refused, whatever a command asks for. Only a new store can be made so, and it stays so.",
      "With --pack-below small payloads live in the log instead of in files: saved and loaded faster, but not to be seen as files. The store remembers it; repack changes it later.",
    ],
    options: {
      "pack-below": packBelow,
      "inline-below": {
        type: "size",
        metavar: "size",
        help: "Deprecated: the former name of --pack-below.",
      },
      "write-once": {
        type: "flag",
        help: "Make a store that never replaces a transaction.",
      },
      durability,
    },
    examples: [
      { line: "init", note: "A store in ./data" },
      {
        line: "init --pack-below 16KiB",
        note: "Small payloads within the log",
      },
      {
        line: "init --write-once",
        note: "A store for ids that are content hashes",
      },
      {
        line: "init --base /var/lib/poh --db /var/lib/poh/meta.db",
        note: "Payloads and database where you want them",
      },
    ],
    writes: true,
    interruptible: true,
    exitCodes: [4, 5, 130],
  },
  save: {
    summary: "Save a transaction",
    description: [
      "The transaction is a JSON object with the text fields tx_id and holder_id, the number timestamp (UNIX seconds) and payload in base64; or the fields come as options and the payload as the bytes of a file, which may be larger than memory. Another transaction of that id is replaced unless --if-exists says otherwise; the same one again changes nothing.",
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
      "if-exists": ifExists,
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
    exitCodes: [4, 5, 6, 130],
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
      raw: {
        type: "flag",
        help: "Print the payload's bytes, streamed; not on a terminal.",
      },
      output: {
        type: "path",
        metavar: "file",
        help:
          "Write the payload's bytes to a new file, which goes again unless all of it is sound; - prints them as --raw does, on a terminal as well.",
      },
    },
    examples: [
      { line: "load a", note: "As JSON" },
      { line: "load --tx-id=-x", note: "An id that begins with a hyphen" },
      { line: "load a --output payload.bin", note: "The payload alone" },
      { line: "load a --raw | wc -c", note: "The payload into a pipe" },
    ],
    writes: false,
    interruptible: false,
    exitCodes: [3, 4, 6],
  },
  delete: {
    summary: "Delete a transaction",
    usage: ["<id>", "--tx-id <id>"],
    positionals: [idArgument],
    options: { "tx-id": txId, durability },
    examples: [{ line: "delete a", note: "Row and payload" }],
    writes: true,
    interruptible: false,
    exitCodes: [3, 4, 5, 6],
  },
  prune: {
    summary: "Delete the transactions that a filter selects",
    description: [
      "Deletes in batches, the oldest first where a time is given, while others may use the store. A transaction that is replaced before it is its turn stays. It never runs without a condition that spares something: --limit, --min-size 0 and --since alone are none, the last as it would keep only what is oldest.",
    ],
    usage: [
      "--older-than <age>",
      "[--holder <id>] [--prefix <text>] [--since <time>] [--before <time>] [--min-size <size>] [--max-size <size>]",
    ],
    positionals: [],
    options: {
      "older-than": {
        type: "age",
        metavar: "age",
        help:
          "Only timestamps longer ago than this: 30d; units are s, m, h, d and w.",
      },
      ...conditions,
      limit,
      "dry-run": { type: "flag", help: "Tell what would be deleted." },
      durability,
      progress,
    },
    examples: [
      { line: "prune --older-than 30d", note: "A job for each night" },
      {
        line: "prune --holder alice --before 2016-06-01 --dry-run",
        note: "What would go",
      },
    ],
    writes: true,
    interruptible: true,
    exitCodes: [4, 5, 6, 130],
  },
  repack: {
    summary: "Move payloads between log and files, and compact the log",
    description: [
      "Moves payloads of at most --pack-below from files into the log, and larger ones from the log into files; the store remembers the size. Without the option it keeps the size that it has, and moves what an earlier run left. A damaged payload stays where it is.",
      "Then it gives back the dead bytes of the log, which info tells: those of payloads that were replaced, deleted or moved. A store does so by itself once they are more than half of its log; repack gives back all of them, and may write the whole log again for it.",
      "Others may use the store meanwhile. Ctrl-C stops it: what was moved stays so, and the next run goes on.",
    ],
    usage: ["[--pack-below <size>]"],
    positionals: [],
    options: { "pack-below": packBelow, durability, progress },
    examples: [
      {
        line: "repack --pack-below 64KiB",
        note: "Small payloads into the log",
      },
      { line: "repack --pack-below 0", note: "All payloads into files" },
      { line: "repack", note: "Give back the dead bytes of the log" },
    ],
    writes: true,
    local: true,
    interruptible: true,
    exitCodes: [4, 5, 6, 130],
  },
  list: {
    summary: "List transactions",
    description: [
      "On a terminal: a table, the newest first, in $PAGER where it is long. Elsewhere: one id a line, in the order of ids; control characters are escaped. With --json one object a line: tx_id, holder_id, timestamp, storage_hash and size (-1 where an older package saved none; no --min-size or --max-size selects those).",
      "A row that another program wrote and that is no transaction (its id is not text, or its time not a finite number) is named on stderr at the end of a list without --limit, which then ends with 1; an infinite time is null in JSON.",
      "Pass the last id shown as --after to get the next page. With --sort time that transaction must still be there; when it is gone the exit code is 3, and --since with its time (with --reverse: --before) goes on instead.",
    ],
    usage: ["", "--long", "--json", "--plain"],
    positionals: [],
    options: {
      ...filters,
      after: {
        ...after,
        help: "Only what follows this one in the order of the list.",
      },
      sort: {
        type: "choice",
        choices: ["id", "time"],
        help:
          "Sort by the UTF-8 bytes of ids, or by times and then ids; id unless given, but for the table on a terminal.",
      },
      reverse: {
        type: "flag",
        help:
          "Reverse the order: with --sort time the newest first, else the last id first.",
      },
      long: {
        type: "flag",
        help: "Print a table: id, holder, time in the local zone, size.",
      },
      plain: {
        type: "flag",
        help: "Print all ids on one line, as the Python package did.",
      },
    },
    examples: [
      { line: "list", note: "The newest, or into a pipe all ids" },
      { line: "list --holder alice --since 30d", note: "Some of them" },
      {
        line: "list --long --sort time --reverse --limit 10",
        note: "The ten newest",
      },
      {
        line: "list --json --limit 100 --after 5b4a",
        note: "One page, with all that the metadata knows",
      },
    ],
    writes: false,
    interruptible: false,
    exitCodes: [3, 4, 6],
  },
  import: {
    summary: "Save transactions from NDJSON",
    description: [
      "One transaction a line, in the JSON form of save --tx; blank lines are skipped. Import stops at the first bad line: what stands before it is saved, and running it again with the line mended is harmless. With --skip-bad it reports the line and goes on. Either way a bad line makes the exit code 2.",
      "Its last line tells what became of them: 1,557 txs: 1,500 new, 57 unchanged, 0 replaced. With --if-exists fail, and in a write-once store, import stops at the first transaction that would replace another one.",
      "Memory stays flat however long the input. A line longer than 8 MiB must have payload as its last field, as export writes it.",
    ],
    usage: ["[file|-]"],
    positionals: [{
      name: "file",
      help: "File to read; stdin when absent or -.",
      completes: "files",
    }],
    options: {
      create,
      "skip-bad": { type: "flag", help: "Report bad lines and go on." },
      "if-exists": ifExists,
      durability,
      progress,
    },
    examples: [
      { line: "import txs.ndjson", note: "From a file" },
      {
        line:
          "poh-storage export --base old | poh-storage import --base new --create",
        note: "From one store to another",
      },
    ],
    writes: true,
    interruptible: true,
    exitCodes: [4, 5, 6, 130],
  },
  export: {
    summary: "Print transactions as NDJSON, verified",
    description: [
      "One transaction a line, ordered by id. What is damaged, cannot be read, or is a row that save would refuse, is reported on stderr and left out, and the exit code is not 0.",
    ],
    usage: [""],
    positionals: [],
    options: { ...filters, progress },
    examples: [
      { line: "export > txs.ndjson", note: "Everything" },
      { line: "export --holder alice", note: "One holder's" },
    ],
    writes: false,
    interruptible: true,
    exitCodes: [4, 6, 130],
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
      tlog: {
        type: "flag",
        help: "Compare rows, seals and tree of the transparency log as well.",
      },
      ...filters,
      until: {
        type: "text",
        metavar: "id",
        help: "Only ids up to this one, in the order of their UTF-8 bytes.",
        completes: "ids",
      },
      plan: {
        type: "count",
        metavar: "n",
        help:
          "Check nothing; print the --after and --until of n runs that together check every payload, one a line.",
      },
      findings: {
        type: "flag",
        help:
          "Print each finding as a line of JSON, for recover --only; the summary goes to stderr.",
      },
      ...from,
      workers,
      progress,
    },
    examples: [
      { line: "verify", note: "Everything" },
      { line: "verify --sample 5%", note: "A twentieth, chosen at random" },
      {
        line: "verify --from /mnt/backup",
        note: "Which damage the backup could heal",
      },
      {
        line: "verify --limit 100000 --after 5b4a --json",
        note: "The next part of a large store",
      },
    ],
    writes: false,
    permissions: FROM_PERMISSIONS,
    interruptible: true,
    exitCodes: [4, 6, 130],
  },
  recover: {
    summary: "Verify, then repair what is proven to be damaged",
    description: [
      "With --from, payloads that are missing or damaged are looked for in the sources that it names, verified against their SHA-256, and put in their place; so are those of transactions that are in quarantine. No source has to be trusted. Where one can be asked no more, what it may have stays as it is, and recover ends with 1: run it again to go on.",
      "A damaged transaction that nothing healed is taken out of service: its bytes and its row go to quarantine. Half-finished work is finished or dropped. What cannot be read is reported and left alone.",
      "Repairs need the store for themselves: while another process has it open for writing, recover says which one, repairs nothing and ends with 5. A store in a bucket or on a server is repaired beside those who use it; there a second recover ends with 5. Damage that was repaired ends with 0, or with 4 under --strict; a damaged database ends with 4 unless --rebuild mends it. With --dry-run the exit code is the one a real run would have.",
    ],
    usage: [""],
    positionals: [],
    options: {
      create,
      ...from,
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
          "When the database is lost or malformed, make a new one from what can be read of it, the log, the payload files, and the rows that --from has for them; a malformed one is kept beside it.",
      },
      only: {
        type: "path",
        metavar: "file",
        help:
          "Of a store in a bucket or on a server, look at no other transactions than a file names, or - for stdin: lines of verify --findings or list --json.",
      },
      "skip-payloads": {
        type: "flag",
        help: "Do all but read the payloads of transactions.",
      },
      strict: {
        type: "flag",
        help: "End with 4 when anything had to be repaired.",
      },
      workers,
      durability,
      progress,
    },
    examples: [
      { line: "recover", note: "At the start of a service" },
      {
        line: "recover --from /mnt/backup --from https://node2.example",
        note: "What a disk has lost, from a backup or from another node",
      },
      { line: "recover --dry-run --json", note: "What would be done" },
      { line: "recover --orphans adopt", note: "Give orphans a row again" },
      {
        line: "poh-storage verify --findings | poh-storage recover --only -",
        note: "What a run has found, in a bucket",
      },
    ],
    writes: true,
    permissions: FROM_PERMISSIONS,
    interruptible: true,
    exitCodes: [4, 5, 6, 130],
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
    exitCodes: [3, 4, 5, 6],
  },
  backup: {
    summary: "Copy the store to a folder or a tar archive, verified",
    description: [
      "Taken beside whoever uses the store: what was acknowledged before it began is in it. The folder is a store itself, with the database poh.db, and can be verified as one; do not write to it. A second backup into the same folder takes only what is new, and removes what is not needed any more; one that was interrupted leaves the previous one valid, and goes on when it is run again.",
      "Payloads are hard links where the file system has them. These take no room, and protect from deletion and replacement; from a program that writes into the files only --copy protects, and from a failing disk only a backup on another one. A tar archive always has copies; while it is made the rows are in <base>/.poh/tmp.",
      "Damaged transactions are reported and left out, and end it with 4. What is in quarantine is not backed up.",
    ],
    usage: ["<folder>", "--tar > <file>"],
    positionals: [{
      name: "folder",
      help: "Folder to back up to, made where there is none; - is --tar.",
      completes: "files",
    }],
    options: {
      tar: { type: "flag", help: "Print a tar archive." },
      copy: { type: "flag", help: "Copy payloads, make no hard links." },
      verify: {
        type: "flag",
        help:
          "Read payloads whole that the folder has already; else their size is looked at.",
      },
      durability,
      progress,
    },
    examples: [
      { line: "backup /mnt/backup/node1", note: "All that is new since" },
      { line: "backup --tar > node1.tar", note: "One file" },
      {
        line: "poh-storage verify --base /mnt/backup/node1",
        note: "Check a backup",
      },
    ],
    local: true,
    writes: true,
    permissions: [
      "--allow-read=<folder> --allow-write=<folder>",
      "(--allow-write of <base> is for hard links and --tar only)",
    ],
    interruptible: true,
    exitCodes: [4, 5, 6, 130],
  },
  restore: {
    summary: "Make a store from a backup, whole or not at all",
    description: [
      "Everything is verified before the store gets its name, by one rename where the database is in the base folder: neither may be there before, but for an empty folder. A damaged backup ends it with 4 and leaves nothing behind; export --base <backup> | import --create saves what is sound of a folder.",
    ],
    usage: ["<folder|file|->"],
    positionals: [{
      name: "backup",
      help: "A backup's folder, the file of a tar archive, or - for stdin.",
      completes: "files",
    }],
    options: { durability, progress },
    examples: [
      { line: "restore /mnt/backup/node1", note: "To ./data" },
      {
        line: "restore node1.tar --base /var/lib/poh",
        note: "From an archive",
      },
    ],
    local: true,
    writes: true,
    permissions: [
      "--allow-read=<backup>",
      "--allow-read and --allow-write of the parents of <base> and <db>",
    ],
    interruptible: true,
    exitCodes: [4, 5, 130],
  },
  migrate: {
    summary: "Copy all transactions to another store, of any kind",
    description: [
      "Between folders and buckets, SQLite and PostgreSQL; init makes the other store. Each payload is verified as it is read, and read back from where it was saved; what the other store has already, with the same row, is skipped. Run again, it goes on where it was. Damaged transactions are reported and left out, and end it with 4; so are rows that no store may save, which end it with 1.",
    ],
    usage: [
      "--to-base <dir|url> [--to-db <file|url>] [--from-base <dir|url>] [--from-db <file|url>]",
    ],
    positionals: [],
    options: {
      "from-base": {
        type: "path",
        metavar: "dir|url",
        help: "Payloads to copy; those of --base unless given.",
      },
      "from-db": {
        type: "path",
        metavar: "file|url",
        help: "Their database; <from-base>/poh.db unless given.",
      },
      "to-base": {
        type: "path",
        metavar: "dir|url",
        help: "Where payloads are to be.",
      },
      "to-db": {
        type: "path",
        metavar: "file|url",
        help: "Their database; <to-base>/poh.db unless given.",
      },
      verify: {
        type: "flag",
        help:
          "Read payloads back that the other store has already; else rows are compared.",
      },
      durability,
      progress,
    },
    examples: [
      {
        line:
          "migrate --from-base ./data --to-base s3://poh/node1 --to-db postgres://poh@db.example/poh",
        note: "From this machine to servers",
      },
      {
        line:
          "migrate --from-base s3://poh/node1 --from-db postgres://poh@db.example/poh --to-base ./copy",
        note: "And back",
      },
    ],
    writes: true,
    interruptible: true,
    exitCodes: [4, 5, 6, 130],
  },
  info: {
    summary: "Describe the store and what serves it",
    description: [
      "Paths, SQLite, counts, the holders with the most transactions, the processes that have the store open for writing, quarantine; and hints at what may be worth a look: why the FFI binding is not used, a version of SQLite with a known defect, permissions, timestamps in the future, changes that a crash left half-done. Reads only.",
    ],
    usage: [""],
    positionals: [],
    options: {},
    examples: [{ line: "info --json", note: "For scripts" }],
    writes: false,
    interruptible: false,
    exitCodes: [4, 6],
  },
  check: {
    summary: "Check proofs of a node's log, without a store",
    description: [
      "A file tells by its first line what it is: a proof of inclusion (.tlog-proof), of consistency, of possession, an answer to a challenge, or a checkpoint. Each has one line on stdout that says what was proven. What is refuted ends it with 4, what is malformed with 2.",
      "A key is believed because you name it by --key or in a policy, never because a proof brings it.",
      "docs/proofs.md says what each proof means, and what it does not.",
    ],
    usage: ["<proof>… --key <vkey>", "<proof>… --policy <file>"],
    positionals: [{
      name: "proof",
      help: "A file; - is stdin. May be several.",
      completes: "files",
      repeats: true,
    }],
    options: {
      key: {
        type: "text",
        metavar: "vkey",
        help: "A key of the log. May be given several times.",
        repeats: true,
      },
      policy: {
        type: "path",
        metavar: "file",
        help:
          "Keys of logs and witnesses, and how many of these must have cosigned (C2SP tlog-policy).",
      },
      payload: {
        type: "path",
        metavar: "file",
        help:
          "The payload that a proof of inclusion or of possession is to be about.",
      },
      kept: {
        type: "path",
        metavar: "file",
        help:
          "The older checkpoint that a proof of consistency has to begin at.",
      },
      challenge: {
        type: "path",
        metavar: "file",
        help: "The challenge that an answer has to be to.",
      },
      nonce: {
        type: "text",
        metavar: "base64",
        help: "The nonce that a proof of possession has to answer.",
      },
    },
    examples: [
      {
        line: "check a.tlog-proof --policy node7.policy --payload a.bin",
        note: "The node committed to this transaction, with these bytes",
      },
      {
        line: "check step --policy node7.policy --kept checkpoint",
        note: "Nothing that the older checkpoint covers was altered",
      },
    ],
    local: true,
    writes: false,
    interruptible: false,
    exitCodes: [4],
  },
  tlog: {
    summary: "Begin a transparency log, or make a key for one",
    description: [
      "A store with a log has an entry for every save and removal, in a Merkle tree that root, checkpoint and prove work with. init begins it, with an entry for each transaction that is there, while nobody else has the store open; payloads above 8 KiB are read for it. A damaged one has no entry, and is named.",
      "keygen writes a private key to a new file that only you can read, and prints the key by which others check what it signs. The name of a log is its address without https://.",
    ],
    usage: [
      "init [--origin <name>]",
      "status",
      "keygen <file> --origin <name>",
    ],
    positionals: [
      {
        name: "action",
        help: "What to do.",
        choices: ["init", "status", "keygen"],
      },
      { name: "file", help: "Where the private key goes.", completes: "files" },
    ],
    options: {
      origin: {
        type: "text",
        metavar: "name",
        help:
          "Name of the log, such as node7.example/log; poh.invalid/<store id> unless given.",
      },
      pq: {
        type: "flag",
        help:
          "Make an ML-DSA-87 key as well, which no quantum computer forges.",
      },
      durability,
    },
    examples: [
      {
        line: "tlog keygen ~/keys/node7 --origin node7.example/log --pq",
        note: "Two private keys in one file, their public keys on stdout",
      },
      {
        line: "tlog init --origin node7.example/log",
        note: "From now on every change has an entry",
      },
    ],
    local: true,
    writes: true,
    interruptible: false,
    exitCodes: [4, 5, 6],
  },
  root: {
    summary: "Print size and root of the transparency log",
    usage: [""],
    positionals: [],
    options: { durability },
    examples: [{ line: "root --json", note: "For a program" }],
    local: true,
    writes: true,
    interruptible: false,
    exitCodes: [4, 5, 6],
  },
  checkpoint: {
    summary: "Sign the transparency log as it is now",
    description: [
      "Signs size and root, prints that, and keeps it in <base>/.poh/tlog/checkpoint. What was signed last stands beside the key, in <key>.state: a log that does not continue it, as that of an older copy of the store, is not signed, and the exit code is 4.",
    ],
    usage: ["--tlog-key <file>"],
    positionals: [],
    options: {
      "tlog-key": {
        type: "path",
        metavar: "file",
        help: "Private keys, as tlog keygen writes them; outside the store.",
        env: "POH_TLOG_KEY",
      },
      durability,
    },
    examples: [{
      line: "checkpoint --tlog-key ~/keys/node7",
      note: "What witnesses, auditors and proofs refer to",
    }],
    local: true,
    permissions: [
      "--allow-read=<key>,<key>.state,<key>.lock --allow-write=<key>.state,<key>.state.tmp,<key>.lock --allow-env=POH_TLOG_KEY",
    ],
    writes: true,
    interruptible: false,
    exitCodes: [4, 5, 6],
  },
  prove: {
    summary: "Print a proof from the transparency log",
    description: [
      "inclusion proves that the published checkpoint covers a transaction: a .tlog-proof, which holds the transaction's id, holder, time, size and SHA-256. consistency proves that it continues an older one.",
    ],
    usage: ["inclusion <id>", "consistency --from <size|file>"],
    positionals: [
      {
        name: "what",
        help: "What to prove.",
        choices: ["inclusion", "consistency"],
      },
      { name: "id", help: "Id of the transaction.", completes: "ids" },
    ],
    options: {
      from: {
        type: "text",
        metavar: "size|file",
        help: "The older size, or the file of the older checkpoint.",
      },
      durability,
    },
    examples: [
      {
        line: "prove inclusion a > a.tlog-proof",
        note: "For whoever had it saved; check checks it",
      },
    ],
    local: true,
    writes: true,
    interruptible: false,
    exitCodes: [3, 4, 5, 6],
  },
  completions: {
    summary: "Print a script for completion in a shell",
    description: [
      "The script says in its first lines where it goes. For ids it calls the program with --ids, which prints up to 100 of those that begin with a text, one a line; ids with control characters or a leading hyphen are left out.",
    ],
    usage: ["bash|zsh|fish|powershell", "--ids <text>"],
    positionals: [{
      name: "shell",
      help: "The shell.",
      choices: ["bash", "zsh", "fish", "powershell"],
    }],
    options: {
      ids: {
        type: "text",
        metavar: "text",
        help: "Print ids that begin with this.",
      },
    },
    examples: [
      {
        line: 'eval "$(poh-storage completions bash)"',
        note: "In ~/.bashrc; zsh the same in ~/.zshrc",
      },
      {
        line:
          "poh-storage completions fish > ~/.config/fish/completions/poh-storage.fish",
        note: "fish",
      },
      {
        line:
          "poh-storage completions powershell | Out-String | Invoke-Expression",
        note: "In $PROFILE of PowerShell",
      },
    ],
    writes: false,
    interruptible: false,
    exitCodes: [4],
  },
  man: {
    summary: "Print the manual page",
    usage: [""],
    positionals: [],
    options: {},
    examples: [
      {
        line: "poh-storage man > ~/.local/share/man/man1/poh-storage.1",
        note: "Where man poh-storage finds it",
      },
    ],
    local: true,
    writes: false,
    interruptible: false,
    exitCodes: [],
  },
  serve: {
    summary: "Serve the store by HTTP, with a page for people",
    description: [
      "Recovers first, as recover does; until then /readyz and all transactions answer 503. Where another process has the store open it starts without recovery and says so. The page is at /, the description of the interface at /openapi.json, figures for Prometheus at /metrics.",
      "Only this machine can reach it unless --host says otherwise; then it needs a token, which clients send as Authorization: Bearer <token>, and browsers as the password that they ask for. It speaks HTTP without TLS: put a proxy that does before it. Ctrl-C, or SIGTERM, finishes what is in flight and ends with 0; every answer from then on is the last of its connection.",
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
        type: "size",
        metavar: "size",
        help: "Longest transaction, as JSON.",
        default: "16MiB",
      },
      drain: {
        type: "age",
        metavar: "time",
        help:
          "How long to serve on after SIGTERM, while /readyz says 503, so that a load balancer can send its clients elsewhere.",
        default: "0s",
      },
      create,
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
    permissions: [
      "--allow-net=<host>:<port>",
      "--allow-env=POH_TOKEN, or --allow-read=<token file> (where it has a token)",
    ],
    interruptible: true,
    exitCodes: [4, 5, 6],
  },
} as const satisfies Record<string, CommandSpec>;

/** Name of a command. */
export type CommandName = keyof typeof commands;

/** A command's options and the common ones, in the order in which help lists them. */
export function optionsOf(name: CommandName): Record<string, OptionSpec> {
  return { ...commands[name].options, ...commonOptions };
}

type Value<O> = O extends { type: "flag" } ? boolean
  : O extends { repeats: true } ? readonly string[]
  : O extends { type: "choice"; choices: readonly (infer C)[]; default: string }
    ? C
  : O extends { type: "choice"; choices: readonly (infer C)[] } ? C | undefined
  : O extends
    { type: "time" | "age" | "count" | "size" | "fraction"; default: string }
    ? number
  : O extends { type: "time" | "age" | "count" | "size" | "fraction" }
    ? number | undefined
  : O extends { default: string } ? string
  : string | undefined;

type Values<T> = { [K in keyof T]: Value<T[K]> };

/** The parsed values of the options that every command has. */
export type CommonValues = Values<typeof commonOptions>;

/** The parsed values of a command's options. */
export type OptionValues<N extends CommandName> =
  & Values<(typeof commands)[N]["options"]>
  & CommonValues;
