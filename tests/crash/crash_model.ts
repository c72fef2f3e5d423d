/**
 * A model checker of power cuts: what a writer does to its files is recorded,
 * and many of the states that a cut may leave are built and looked at, at
 * moments and in ways that no disk would show in a lifetime.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { checkAfterCrash } from "./check.ts";
import { CachingDisk, type Choice, CHOICES } from "./crash_states.ts";
import { memoryDir } from "./disk.ts";
import { allowedStates, type Line } from "./journal.ts";
import { OPERATIONS } from "./model_operations.ts";
import { anyWay, endOf, placeBelow, startWriter, type Way } from "./process.ts";
import type { Random } from "./random.ts";
import {
  FAILING,
  type Failure,
  type Operation,
  readRecording,
  type Recorder,
  type Snapshot,
  snapshotOf,
} from "./recording.ts";
import type { Mix, WriterTask } from "./writer.ts";

/** A recorded run of writers on one store. */
export interface Recording {
  /** The folder that holds the store and the journals. */
  folder: string;
  before: Snapshot;
  operations: Operation[];
}

/** What a writer does, and how. */
export type Work = Pick<
  WriterTask,
  "options" | "checkpointAfter" | "work" | "onFailure"
>;

/** What is recorded. */
export interface Run {
  /** Writers that work on one store at the same time. */
  works: Work[];
  /** What fails the first of them. */
  failure?: Failure;
  /** Who opens the store when they are done. */
  then?: Work[];
}

/** Records writers. */
export async function record(
  recorder: Recorder,
  folder: string,
  { works, failure, then = [] }: Run,
): Promise<Recording> {
  const { base, db } = placeBelow(folder);
  const before = snapshotOf(folder);
  const to = `${folder}.recording`;
  let started = 0;
  const start = (work: Work, failure?: Failure) => {
    const journal = join(folder, `journal-${started++}`);
    const by = recorder.around(to, folder, failure);
    return startWriter({ base, db, journal, ...work }, by);
  };
  const [first, ...others] = works as [Work, ...Work[]];
  const failing = start(first, failure);
  const beside = others.map((work) => start(work));
  for (const writer of beside) {
    const { failures } = await endOf(writer);
    requireTold(failures, failure);
  }
  if (first.onFailure === "stop") await endHeld(failing);
  else await endOf(failing, failure !== undefined);
  for (const work of then) requireTold((await endOf(start(work))).failures);
  const operations = readRecording(await Deno.readFile(to), before);
  return { folder, before, operations };
}

/** A writer beside one whose disk failed may be told that, and nothing else. */
function requireTold(failures: string[], failure?: Failure): void {
  const untoward = failures.filter((code) =>
    !failure || code !== "DISK_FAILED"
  );
  assertEquals(untoward, [], "a writer whose disk is sound has failed");
}

/** Ends a writer that may have stopped itself. */
async function endHeld(writer: Deno.ChildProcess): Promise<void> {
  const timer = setTimeout(() => writer.kill("SIGKILL"), 1_000);
  await endOf(writer, true);
  clearTimeout(timer);
}

/** What came of it. */
export interface CrashToll {
  /** States looked at. */
  states: number;
  /** Changes that had been acknowledged before each, added up. */
  acknowledged: number;
}

/** A power cut: behind which operation, and what it leaves. */
export interface Cut {
  moment: number;
  choice: Choice;
}

/** Asserts what must hold of what a cut has left in a folder. */
export type Check = (
  folder: string,
  lines: Line[],
  random: Random,
) => Promise<void>;

/**
 * Looks at what cuts leave.
 *
 * @throws {Error} If one of them has lost something, or tells what is not so.
 */
export async function checkCrashStates(
  { folder, before, operations }: Recording,
  cuts: Cut[],
  random: Random,
  check: Check = checkStore,
): Promise<CrashToll> {
  const toll: CrashToll = { states: 0, acknowledged: 0 };
  await using dir = await memoryDir();
  const disk = new CachingDisk(before, random);
  const lines: Line[] = [];
  let at = 0;
  for (const { moment, choice } of cuts.sort((a, b) => a.moment - b.moment)) {
    for (const operation of operations.slice(at, moment)) {
      const line = lineOf(operation);
      if (line) lines.push(line);
      else disk.apply(operation);
    }
    at = moment;
    const to = dir.join(`cut-${toll.states++}`);
    toll.acknowledged += lines.filter(isDone).length;
    disk.leave(choice, folder, to);
    try {
      await check(to, lines, random);
    } catch (error) {
      const { message } = error as Error;
      throw new Error(
        `a cut behind operation ${moment}, "${choice}": ${message}`,
        { cause: error },
      );
    }
    await Deno.remove(to, { recursive: true });
  }
  return toll;
}

/**
 * Records one run of any kind, and looks at so many states of it.
 *
 * @param failure What fails on the way, of one writer.
 */
