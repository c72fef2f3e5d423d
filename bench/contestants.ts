/**
 * Who takes part, what each promises, and the command that runs it.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { MEMORY } from "../.ci/compile/main.ts";
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
  /** A store that is made for its rows needs no payload files. */
  rowsOnly?: boolean;
  /** Indexes of the transactions to damage before a recovery. */
  damage?: number[];
  /** File of real payloads, or of transactions to import. */
  input?: string;
}

/** One who takes part. */
export interface Contestant {
  /** Its name in the report. */
  title: string;
  /** What a resolved save survives. */
  durability: string;
  /** Whose store it works on, where that is not its own. */
  store?: string;
  /** It reads that store as it is: nothing is damaged for it. */
  readsOnly?: boolean;
  /** A command that is run before the clock. */
  before?(job: Job): string[];
  /** Why it cannot run on this machine; null when it can. */
  missing(machine: Machine): string | null;
  /** The program and its arguments. */
  command(job: Job, machine: Machine): string[];
}

const POWER_LOSS = "full: survives power loss";
const PROCESS = "relaxed: survives the process, not the machine";
const NONE = "–";

const program = (name: string) =>
  fileURLToPath(new URL(`contestants/${name}`, import.meta.url));

/** Runs a program of this project, with permissions and further flags. */
function denoRun(script: string, ...permissions: string[]): string[] {
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
  variant: "files" | "packed" | "whole" | "ffi",
  durability: "full" | "relaxed",
  permissions = ["--allow-read", "--allow-write"],
): Contestant {
  return {
    title,
    durability: durability === "full" ? POWER_LOSS : PROCESS,
    missing: () => null,
    command: (job) => [
      ...denoRun(program("ours.ts"), ...permissions),
      JSON.stringify({ ...job, variant, durability }),
    ],
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

/** The program from source, with what it may do at most. */
const cliItself = (...args: string[]) => [
  ...denoRun(
    fileURLToPath(new URL("../cli.ts", import.meta.url)),
    MEMORY, // as the compiled program
    "--allow-read",
    "--allow-write",
    "--allow-env=POH_BASE,POH_DB,POH_DEBUG",
    "--allow-sys=hostname",
  ),
  ...args,
];

function cli(
  title: string,
  args: (job: Job) => string[],
  store?: string,
): Contestant {
  return {
    title,
    durability: POWER_LOSS,
    ...(store === undefined ? {} : { store }),
    missing: () => null,
    command: (job) => cliItself(...args(job)),
  };
}

/** A program that stands beside this one as a single file. */
function compiled(
  title: string,
  tool: "program" | "empty",
  args: (job: Job) => string[],
): Contestant {
  return {
    title,
    durability: NONE,
    store: "ours",
    missing: (machine) => machine[tool].missing,
    command: (job, machine) => [machine[tool].path, ...args(job)],
  };
}

/** A contestant that is a program of Deno. */
function deno(
  title: string,
  script: string,
  durability: string,
  ...permissions: string[]
): Contestant {
  return {
    title,
    durability,
    missing: () => null,
    command: (job) => [
      ...denoRun(program(script), ...permissions),
      JSON.stringify(job),
    ],
  };
}

function raw(mode: string, threads: number, what: string): Contestant {
  const promises: Record<string, string> = {
    safe: POWER_LOSS,
    synced: "file synced, its name not",
    append: POWER_LOSS,
    large: "file synced, its name not",
    read: NONE,
    sha: NONE,
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

const version = () => ["--version"];
const list = ({ dir }: Job) => ["list", "--base", dir];
const verify = ({ dir }: Job) => ["verify", "--base", dir, "--quiet"];
const exportAll = ({ dir }: Job) => ["export", "--base", dir];
const recover = ({ dir }: Job) => ["recover", "--base", dir, "--quiet"];

/** All who take part, by the key that workloads and goals name. */
export const contestants = {
  ours: ours("ours, files, full", "files", "full"),
  oursPacked: ours("ours, packed, full", "packed", "full"),
  oursRelaxed: ours("ours, files, relaxed", "files", "relaxed"),
  oursPackedRelaxed: ours("ours, packed, relaxed", "packed", "relaxed"),
  oursWhole: ours("ours, whole payloads, full", "whole", "full"),
  oursAll: {
    ...ours("ours, files, full, all permissions", "files", "full", [
      "--allow-all",
    ]),
    store: "ours",
  },
  oursFfi: ours("ours, files, full, FFI", "ffi", "full", [
    "--allow-read",
    "--allow-write",
    "--allow-ffi",
    "--allow-env",
  ]),
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
  level: node("classic-level, sync", "level.mjs", POWER_LOSS, {
    durability: "full",
  }),
  levelRelaxed: node("classic-level, no sync", "level.mjs", PROCESS, {
    durability: "relaxed",
  }),
  cacache: node("cacache", "cacache.mjs", PROCESS),
  writeFileAtomic: node(
    "write-file-atomic + better-sqlite3",
    "write_file_atomic.mjs",
    "row and file synced, the file's name not",
  ),
  denoKv: deno(
    "Deno KV",
    "deno_kv.mjs",
    POWER_LOSS,
    "--unstable-kv",
    "--allow-read",
    "--allow-write",
  ),
  restic: deno(
    "restic check --read-data",
    "restic.ts",
    POWER_LOSS,
    "--allow-read",
    "--allow-write",
    "--allow-run=restic",
  ),
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
  segments: {
    ...deno(
      "cat of the segments",
      "segments.ts",
      NONE,
      "--allow-read",
      "--allow-run=cat",
    ),
    store: "oursPacked",
    readsOnly: true,
  },
  large1: raw("large", 1, "write+fdatasync"),
  large4: raw("large", 4, "write+fdatasync"),
  sha1: raw("sha", 1, "SHA-256 of memory"),
  sha2: raw("sha", 2, "SHA-256 of memory"),
  cliImport: cli(
    "ours, import",
    ({ dir, input }) => [
      "import",
      input!,
      "--create",
      "--base",
      dir,
      "--quiet",
    ],
  ),
  cliImportPacked: {
    ...cli(
      "ours, import, packed",
      ({ dir, input }) => ["import", input!, "--base", dir, "--quiet"],
    ),
    before: ({ dir }) =>
      cliItself("init", "--pack-below", "16KiB", "--base", dir, "--quiet"),
  },
  cliList: cli("ours, list", list, "ours"),
  cliListPacked: cli("ours, list, packed", list, "oursPacked"),
  cliVerify: cli("ours, verify", verify, "ours"),
  cliVerifyPacked: cli("ours, verify, packed", verify, "oursPacked"),
  cliExport: cli("ours, export", exportAll, "ours"),
  cliExportPacked: cli("ours, export, packed", exportAll, "oursPacked"),
  cliRecover: cli("ours, recover", recover, "ours"),
  cliRecoverPacked: cli("ours, recover, packed", recover, "oursPacked"),
  cliVersion: cli("ours, --version", version),
  compiledVersion: compiled("ours, --version, compiled", "program", version),
  compiledList: compiled("ours, list, compiled", "program", list),
  compiledEmpty: compiled("empty program, compiled", "empty", () => []),
  emptyDeno: {
    ...deno("empty Deno program", "empty.ts", NONE),
    store: "ours",
  },
  sqliteShell: {
    title: "sqlite3 shell, SELECT tx_id on our database",
    durability: NONE,
    store: "ours",
    missing: ({ sqlite3 }) => sqlite3.missing,
    command: ({ dir }) => [
      "sqlite3",
      `${dir}/poh.db`,
      "SELECT tx_id FROM txs ORDER BY tx_id",
    ],
  },
} satisfies Record<string, Contestant>;

/** The key of a contestant. */
export type Key = keyof typeof contestants;

/** A contestant by its key. */
export const contestant = (key: Key): Contestant => contestants[key];
