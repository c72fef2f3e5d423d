/**
 * The commands that find and repair damage.
 *
 * @module
 */

import {
  create,
  durability,
  filters,
  from,
  FROM_PERMISSIONS,
  progress,
  workers,
} from "./shared.ts";
import type { CommandSpec } from "./spec.ts";

/** The commands that find and repair damage. */
export const checks = {
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
      kept: {
        type: "path",
        metavar: "file",
        help:
          "With --tlog: a checkpoint that the log has to continue, such as the key's <key>.state.",
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
        line: "verify --tlog --kept ~/keys/node7.state",
        note: "Nothing has changed that the log does not know of",
      },
      {
        line: "verify --from /mnt/backup",
        note: "Lists the damage that the backup could heal",
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
        note: "Heals what a disk lost from a backup or another node",
      },
      { line: "recover --dry-run --json", note: "Reports what it would do" },
      { line: "recover --orphans adopt", note: "Give orphans a row again" },
      {
        line: "poh-storage verify --findings | poh-storage recover --only -",
        note: "Repairs what a run found in a bucket",
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
      { line: "quarantine", note: "Entries, with the reason for each" },
      { line: "quarantine empty --yes", note: "Delete it all" },
    ],
    writes: true,
    interruptible: false,
    exitCodes: [3, 4, 5, 6],
  },
} as const satisfies Record<string, CommandSpec>;
