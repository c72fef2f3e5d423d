/**
 * Kills a process at every step of every kind of change and repair.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import {
  performRecovery,
  type RecoverOptions,
  StorageManager,
} from "../../mod.ts";
import { generateKey } from "../../src/proofs/keys.ts";
import { checkLog } from "./check_log.ts";
import type { CrashPoint } from "../../src/async/crash_points.ts";
import { memoryDir } from "./disk.ts";
import { makeOddStore } from "../local/older_store.ts";
import { assertUpgraded, unpackOlder } from "../local/older_versions.ts";
import {
  type Allowed,
  assertClean,
  checkAfterCrash,
  contentsOf,
} from "./check.ts";
import {
  assertRecovered,
  type DamagedStore,
  makeDamagedStore,
} from "./damaged_store.ts";
import { allowedStates, readJournal, versionOf } from "./journal.ts";
import { copyTree, placeBelow, runWriter, several } from "./process.ts";
import { damageOneIndex } from "./sqlite_pages.ts";
import type { WriterTask } from "./writer.ts";

type Durability = "full" | "relaxed";

/** Something that a process can be killed at. */
export interface Workload {
  name: string;
  /** How often it passes each step when nothing stops it. */
  passes: Record<string, number>;
  /** Does it on a new store, is killed, and checks what is left. */
  run(kill: KillAt): Promise<void>;
}

/** Where a process is to die: when it passes a step for the n-th time. */
export type KillAt = { point: CrashPoint; n: number };

/** One kill. */
export interface Kill {
  workload: Workload;
  point: CrashPoint;
  n: number;
}

/**
 * The workloads, with what they pass. Some need a store to begin with, which is
 * made below `dir`.
 *
 * @param long Also one that takes seconds each time.
 */
export async function allWorkloads(
  dir: string,
  long = false,
): Promise<Workload[]> {
  const damaged = await makeDamagedStore(placeBelow(join(dir, "damaged")));
  const workloads: (() => Promise<Workload>)[] = [];
  for (const durability of ["full", "relaxed"] as const) {
    workloads.push(
      () => changing("changes", { kind: "changes" }, durability),
      () => replaying(join(dir, durability), durability),
    );
    // So many that the log is long, and a checkpoint comes in between.
    const bulk = { kind: "bulk", count: 4_300 } as const;
    if (long) workloads.push(() => changing("bulk", bulk, durability));
  }
  for (
    const recover of [
      { orphans: "quarantine" },
      { orphans: "adopt" },
      { orphans: "quarantine", purge: true },
    ] as const
  ) {
    workloads.push(() => recovering(damaged, recover));
  }
  const healing = { from: damaged.source, orphans: "quarantine" } as const;
  workloads.push(
    () => recovering(damaged, healing),
    () => recovering(damaged, { ...healing, purge: true }),
    async () => {
      // What an earlier run without a source has put into quarantine.
      const place = placeBelow(join(dir, "quarantined"));
      copyTree(damaged.base, place.base);
      await performRecovery(place.base, place.db);
      return await recovering({ ...damaged, ...place }, healing, "again");
    },
  );
  for (const packBelow of [0, 60]) {
    workloads.push(() => beside(packBelow));
  }
  for (const packBelow of [0, 2_000]) workloads.push(() => logging(packBelow));
  workloads.push(() => pruning(join(dir, "pruned")));
  workloads.push(() => upgrading(join(dir, "older")));
  workloads.push(() => movingToLog(join(dir, "version_4")));
  workloads.push(
    () => rebuilding(join(dir, "malformed"), "malformed"),
    () => rebuilding(join(dir, "lost"), "lost"),
  );
  const made: Workload[] = [];
  await several(workloads, 2, async (make) => void made.push(await make()));
  return made;
}

/** The kills that reach a step: at its first, a middle and its last passing. */
export function killsAt(
  point: CrashPoint,
  workloads: Workload[],
  every = false,
): Kill[] {
  return workloads.flatMap((workload) => {
    const count = workload.passes[point] ?? 0;
    const all = Array.from({ length: count }, (_, at) => at + 1);
    const few = new Set([1, Math.ceil(count / 2), count]);
    const isLong = count > 100; // of a bulk
    const chosen = every && !isLong ? all : all.filter((n) => few.has(n));
    return chosen.map((n) => ({ workload, point, n }));
  });
}

