/**
 * The commands of the transparency log and its proofs.
 *
 * @module
 */

import { durability, logKey } from "./shared.ts";
import type { CommandSpec, OptionSpec } from "./spec.ts";

/** Whom a checker believes. */
const believed = {
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
} as const satisfies Record<string, OptionSpec>;

/** What it takes to sign with it. */
const KEY_ACCESS =
  "--allow-read=<key>,<key>.state,<key>.lock --allow-write=<key>.state,<key>.state.tmp,<key>.lock --allow-env=POH_TLOG_KEY";

/** The commands of the transparency log and its proofs. */
export const proofs = {
  tlog: {
    summary: "Begin a transparency log, or make a key for one",
    description: [
      "A store with a log has an entry for every save and removal, in a Merkle tree that root, checkpoint and prove work with. init begins it, with an entry for each transaction that is there, while nobody else has the store open; payloads above 8 KiB are read for it. A damaged one has no entry, and is named.",
      "rebuild-tiles makes tiles that are missing or altered anew from the bundles of entries, which have to be whole.",
      "keygen writes a private key to a new file that only you can read, and prints the key by which others check what it signs. The name of a log is its address without https://.",
    ],
    usage: [
      "init [--origin <name>]",
      "status",
      "rebuild-tiles",
      "keygen <file> --origin <name>",
    ],
    positionals: [
      {
        name: "action",
        help: "What to do.",
        choices: ["init", "status", "rebuild-tiles", "keygen"],
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
      "tlog-key": logKey,
      durability,
    },
    examples: [{
      line: "checkpoint --tlog-key ~/keys/node7",
      note: "What witnesses, auditors and proofs refer to",
    }],
    local: true,
    permissions: [KEY_ACCESS],
    writes: true,
    interruptible: false,
    exitCodes: [4, 5, 6],
  },
  challenge: {
    summary: "Draw what a node has to show of the payloads it holds",
    description: [
      "Prints a challenge for the log of a checkpoint: a nonce draws entries, and chunks of 8 KiB of their payloads. The node answers with prove holding, and check checks the answer. Draw it when you have the checkpoint, not before, and give it to the node last.",
      "With the address of a log that is served (serve --tlog-key) it does all of that: takes the checkpoint, draws, asks, and checks the answer, which has to be there within --deadline.",
      "A node that has lost a share p of its transactions passes k draws with (1 - p)^k: 300 entries find 1 % with 95 %.",
    ],
    usage: [
      "<checkpoint> --key <vkey>|--policy <file>",
      "<url> --key <vkey>|--policy <file>",
    ],
    positionals: [{
      name: "checkpoint",
      help: "The file of a checkpoint, - is stdin; or the address of a log.",
      completes: "files",
    }],
    options: {
      ...believed,
      entries: {
        type: "count",
        metavar: "n",
        help: "How many entries are drawn, up to 4096.",
        default: "20",
      },
      chunks: {
        type: "count",
        metavar: "n",
        help: "How many chunks of each payload, up to 4096.",
        default: "4",
      },
      deadline: {
        type: "age",
        metavar: "time",
        help: "How long a node may take for its answer, such as 10s.",
        default: "10s",
      },
      "token-file": {
        type: "path",
        metavar: "file",
        help: "File with the bearer token that the address asks for.",
      },
    },
    examples: [
      {
        line: "challenge checkpoint --policy node7.policy > challenge.json",
        note: "20 entries, 4 chunks of each",
      },
      {
        line:
          "challenge https://node7.example/tlog --policy node7.policy --entries 300 --chunks 1 --token-file token",
        note: "Asks the node, and checks what it answers",
      },
    ],
    local: true,
    permissions: ["--allow-net=<host> (of an address)"],
    writes: false,
    interruptible: false,
    exitCodes: [4],
  },
  prove: {
    summary: "Print a proof from the transparency log",
    description: [
      "inclusion proves that the published checkpoint covers a transaction: a .tlog-proof, which holds the transaction's id, holder, time, size and SHA-256. consistency proves that it continues an older one.",
      "holding answers a challenge: it shows the chunks that are drawn, so that whoever may not load must not challenge. possession proves that every byte of one payload is there, to those who have it as well, and shows none. Both are signed; holding signs a new checkpoint where a transaction that is drawn has ended since the published one.",
    ],
    usage: [
      "inclusion <id>",
      "consistency --from <size|file>",
      "holding --challenge <file> --tlog-key <file>",
      "possession <id> --nonce <base64> --tlog-key <file>",
    ],
    positionals: [
      {
        name: "what",
        help: "What to prove.",
        choices: ["inclusion", "consistency", "holding", "possession"],
      },
      { name: "id", help: "Id of the transaction.", completes: "ids" },
    ],
    options: {
      from: {
        type: "text",
        metavar: "size|file",
        help: "The older size, or the file of the older checkpoint.",
      },
      challenge: {
        type: "path",
        metavar: "file",
        help: "The challenge that is answered; - is stdin.",
      },
      nonce: {
        type: "text",
        metavar: "base64",
        help: "32 bytes that whoever asks has drawn.",
      },
      "tlog-key": logKey,
      durability,
    },
    examples: [
      {
        line: "prove inclusion a > a.tlog-proof",
        note: "For whoever had it saved; check checks it",
      },
      {
        line:
          "prove holding --challenge challenge.json --tlog-key ~/keys/node7 > answer",
        note: "For whoever drew the challenge",
      },
    ],
    local: true,
    permissions: [KEY_ACCESS],
    writes: true,
    interruptible: false,
    exitCodes: [3, 4, 5, 6],
  },
  audit: {
    summary: "Check that a log has only grown since the last audit",
    description: [
      "Downloads the entries since the last audit, checks that they are a log, that they continue what was seen, and that the newest checkpoint is signed by a key that you believe. What was seen stands in the file of --state: a bit for each entry. Without an address the log of the store itself is audited.",
      "A log that does not continue what it has signed before ends it with 4: it was rolled back, it shows two histories, or it begins anew. The checkpoints that show it are kept in the state.",
    ],
    usage: [
      "[<url>] --state <file> --key <vkey>",
      "[<url>] --state <file> --policy <file>",
    ],
    positionals: [{
      name: "url",
      help:
        "Address of a log, below which are checkpoint and tile/ (C2SP tlog-tiles).",
    }],
    options: {
      ...believed,
      state: {
        type: "path",
        metavar: "file",
        help: "What was seen so far; made by the first audit.",
      },
      "accept-restart": {
        type: "flag",
        help:
          "Go on with a log that begins anew and names the one before as its predecessor.",
      },
      "token-file": {
        type: "path",
        metavar: "file",
        help: "File with the bearer token that the address asks for.",
      },
      durability,
    },
    examples: [
      {
        line:
          "audit https://node7.example/tlog --state node7.audit --policy node7.policy",
        note: "On a timer: 0 nothing was altered, 4 look at it, 1 try again",
      },
    ],
    local: true,
    permissions: ["--allow-net=<host> --allow-write=<state>"],
    writes: true,
    interruptible: true,
    exitCodes: [3, 4, 5, 6, 130],
  },
  check: {
    summary: "Check proofs of a node's log, without a store",
    description: [
      "The first line of a file says what it is: a proof of inclusion (.tlog-proof), of consistency, of possession, an answer to a challenge, or a checkpoint. Each has one line on stdout that says what was proven. What is refuted ends it with 4, what is malformed with 2.",
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
      ...believed,
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
} as const satisfies Record<string, CommandSpec>;
