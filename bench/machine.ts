/**
 * What a run finds on the machine, and what it puts there: the C programs in
 * `bench/.build`, the npm packages in `bench/.peers`.
 *
 * @module
 */

import { join } from "@std/path";
import { fileURLToPath } from "node:url";
import os from "node:os";
import { DatabaseSync } from "node:sqlite";

/** Something that contestants need. */
export interface Tool {
  /** How to call it. */
  path: string;
  /** What it says of its version. */
  version: string;
  /** Why it cannot be had; null when it is there. */
  missing: string | null;
}

/** The machine of a run. */
export interface Machine {
  /** Processor, cores, memory, system. */
  hardware: string;
  /** Processes that wanted to run in the minute before. */
  load: number;
  /** File system of the stores. */
  fileSystem: string;
  /** Version of the SQLite in Deno. */
  sqlite: string;
  /** The C compiler's product for the raw limit. */
  raw: Tool;
  /** The C program that measures memory and empties caches. */
  measure: Tool;
  node: Tool;
  python: Tool;
  /** The shell of SQLite. */
  sqlite3: Tool;
  restic: Tool;
  /** The npm packages; `version` lists them. */
  peers: Tool;
  /** The program as a single file, where there is one. */
  program: Tool;
  /** An empty program as a single file. */
  empty: Tool;
}

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** Where the npm packages are. */
export const PEERS = here(".peers");
const BUILD = here(".build");

/** What a program prints, or null when it fails or is not there. */
export async function outputOf(
  command: string,
  args: string[],
  { env = {}, cwd }: { env?: Record<string, string>; cwd?: string } = {},
): Promise<{ stdout: string; failure: string | null }> {
  try {
    const { success, stdout, stderr } = await new Deno.Command(command, {
      args,
      env,
      ...(cwd === undefined ? {} : { cwd }),
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
    return {
      stdout: text(stdout),
      failure: success ? null : reasonIn(text(stderr)),
    };
  } catch (error) {
    const isAbsent = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotCapable;
    if (!isAbsent) throw error;
    return { stdout: "", failure: `${command} is not installed` };
  }
}

/** Most programs end with the reason; Deno may have a trace behind it. */
function reasonIn(errors: string): string {
  const lines = errors.split("\n").filter((line) => line);
  return lines.find((line) => /^error:/i.test(line)) ?? lines.at(-1) ??
    "failed";
}

/** Looks at the machine and installs what can be installed. */
export async function prepareMachine(dir: string): Promise<Machine> {
  await Deno.mkdir(BUILD, { recursive: true });
  const node = await nodeItself();
  return {
    hardware: hardware(),
    load: os.loadavg()[0]!,
    fileSystem: await fileSystemOf(dir),
    sqlite: sqliteVersion(),
    raw: await compile("contestants/raw.c", "raw", "-pthread", "-lcrypto"),
    measure: await compile("measure.c", "measure"),
    node,
    python: await python(),
    sqlite3: await tool("sqlite3", [":memory:", "SELECT sqlite_version()"]),
    restic: await tool("restic", ["version"]),
    peers: node.missing ? node : await installPeers(),
    ...await compiledPrograms(),
  };
}

/** Those that `deno task compile` made, and its like that does nothing. */
async function compiledPrograms(): Promise<{ program: Tool; empty: Tool }> {
  const program = await tool(here("../poh-storage"), ["--version"]);
  if (program.missing) program.missing = "no ./poh-storage: deno task compile";
  const path = join(BUILD, "empty");
  const script = here("contestants/empty.ts");
  const options = ["--no-check", "--no-code-cache", `--output=${path}`];
  const { failure } = program.missing
    ? { failure: program.missing }
    : await outputOf(Deno.execPath(), ["compile", ...options, script]);
  return { program, empty: { path, version: "", missing: failure } };
}

function hardware(): string {
  const cpus = os.cpus();
  const memory = Math.round(os.totalmem() / 2 ** 30);
  return `${cpus.length} × ${cpus[0]?.model ?? Deno.build.arch}, ` +
    `${memory} GiB, ${Deno.build.os} ${Deno.osRelease()}`;
}

function sqliteVersion(): string {
  const db = new DatabaseSync(":memory:");
  const row = db.prepare("SELECT sqlite_version() AS version").get();
  db.close();
  return String(row?.version);
}

async function fileSystemOf(dir: string): Promise<string> {
  const { stdout, failure } = await outputOf("df", ["--output=fstype", dir]);
  return failure ? "unknown" : stdout.split("\n").at(-1)!;
}

async function tool(path: string, args: string[]): Promise<Tool> {
  const { stdout, failure } = await outputOf(path, args);
  return { path, version: stdout.split("\n")[0]!, missing: failure };
}

/** Where there is no Node, Deno's tasks put Deno in its place. */
async function nodeItself(): Promise<Tool> {
  const script = "'Deno' in globalThis || process.version";
  const node = await tool("node", ["--print", script]);
  const missing = node.version === "true" ? "node is not installed" : null;
  return { ...node, missing: node.missing ?? missing };
}

async function compile(
  source: string,
  name: string,
  ...flags: string[]
): Promise<Tool> {
  const path = join(BUILD, name);
  const args = ["-O2", "-o", path, here(source), ...flags];
  const { failure } = await outputOf("cc", args);
  const missing = failure && `${source} does not compile: ${failure}`;
  return { path, version: "", missing };
}

/** The first Python that has both modules: Debian's are Debian's Python's. */
async function python(): Promise<Tool> {
  const script = "import sys, sqlite3, aiofiles, aiosqlite\n" +
    "print(sys.version.split()[0], 'SQLite', sqlite3.sqlite_version, 'aiosqlite', aiosqlite.__version__)";
  let found: Tool | null = null;
  for (const path of ["python3", "/usr/bin/python3"]) {
    found = await tool(path, ["-c", script]);
    if (!found.missing) return found;
  }
  return {
    ...found!,
    missing: `${
      found!.missing
    }: apt-get install python3-aiofiles python3-aiosqlite`,
  };
}

async function installPeers(): Promise<Tool> {
  await Deno.mkdir(PEERS, { recursive: true });
  const wanted = await Deno.readTextFile(here("peers.json"));
  const manifest = join(PEERS, "package.json");
  const { optionalDependencies } = JSON.parse(wanted);
  const version = Object.entries(optionalDependencies)
    .map(([name, version]) => `${name} ${version}`).join(", ");
  const there = await Deno.readTextFile(join(PEERS, "installed.json"))
    .catch(() => "");
  if (there === wanted) return { path: PEERS, version, missing: null };
  console.error("Installing the peers in bench/.peers (once)");
  await Deno.writeTextFile(manifest, wanted);
  const { failure } = await outputOf(
    "npm",
    ["install", "--no-audit", "--no-fund", "--loglevel=error"],
    { cwd: PEERS, env: { JOBS: "max" } },
  );
  if (failure) {
    return { path: PEERS, version, missing: `npm install failed: ${failure}` };
  }
  await Deno.writeTextFile(join(PEERS, "installed.json"), wanted);
  return { path: PEERS, version, missing: null };
}
