/**
 * Changes of a whole store, for the model checker of power cuts.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { StorageManager } from "../../mod.ts";
import { type Allowed, assertClean, checkAfterCrash } from "./check.ts";
import { allowedStates, type Line, versionOf } from "./journal.ts";
import {
  anyHow,
  COUNT,
  fill,
  placeIn,
  type Preparation,
} from "./model_stores.ts";
import { generateKey } from "../../src/proofs/keys.ts";
import { checkLog } from "./check_log.ts";
import { checkpointDue } from "../helpers.ts";
import type { Way } from "./process.ts";
import type { Random } from "./random.ts";

/** Asserts that a store has what its journals say. */
async function checkJournal(
  left: string,
  lines: Line[],
  random: Random,
): Promise<void> {
  await checkAfterCrash(placeIn(left), allowedStates(lines), anyHow(random));
}

/** Many of all sizes by one call, which tells of each. */
export const importing: Preparation = (_folder, random) =>
  Promise.resolve({
    work: {
      ...random.pick<Way>([
        { options: { packBelow: 1_500 }, checkpointAfter: 40 },
        { options: { packBelow: 65_536 }, checkpointAfter: 100 },
        { options: {}, checkpointAfter: 40 },
      ]),
      work: { kind: "import", count: 200 },
    },
    check: checkJournal,
  });

/** Changes of a store with a transparency log, which is signed. */
export const logging: Preparation = async (folder, random) => {
  const { privateKey } = await generateKey("node7.example/poh");
  await Deno.writeTextFile(join(folder, "key"), privateKey);
  return {
    work: {
      options: { packBelow: random.pick([0, 2_000]) },
      checkpointAfter: random.pick([40, 100]),
      work: { kind: "log", key: join(folder, "key") },
    },
    async check(left, lines, random) {
      await checkJournal(left, lines, random);
      await checkLog(placeIn(left), join(left, "key"));
    },
  };
};

/** Large payloads in pieces, over each other. */
export const streaming: Preparation = (_folder, random) =>
  Promise.resolve({
    work: {
      ...random.pick<Way>([
        { options: {} },
        { options: {}, checkpointAfter: 3 },
        { options: { packBelow: 65_536 } },
      ]),
      work: { kind: "streams", count: 9 },
    },
    check: checkJournal,
  });

/** The older ones go. */
export const pruning: Preparation = async (folder, random) => {
  const all = await fill(placeIn(folder), random.pick([0, 500, 65_536]));
  return {
    work: { options: {}, work: { kind: "prune", before: 15 } },
    async check(left, _lines, random) {
      const place = placeIn(left);
      const either: Allowed = new Map(
        [...all].map(([id, [state]]) => [
          id,
          state!.n < 15 ? [state!, null] : [state!],
        ]),
      );
      await checkAfterCrash(place, either, anyHow(random));
      {
        await using store = await StorageManager.open(place.base, place.db);
        await store.prune({ before: 15 });
        assertEquals(await store.countTxs(), COUNT - 15);
      }
      await assertClean(place);
    },
  };
};

/** From files into the log, or back. */
export const moving: Preparation = async (folder, random) => {
  const [from, to] = random.pick([[0, 2_000], [2_000, 0]] as const);
  const all = await fill(placeIn(folder), from);
  return {
    work: { options: {}, work: { kind: "move", packBelow: to } },
    async check(left, _lines, random) {
      await checkAfterCrash(placeIn(left), all, anyHow(random));
    },
  };
};

/** So much that is replaced that the log is compacted. */
export const compacting: Preparation = () =>
  Promise.resolve({
    work: {
      options: { packBelow: 65_536 },
      checkpointAfter: 40,
      work: { kind: "churn" },
    },
    check: checkJournal,
  });

/** All dead bytes of a log that has some. */
export const compactingNow: Preparation = async (folder, random) => {
  const place = placeIn(folder);
  const all = await fill(place, 65_536);
  {
    using _ = checkpointDue(random.pick([4, 1000]));
    await using store = await StorageManager.open(place.base, place.db);
    for (let n = 0; n < 12; n++) {
      await store.saveTx(versionOf(`tx-${n}`, 200 + n, 3_000 + n));
      all.set(`tx-${n}`, [{ n: 200 + n, size: 3_000 + n }]);
    }
    for (let n = 12; n < 15; n++) {
      await store.deleteTx(`tx-${n}`);
      all.set(`tx-${n}`, [null]);
    }
  }
  return {
    work: { options: {}, work: { kind: "compact" } },
    async check(left, _lines, random) {
      const place = placeIn(left);
      await checkAfterCrash(place, all, anyHow(random));
      {
        await using store = await StorageManager.open(place.base, place.db);
        assertEquals((await store.compact()).dead, 0);
      }
      await checkAfterCrash(place, all, anyHow(random));
    },
  };
};