/** Carries out kills, two at a time. */
export async function carryOut(kills: Kill[]): Promise<void> {
  await several(kills, 2, async ({ workload, point, n }) => {
    try {
      await workload.run({ point, n });
    } catch (error) {
      throw new Error(
        `${workload.name}, killed at "${point}" no. ${n}: ${
          (error as Error).message
        }`,
        { cause: error },
      );
    }
  });
}

// --- workloads --------------------------------------------------------------

/** Changes on a new store. */
async function changing(
  name: string,
  work: WriterTask["work"],
  durability: Durability,
): Promise<Workload> {
  const options = { durability };
  await using dir = await memoryDir();
  const { passed } = await runWriter({
    ...placeBelow(dir.path),
    options,
    checkpointAfter: 8,
    work,
  });
  const run = async (kill: KillAt): Promise<void> => {
    await using dir = await memoryDir();
    const place = placeBelow(dir.path);
    const { killed } = await runWriter({
      ...place,
      options,
      checkpointAfter: 8,
      work,
      kill,
    });
    if (!killed) {
      // How many batches there are is a matter of timing.
      assert(kill.n > 1, "the writer came to its end");
      return await run({ ...kill, n: kill.n - 1 });
    }
    const allowed = allowedStates(readJournal(place.journal));
    const how = kill.n % 2 ? "recover" : "open";
    await checkAfterCrash(place, allowed, how, options);
  };
  return { name: `${name} (${durability})`, passes: passed, run };
}

/** Changes of a store with a transparency log, which is signed. */
async function logging(packBelow: number): Promise<Workload> {
  const options = { packBelow };
  const write = async (dir: string, kill?: KillAt) => {
    const key = join(dir, "key");
    const { privateKey } = await generateKey("node7.example/poh");
    await Deno.writeTextFile(key, privateKey);
    const ending = await runWriter({
      ...placeBelow(dir),
      ...{ options, checkpointAfter: 100 },
      work: { kind: "log", key },
      ...(kill && { kill }),
    });
    return { ...ending, key };
  };
  await using census = await memoryDir();
  const { passed } = await write(census.path);
  const run = async (kill: KillAt): Promise<void> => {
    await using dir = await memoryDir();
    const { killed, key } = await write(dir.path, kill);
    if (!killed) {
      // How many batches there are is a matter of timing.
      assert(kill.n > 1, "the writer came to its end");
      return await run({ ...kill, n: kill.n - 1 });
    }
    const place = placeBelow(dir.path);
    const allowed = allowedStates(readJournal(place.journal));
    const how = kill.n % 2 ? "recover" : "open";
    await checkAfterCrash(place, allowed, how, options);
    await checkLog(place, key);
  };
  return { name: `log (${packBelow} B packed)`, passes: passed, run };
}

/** Changes beside another writer, which goes on when this one is killed. */
async function beside(packBelow: number): Promise<Workload> {
  const work = { kind: "few" } as const;
  const options = { packBelow };
  const name = `changes beside another writer, ${packBelow} B packed`;
  const one = async (kill?: KillAt): Promise<Record<string, number>> => {
    await using dir = await memoryDir();
    const place = placeBelow(dir.path);
    const { base, db } = place;
    const task = { ...place, options, work, ...(kill && { kill }) };
    let passed: Record<string, number>;
    const allowed: Allowed = new Map();
    {
      await using other = await StorageManager.create(base, db, options);
      await other.saveTx(versionOf("before", 1, 10));
      const ending = await runWriter(task);
      passed = ending.passed;
      if (kill && !ending.killed) {
        // How many batches there are is a matter of timing.
        assert(kill.n > 1, "the writer came to its end");
        return await one({ ...kill, n: kill.n - 1 });
      }
      for (const [id, states] of allowedStates(readJournal(place.journal))) {
        allowed.set(id, states);
      }
      allowed.set("before", [{ n: 1, size: 10 }]);
      if (kill && kill.n % 3 > 0) {
        await other.saveTx(versionOf("after", 1, 20));
        allowed.set("after", [{ n: 1, size: 20 }]);
        await contentsOf(other, allowed);
      }
    }
    await checkAfterCrash(place, allowed, "open", options);
    return passed;
  };
  return {
    name,
    passes: await one(),
    run: async (kill) => void await one(kill),
  };
}

