import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { performRecovery, StorageManager, verifyStore } from "../mod.ts";
import { CommitNote } from "../src/commit_note.ts";
import { quarantinePath } from "../src/poh_dir.ts";
import { listQuarantine } from "../src/quarantine.ts";
import {
  bytes,
  outline,
  sampleTx,
  type TempStore,
  tempStore,
  testDrivers,
  text,
} from "./helpers.ts";

const one = sampleTx({ txId: "a", payload: bytes("1") });
const two = sampleTx({ txId: "a", payload: bytes("2") });
const other = sampleTx({ txId: "b" });

/** What is in quarantine, by id. */
async function quarantined(base: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for await (const { name, txId } of listQuarantine(base)) {
    const path = join(quarantinePath(base), `${name}.bin`);
    found[txId!] = await Deno.readTextFile(path);
  }
  return found;
}

/** Puts the database, with its log, back to what it was at `copy`. */
async function goBack(temp: TempStore, copy: () => Promise<void>) {
  const files = [temp.db, `${temp.db}-wal`];
  for (const file of files) await Deno.copyFile(file, `${file}.copy`);
  await copy();
  await temp.close();
  for (const file of files) await Deno.rename(`${file}.copy`, file);
}

testDrivers(
  "a database that went back is told, and no newer payload is lost",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTxs([one, other]);
    await goBack(temp, async () => {
      await temp.store.saveTx(two);
      await temp.store.deleteTx("b");
      await temp.store.saveTx(sampleTx({ txId: "c" }));
    });

    const told = await verifyStore(temp.base, temp.db, { driver });
    assertEquals(outline(told).includes("metadata-outdated null: none"), true);
    assertEquals(told.damaged, true);
    const report = await performRecovery(temp.base, temp.db, { driver });
    assertEquals(outline(report), [
      "metadata-outdated null: accepted",
      "orphan-payload c: none",
      "unfinished a: finished",
      "unfinished b: finished",
    ]);
    assertEquals(await quarantined(temp.base), { a: "2" });
    const second = await performRecovery(temp.base, temp.db, { driver });
    assertEquals(outline(second), ["orphan-payload c: none"]);
  },
);

testDrivers(
  "it is not accepted by a recovery that reads no payload",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(one);
    await goBack(temp, async () => void await temp.store.saveTx(two));
    const recover = async (skipPayloads: boolean) =>
      outline(
        await performRecovery(temp.base, temp.db, { driver, skipPayloads }),
      );
    const [outdated] = await recover(true);
    assertEquals(outdated, "metadata-outdated null: none");
    assertEquals(await recover(true), [outdated]);
    assertEquals(await recover(false), ["metadata-outdated null: accepted"]);
    assertEquals(await recover(false), []);
  },
);

testDrivers(
  "who opens such a store loses nothing either, and recover is told",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(one);
    await goBack(temp, async () => void await temp.store.saveTx(two));
    for (let n = 0; n < 2; n++) {
      await using store = await StorageManager.create(temp.base, temp.db, {
        driver,
      });
      assertEquals(text((await store.loadTx("a"))?.payload), "1");
      await store.saveTx(other);
    }
    assertEquals(await quarantined(temp.base), { a: "2" });
    const report = await performRecovery(temp.base, temp.db, { driver });
    assertEquals(outline(report), ["metadata-outdated null: accepted"]);
  },
);

testDrivers(
  "a note that is lost, or nonsense, says nothing",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(one);
    await temp.close();
    const path = join(temp.base, ".poh", "newest");
    for (const nonsense of ["", "\0".repeat(16), "99999999", "-1".repeat(8)]) {
      await Deno.writeTextFile(path, nonsense);
      const report = await verifyStore(temp.base, temp.db, { driver });
      assertEquals(report.findings, []);
    }
    await Deno.remove(path);
    const report = await verifyStore(temp.base, temp.db, { driver });
    assertEquals(report.findings, []);
  },
);

testDrivers("the note follows the commits", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.store.saveTx(one);
  await temp.store.saveTx(two);
  const path = join(temp.base, ".poh", "newest");
  assertEquals(await Deno.readTextFile(path), "0000000000000002");
  const note = new CommitNote(temp.base);
  note.write(5);
  note.close();
  await temp.close();
  const rows = await StorageManager.create(temp.base, temp.db, { driver });
  await rows.close();
  const report = await verifyStore(temp.base, temp.db, { driver });
  assertEquals(outline(report), ["metadata-outdated null: none"]);
  assertEquals(
    report.findings[0]?.detail.includes("its last 3 changes"),
    true,
  );
});
