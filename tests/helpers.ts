/**
 * What the tests share: temporary stores that are gone when a test ends, the
 * SQLite bindings that can be had here, bytes, and child processes with a time
 * limit.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { join, relative } from "@std/path";
import {
  type Finding,
  type RecoverOptions,
  sha256Hex,
  StorageManager,
  type StorageOptions,
  type StoreReport,
  type Tx,
} from "../mod.ts";
import { placeOf } from "../src/payloads/payload_layout.ts";
import { CHECKPOINT_DUE } from "../src/log/checkpoint.ts";
import { openSqlite } from "../src/sqlite/driver.ts";

/** No test takes longer than this, in ms: one that hangs fails. */
export const TIME_LIMIT = 30_000;

/** Whether symbolic links and POSIX permissions are out of reach. */
export const IS_WINDOWS = Deno.build.os === "windows";

// --- drivers ----------------------------------------------------------------

/** A binding by its name. */
export type Driver = "ffi" | "builtin";

// Asked for once, outside all tests: the library stays open from then on.
const auto = await openSqlite(":memory:", "auto", false);
auto.close();

/** Why the FFI binding cannot be had here; null when it can. */
export const NO_FFI: string | null = auto.driver.name === "ffi"
  ? null
  : auto.driver.fallbackReason ?? "unknown";

/** The bindings that can be had here. */
export function drivers(): Driver[] {
  return NO_FFI === null ? ["builtin", "ffi"] : ["builtin"];
}

/** Declares a test that fails rather than hangs. */
export function test(
  name: string,
  fn: () => Promise<void>,
  options: { ignore?: boolean; timeout?: number } = {},
): void {
  Deno.test({ timeout: TIME_LIMIT, ...options, name, fn });
}

/** Declares such a test for every binding that can be had here. */
export function testDrivers(
  name: string,
  fn: (driver: Driver) => Promise<void>,
  options: { ignore?: boolean; timeout?: number } = {},
): void {
  for (const driver of drivers()) {
    test(`${name} [${driver}]`, () => fn(driver), options);
  }
}

// --- temporary stores -------------------------------------------------------

/** A directory that is removed with all it holds. */
export interface TempDir extends AsyncDisposable {
  /** Its absolute path. */
  path: string;
  /** The path of something in it. */
  join(...parts: string[]): string;
}

/** Makes an empty directory. */
export async function tempDir(): Promise<TempDir> {
  const path = await Deno.makeTempDir({ prefix: "poh-test-" });
  return {
    path,
    join: (...parts) => join(path, ...parts),
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

/** A store in a temporary directory, opened as often as a test likes. */
export class TempStore implements AsyncDisposable {
  readonly #dir: TempDir;
  readonly #options: StorageOptions;
  readonly #opened: StorageManager[] = [];
  /** Directory of the payload files. */
  readonly base: string;
  /** Database file. */
  readonly db: string;

  constructor(dir: TempDir, options: StorageOptions) {
    this.#dir = dir;
    this.#options = options;
    this.base = dir.join("base");
    this.db = dir.join("base", "poh.db");
  }

  /** The newest open manager. */
  get store(): StorageManager {
    return this.#opened.at(-1)!;
  }

  /** Opens one more manager. */
  async open(options: StorageOptions = {}): Promise<StorageManager> {
    const all = { ...this.#options, ...options };
    const store = await StorageManager.create(this.base, this.db, all);
    this.#opened.push(store);
    return store;
  }

  /** Closes every manager; the store is at rest then. */
  async close(): Promise<void> {
    for (const store of this.#opened) await store.close();
  }

  /** Closes every manager and opens a new one. */
  async reopen(options: StorageOptions = {}): Promise<StorageManager> {
    await this.close();
    return await this.open(options);
  }

  /** Path of a transaction's payload file. */
  file(txId: string): string {
    return join(this.base, placeOf(txId));
  }

  /**
   * What a power cut would leave at this moment if everything written so far
   * had reached the disk: a copy without locks, in a store of its own.
   */
  async snapshot(): Promise<TempStore> {
    const copy = new TempStore(await tempDir(), this.#options);
    await copyTree(this.base, copy.base);
    return copy;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.close();
    } finally {
      await this.#dir[Symbol.asyncDispose]();
    }
  }
}

/** A new store, open. */
export async function tempStore(
  options: StorageOptions = {},
): Promise<TempStore> {
  const store = new TempStore(await tempDir(), options);
  await store.open();
  return store;
}

/** Has checkpoints come after so many changes; as ever where it is not given. */
export function checkpointDue(changes: number | undefined): Disposable {
  const before = CHECKPOINT_DUE.changes;
  CHECKPOINT_DUE.changes = changes ?? before;
  return { [Symbol.dispose]: () => void (CHECKPOINT_DUE.changes = before) };
}

/** Whatever the death of a process drops, and what SQLite makes anew. */
const VOLATILE =
  /^(lock|commit\.lock|checkpoint\.lock|waiting|holders|reserve)$|-shm$/;

async function copyTree(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const entry of Deno.readDir(from)) {
    if (VOLATILE.test(entry.name)) continue;
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory) await copyTree(source, target);
    else await Deno.copyFile(source, target);
  }
}

/**
 * Every file below a directory by its path with `/`, with the digest of its
 * bytes; without the locks.
 */
export async function filesBelow(
  dir: string,
  top = dir,
): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for await (const { name, isDirectory, isFile } of Deno.readDir(dir)) {
    if (VOLATILE.test(name)) continue;
    const path = join(dir, name);
    const key = relative(top, path).replaceAll("\\", "/");
    if (isDirectory) Object.assign(files, await filesBelow(path, top));
    else files[key] = isFile ? await digestOfFile(path) : "no regular file";
  }
  return Object.fromEntries(Object.entries(files).sort());
}

async function digestOfFile(path: string): Promise<string> {
  try {
    return await sha256Hex(await Deno.readFile(path));
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied) return "unreadable";
    throw error;
  }
}