export async function checkAnyRun(
  recorder: Recorder,
  states: number,
  random: Random,
  failure?: Failure,
): Promise<CrashToll> {
  await using dir = await memoryDir();
  const run = runOf(random, random.pick([1, 1, 2]), failure);
  try {
    const recording = await record(recorder, dir.join("store"), run);
    const cuts = anyCuts(recording, states, random);
    return await checkCrashStates(recording, cuts, random);
  } catch (error) {
    const { message } = error as Error;
    throw new Error(`${JSON.stringify(run)}: ${message}`, { cause: error });
  }
}

/**
 * Records an operation on a store, and looks at so many states of it.
 *
 * @param name One of `OPERATIONS`.
 */
export async function checkOperation(
  recorder: Recorder,
  name: string,
  states: number,
  random: Random,
  failure?: Failure,
): Promise<CrashToll> {
  await using dir = await memoryDir();
  const folder = dir.join("store");
  placeBelow(folder);
  const { work, check } = await OPERATIONS[name]!(folder, random);
  try {
    const run: Run = { works: [work], ...(failure && { failure }) };
    const recording = await record(recorder, folder, run);
    const cuts = anyCuts(recording, states, random);
    return await checkCrashStates(recording, cuts, random, check);
  } catch (error) {
    const what = failure ? `${name}, ${JSON.stringify(failure)}` : name;
    throw new Error(`${what}: ${(error as Error).message}`, { cause: error });
  }
}

/** About how often one writer makes each call. */
const CALLS: Record<Failure["call"], number> = {
  create: 50,
  write: 500,
  truncate: 3,
  sync: 60,
  syncdir: 25,
  rename: 20,
  unlink: 10,
  mkdir: 6,
  link: 1,
  open: 80,
};

/** A call that fails for a reason, somewhere on the way. */
export function anyFailure(random: Random): Failure {
  const call = random.pick([...FAILING, "sync"] as const);
  const errno = random.pick(["EIO", "ENOSPC", "EMFILE", "EACCES"] as const);
  const path = random.pick(["", "", ".seg", "-wal", ".db", ".bin"]);
  const most = path === "" ? CALLS[call] : CALLS[call] / 3;
  return {
    call,
    errno,
    path,
    n: random.between(1, most + 1),
    isKilled: random.next() < 0.2,
  };
}

/** What so many writers do at the same time, in any way that it can be done. */
function runOf(random: Random, writers: 1 | 2, failure?: Failure): Run {
  const way = anyWay(random);
  if (writers === 2) return besides(way, random, failure);
  const works: Work[] = [{ ...way, work: { kind: "changes" } }];
  return failure ? { works, failure } : { works };
}

/** Two writers at the same time, of which the first one's disk may fail. */
export function besides(
  way: Way,
  random: Random,
  failure?: Failure,
): Run {
  const mix = (prefix: string): Mix => ({
    kind: "mix",
    seed: random.between(0, 2 ** 32),
    from: 1,
    prefix,
    ids: 45,
    largest: 100_000,
    ms: 400,
  });
  const works: Work[] = [
    { ...way, work: mix("one-") },
    { ...way, work: mix("two-") },
  ];
  if (!failure) return { works };
  works[0]!.onFailure = random.pick(["die", "stop", "close", "go on"]);
  works[1]!.onFailure = random.pick(["close", "go on"]);
  // Whoever opens the store next must not trust what it seems to have.
  const next = { ...mix("one-"), from: 1_000_000, ms: 200 };
  const then = random.pick([[], [{ ...way, work: next }]]);
  return { works, failure, then };
}

/** Cuts at any moment, but above all just behind an acknowledgement. */
export function anyCuts(
  { operations }: Recording,
  count: number,
  random: Random,
): Cut[] {
  const done = acknowledgements(operations);
  return Array.from({ length: count }, () => ({
    moment: done.length > 0 && random.next() < 0.3
      ? random.pick(done)
      : random.between(0, operations.length + 1),
    choice: random.pick(CHOICES),
  }));
}

/** The moments behind acknowledgements, in order. */
export function acknowledgements(operations: Operation[]): number[] {
  return operations.flatMap((operation, moment) => {
    const line = lineOf(operation);
    return line && isDone(line) ? [moment + 1] : [];
  });
}

/** The line that a writer added to its journal, if it did nothing else. */
function lineOf(operation: Operation): Line | null {
  return operation.kind === "write" && /journal-\d$/.test(operation.path)
    ? JSON.parse(new TextDecoder().decode(operation.data))
    : null;
}

function isDone({ what }: Line): boolean {
  return what === "done";
}

/** Asserts that a store has what its journals say. */
async function checkStore(
  folder: string,
  lines: Line[],
  random: Random,
): Promise<void> {
  const base = join(folder, "base");
  const place = { base, db: join(base, "poh.db") };
  const how = random.pick(["recover", "open"] as const);
  try {
    await checkAfterCrash(place, allowedStates(lines), how);
  } catch (error) {
    throw new Error(`${how}: ${(error as Error).message}`, { cause: error });
  }
}
