/**
 * The commands that save, read and delete transactions.
 *
 * @module
 */

import {
  after,
  conditions,
  create,
  durability,
  filters,
  idArgument,
  ifExists,
  limit,
  progress,
  txId,
} from "./shared.ts";
import type { CommandSpec } from "./spec.ts";

/** The commands that save, read and delete transactions. */
export const transactions = {
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
        note: "One page, with all metadata",
      },
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
      "Deletes in batches, the oldest first where a time is given, while others may use the store. A transaction that is replaced meanwhile stays. It needs a condition that spares something: --limit, --min-size 0 and --since alone are not enough; the last would keep only the oldest.",
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
      "dry-run": { type: "flag", help: "Report what would be deleted." },
      durability,
      progress,
    },
    examples: [
      { line: "prune --older-than 30d", note: "A job for each night" },
      {
        line: "prune --holder alice --before 2016-06-01 --dry-run",
        note: "Lists what would be deleted",
      },
    ],
    writes: true,
    interruptible: true,
    exitCodes: [4, 5, 6, 130],
  },
  import: {
    summary: "Save transactions from NDJSON",
    description: [
      "One transaction a line, in the JSON form of save --tx; blank lines are skipped. Import stops at the first bad line: what stands before it is saved, and running it again with the line mended is harmless. With --skip-bad it reports the line and goes on. Either way a bad line makes the exit code 2.",
      "The last line of output counts the outcomes: 1,557 txs: 1,500 new, 57 unchanged, 0 replaced. With --if-exists fail, and in a write-once store, import stops at the first transaction that would replace another one.",
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
} as const satisfies Record<string, CommandSpec>;
