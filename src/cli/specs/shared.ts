/**
 * Options that several commands have.
 *
 * @module
 */

import { type FilterFields, filterFields } from "../../model/filter.ts";
import type { OptionSpec, PositionalSpec, ValueSpec } from "./spec.ts";

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
    help: "How long to wait for another process, such as 30s.",
    default: "5s",
  },
  json: { type: "flag", help: "Print the result as JSON." },
  color: {
    type: "choice",
    choices: ["auto", "always", "never"],
    help: "Colours; auto: on a terminal, unless NO_COLOR is set.",
    default: "auto",
  },
  quiet: { type: "flag", help: "No notices and no progress on stderr." },
  help: { type: "flag", help: "Print this help (also -h)." },
  version: { type: "flag", help: "Print versions (also -V)." },
} as const satisfies Record<string, OptionSpec>;

/** What signs for the transparency log. */
export const logKey = {
  type: "path",
  metavar: "file",
  help:
    "Private keys of the log, as tlog keygen writes them; outside the store.",
  env: "POH_TLOG_KEY",
} as const satisfies OptionSpec;

/** Durability of changes. */
export const durability = {
  type: "choice",
  choices: ["full", "relaxed"],
  help:
    "Changes survive power loss (full) or only the end of the process (relaxed).",
  default: "full",
} as const satisfies OptionSpec;

/** Conflict rule of a save. */
export const ifExists = {
  type: "choice",
  choices: ["replace", "keep", "fail"],
  help:
    "If another transaction has that id: replace it, keep it and save nothing, or fail with exit code 2. A write-once store never replaces.",
  default: "replace",
} as const satisfies OptionSpec;

/** Creates a missing store. */
export const create = {
  type: "flag",
  help: "Create the store if it does not exist, as on a first start.",
} as const satisfies OptionSpec;

/** Progress in lines. */
export const progress = {
  type: "flag",
  help:
    "Report progress on stderr every few seconds if there is no terminal for a bar.",
} as const satisfies OptionSpec;

/** Sources to heal from. */
export const from = {
  from: {
    type: "path",
    metavar: "source",
    help:
      "Look for payloads that are missing or damaged in a backup folder, a tar archive, another store (<base>, or <base>,<db>), a bucket (s3://bucket/prefix, or with ,<db>) or another node (http[s]://host:port). May be given several times; they are asked in order.",
    repeats: true,
  },
  "from-token-file": {
    type: "path",
    metavar: "file",
    help:
      "File with the bearer token that nodes of --from ask for, or with lines of URL and token; instead of the environment's POH_FROM_TOKEN.",
  },
} as const satisfies Record<string, OptionSpec>;

/** Permissions for the sources, in addition to the store's. */
export const FROM_PERMISSIONS = [
  "--allow-read=<source>, or --allow-net=<host>:<port> (for --from)",
  "--allow-env=POH_FROM_TOKEN, or --allow-read=<token file> (where a node asks for it)",
] as const;

/** Concurrent reads from a bucket. */
export const workers = {
  type: "count",
  metavar: "n",
  help:
    "Payloads read at the same time where they are in a bucket; 32 unless given.",
} as const satisfies OptionSpec;

/** Which payloads live in the log. */
export const packBelow = {
  type: "size",
  metavar: "size",
  help:
    "Payloads of at most this size, up to 64KiB, live in the log; 0: all in files.",
} as const satisfies OptionSpec;

/** A transaction, as an option. */
export const txId = {
  type: "text",
  metavar: "id",
  help: "The transaction; the same as the argument <id>.",
  completes: "ids",
} as const satisfies OptionSpec;

/** The options that choose transactions, by the table of filter fields. */
export const { after, limit, ...conditions } = Object.fromEntries(
  filterFields.map(([, { option, kind, metavar, help, completes }]) => [
    option,
    { type: kind, metavar, help, ...(completes && { completes }) },
  ]),
) as {
  readonly [K in keyof FilterFields as FilterFields[K]["option"]]:
    & ValueSpec
    & { readonly type: FilterFields[K]["kind"]; readonly default?: never };
};

/** The options that choose transactions, and pages of them. */
export const filters = { ...conditions, after, limit };

/** A transaction, as an argument. */
export const idArgument = {
  name: "id",
  help: "The transaction. After -- when it begins with a hyphen.",
  completes: "ids",
} as const satisfies PositionalSpec;
