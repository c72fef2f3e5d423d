/**
 * The tests of crashes, damage and hostile input, for as long as it takes to
 * be sure: `deno task soak`, about half an hour.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { CRASH_POINTS } from "../src/async/crash_points.ts";
import {
  anyFailure,
  checkAnyRun,
  checkOperation,
  type CrashToll,
} from "./crash/crash_model.ts";
import { allWorkloads, carryOut, killsAt } from "./crash/crash_points.ts";
import { crowd } from "./crash/crowd.ts";
import { whyNoDisk } from "./crash/disk.ts";
import {
  cutPower,
  cutPowerInRecovery,
  type PowerToll,
} from "./crash/power_loss.ts";
import { OPERATIONS } from "./crash/model_operations.ts";
import { newSeed, type Random, withSeed } from "./crash/random.ts";
import { type Recorder, recorderOrReason } from "./crash/recording.ts";
import { killOneWriter, killTwoWriters } from "./crash/random_kills.ts";
import {
  damageDatabase,
  DATABASE_DAMAGES,
  flipHeaderBit,
  HEADER_BITS,
  makeIntact,
} from "./damage/database_damage.ts";
import {
  damageAndRecover,
  DAMAGES,
  makeSoundStore,
} from "./damage/payload_damage.ts";
import { damageStore, makeSoundStores } from "./damage/store_damage.ts";
import { fuzzCli } from "./fuzz/cli_fuzz.ts";
import { fuzzJson } from "./fuzz/json_fuzz.ts";
import { fuzzKeys } from "./fuzz/key_fuzz.ts";
import { tempDir } from "./helpers.ts";
import { liveLives } from "./property/lives.ts";
import { loadService } from "./http/serve_load.ts";

/** Does something so many times, each with a seed of its own. */
async function repeat(
  times: number,
  work: (random: Random) => Promise<void>,
): Promise<void> {
  for (let done = 0; done < times; done++) await withSeed(newSeed(), work);
}

function tell(what: string, figures: unknown): void {
  console.log(`${what}: ${JSON.stringify(figures)}`);
}

Deno.test("a process killed at every passing of every step", async (t) => {
  await using dir = await tempDir();
  const workloads = await allWorkloads(dir.path, true);
  let count = 0;
  for (const point of CRASH_POINTS) {
    const kills = killsAt(point, workloads, true);
    assert(kills.length > 0, point);
    count += kills.length;
    await t.step(`"${point}", ${kills.length} times`, () => carryOut(kills));
  }
  tell("kills at crash points", { points: CRASH_POINTS.length, kills: count });
});

Deno.test("a writer killed at random moments, 200 rounds", async () => {
  const toll = await withSeed(newSeed(), (r) => killOneWriter(200, r));
  tell("random kills", toll);
});

Deno.test("two writers killed at random moments, 60 rounds", async () => {
  const toll = await withSeed(newSeed(), (r) => killTwoWriters(60, r));
  tell("random kills of two", toll);
});

Deno.test("eight processes do everything for three minutes", async () => {
  const toll = await withSeed(newSeed(), (r) => crowd(8, 180_000, r));
  tell("a crowd", toll);
});

const reason = await whyNoDisk();
const ignore = reason !== null;
const skipped = ignore ? ` (skipped: ${reason})` : "";

async function cutOften(
  runs: number,
  durability: "full" | "relaxed",
): Promise<PowerToll> {
  const sum: PowerToll = { cuts: 0, acknowledged: 0, losses: 0 };
  await repeat(runs, async (random) => {
    const { cuts, acknowledged, losses } = await cutPower(
      9,
      durability,
      random,
    );
    sum.cuts += cuts;
    sum.acknowledged += acknowledged;
    sum.losses += losses;
  });
  tell(`power cuts at "${durability}"`, sum);
  return sum;
}

Deno.test(`power cuts at "full", 200${skipped}`, { ignore }, async () => {
  assertEquals((await cutOften(20, "full")).losses, 0);
});

Deno.test(`power cuts at "relaxed", 30${skipped}`, { ignore }, async () => {
  assert((await cutOften(3, "relaxed")).losses > 0);
});

Deno.test(`power cuts during recovery, 60${skipped}`, { ignore }, async () => {
  await withSeed(newSeed(), (random) => cutPowerInRecovery(60, random));
});

const built = await recorderOrReason();
const unrecorded = typeof built === "string" ? ` (skipped: ${built})` : "";

Deno.test(`crash states, 10000, some after a call that fails${unrecorded}`, {
  ignore: unrecorded !== "",
}, async () => {
  const sum: CrashToll = { states: 0, acknowledged: 0 };
  const names = Object.keys(OPERATIONS);
  await repeat(250, async (random) => {
    const failure = random.next() < 0.5 ? anyFailure(random) : undefined;
    const recorder = built as Recorder;
    const toll = random.next() < 0.4
      ? await checkOperation(recorder, random.pick(names), 40, random, failure)
      : await checkAnyRun(recorder, 40, random, failure);
    sum.states += toll.states;
    sum.acknowledged += toll.acknowledged;
  });
  tell("crash states", sum);
});

Deno.test("damage to payloads and rows, 700 times", async () => {
  await using dir = await tempDir();
  const store = await makeSoundStore(dir.path);
  for (const damage of DAMAGES) {
    await repeat(40, (random) => damageAndRecover(store, [damage], random));
  }
  await repeat(180, (random) => {
    const damages = random.sample(DAMAGES, random.between(2, 6));
    return damageAndRecover(store, damages, random);
  });
});

Deno.test("damage to the database, 1000 times, and every bit of its header", async () => {
  await using dir = await tempDir();
  const cold = await makeIntact(dir.join("cold"), false);
  const hot = await makeIntact(dir.join("hot"), true);
  for (const damage of DATABASE_DAMAGES) {
    const found = { told: 0, harmless: 0 };
    await repeat(100, async (random) => {
      const store = damage.hot ? hot : cold;
      found[await damageDatabase(store, damage, random)]++;
    });
    tell(damage.name, found);
  }
  for (let bit = 0; bit < HEADER_BITS; bit++) {
    await withSeed(
      0,
      (random) => damageDatabase(cold, flipHeaderBit(bit), random),
    );
  }
});

Deno.test("damage to anything but payload files, 2000 times", async () => {
  await using dir = await tempDir();
  const found: Record<string, number> = {};
  for (let made = 0; made < 10; made++) {
    const stores = await makeSoundStores(dir.join(`${made}`), {
      bulk: 40 * (made + 1),
      ids: 40,
    });
    for (const store of stores) {
      await repeat(50, async (random) => {
        const outcome = await damageStore(store, random);
        found[outcome] = (found[outcome] ?? 0) + 1;
      });
    }
  }
  tell("damage to stores", found);
});

Deno.test("500 lives of a store beside its model", async () => {
  await liveLives(500, 30);
});

Deno.test("ids from a fuzzer", async () => {
  await fuzzKeys(100_000);
});

Deno.test("JSON from a fuzzer", () => {
  fuzzJson(300_000);
});

Deno.test("arguments from a fuzzer", async () => {
  await fuzzCli(20_000);
});

Deno.test("a service under load for a minute", async () => {
  tell("load on the service", await loadService(60));
});
