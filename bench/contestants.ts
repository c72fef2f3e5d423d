/**
 * Who takes part, what each promises, and the command that runs it.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { resolutionFlags } from "../offline/deno.ts";
import type { Machine } from "./machine.ts";

/** What one run of a contestant is to do. */
export interface Job {
  /** Which of the harness's jobs. */
  op: string;
  /** The directory of its store. */
  dir: string;
  /** How many operations. */
  count: number;
  /** Bytes of a payload. */
  size: number;
  /** How many operations at once. */
  inFlight: number;
  /** Saves go by the call that takes many. */
  many?: boolean;
  /** How many transactions the store holds. */
  stored?: number;
  /** Loads go from the first to the last, not at random. */
  inOrder?: boolean;
  /** Payloads are large: streams where a contestant has them. */
  large?: boolean;
  /** Indexes of the transactions to damage before a recovery. */
  damage?: number[];
  /** File of real payloads. */
  corpus?: string;
}

/** One who takes part. */
export interface Contestant {
  /** Its name in the report. */
  title: string;
  /** What a resolved save survives. */
  durability: string;
  /** Why it cannot run on this machine; null when it can. */
  missing(machine: Machine): string | null;
  /** The program and its arguments. */
  command(job: Job, machine: Machine): string[];
}

const POWER_LOSS = "full: survives power loss";
const PROCESS = "relaxed: survives the process, not the machine";

const program = (name: string) =>
  fileURLToPath(new URL(`contestants/${name}`, import.meta.url));

/** The options under which a program of this project runs. */
export function denoRun(script: string, ...permissions: string[]): string[] {
  const flags = resolutionFlags(Deno.env.get("POH_OFFLINE") === "1");
  return [
    Deno.execPath(),
    "run",
    "--quiet",
    "--no-check",
    "--no-prompt",
    ...flags,
    ...permissions,
    script,
  ];
}

function ours(
  title: string,
  variant: string,
  durability: "full" | "relaxed",
): Contestant {
  return {
    title,
    durability: durability === "full" ? POWER_LOSS : PROCESS,
    missing: () => null,
    command: (job) => {
      const permissions = ["--allow-read", "--allow-write"];
      if (variant === "ffi") {
        permissions.push("--allow-ffi", "--allow-env");
      }
      const script = denoRun(program("ours.ts"), ...permissions);
      return [...script, JSON.stringify({ ...job, variant, durability })];
    },
  };
}

function node(
  title: string,
  script: string,
  durability: string,
  options: object = {},
): Contestant {
  return {
    title: `${title} (Node)`,
    durability,
    missing: ({ node, peers }) => node.missing ?? peers.missing,
    command: (job) => [
      "node",
      program(script),
      JSON.stringify({ ...job, ...options }),
    ],
  };
}

function raw(mode: string, threads: number, what: string): Contestant {
  const promises: Record<string, string> = {
    safe: POWER_LOSS,
    synced: "file synced, its name not",
    append: POWER_LOSS,
    large: "file synced, its name not",
    read: "–",
    sha: "–",
  };
  return {
    title: `C: ${what}, ${threads} thread${threads === 1 ? "" : "s"}`,
    durability: promises[mode] ?? PROCESS,
    missing: ({ raw }) => raw.missing,
    command: (job, { raw }) => [
      raw.path,
      job.op === "fill" ? "created" : mode,
      String(threads),
      String(job.count),
      String(job.size),
      job.dir,
      String(job.stored ?? job.count),
      job.inOrder ? "1" : "0",
    ],
  };
}

const safe = "create+fsync+rename+directory sync";
const read = "read+SHA-256";

/** All who take part, by the key that workloads and goals name. */
export const contestants = {
  ours: ours("ours, files, full", "files", "full"),
  oursInline: ours("ours, inline, full", "inline", "full"),
  oursRelaxed: ours("ours, files, relaxed", "files", "relaxed"),
  oursFfi: ours("ours, files, full, FFI", "ffi", "full"),
  python: {
    title: "Python package's way (aiofiles + aiosqlite)",
    durability: "row synced, payload file not",
    missing: ({ python }) => python.missing,
    command: (job, { python }) => [
      python.path,
      program("python_package.py"),
      JSON.stringify(job),
    ],
  },
  betterSqlite3: node("better-sqlite3, FULL", "better_sqlite3.mjs", POWER_LOSS),
  lmdb: node("lmdb, synced", "lmdb.mjs", POWER_LOSS),
  safe1: raw("safe", 1, safe),
  safe16: raw("safe", 16, safe),
  synced1: raw("synced", 1, "create+fsync+rename"),
  synced16: raw("synced", 16, "create+fsync+rename"),
  renamed1: raw("renamed", 1, "create+rename"),
  renamed16: raw("renamed", 16, "create+rename"),
  created1: raw("created", 1, "create"),
  created16: raw("created", 16, "create"),
  append1: raw("append", 1, "one fdatasync each append"),
  append16: raw("append", 16, "one fdatasync each append"),
  read1: raw("read", 1, read),
  read2: raw("read", 2, read),
  read64: raw("read", 64, read),
} satisfies Record<string, Contestant>;

/** The key of a contestant. */
export type Key = keyof typeof contestants;
