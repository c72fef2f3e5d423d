import { assert, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { StorageManager } from "../../mod.ts";
import { tempDir } from "../helpers.ts";
import { checkAfterCrash } from "./check.ts";
import {
  acknowledgements,
  anyCuts,
  anyFailure,
  besides,
  checkAnyRun,
  checkCrashStates,
  checkOperation,
  type Cut,
  record,
  type Recording,
} from "./crash_model.ts";
import { versionOf } from "./journal.ts";
import { OPERATIONS } from "./model_operations.ts";
import { placeBelow } from "./process.ts";
import { newSeed, type Random, withSeed } from "./random.ts";
import { type Failure, type Recorder, recorderOrReason } from "./recording.ts";

const built = await recorderOrReason();
const ignore = typeof built === "string";
const skipped = ignore ? ` (skipped: ${built})` : "";
const recorder = built as Recorder;

Deno.test(`no state that a power cut may leave has lost anything${skipped}`, {
  ignore,
}, async () => {
  for (let run = 0; run < 3; run++) {
    const toll = await withSeed(
      newSeed(),
      (random) => checkAnyRun(recorder, 30, random),
    );
    assert(toll.acknowledged > 100, JSON.stringify(toll));
  }
});

Deno.test(`a call that fails loses nothing either${skipped}`, {
  ignore,
}, async () => {
  for (let run = 0; run < 8; run++) {
    await withSeed(
      newSeed(),
      (random) => checkAnyRun(recorder, 6, random, anyFailure(random)),
    );
  }
});

Deno.test(`an operation that the power is cut in loses nothing${skipped}`, {
  ignore,
}, async (t) => {
  for (const name of Object.keys(OPERATIONS)) {
    await t.step(name, async () => {
      await withSeed(
        newSeed(),
        (random) => checkOperation(recorder, name, 3, random),
      );
    });
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
  const recording = await record(recorder, folder, { works, failure });
  const { operations } = recording;
  const moment = acknowledgements(operations)[n - 1] ?? operations.length;
  const cuts: Cut[] = [{ moment, choice: "only what was synced" }];
  await withSeed(
    newSeed(),
    (random) => checkCrashStates(recording, cuts, random),
  );
}

/** So many moments behind what was acknowledged once the disk had refused. */
const LATE = 6;

/** A run in which one writer dies of a sync, and another goes on. */
async function recordDeath(
  folder: string,
  path: string,
  random: Random,
): Promise<{ recording: Recording; late: number[] }> {
  const failure: Failure = {
    call: "sync",
    errno: "EIO",
    n: 1,
    path,
    isKilled: true,
  };
  for (let attempt = 1; attempt <= 10; attempt++) {
    const run = besides({ options: {}, checkpointAfter: 8 }, random, failure);
    const to = join(folder, `run-${attempt}`);
    const recording = await record(recorder, to, run);
    const { operations } = recording;
    const failed = operations.findIndex(({ kind }) => kind === "sync failed");
    const late = acknowledgements(operations).filter((at) => at > failed);
    if (failed > 0 && late.length >= LATE) return { recording, late };
  }
  throw new Error("in no run did one fail and the other go on");
}

for (const [what, path] of [["log", ".seg"], ["payload file", ".bin"]]) {
  Deno.test(
    `a process dies of a ${what} that the disk refused, another goes on${skipped}`,
    { ignore },
    async () => {
      await withSeed(newSeed(), async (random) => {
        await using dir = await tempDir();
        const { recording, late } = await recordDeath(dir.path, path!, random);
        const cuts = random.sample(late, LATE).map((moment): Cut => ({
          moment,
          choice: random.pick(["only what was synced", "all names, no data"]),
        }));
        await checkCrashStates(recording, cuts, random);
      });
    },
  );
}

Deno.test(
  `a folder that one writer could not sync is synced by the other${skipped}`,
  { ignore },
  async () => {
    for (const isKilled of [true, false]) {
      await withSeed(newSeed(), async (random) => {
        await using dir = await tempDir();
        const run = besides({ options: {} }, random, {
          call: "syncdir",
          errno: "EMFILE",
          n: 1,
          path: "",
          isKilled,
        });
        const folder = dir.join("store");
        const recording = await record(recorder, folder, run);
        const done = acknowledgements(recording.operations);
        const cuts = random.sample(done, 3).map((moment): Cut => ({
          moment,
          choice: "only what was synced",
        }));
        await checkCrashStates(recording, cuts, random);
      });
    }
  },
);

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
  `a payload file that has gone into the log stays gone${skipped}`,
  { ignore },
  async () => {
    await using dir = await tempDir();
    const folder = dir.join("store");
    const { base, db } = placeBelow(folder);
    {
      await using store = await StorageManager.create(base, db);
      await store.saveTx(versionOf("moved", 1, 100));
    }
    const work = { kind: "move", packBelow: 100 } as const;
    const works = [{ options: {}, work }];
    const recording = await record(recorder, folder, { works });
    const moment = recording.operations.findIndex((operation) =>
      operation.kind === "unlink" && operation.path.endsWith("-wal")
    ); // the row says where the payload is, and nothing has to follow
    const cuts: Cut[] = [{ moment, choice: "only what was synced" }];
    const all = new Map([["moved", [{ n: 1, size: 100 }]]]);
    await withSeed(
      newSeed(),
      (random) =>
        checkCrashStates(recording, cuts, random, async (left) => {
          const { base, db } = placeBelow(left);
          await checkAfterCrash({ base, db }, all, "recover");
        }),
    );
  },
);

Deno.test(
  `nothing half-written stays in quarantine${skipped}`,
  { ignore },
  async () => {
    await using dir = await tempDir();
    const folder = dir.join("store");
    placeBelow(folder);
    await withSeed(newSeed(), async (random) => {
      const made = await OPERATIONS["recover from a source"]!(folder, random);
      const works = [made.work];
      const recording = await record(recorder, folder, { works });
      const cuts = recording.operations.flatMap((operation, moment): Cut[] => {
        const isKept = operation.kind === "rename" &&
          operation.to.includes("quarantine");
        return isKept ? [{ moment, choice: "all of it" }] : [];
      });
      assert(cuts.length > 0);
      await checkCrashStates(recording, cuts, random, made.check);
    });
  },
);

Deno.test(
  `a store that does not sync loses something, so the test can fail${skipped}`,
  { ignore },
  async () => {
    await using dir = await tempDir();
    const options = { durability: "relaxed" } as const;
    const works = [{ options, work: { kind: "changes" } as const }];
    const recording = await record(recorder, dir.join("store"), { works });
    const states = (seed: number) =>
      withSeed(seed, (random) => {
        const cuts = anyCuts(recording, 40, random);
        return checkCrashStates(recording, cuts, random);
      });
    await assertRejects(() => states(newSeed()), Error, "a cut behind");
  },
);