/** Opening a store that a killed writer has left with a log. */
async function replaying(
  dir: string,
  durability: Durability,
): Promise<Workload> {
  const options = { durability };
  const work = { kind: "changes" } as const;
  await using first = await memoryDir();
  const place = placeBelow(first.path);
  const { passed: all } = await runWriter({ ...place, options, work });
  const written = all["record written"]!;
  const template = placeBelow(dir);
  // The batch of all kinds at once, large ones staged: five come after it.
  const kill = { point: "record written", n: written - 5 } as const;
  assert((await runWriter({ ...template, options, work, kill })).killed);
  const allowed = allowedStates(readJournal(template.journal));
  const open = async (dir: string, kill?: KillAt) => {
    copyTree(template.base, placeBelow(dir).base);
    return await runWriter({
      ...placeBelow(dir),
      options,
      work: { kind: "open" },
      ...(kill && { kill }),
    });
  };
  await using census = await memoryDir();
  const { passed } = await open(census.path);
  return {
    name: `replay (${durability})`,
    passes: passed,
    async run(kill) {
      await using dir = await memoryDir();
      assert((await open(dir.path, kill)).killed);
      const how = kill.n % 2 ? "recover" : "open";
      await checkAfterCrash(placeBelow(dir.path), allowed, how, options);
    },
  };
}

/** Opening a store of the older package, which upgrades it. */
async function upgrading(dir: string): Promise<Workload> {
  const template = placeBelow(dir);
  const ids = ["", "a", "a:b", "a%3Ab", "dir/x", "./y", "y"];
  const { base, db } = template;
  const saved = await makeOddStore(base, db, "builtin", ids);
  const options = { upgradeQuiet: 0 };
  const open = async (dir: string, kill?: KillAt) => {
    copyTree(base, placeBelow(dir).base);
    return await runWriter({
      ...placeBelow(dir),
      options,
      work: { kind: "open" },
      ...(kill && { kill }),
    });
  };
  await using census = await memoryDir();
  const { passed } = await open(census.path);
  return {
    name: "upgrade",
    passes: passed,
    async run(kill) {
      await using dir = await memoryDir();
      assert((await open(dir.path, kill)).killed);
      const { base, db } = placeBelow(dir.path);
      for (const readOnly of [true, false, true]) {
        const how = { ...options, readOnly };
        await using store = await StorageManager.create(base, db, how);
        for (const [txId, { payload }] of saved) {
          assertEquals((await store.loadTx(txId))?.payload, payload, txId);
        }
        assertEquals((await store.verify()).sound, saved.size);
      }
    },
  };
}

/** Opening a store of version 4, whose payloads and changes go into the log. */
async function movingToLog(template: string): Promise<Workload> {
  const older = await unpackOlder("version_4", template);
  const open = async (dir: string, kill?: KillAt) => {
    copyTree(older.base, placeBelow(dir).base);
    return await runWriter({
      ...placeBelow(dir),
      options: {},
      work: { kind: "open" },
      ...(kill && { kill }),
    });
  };
  await using census = await memoryDir();
  const { passed } = await open(census.path);
  return {
    name: "move to the log",
    passes: passed,
    async run(kill) {
      await using dir = await memoryDir();
      assert((await open(dir.path, kill)).killed);
      const { base, db } = placeBelow(dir.path);
      await (await StorageManager.open(base, db)).close();
      await assertUpgraded({ base, db }, "version_4");
    },
  };
}

