/**
 * A model checker of power cuts: what a writer does to its files is recorded,
 * and many of the states that a cut may leave are built and looked at, at
 * moments and in ways that no disk would show in a lifetime.
 *
 * @module
 */

import { join } from "@std/path";
import { tempDir } from "../helpers.ts";
import { checkAfterCrash } from "./check.ts";
import { CachingDisk, type Choice, CHOICES } from "./crash_states.ts";
import { allowedStates, type Line } from "./journal.ts";
import { anyWay, endOf, placeBelow, startWriter } from "./process.ts";
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
import type { WriterTask } from "./writer.ts";

/** A recorded run of writers on one store. */
export interface Recording {
  /** The folder that holds the store and the journals. */
  folder: string;
  before: Snapshot;
  operations: Operation[];
}

/** What a writer does, and how. */
export type Work = Pick<WriterTask, "options" | "work">;

/**
 * Records writers that work on one store at the same time.
 *
 * @param failure What fails the first of them.
 */
export async function record(
  recorder: Recorder,
  folder: string,
  works: Work[],
  failure?: Failure,
): Promise<Recording> {
  const { base, db } = placeBelow(folder);
  const before = snapshotOf(folder);
  const to = `${folder}.recording`;
  const by = recorder.around(to, folder, failure);
  const writers = works.map((work, n) =>
    startWriter(
      { base, db, journal: join(folder, `journal-${n}`), ...work },
      by,
    )
  );
  for (const writer of writers) await endOf(writer, failure !== undefined);
  const operations = readRecording(await Deno.readFile(to), before);
  return { folder, before, operations };
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

/**
 * Looks at what cuts leave.
 *
 * @throws {Error} If one of them has lost something, or tells what is not so.
 */
export async function checkCrashStates(
  { folder, before, operations }: Recording,
  cuts: Cut[],
  random: Random,
): Promise<CrashToll> {
  const toll: CrashToll = { states: 0, acknowledged: 0 };
  await using dir = await tempDir();
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
    await checkState(to, lines, choice, moment, random);
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
  await using dir = await tempDir();
  const works = worksOf(random, failure ? 1 : random.pick([1, 1, 2]));
  try {
    const recording = await record(
      recorder,
      dir.join("store"),
      works,
      failure,
    );
    const cuts = anyCuts(recording, states, random);
    return await checkCrashStates(recording, cuts, random);
  } catch (error) {
    const run = JSON.stringify({ works, failure });
    throw new Error(`${run}: ${(error as Error).message}`, { cause: error });
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
  open: 80,
};

/** A call that fails for a reason, somewhere on the way. */
export function anyFailure(random: Random): Failure {
  const call = random.pick(FAILING);
  const errno = random.pick(["EIO", "ENOSPC", "EMFILE", "EACCES"] as const);
  return { call, errno, n: random.between(1, CALLS[call] + 1) };
}

/** What so many writers do at the same time, in any way that it can be done. */
function worksOf(random: Random, writers: 1 | 2): Work[] {
  const options = anyWay(random);
  if (writers === 1) return [{ options, work: { kind: "changes" } }];
  return ["one-", "two-"].map((prefix) => ({
    options,
    work: {
      kind: "mix",
      seed: random.between(0, 2 ** 32),
      from: 1,
      prefix,
      ids: 30,
      largest: 100_000,
      ms: 400,
    },
  }));
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

async function checkState(
  folder: string,
  lines: Line[],
  choice: Choice,
  moment: number,
  random: Random,
): Promise<void> {
  const base = join(folder, "base");
  const place = { base, db: join(base, "poh.db") };
  const how = random.pick(["recover", "open"] as const);
  try {
    await checkAfterCrash(place, allowedStates(lines), how);
  } catch (error) {
    throw new Error(
      `a cut behind operation ${moment}, "${choice}", then ${how}: ${
        (error as Error).message
      }`,
      { cause: error },
    );
  }
}
