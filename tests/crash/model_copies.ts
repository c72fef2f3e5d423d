/**
 * Copies of a whole store, for the model checker of power cuts.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import {
  BackupDamagedError,
  BackupPathError,
  backupStore,
  migrateStore,
  performRecovery,
  PohStorageError,
  restoreStore,
  StorageManager,
  verifyStore,
} from "../../mod.ts";
import {
  type Allowed,
  assertClean,
  assertSameTx,
  checkAfterCrash,
  type Place,
} from "./check.ts";
import { assertRecovered, makeDamagedStore } from "./damaged_store.ts";
import { versionOf } from "./journal.ts";
import {
  anyHow,
  assertHas,
  fill,
  isThere,
  placeIn,
  type Preparation,
} from "./model_stores.ts";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import { PayloadFiles } from "../../src/payloads/payload_files.ts";
import { waitingName } from "../../src/payloads/staged_files.ts";

/** Over an earlier backup, after changes. */
export const backingUp: Preparation = async (folder, random) => {
  const packBelow = random.pick([0, 1_000]);
  const place = placeIn(folder);
  const before = await fill(place, packBelow);
  const to = (folder: string) => placeIn(folder, "backup");
  await backupStore(place.base, place.db, to(folder).base);
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
    work: { options: {}, work: { kind: "backup", to: to(folder).base } },
    async check(left, _lines, random) {
      await checkAfterCrash(placeIn(left), after, anyHow(random));
      const copy = to(left);
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

/** From a folder. */
export const restoring: Preparation = async (folder, random) => {
  const place = placeIn(folder);
  const all = await fill(place, random.pick([0, 1_000]));
  const backup = (folder: string) => join(folder, "backup");
  const target = (folder: string) => placeIn(folder, "target");
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

/** Backs up into a tar archive. */
async function archive({ base, db }: Place, path: string): Promise<void> {
  using file = Deno.createSync(path);
  await backupStore(base, db, file.writable);
}

/** Into a tar archive. */
export const archiving: Preparation = async (folder, random) => {
  const place = placeIn(folder);
  const all = await fill(place, random.pick([0, 1_000]));
  const tar = (folder: string) => join(folder, "backup.tar");
  return {
    work: { options: {}, work: { kind: "backup", to: tar(folder) } },
    async check(left, _lines, random) {
      const { base, db } = placeIn(left);
      const to = placeIn(left, "restored");
      // An archive that is cut is refused, or it is whole.
      try {
        await restoreStore(tar(left), to.base, to.db);
        await assertHas(to, all);
      } catch (error) {
        const isRefused = error instanceof BackupDamagedError ||
          error instanceof BackupPathError;
        if (!isRefused) throw error;
        assert(!isThere(to.base));
      }
      await checkAfterCrash({ base, db }, all, anyHow(random));
      await archive({ base, db }, tar(left));
      const again = placeIn(left, "restored-again");
      await restoreStore(tar(left), again.base, again.db);
      await assertHas(again, all);
    },
  };
};

/** From a tar archive, with the database in the base or elsewhere. */
export const restoringTar: Preparation = async (folder, random) => {
  const place = placeIn(folder);
  const all = await fill(place, random.pick([0, 1_000]));
  const tar = (folder: string) => join(folder, "backup.tar");
  await archive(place, tar(folder));
  const isApart = random.next() < 0.5;
  const target = (folder: string) => {
    const inside = placeIn(folder, "target");
    return isApart
      ? { ...inside, db: join(folder, "other", "poh.db") }
      : inside;
  };
  return {
    work: {
      options: {},
      work: { kind: "restore", from: tar(folder), ...toOf(target(folder)) },
    },
    async check(left, _lines, random) {
      const { base, db } = target(left);
      // The base comes last; what is half made says that it is to be deleted.
      if (!isThere(base)) {
        const made = ["", "-wal", "-journal"].map((suffix) =>
          `${db}.restoring${suffix}`
        );
        for (const path of [`${base}.restoring`, db, ...made]) {
          if (isThere(path)) await Deno.remove(path, { recursive: true });
        }
        await restoreStore(tar(left), base, db);
      }
      await assertHas({ base, db }, all);
      await checkAfterCrash({ base, db }, all, anyHow(random));
    },
  };
};

/** A recovery of a backup that was cut off behind its new database. */
export const recoveringBackup: Preparation = async (folder, random) => {
  const source = placeIn(folder, "source");
  const copy = placeIn(folder);
  const before = await fill(source, random.pick([0, 1_000]));
  await backupStore(source.base, source.db, copy.base);
  const older = ["tx-1", "tx-11"].map((id) =>
    [id, Deno.readFileSync(join(copy.base, placeOf(id)))] as const
  );
  const after = new Map(before);
  {
    await using store = await StorageManager.open(source.base, source.db);
    for (const [n, size] of [[1, 10], [11, 300_000]]) {
      await store.saveTx(versionOf(`tx-${n}`, 100 + n!, size!));
      after.set(`tx-${n}`, [{ n: 100 + n!, size: size! }]);
    }
  }
  await backupStore(source.base, source.db, copy.base);
  {
    const files = new PayloadFiles(copy.base);
    await using store = await StorageManager.open(copy.base, copy.db, {
      readOnly: true,
    });
    for (const [id, bytes] of older) {
      const path = join(copy.base, placeOf(id));
      Deno.renameSync(
        path,
        join(files.staged.path, waitingName((await store.infoTx(id))!)),
      );
      Deno.writeFileSync(path, bytes);
    }
  }
  return {
    work: {
      options: {},
      work: { kind: "recover", recover: { orphans: "quarantine" } },
    },
    async check(left, _lines, random) {
      const copy = placeIn(left);
      try {
        assertEquals((await verifyStore(copy.base, copy.db)).damaged, false);
        await assertHas(copy, after);
      } catch (error) {
        if (!isUnfinished(error)) throw error;
      }
      if (random.next() < 0.5) {
        await performRecovery(copy.base, copy.db);
        await assertClean(copy);
        await assertHas(copy, after);
      }
      const source = placeIn(left, "source");
      await backupStore(source.base, source.db, copy.base);
      await assertHas(copy, after);
    },
  };
};

/** A database with a journal is read once a writer has rolled it back. */
function isUnfinished(error: unknown): boolean {
  return error instanceof PohStorageError && error.code === "UNFINISHED";
}

/** A recovery that heals from a tar archive. */
export const healingFromTar: Preparation = async (folder, random) => {
  const source = placeIn(folder, "source");
  const made = await makeDamagedStore(placeIn(folder));
  const txs = [...made.sound, ...made.damaged.map(({ tx }) => tx)];
  {
    await using store = await StorageManager.create(source.base, source.db);
    await store.saveTxs(txs);
  }
  const tar = (folder: string) => join(folder, "backup.tar");
  await archive(source, tar(folder));
  const packBelow = random.pick([undefined, 1_000]);
  const options = (folder: string) => ({
    orphans: "quarantine" as const,
    from: tar(folder),
  });
  return {
    work: {
      options: packBelow === undefined ? {} : { packBelow },
      work: { kind: "recover", recover: options(folder) },
    },
    async check(left) {
      const place = placeIn(left);
      await performRecovery(place.base, place.db, options(left));
      await assertClean(place);
      if (packBelow === undefined) {
        await assertRecovered({ ...made, ...place }, options(left));
      }
      await using store = await StorageManager.open(place.base, place.db);
      for (const tx of txs) assertSameTx(await store.loadTx(tx.txId), tx);
    },
  };
};

/** Into a store that is made for it. */
export const migrating: Preparation = async (folder, random) => {
  const all = await fill(placeIn(folder), random.pick([0, 1_000]));
  const target = (folder: string) => placeIn(folder, "target");
  return {
    work: {
      options: {},
      work: { kind: "migrate", ...toOf(target(folder)) },
    },
    async check(left, _lines, random) {
      const { base, db } = target(left);
      const some: Allowed = new Map(
        [...all].map(([id, states]) => [id, [...states, null]]),
      );
      await checkAfterCrash({ base, db }, some, anyHow(random));
      const from = placeIn(left);
      await checkAfterCrash(from, all, "open");
      {
        await using source = await StorageManager.open(from.base, from.db);
        await using to = await StorageManager.create(base, db);
        await migrateStore(source, to);
      }
      await checkAfterCrash({ base, db }, all, "recover");
    },
  };
};
