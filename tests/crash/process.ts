/**
 * Starts writers and stores for them, and waits for their end.
 *
 * @module
 */

import { join } from "@std/path";
import type { StorageOptions } from "../../mod.ts";
import { denoScript, IS_WINDOWS, text } from "../helpers.ts";
import type { Place } from "./check.ts";
import type { Random } from "./random.ts";
import type { Account, WriterTask } from "./writer.ts";

/** How a writer ended, and its account if it came to its end. */
export interface Ending extends Account {
  /** Whether it was killed. */
  killed: boolean;
}

/**
 * Starts a writer.
 *
 * @param by A program that runs it, and its arguments.
 */
export function startWriter(
  task: WriterTask,
  by: string[] = [],
): Deno.ChildProcess {
  return denoScript("../crash/writer.ts", [JSON.stringify(task)], {
    permissions: [
      "--allow-read",
      "--allow-write",
      "--allow-run", // to kill itself
      "--allow-sys=hostname",
    ],
    by,
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/**
 * Waits until a writer has come to its end or was killed.
 *
 * @param mayFail Whether something was done that it may fail of.
 */
export async function endOf(
  writer: Deno.ChildProcess,
  mayFail = false,
): Promise<Ending> {
  const output = await writer.output();
  const { code, stdout, stderr } = output;
  const none: Account = { passed: {}, failures: [] };
  if (wasKilled(output)) return { killed: true, ...none };
  if (code !== 0 && mayFail) return { killed: false, ...none };
  if (code !== 0) throw new Error(`the writer failed: ${text(stderr)}`);
  return { killed: false, ...JSON.parse(text(stdout)) as Account };
}

/**
 * Whether a process was killed. Windows knows no signals: one that is ended from
 * outside, or by itself so, has the exit code 1, and no time to say why.
 */
export function wasKilled(
  { signal, code, stderr }: Deno.CommandOutput,
): boolean {
  return IS_WINDOWS ? code === 1 && stderr.length === 0 : signal === "SIGKILL";
}

/** Runs a writer to its end. */
export async function runWriter(task: WriterTask): Promise<Ending> {
  return await endOf(startWriter(task));
}

/** Where a store and its journal are to be, below a directory. */
export function placeBelow(dir: string): Place & { journal: string } {
  Deno.mkdirSync(dir, { recursive: true });
  const base = join(dir, "base");
  return { base, db: join(base, "poh.db"), journal: join(dir, "journal") };
}

/** Does things, so many at a time. */
export async function several<T>(
  things: Iterable<T>,
  atATime: number,
  work: (thing: T) => Promise<void>,
): Promise<void> {
  const left = Iterator.from(things);
  const lane = async () => {
    for (let next; !(next = left.next()).done;) await work(next.value);
  };
  const lanes = Array.from({ length: atATime }, lane);
  // All of them, so that none goes on when the test is over.
  const results = await Promise.allSettled(lanes);
  for (const result of results) {
    if (result.status === "rejected") throw result.reason;
  }
}

/** Copies a directory with all that is in it. */
export function copyTree(from: string, to: string): void {
  Deno.mkdirSync(to, { recursive: true });
  for (const { name, isDirectory } of Deno.readDirSync(from)) {
    if (isDirectory) copyTree(join(from, name), join(to, name));
    else Deno.copyFileSync(join(from, name), join(to, name));
  }
}

/** What decides which way a change takes. */
export interface Way {
  options: StorageOptions;
  /** Changes after which a checkpoint comes; as ever unless given. */
  checkpointAfter?: number;
}

/** Any way: checkpoints never end, or seldom begin. */
export function anyWay(random: Random): Way {
  return random.pick<Way>([
    { options: {} },
    { options: {}, checkpointAfter: 8 },
    { options: { packBelow: 2_000 }, checkpointAfter: 8 },
    { options: { packBelow: 1_000 }, checkpointAfter: 200 },
    { options: { packBelow: 65_536 } },
    { options: { packBelow: 0 } },
  ]);
}
