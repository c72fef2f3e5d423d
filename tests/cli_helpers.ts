/**
 * What the tests of the command line share: the program in this process, with
 * its streams captured, and the program as a process of its own.
 *
 * @module
 */

import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { main } from "../src/cli/main.ts";
import type { CliIo } from "../src/cli/output.ts";
import { bytes, type TempDir, tempDir, text } from "./helpers.ts";

/** No run of the program takes longer than this, in ms. */
const TIME_LIMIT = 20_000;

/** What a run of the program left behind. */
export interface Outcome {
  /** Exit code. */
  code: number;
  /** What it printed to stdout. */
  stdout: string;
  /** The same, as bytes. */
  output: Uint8Array<ArrayBuffer>;
  /** What it printed to stderr. */
  stderr: string;
}

/** How to run the program in this process. */
export interface CallOptions {
  /** What it reads from stdin; nothing unless given. */
  stdin?: string | Uint8Array | ReadableStream<Uint8Array>;
  /** Interrupts it. */
  signal?: AbortSignal;
  /** Whether its streams say that they are a terminal. */
  terminal?: { stdout: boolean; stderr: boolean };
  /** Called with everything that it prints to stdout. */
  onStdout?: (bytes: Uint8Array) => void;
}

/** Runs the program in this process. */
export async function call(
  args: string[],
  options: CallOptions = {},
): Promise<Outcome> {
  const stdout: Uint8Array[] = [], stderr: Uint8Array[] = [];
  const { stdin = "", signal, terminal } = options;
  const io: CliIo = {
    stdin: stdin instanceof ReadableStream ? stdin : ReadableStream.from(
      piecesOf(typeof stdin === "string" ? bytes(stdin) : stdin),
    ),
    stdout: {
      // Takes no more than a pipe might, so that a writer has to go on.
      write: (chunk) => {
        const taken = chunk.slice(0, 4096);
        options.onStdout?.(taken);
        stdout.push(taken);
        return Promise.resolve(taken.length);
      },
      isTerminal: () => terminal?.stdout ?? false,
    },
    stderr: {
      writeSync: (chunk) => {
        stderr.push(chunk.slice());
        return chunk.length;
      },
      isTerminal: () => terminal?.stderr ?? false,
    },
    ...(signal && { signal }),
  };
  // What else decides is the environment of whoever runs the tests.
  const color = terminal ? ["--color=never"] : [];
  const code = await main([...color, ...args], io);
  if (!(stdin instanceof ReadableStream)) {
    await io.stdin.cancel().catch(() => {});
  }
  const output = new Uint8Array(
    await new Blob(stdout as BlobPart[]).arrayBuffer(),
  );
  return {
    code,
    output,
    stdout: text(output),
    stderr: await new Blob(stderr as BlobPart[]).text(),
  };
}

/** Bytes as a pipe gives them. */
function* piecesOf(whole: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < whole.length; at += 65_536) {
    yield whole.subarray(at, at + 65_536);
  }
}

/** How to run the program as a process. */
export interface SpawnOptions {
  /** Its working directory. */
  cwd: string;
  /** What it reads from stdin; closed unless given. */
  stdin?: string | Uint8Array;
  /** Environment variables. */
  env?: Record<string, string>;
  /** Permissions; all that the program can use, below `cwd`, unless given. */
  permissions?: string[];
  /** The script to run; the program unless given. */
  script?: string;
  /** A program that runs Deno, and its options, such as `prlimit`. */
  under?: string[];
}

/** The arguments of `deno` that run the program with the imports that the tests have. */
export function denoArgs(
  args: string[],
  { cwd, permissions, script = "cli.ts" }: SpawnOptions,
): string[] {
  const imports = Object.fromEntries(
    [
      "@std/path",
      "@std/cli/unstable-progress-bar",
      "@db/sqlite",
      "@poh/types",
    ].map((name) => [name, import.meta.resolve(name)]),
  );
  const map = encodeURIComponent(JSON.stringify({ imports }));
  return [
    "run",
    "--quiet",
    "--no-config",
    "--no-lock",
    "--no-prompt",
    "--no-check",
    `--import-map=data:application/json,${map}`,
    ...permissions ?? [
      `--allow-read=${cwd}`,
      `--allow-write=${cwd}`,
      "--allow-env=POH_BASE,POH_DB,POH_DEBUG",
    ],
    join(import.meta.dirname!, "..", script),
    ...args,
  ];
}