/** Pruning of a store that has what is old, what is young, and what was renewed. */
async function pruning(dir: string): Promise<Workload> {
  const template = placeBelow(dir);
  const before = 10_000;
  const old = Array.from({ length: 300 }, (_, n) => ({
    id: `old-${n}`,
    n,
    size: n % 50 === 49 ? 70_000 + n : n,
  }));
  const young = Array.from({ length: 20 }, (_, n) => ({
    id: `young-${n}`,
    n: before + n,
    size: n % 10 === 9 ? 70_000 + n : n,
  }));
  const renewed = { id: "old-renewed", n: before + 99, size: 30 };
  const kept = [...young, renewed];
  const allowed: Allowed = new Map();
  for (const { id, ...state } of old) allowed.set(id, [state, null]);
  for (const { id, ...state } of kept) allowed.set(id, [state]);
  {
    const { base, db } = template;
    await using store = await StorageManager.create(base, db);
    await store.saveTx(versionOf(renewed.id, 5, 70_000));
    await store.saveTxs(
      [...old, ...kept].map(({ id, n, size }) => versionOf(id, n, size)),
    );
  }
  const prune = async (dir: string, kill?: KillAt) => {
    copyTree(template.base, placeBelow(dir).base);
    return await runWriter({
      ...placeBelow(dir),
      options: {},
      work: { kind: "prune", before },
      ...(kill && { kill }),
    });
  };
  await using census = await memoryDir();
  const { passed } = await prune(census.path);
  return {
    name: "prune",
    passes: passed,
    async run(kill) {
      await using dir = await memoryDir();
      assert((await prune(dir.path, kill)).killed);
      const place = placeBelow(dir.path);
      const how = kill.n % 2 ? "recover" : "open";
      const seen = await checkAfterCrash(place, allowed, how);
      await using store = await StorageManager.create(place.base, place.db);
      const left = old.filter(({ id }) => seen.get(id) !== null);
      assertEquals((await store.prune({ before })).deleted, left.length);
      assertEquals(await store.countTxs(), kept.length);
    },
  };
}

/** Recovery of a store that has one of everything. */
async function recovering(
  template: DamagedStore,
  recover: RecoverOptions,
  when = "",
): Promise<Workload> {
  const copy = async (kill?: KillAt) => {
    const dir = await memoryDir();
    const place = placeBelow(dir.path);
    copyTree(template.base, place.base);
    const ending = await runWriter({
      ...place,
      options: {},
      work: { kind: "recover", recover },
      ...(kill && { kill }),
    });
    return { dir, place, ending };
  };
  const census = await copy();
  await using _ = census.dir;
  const run = async (kill: KillAt): Promise<void> => {
    const { dir, place, ending } = await copy(kill);
    await using _ = dir;
    if (!ending.killed) {
      // What is healed is committed together as it comes.
      assert(recover.from !== undefined && kill.n > 1);
      return await run({ ...kill, n: kill.n - 1 });
    }
    await performRecovery(place.base, place.db, recover);
    await assertClean(place);
    await assertRecovered({ ...template, ...place }, recover);
  };
  return {
    name: `recover ${JSON.stringify(recover)} ${when}`.trim(),
    passes: census.ending.passed,
    run,
  };
}

/**
 * Recovery of a store without a usable database. The malformed one also has a
 * hot journal with rows that are nowhere else.
 */
async function rebuilding(
  dir: string,
  what: "malformed" | "lost",
): Promise<Workload> {
  const template = placeBelow(dir);
  await runWriter({
    ...template,
    options: {},
    work: { kind: "bulk", count: 300 },
  });
  if (what === "lost") {
    await Deno.remove(template.db);
  } else {
    const { killed } = await runWriter({
      ...template,
      options: {},
      work: { kind: "changes" },
      kill: { point: "rows applied", n: 8 },
    });
    assert(killed);
    damageOneIndex(template.db, "bulk-");
  }
  const allowed = allowedStates(readJournal(template.journal));
  const rebuild = async (dir: string, kill?: KillAt) => {
    copyTree(template.base, placeBelow(dir).base);
    return await runWriter({
      ...placeBelow(dir),
      options: {},
      work: { kind: "recover", recover: { rebuild: true } },
      ...(kill && { kill }),
    });
  };
  await using census = await memoryDir();
  const { passed } = await rebuild(census.path);
  return {
    name: `rebuild of a ${what} database`,
    passes: passed,
    async run(kill) {
      await using dir = await memoryDir();
      assert((await rebuild(dir.path, kill)).killed);
      const { base, db } = placeBelow(dir.path);
      const report = await performRecovery(base, db, { rebuild: true });
      assertEquals(report.counts["payload-corrupt"], 0);
      await assertClean({ base, db });
      await using store = await StorageManager.create(base, db);
      if (what === "malformed") {
        await contentsOf(store, allowed);
      } else {
        assertEquals(await store.countTxs(), allowed.size);
      }
    },
  };
}
