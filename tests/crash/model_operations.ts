/**
 * What is done to a whole store, for the model checker of power cuts: how such a
 * store is made, what a process does with it, and what must hold of whatever a
 * cut leaves.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import {
  backupStore,
  performRecovery,
  type RecoverOptions,
  restoreStore,
  StorageManager,
  verifyStore,
} from "../../mod.ts";
import {
  assertContents,
  KILLED_SAVING,
  unpackOlder,
} from "../local/older_versions.ts";
import {
  type Allowed,
  assertClean,
  checkAfterCrash,
  contentsOf,
  type Place,
} from "./check.ts";
import type { Work } from "./crash_model.ts";
import { assertRecovered, makeDamagedStore } from "./damaged_store.ts";
import { allowedStates, type Line, versionOf } from "./journal.ts";
import type { Random } from "./random.ts";

/** An operation on a store that was made for it. */
export interface Operation {
  /** What is done to it. */
  work: Work;
  /**
   * Asserts what must hold of what a cut has left in a folder.
   *
   * @param lines What the writer's journal had by then.
   */
  check(left: string, lines: Line[], random: Random): Promise<void>;
}

/** Makes a store below a folder, for an operation on it. */
export type Preparation = (
  folder: string,
  random: Random,
) => Promise<Operation>;

/** Where the store is below a folder. */
function placeIn(folder: string): Place {
  const base = join(folder, "base");
  return { base, db: join(base, "poh.db") };
}

const COUNT = 24;

/** Saves a few transactions, small and large. */
async function fill(place: Place, packBelow: number): Promise<Allowed> {
  const versions = Array.from({ length: COUNT }, (_, n) => ({
    id: `tx-${n}`,
    n,
    size: n % 12 === 11 ? 70_000 : 40 * n,
  }));
  await using store = await StorageManager.create(place.base, place.db, {
    packBelow,
  });
  await store.saveTxs(
    versions.map(({ id, n, size }) => versionOf(id, n, size)),
  );
  return new Map(versions.map(({ id, n, size }) => [id, [{ n, size }]]));
}

/** Asserts that an open store has exactly this. */
async function assertHas({ base, db }: Place, all: Allowed): Promise<void> {
  await using store = await StorageManager.open(base, db, { readOnly: true });
  await contentsOf(store, all);
}

function recovering(recover: RecoverOptions): Preparation {
  return async (folder) => {
    const made = await makeDamagedStore(placeIn(folder));
    const isHealed = recover.from !== undefined;
    const optionsIn = (folder: string): RecoverOptions =>
      isHealed ? { ...recover, from: join(folder, "base-source") } : recover;
    return {
      work: {
        options: {},
        work: { kind: "recover", recover: optionsIn(folder) },
      },
      async check(left) {
        const place = placeIn(left);
        const options = optionsIn(left);
        await performRecovery(place.base, place.db, options);
        await assertClean(place);
        await assertRecovered({ ...made, ...place }, options);
      },
    };
  };
}

const rebuilding: Preparation = async (folder, random) => {
  const place = placeIn(folder);
  const all = await fill(place, random.pick([0, 1_000]));
  await Deno.remove(place.db);
  return {
    work: {
      options: {},
      work: { kind: "recover", recover: { rebuild: true } },
    },
    async check(left) {
      const { base, db } = placeIn(left);
      await performRecovery(base, db, { rebuild: true });
      await assertClean({ base, db });
      await using store = await StorageManager.open(base, db);
      assertEquals(await store.listTxs(), [...all.keys()].sort());
    },
  };
};

const upgrading: Preparation = async (folder, random) => {
  const name = random.pick(KILLED_SAVING);
  await unpackOlder(name, folder);
  return {
    work: { options: {}, work: { kind: "open" } },
    async check(left, _lines, random) {
      const { base, db } = placeIn(left);
      if (random.next() < 0.5) await performRecovery(base, db);
      {
        await using store = await StorageManager.open(base, db);
        await assertContents(store, name);
      }
      await performRecovery(base, db);
      await assertClean({ base, db });
    },
  };
};

