/**
 * Kills writers at random moments.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { StorageManager } from "../../mod.ts";
import { tempDir } from "../helpers.ts";
import { checkAfterCrash, contentsOf, type Place } from "./check.ts";
import {
  allowedInAnyOrder,
  allowedStates,
  Journal,
  readJournal,
} from "./journal.ts";
import { anyWay, endOf, placeBelow, startWriter } from "./process.ts";
import type { Random } from "./random.ts";
import type { Mix } from "./writer.ts";

/** Rounds that a store lives through before a new one is made. */
const LIVES = 8;

/** What came of it. */
export interface Toll {
  /** Writers killed. */
  kills: number;
  /** Changes that had been acknowledged to them. */
  acknowledged: number;
}

const mixed: Omit<Mix, "seed" | "from"> = {
  kind: "mix",
  prefix: "tx-",
  ids: 120,
  largest: 250_000,
  ms: 60_000,
};

/**
 * One writer with many changes in flight, killed again and again; the store and
 * what is known of it live on from round to round.
 */
export async function killOneWriter(
  rounds: number,
  random: Random,
): Promise<Toll> {
  const toll: Toll = { kills: 0, acknowledged: 0 };
  for (let round = 0; round < rounds;) {
    await using dir = await tempDir();
    const place = placeBelow(dir.path);
    const durability = random.pick(["full", "full", "relaxed"] as const);
    for (let life = 0; life < LIVES && round < rounds; life++, round++) {
      const way = anyWay(random);
      const options = { durability, ...way.options };
      const bulk = random.next() < 0.4;
      const writer = startWriter({
        ...place,
        ...way,
        options,
        work: {
          ...mixed,
          seed: random.between(0, 2 ** 32),
          from: 1 + round * 1_000_000,
          bulk,
        },
      });
      await killAfter(writer, place.journal, random, bulk ? 1_000 : 400);
      const lines = readJournal(place.journal);
      toll.kills++;
      // Now and then the next writer finds the store as it was left.
      if (random.next() < 0.25) continue;
      const how = random.pick(["recover", "open"] as const);
      const seen = await checkAfterCrash(
        place,
        allowedStates(lines),
        how,
        options,
      );
      using journal = new Journal(place.journal);
      for (const [id, state] of seen) journal.add("seen", id, state);
    }
    toll.acknowledged += acknowledged(place.journal);
    const end = allowedStates(readJournal(place.journal));
    await checkAfterCrash(place, end, "recover", { durability });
  }
  return toll;
}

/**
 * Two writers on one store, with ids of their own and some that both change.
 * Either both are killed, or one is and the other comes to its end.
 */
export async function killTwoWriters(
  rounds: number,
  random: Random,
): Promise<Toll> {
  const toll: Toll = { kills: 0, acknowledged: 0 };
  const shared = Array.from({ length: 10 }, (_, n) => `shared-${n}`);
  for (let round = 0; round < rounds; round++) {
    await using dir = await tempDir();
    const place = placeBelow(dir.path);
    const isSpared = random.next() < 0.4;
    const journals = ["one", "two"].map((name) => join(dir.path, name));
    const writers = journals.map((journal, index) =>
      startWriter({
        ...place,
        journal,
        ...anyWay(random),
        work: {
          ...mixed,
          seed: random.between(0, 2 ** 32),
          from: 1 + (round * 2 + index) * 1_000_000,
          prefix: `writer-${index}-`,
          ids: 60,
          bulk: index === 0,
          shared,
          ms: isSpared && index === 1 ? 700 : mixed.ms,
        },
      })
    );
    const [first, second] = writers as [Deno.ChildProcess, Deno.ChildProcess];
    await killAfter(first, journals[0]!, random);
    toll.kills++;
    if (isSpared) {
      assertEquals((await endOf(second)).killed, false);
    } else {
      await killAfter(second, journals[1]!, random);
      toll.kills++;
    }
    await checkBoth(place, journals, new Set(shared));
    for (const journal of journals) toll.acknowledged += acknowledged(journal);
  }
  return toll;
}

async function checkBoth(
  place: Place,
  journals: string[],
  shared: Set<string>,
): Promise<void> {
  const { base, db } = place;
  const lines = readJournal(...journals);
  const allowed = new Map([
    ...allowedStates(lines.filter(({ id }) => !shared.has(id))),
    ...allowedInAnyOrder(lines.filter(({ id }) => shared.has(id))),
  ]);
  await checkAfterCrash(place, allowed, "recover");
  await using store = await StorageManager.create(base, db);
  await contentsOf(store, allowed);
}

/** Kills a writer at a random moment, in ms, after it has begun with its work. */
async function killAfter(
  writer: Deno.ChildProcess,
  journal: string,
  random: Random,
  longest = 400,
): Promise<void> {
  const deadline = Date.now() + 20_000;
  const before = sizeOf(journal);
  while (sizeOf(journal) === before && Date.now() < deadline) await delay(5);
  // Often early, when the first batches are under way, sometimes late.
  await delay(longest * random.next() ** 2);
  try {
    writer.kill("SIGKILL");
  } catch (error) {
    // It has ended by itself: of what is told below.
    if (!(error instanceof TypeError)) throw error;
  }
  const { killed } = await endOf(writer);
  assert(killed, "the writer came to its end before it was killed");
}

function sizeOf(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

function acknowledged(journal: string): number {
  return readJournal(journal).filter(({ what }) => what === "done").length;
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
