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
  performRecovery,
  type RecoverOptions,
  StorageManager,
  type StorageOptions,
} from "../../mod.ts";
import { listQuarantine } from "../../src/payloads/quarantine.ts";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import { flipBit, namesIn } from "../helpers.ts";
import { makeOddStore, oddIds } from "../local/older_store.ts";
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
  isTidy,
  type Place,
} from "./check.ts";
import {
  assertRecovered,
  digestOf,
  makeDamagedStore,
} from "./damaged_store.ts";
import {
  compacting,
  compactingNow,
  importing,
  logging,
  moving,
  pruning,
  streaming,
} from "./model_changes.ts";
import {
  archiving,
  backingUp,
  healingFromTar,
  migrating,
  recoveringBackup,
  restoring,
  restoringTar,
} from "./model_copies.ts";
import { fill, placeIn, type Preparation } from "./model_stores.ts";
import { copyTree } from "./process.ts";

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
  const all = await fill(place, random.pick([0, 1_000, 65_536]));
  const damaged = random.pick(["all of it", "a header", "a page", "the end"]);
  if (damaged === "all of it") await Deno.remove(place.db);
  else {
    using file = Deno.openSync(place.db, { read: true, write: true });
    const at = { "a header": 0, "a page": 4096 }[damaged] ??
      file.statSync().size - 4096;
    file.seekSync(at, Deno.SeekMode.Start);
    file.writeSync(new Uint8Array(2_000).fill(0xa5));
  }
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

/** Takes over a store of the older Python package, with ids that need names. */
const takingOver: Preparation = async (folder, random) => {
  const { base, db } = placeIn(folder);
  const ids = random.sample(oddIds(300), 40);
  await makeOddStore(base, db, "builtin", ids);
  const options: StorageOptions = { upgradeQuiet: 0 };
  const contents = async ({ base, db }: Place) => {
    const { findings } = await performRecovery(base, db, options);
    await using store = await StorageManager.open(base, db);
    const rows = await Array.fromAsync(store.iterateTxs());
    const payloads = rows.map(async ({ txId }) =>
      digestOf((await store.loadTx(txId))?.payload)
    );
    return {
      rows,
      payloads: await Promise.all(payloads),
      findings: findings.filter(({ kind }) => !isTidy(kind)),
    };
  };
  copyTree(folder, `${folder}-untouched`);
  const whole = await contents(placeIn(`${folder}-untouched`));
  return {
    work: { options, work: { kind: "open" } },
    async check(left) {
      assertEquals(await contents(placeIn(left)), whole);
    },
  };
};

/** Empties quarantine. */
const emptying: Preparation = async (folder) => {
  const made = await makeDamagedStore(placeIn(folder));
  await performRecovery(made.base, made.db, { orphans: "quarantine" });
  return {
    work: { options: {}, work: { kind: "empty quarantine" } },
    async check(left) {
      const { base, db } = placeIn(left);
      await assertClean({ base, db });
      {
        await using store = await StorageManager.open(base, db);
        await store.emptyQuarantine();
        assertEquals(
          await store.listTxs(),
          made.sound.map(({ txId }) => txId).sort(),
        );
      }
      assertEquals(namesIn(base, ".poh", "quarantine"), []);
      await assertClean({ base, db });
    },
  };
};

/** Restores from quarantine what a disk reads well again. */
const puttingBack: Preparation = async (folder, random) => {
  const place = placeIn(folder);
  const all = await fill(place, 0);
  const id = random.pick(["tx-9", "tx-11"]); // small, large
  await flipBit(join(place.base, placeOf(id)), 5);
  await performRecovery(place.base, place.db);
  const [entry] = await Array.fromAsync(listQuarantine(place.base));
  const bin = join(place.base, ".poh", "quarantine", `${entry!.name}.bin`);
  await flipBit(bin, 5); // the disk gives the right ones again
  const either: Allowed = new Map(all).set(id, [...all.get(id)!, null]);
  return {
    work: { options: {}, work: { kind: "put back", name: entry!.name } },
    async check(left, _lines, random) {
      const { base, db } = placeIn(left);
      if (random.next() < 0.5) await performRecovery(base, db);
      {
        await using store = await StorageManager.open(base, db);
        await contentsOf(store, either);
        const cases = await Array.fromAsync(listQuarantine(base));
        if (cases.length > 0) await store.restoreQuarantined(entry!.name);
        await contentsOf(store, all);
      }
      assertEquals(await Array.fromAsync(listQuarantine(base)), []);
      await checkAfterCrash({ base, db }, all, "recover");
    },
  };
};

/** All of them, by name. */
export const OPERATIONS: Record<string, Preparation> = {
  "a transparency log": logging,
  "recover": recovering({ orphans: "quarantine" }),
  "recover, adopting orphans": recovering({ orphans: "adopt" }),
  "recover, purging": recovering({ orphans: "quarantine", purge: true }),
  "recover from a source": recovering({ orphans: "quarantine", from: "" }),
  "rebuild": rebuilding,
  "upgrade": upgrading,
  "upgrade from Python": takingOver,
  "quarantine empty": emptying,
  "quarantine restore": puttingBack,
  "import": importing,
  "streams": streaming,
  "prune": pruning,
  "repack": moving,
  "compaction": compacting,
  "compact": compactingNow,
  "backup": backingUp,
  "backup into a tar": archiving,
  "restore": restoring,
  "restore a tar": restoringTar,
  "recover a backup": recoveringBackup,
  "recover from a tar": healingFromTar,
  "migrate": migrating,
};