/** From files into the log, or back. */
const moving: Preparation = async (folder, random) => {
  const [from, to] = random.pick([[0, 2_000], [2_000, 0]] as const);
  const all = await fill(placeIn(folder), from);
  return {
    work: { options: {}, work: { kind: "move", packBelow: to } },
    async check(left, _lines, random) {
      const how = random.pick(["recover", "open"] as const);
      await checkAfterCrash(placeIn(left), all, how);
    },
  };
};

/** So much that is replaced that the log is compacted. */
const compacting: Preparation = () =>
  Promise.resolve({
    work: {
      options: { packBelow: 65_536, checkpointAfter: 40 },
      work: { kind: "churn" },
    },
    async check(left, lines, random) {
      const how = random.pick(["recover", "open"] as const);
      await checkAfterCrash(placeIn(left), allowedStates(lines), how);
    },
  });

/** Over an earlier backup, after changes. */
const backingUp: Preparation = async (folder, random) => {
  const packBelow = random.pick([0, 1_000]);
  const place = placeIn(folder);
  const before = await fill(place, packBelow);
  const to = (folder: string) => join(folder, "backup");
  await backupStore(place.base, place.db, to(folder));
  const after = new Map(before);
  {
    await using store = await StorageManager.open(place.base, place.db);
    for (const [n, size] of [[1, 10], [2, 10], [3, 10], [11, 300_000]]) {
      await store.saveTx(versionOf(`tx-${n}`, 100 + n!, size!));
      after.set(`tx-${n}`, [{ n: 100 + n!, size: size! }]);
    }
    await store.deleteTx("tx-4");
    after.set("tx-4", [null]);
  }
  return {
    work: { options: {}, work: { kind: "backup", to: to(folder) } },
    async check(left, _lines, random) {
      const how = random.pick(["recover", "open"] as const);
      await checkAfterCrash(placeIn(left), after, how);
      const copy = { base: to(left), db: join(to(left), "poh.db") };
      // The earlier one or the new one, whole.
      const either = new Map(
        [...after].map(([id, states]) => [id, [...states, ...before.get(id)!]]),
      );
      await assertHas(copy, either);
      assertEquals((await verifyStore(copy.base, copy.db)).damaged, false);
      if (random.next() < 0.5) {
        // What the new one has deleted is still there.
        const orphans = { orphans: "quarantine" } as const;
        await performRecovery(copy.base, copy.db, orphans);
        await assertClean(copy);
        await assertHas(copy, either);
      }
      const { base, db } = placeIn(left);
      await backupStore(base, db, copy.base);
      await assertHas(copy, after);
    },
  };
};

const restoring: Preparation = async (folder, random) => {
  const place = placeIn(folder);
  const all = await fill(place, random.pick([0, 1_000]));
  const backup = (folder: string) => join(folder, "backup");
  const target = (folder: string) => {
    const base = join(folder, "target");
    return { base, db: join(base, "poh.db") };
  };
  await backupStore(place.base, place.db, backup(folder));
  return {
    work: {
      options: {},
      work: { kind: "restore", from: backup(folder), ...toOf(target(folder)) },
    },
    async check(left) {
      const { base, db } = target(left);
      // Whole or not at all; what is half made says that it is to be deleted.
      if (!isThere(db)) {
        const half = `${base}.restoring`;
        if (isThere(half)) await Deno.remove(half, { recursive: true });
        await restoreStore(backup(left), base, db);
      }
      await assertHas({ base, db }, all);
      await checkAfterCrash({ base, db }, all, "recover");
      await assertHas(placeIn(left), all);
    },
  };
};

function toOf({ base, db }: Place): { toBase: string; toDb: string } {
  return { toBase: base, toDb: db };
}

function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** All of them, by name. */
export const OPERATIONS: Record<string, Preparation> = {
  "recover": recovering({ orphans: "quarantine" }),
  "recover, adopting orphans": recovering({ orphans: "adopt" }),
  "recover, purging": recovering({ orphans: "quarantine", purge: true }),
  "recover from a source": recovering({ orphans: "quarantine", from: "" }),
  "rebuild": rebuilding,
  "upgrade": upgrading,
  "repack": moving,
  "compaction": compacting,
  "backup": backingUp,
  "restore": restoring,
};
