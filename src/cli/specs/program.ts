/**
 * The service, and what shells and manuals ask for.
 *
 * @module
 */

import { create, durability, logKey } from "./shared.ts";
import type { CommandSpec } from "./spec.ts";

/** The service, and what shells and manuals ask for. */
export const program = {
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
          "File of tokens, read again at SIGHUP: a line each, read, write or admin, then 16 characters or more; instead of the environment's POH_TOKEN, which may write.",
      },
      "public-tlog": {
        type: "flag",
        help:
          "Serve checkpoints and tiles of the transparency log to anybody, without the token.",
      },
      "tlog-key": logKey,
      "max-body": {
        type: "size",
        metavar: "size",
        help: "Longest transaction, as JSON.",
        default: "16MiB",
      },
      log: {
        type: "choice",
        choices: ["text", "json"],
        help:
          "What stderr tells the operator: lines for people, or JSON with time, level, msg and further fields.",
        default: "text",
      },
      "access-log": {
        type: "choice",
        choices: ["off", "errors", "on"],
        help:
          "Which requests are told: none, those answered with 400 or more, or all.",
        default: "off",
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
      {
        line: "serve --public-tlog --tlog-key ~/keys/node7",
        note:
          "With the transparency log for anybody, and answers to challenges",
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
} as const satisfies Record<string, CommandSpec>;