/** The program, ready to be started. */
export function command(args: string[], options: SpawnOptions): Deno.Command {
  const { cwd, stdin, env, under = [] } = options;
  const [program, ...rest] = [
    ...under,
    Deno.execPath(),
    ...denoArgs(args, options),
  ];
  return new Deno.Command(program!, {
    args: rest,
    cwd,
    env: { NO_COLOR: "1", ...env },
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  });
}

/** Runs the program as a process to its end; kills it when it takes too long. */
export async function run(
  args: string[],
  options: SpawnOptions,
): Promise<Outcome> {
  return await ended(command(args, options).spawn(), options.stdin);
}

/** Waits for the end of a process; kills it when it takes too long. */
export async function ended(
  child: Deno.ChildProcess,
  stdin?: string | Uint8Array,
): Promise<Outcome> {
  const timer = setTimeout(() => child.kill("SIGKILL"), TIME_LIMIT);
  try {
    const input = stdin === undefined ? null : feed(child, stdin);
    const { code, stdout, stderr } = await child.output();
    await input;
    return {
      code,
      output: stdout as Uint8Array<ArrayBuffer>,
      stdout: text(stdout),
      stderr: text(stderr),
    };
  } finally {
    clearTimeout(timer);
  }
}

/** A process may end before it has read everything. */
async function feed(
  child: Deno.ChildProcess,
  stdin: string | Uint8Array,
): Promise<void> {
  const writer = child.stdin.getWriter();
  try {
    await writer.write(typeof stdin === "string" ? bytes(stdin) : stdin);
    await writer.close();
  } catch {
    // What it said and its exit code tell whether that is right.
  }
}

/** A folder, and the program on a store in it. */
export interface CliStore extends AsyncDisposable {
  /** The folder. */
  dir: TempDir;
  /** The store's payload folder, in it. */
  base: string;
  /** Runs the program in this process on the store. */
  call(args: string[], options?: CallOptions): Promise<Outcome>;
  /** {@linkcode call} that must end with 0 and say nothing on stderr; its stdout. */
  ok(args: string[], options?: CallOptions): Promise<string>;
}

/** A folder with a new store, or for one that the test itself makes. */
export async function cliStore(
  { make = true }: { make?: boolean } = {},
): Promise<CliStore> {
  const dir = await tempDir();
  const base = join(dir.path, "store");
  const callHere: CliStore["call"] = (args, options) =>
    call([...args.slice(0, 1), "--base", base, ...args.slice(1)], options);
  if (make) assertEquals((await callHere(["init"])).code, 0);
  return {
    dir,
    base,
    call: callHere,
    ok: async (args, options) => {
      const { code, stdout, stderr } = await callHere(args, options);
      assertEquals({ code, stderr }, { code: 0, stderr: "" }, args.join(" "));
      return stdout;
    },
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
}

/** What one line of stderr says of an error, for people or for programs. */
export function errorIn(stderr: string): string {
  if (stderr.startsWith("{")) {
    const { message, hint } = JSON.parse(stderr).error;
    return hint === undefined ? message : `${message}; ${hint}`;
  }
  assertMatch(stderr, /^poh-storage: [^\n]+\n$/);
  return stderr.slice("poh-storage: ".length, -1);
}

/** Asserts that the program failed with one line on stderr and nothing on stdout. */
export function assertFails(
  outcome: Outcome,
  code: number,
  message: string | RegExp,
): void {
  const told = errorIn(outcome.stderr);
  if (typeof message === "string") assertEquals(told, message);
  else assertMatch(told, message);
  assertEquals({ code: outcome.code, stdout: outcome.stdout }, {
    code,
    stdout: "",
  });
}

/** The JSON form of a transaction, as a user would write it. */
export function txText(
  txId: string,
  payload: string | Uint8Array = `payload of ${txId}`,
  holderId = "alice",
  timestamp: number | string = "1464307123.25",
): string {
  const base64 = (typeof payload === "string" ? bytes(payload) : payload)
    .toBase64();
  return `{"tx_id":${JSON.stringify(txId)},"holder_id":${
    JSON.stringify(holderId)
  },"timestamp":${timestamp},"payload":"${base64}"}`;
}

/** The last line of an import of so many new transactions, and others. */
export function importLine(created: number, unchanged = 0): string {
  const [all, news, same] = [created + unchanged, created, unchanged]
    .map((count) => count.toLocaleString("en-US"));
  return `${all} ${
    all === "1" ? "tx" : "txs"
  }: ${news} new, ${same} unchanged, 0 replaced\n`;
}
