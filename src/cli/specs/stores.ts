/**
 * The commands that make, describe and copy stores.
 *
 * @module
 */

import { durability, packBelow, progress } from "./shared.ts";
import type { CommandSpec } from "./spec.ts";

/** The commands that make, describe and copy stores. */
export const stores = {
  init: {
    summary: "Make a store",
    usage: [""],
    positionals: [],
    description: [
      "An existing store is left as it is. Only init and restore create a store, and import, recover and serve with --create; every other command ends with 6 if the store does not exist.",
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
      help: "Folder to back up to, created if it does not exist; - is --tar.",
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
  repack: {
    summary: "Move payloads between log and files, and compact the log",
    description: [
      "Moves payloads of at most --pack-below from files into the log, and larger ones from the log into files; the store remembers the size. Without the option it keeps the size that it has, and moves what an earlier run left. A damaged payload stays where it is.",
      "Then it gives back the dead bytes of the log, which info shows: those of payloads that were replaced, deleted or moved. A store does so by itself once they exceed half of its log; repack gives back all of them, and may rewrite the whole log.",
      "Others may use the store meanwhile. Ctrl-C stops it: what was moved stays moved, and the next run continues.",
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
} as const satisfies Record<string, CommandSpec>;