/** The names in a directory, sorted; none when it is not there. */
export function namesIn(dir: string, ...below: string[]): string[] {
  try {
    return Array.from(Deno.readDirSync(join(dir, ...below)), (e) => e.name)
      .sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Recovers an open store; the ids of the transactions that are sound. */
export async function soundAfter(
  store: StorageManager,
  options: RecoverOptions = {},
): Promise<string[]> {
  const sound: string[] = [];
  const onSound = (txId: string) => {
    sound.push(txId);
    options.onSound?.(txId);
  };
  await store.recover({ ...options, onSound });
  return sound;
}

// --- data -------------------------------------------------------------------

/** The UTF-8 bytes of a text. */
export function bytes(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** The text of UTF-8 bytes. */
export function text(of: Uint8Array | undefined | null): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(
    of ?? new Uint8Array(),
  );
}

/** Numbers from 0 to below 1 that are the same in every run (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6D2B79F5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Bytes that are the same in every run. */
export function randomBytes(
  size: number,
  seed = 1,
): Uint8Array<ArrayBuffer> {
  const random = seededRandom(seed);
  return Uint8Array.from({ length: size }, () => random() * 256);
}

/** A transaction; what is not given is made up. */
export function sampleTx(tx: Partial<Tx> = {}): Tx {
  const txId = tx.txId ?? "a";
  return {
    txId,
    holderId: "alice",
    timestamp: 1464307123.25,
    payload: bytes(`payload of ${txId}`),
    ...tx,
  };
}

/** Makes a FIFO: whoever opens it to read waits for a writer. */
export async function makeFifo(path: string): Promise<void> {
  const code = "import os, sys; os.mkfifo(sys.argv[1])";
  const { success, stderr } = await new Deno.Command("python3", {
    args: ["-c", code, path],
  }).output();
  if (!success) throw new Error(text(stderr));
}

/** Flips one bit of a file, as a disk does. */
export async function flipBit(path: string, at = 0): Promise<void> {
  const content = await Deno.readFile(path);
  content[at]! ^= 1;
  await Deno.writeFile(path, content);
}

/** Writes text over the end of another one in the log of a closed store. */
export async function overwriteInLog(
  base: string,
  there: string,
  by: string,
): Promise<void> {
  const dir = join(base, ".poh", "log");
  for (const name of namesIn(dir)) {
    const content = await Deno.readFile(join(dir, name));
    const at = new TextDecoder("latin1").decode(content).indexOf(there);
    if (at < 0) continue;
    content.set(bytes(by), at + there.length - by.length);
    return await Deno.writeFile(join(dir, name), content);
  }
  throw new Error(`${there} is not in the log`);
}

/** What a report says, briefly: `kind id: action`, sorted. */
export function outline(report: StoreReport | Finding[]): string[] {
  const findings = Array.isArray(report) ? report : report.findings;
  return findings
    .map(({ kind, txId, action }) => `${kind} ${txId}: ${action}`)
    .sort();
}

/** Asserts that bytes are the same, without printing all of them. */
export function assertBytes(
  actual: Uint8Array | null | undefined,
  expected: Uint8Array,
  message = "bytes",
): void {
  assertEquals(actual?.length, expected.length, `length of ${message}`);
  const at = expected.findIndex((byte, n) => byte !== actual![n]);
  assertEquals(at, -1, `first difference of ${message}`);
}

// --- disks that fail --------------------------------------------------------

/** Makes the disk refuse the syncs that `refuses` selects, counted from 0. */
export function refusingDisk(refuses: (sync: number) => boolean): Disposable {
  const file = Deno.FsFile.prototype;
  const { sync, syncData } = file;
  let count = 0;
  const failing = (original: () => Promise<void>) =>
    // deno-lint-ignore require-await -- what it throws, it rejects with
    async function (this: Deno.FsFile): Promise<void> {
      if (refuses(count++)) throw new Error("Input/output error (os error 5)");
      return original.call(this);
    };
  file.sync = failing(sync);
  file.syncData = failing(syncData);
  return {
    [Symbol.dispose]: () => void Object.assign(file, { sync, syncData }),
  };
}

// --- waiting and children ---------------------------------------------------

/** Waits for a promise, but not for ever. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took over ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

/** Options of {@linkcode denoScript}. */
export interface ScriptOptions extends Deno.CommandOptions {
  /** What the script may do; default all. */
  permissions?: string[];
  /** A program that runs Deno, and its options, such as `prlimit`. */
  by?: string[];
  /** What is imported in place of what the tests themselves import. */
  imports?: Record<string, string>;
}

/**
 * A Deno command that runs a script of the tests with the imports that the
 * tests themselves have, be they JSR's or the stand-ins.
 */
export function denoScript(
  script: string,
  args: string[] = [],
  options: ScriptOptions = {},
): Deno.Command {
  const { permissions = ["-A"], by = [], ...rest } = options;
  const imports = {
    ...Object.fromEntries(
      ["@std/path", "@db/sqlite", "@poh/types"].map((
        name,
      ) => [name, import.meta.resolve(name)]),
    ),
    ...options.imports,
  };
  const map = encodeURIComponent(JSON.stringify({ imports }));
  const [program, ...first] = [...by, Deno.execPath()] as [string];
  return new Deno.Command(program, {
    args: [
      ...first,
      "run",
      "--quiet",
      "--no-config",
      "--no-lock",
      "--no-prompt",
      `--import-map=data:application/json,${map}`,
      ...permissions,
      join(import.meta.dirname!, "children", script),
      ...args,
    ],
    stdin: "null",
    ...rest,
    env: { NO_COLOR: "1", ...rest.env },
  });
}

/** Runs a command to its end; kills it when it takes too long. */
export async function outputOf(
  command: Deno.Command,
  ms = TIME_LIMIT / 2,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = command.spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), ms);
  try {
    const { code, stdout, stderr } = await child.output();
    return { code, stdout: text(stdout), stderr: text(stderr) };
  } finally {
    clearTimeout(timer);
  }
}

