import { assert, assertRejects } from "@std/assert";
import { tempDir } from "../helpers.ts";
import {
  acknowledgements,
  anyCuts,
  anyFailure,
  checkAnyRun,
  checkCrashStates,
  type Cut,
  record,
} from "./crash_model.ts";
import { newSeed, withSeed } from "./random.ts";
import { type Failure, type Recorder, recorderOrReason } from "./recording.ts";

const built = await recorderOrReason();
const ignore = typeof built === "string";
const skipped = ignore ? ` (skipped: ${built})` : "";
const recorder = built as Recorder;

Deno.test(`no state that a power cut may leave has lost anything${skipped}`, {
  ignore,
}, async () => {
  for (let run = 0; run < 4; run++) {
    const toll = await withSeed(
      newSeed(),
      (random) => checkAnyRun(recorder, 40, random),
    );
    assert(toll.acknowledged > 100, JSON.stringify(toll));
  }
});

Deno.test(`a call that fails loses nothing either${skipped}`, {
  ignore,
}, async () => {
  for (let run = 0; run < 10; run++) {
    await withSeed(
      newSeed(),
      (random) => checkAnyRun(recorder, 8, random, anyFailure(random)),
    );
  }
});

/**
 * Looks at what was synced in a run on which a call failed, as of the n-th
 * acknowledgement, from 1 on, or of the end.
 */
async function checkSynced(failure: Failure, n = Infinity): Promise<void> {
  await using dir = await tempDir();
  const works = [{ options: {}, work: { kind: "changes" } as const }];
  const folder = dir.join("store");
  const recording = await record(recorder, folder, works, failure);
  const { operations } = recording;
  const moment = acknowledgements(operations)[n - 1] ?? operations.length;
  const cuts: Cut[] = [{ moment, choice: "only what was synced" }];
  await withSeed(
    newSeed(),
    (random) => checkCrashStates(recording, cuts, random),
  );
}

Deno.test(
  `a payload file whose sync failed is written anew by a recovery${skipped}`,
  { ignore },
  async () => {
    const failure = {
      call: "sync",
      errno: "EIO",
      n: 1,
      path: "many-7.bin",
    } as const;
    await checkSynced(failure);
  },
);

Deno.test(
  `a database without a write-ahead log loses nothing${skipped}`,
  { ignore },
  async () => {
    // SQLite stays with its journal where that cannot be removed.
    const failure = { call: "unlink", errno: "EACCES", n: 1 } as const;
    await checkSynced(failure, 1);
  },
);

Deno.test(
  `a store that does not sync loses something, so the test can fail${skipped}`,
  { ignore },
  async () => {
    await using dir = await tempDir();
    const options = { durability: "relaxed" } as const;
    const works = [{ options, work: { kind: "changes" } as const }];
    const recording = await record(recorder, dir.join("store"), works);
    const states = (seed: number) =>
      withSeed(seed, (random) => {
        const cuts = anyCuts(recording, 40, random);
        return checkCrashStates(recording, cuts, random);
      });
    await assertRejects(() => states(newSeed()), Error, "a cut behind");
  },
);
