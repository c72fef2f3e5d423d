/**
 * Cuts the power while a store is written to.
 *
 * @module
 */

import { assert } from "@std/assert";
import { join } from "@std/path";
import { performRecovery, StorageManager } from "../../mod.ts";
import { tempDir } from "../helpers.ts";
import {
  assertClean,
  checkAfterCrash,
  contentsOf,
  type Place,
} from "./check.ts";
import { assertRecovered, makeDamagedStore } from "./damaged_store.ts";
import { type Cut, Disk, HARSH } from "./disk.ts";
import { allowedStates, type Line, readJournal } from "./journal.ts";
import { anyWay, endOf, startWriter } from "./process.ts";
import type { Random } from "./random.ts";

type Durability = "full" | "relaxed";

/** What a cut has left, and what was known at that time. */
interface CutAt {
  cut: Cut;
  /** Lines of the journal before the cut; what is begun in it may be done. */
  certain: number;
}

/** What came of it. */
export interface PowerToll {
  /** Cuts made. */
  cuts: number;
  /** Changes that had been acknowledged before each, added up. */
  acknowledged: number;
  /** Cuts after which something acknowledged was missing. */
  losses: number;
}

/**
 * Cuts the power so many times while one writer works, and looks for what was
 * acknowledged before each cut. With "full" anything missing is an error, with
 * "relaxed" it is counted.
 */
export async function cutPower(
  cuts: number,
  durability: Durability,
  random: Random,
): Promise<PowerToll> {
  await using dir = await tempDir();
  const mount = durability === "full" && random.next() < 0.7
    ? HARSH
    : "defaults";
  await using disk = await Disk.make(dir.path, mount);
  const journal = dir.join("journal");
  const at = (path: string): Place => ({
    base: join(path, "base"),
    db: join(path, "base", "poh.db"),
  });
  const way = anyWay(random);
  const writer = startWriter({
    ...at(disk.path),
    ...way,
    journal,
    options: { durability, ...way.options },
    work: {
      kind: "mix",
      seed: random.between(0, 2 ** 32),
      from: 1,
      prefix: "tx-",
      ids: 80,
      largest: 150_000,
      bulk: random.next() < 0.5,
      ms: 400 + 250 * cuts,
    },
  });
  const made: CutAt[] = [];
  for (let cut = 0; cut < cuts; cut++) {
    await delay(cut === 0 ? 300 * random.next() + 100 : 250 * random.next());
    made.push(await cutNow(disk, journal));
  }
  assert(!(await endOf(writer)).killed);
  made.push(await cutNow(disk, journal));

  const toll: PowerToll = { cuts: 0, acknowledged: 0, losses: 0 };
  const lines = readJournal(journal);
  for (const { cut, certain } of made) {
    const allowed = allowedStates(knownAt(lines, certain));
    toll.cuts++;
    toll.acknowledged += lines.slice(0, certain).filter(isDone).length;
    await cut.examine(async (path) => {
      if (durability === "full") {
        const how = random.pick(["recover", "open"] as const);
        await checkAfterCrash(at(path), allowed, how);
      } else if (await hasLosses(at(path), allowed)) toll.losses++;
    });
  }
  return toll;
}

/** Cuts the power while a damaged store is recovered; recovers what is left. */
export async function cutPowerInRecovery(
  cuts: number,
  random: Random,
): Promise<void> {
  for (let round = 0; round < cuts; round++) {
    await using dir = await tempDir();
    await using disk = await Disk.make(dir.path, HARSH);
    const base = join(disk.path, "base");
    const made = await makeDamagedStore({ base, db: join(base, "poh.db") });
    await disk.sync(); // the damage has been there for long
    const recover = { orphans: "quarantine" } as const;
    const { db } = made;
    const writer = startWriter({
      base,
      db,
      journal: dir.join("journal"),
      options: {},
      work: { kind: "recover", recover },
    });
    await delay(50 + 150 * random.next());
    const cut = await disk.cut();
    await endOf(writer);
    await cut.examine(async (path) => {
      const base = join(path, "base");
      const place = { base, db: join(base, "poh.db") };
      await performRecovery(place.base, place.db, recover);
      await assertClean(place);
      await assertRecovered({ ...made, ...place }, recover);
    });
  }
}

async function cutNow(disk: Disk, journal: string): Promise<CutAt> {
  const certain = linesOf(journal).length;
  return { cut: await disk.cut(), certain };
}

function linesOf(journal: string): Line[] {
  try {
    return readJournal(journal);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** What was acknowledged for certain, and all that may have been begun. */
function knownAt(lines: Line[], certain: number): Line[] {
  return lines.filter((line, index) => index < certain || !isDone(line));
}

function isDone({ what }: Line): boolean {
  return what === "done";
}

async function hasLosses(
  { base, db }: Place,
  allowed: ReturnType<typeof allowedStates>,
): Promise<boolean> {
  try {
    await performRecovery(base, db);
    await using store = await StorageManager.create(base, db);
    await contentsOf(store, allowed);
    return false;
  } catch {
    return true; // if only because there is no usable store at all
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