/** A child that says "ready" and then waits for its stdin to end. */
export interface WaitingChild extends AsyncDisposable {
  /** Its process id. */
  pid: number;
  /** Lets it end, and waits for that; its exit code. */
  end(): Promise<number>;
  /** Kills it, as the out-of-memory killer does, and waits for that. */
  kill(): Promise<void>;
  /** Stops it, as Ctrl-Z does, or lets it go on. */
  signal(name: "SIGSTOP" | "SIGCONT"): void;
}

/** Starts a script of the tests and waits until it is ready. */
export async function startScript(
  script: string,
  args: string[],
): Promise<WaitingChild> {
  const command = denoScript(script, args, {
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  });
  const child = command.spawn();
  const stop = async (how: () => unknown) => {
    await how();
    const { code } = await within(TIME_LIMIT / 3, child.status);
    return code;
  };
  let running = true;
  const endOnce = async (how: () => unknown) => {
    if (!running) return 0;
    running = false;
    return await stop(how);
  };
  const end = () => endOnce(() => child.stdin.close());
  const kill = () => endOnce(() => child.kill("SIGKILL"));
  try {
    await within(TIME_LIMIT / 3, untilReady(child.stdout));
  } catch (error) {
    await kill();
    throw error;
  }
  return {
    pid: child.pid,
    end,
    signal: (name) => child.kill(name),
    async kill() {
      await kill();
      await child.stdin.close().catch(() => {}); // nobody reads it any more
    },
    async [Symbol.asyncDispose]() {
      await kill();
      await child.stdin.close().catch(() => {});
    },
  };
}

async function untilReady(stdout: ReadableStream<Uint8Array>): Promise<void> {
  let said = "";
  for await (const chunk of stdout) {
    said += text(chunk);
    if (said.includes("ready")) return;
  }
  throw new Error(`the child ended before it was ready: ${said}`);
}
