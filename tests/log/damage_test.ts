import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  IntegrityError,
  performRecovery,
  StorageManager,
  verifyStore,
} from "../../mod.ts";
import { FIRST_RECORD } from "../../src/log/segment.ts";
import { quarantinePath } from "../../src/poh_dir.ts";
import { listQuarantine } from "../../src/quarantine.ts";
import {
  bytes,
  type Driver,
  flipBit,
  namesIn,
  outline,
  randomBytes,
  sampleTx,
  type TempStore,
  tempStore,
  testDrivers,
  text,
} from "../helpers.ts";

const one = sampleTx({ txId: "a", payload: bytes("1") });
const two = sampleTx({ txId: "a", payload: bytes("2") });
const other = sampleTx({ txId: "b" });

/** What is in quarantine, by id. */
async function quarantined(base: string) {
  const found: Record<string, string | null> = {};
  for await (const { name, txId, size } of listQuarantine(base)) {
    const path = join(quarantinePath(base), `${name}.bin`);
    found[txId!] = size === null ? null : await Deno.readTextFile(path);
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
    assertEquals(
      told.findings[0]!.detail,
      "the database is as it was before its last 3 changes; payloads may be newer than their rows",
    );
    const report = await performRecovery(temp.base, temp.db, { driver });
    assertEquals(outline(report), [
      "metadata-outdated null: accepted",
      "orphan-payload c: none",
      "payload-corrupt a: quarantined",
      "payload-missing b: quarantined",
    ]);
    assertEquals(await quarantined(temp.base), { a: "2", b: null });
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
    assertEquals(await recover(false), [
      "metadata-outdated null: accepted",
      "payload-corrupt a: quarantined",
    ]);
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
      await assertRejects(() => store.loadTx("a"), IntegrityError);
      await store.saveTx(other);
    }
    assertEquals(await Deno.readTextFile(temp.file("a")), "2");
    const report = await performRecovery(temp.base, temp.db, { driver });
    assertEquals(outline(report), [
      "metadata-outdated null: accepted",
      "payload-corrupt a: quarantined",
    ]);
  },
);

testDrivers(
  "a database that went back while the log has all of it loses nothing",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTxs([one, other]);
    const before = await temp.snapshot();
    await temp.store.saveTx(two);
    await temp.store.deleteTx("b");
    await using crash = await temp.snapshot();
    for (const suffix of ["", "-wal"]) {
      await Deno.copyFile(before.db + suffix, crash.db + suffix);
    }
    await before[Symbol.asyncDispose]();
    {
      await using reader = await StorageManager.create(crash.base, crash.db, {
        driver,
        readOnly: true,
      });
      assertEquals(text((await reader.loadTx("a"))?.payload), "2");
      assertEquals(await reader.listTxs(), ["a"]);
      assertEquals(await reader.countTxs({ holderId: "alice" }), 1);
    }
    const report = await performRecovery(crash.base, crash.db, { driver });
    assertEquals(outline(report), [
      "unfinished a: finished",
      "unfinished b: finished",
    ]);
    const store = await crash.open();
    assertEquals(await store.loadTx("a"), two);
    assertEquals(await store.listTxs(), ["a"]);
  },
);

// --- the log itself -------------------------------------------------------------

/** A store that a crash left with a log of these ids. */
async function crashed(driver: Driver, ids: string[]): Promise<TempStore> {
  await using temp = await tempStore({ driver });
  // One after another: a batch each.
  for (const txId of ids) await temp.store.saveTx(sampleTx({ txId }));
  return await temp.snapshot();
}

/** The log's newest segment. */
function segmentOf({ base }: TempStore): string {
  const dir = join(base, ".poh", "log");
  const name = namesIn(dir).filter((name) => name.endsWith(".seg")).at(-1)!;
  return join(dir, name);
}

/** Where a record's id is in a segment. */
async function placeIn(path: string, txId: string): Promise<number> {
  const content = new TextDecoder("latin1").decode(await Deno.readFile(path));
  return content.indexOf(`${txId}alice`);
}

testDrivers(
  "damage in the middle of the log is told, and all else of it is used",
  async (driver) => {
    await using crash = await crashed(driver, ["aa", "bb", "cc"]);
    const path = segmentOf(crash);
    await flipBit(path, await placeIn(path, "bb"));
    for (const id of ["aa", "bb", "cc"]) await Deno.remove(crash.file(id));
    const options = { driver };
    const told = await verifyStore(crash.base, crash.db, options);
    assertEquals(told.counts["log-damaged"], 1);
    assertEquals(told.damaged, true);

    // Opening is enough to go on; recover tells what was lost.
    const store = await crash.open();
    assertEquals(await store.loadTx("aa"), sampleTx({ txId: "aa" }));
    assertEquals(await store.loadTx("cc"), sampleTx({ txId: "cc" }));
    await assertRejects(() => store.loadTx("bb"), IntegrityError);
    await crash.close();
    const report = await performRecovery(crash.base, crash.db, options);
    assertEquals(outline(report), [
      "log-damaged null: accepted",
      "payload-missing bb: quarantined",
    ]);
    const second = await performRecovery(crash.base, crash.db, options);
    assertEquals(second.findings, []);
    // The damaged segment is kept.
    const kept = await Array.fromAsync(listQuarantine(crash.base));
    assertEquals(kept.map(({ reason }) => reason).sort(), [
      "log-damaged",
      "payload-missing",
    ]);
  },
);

testDrivers(
  "the last records of a log that is damaged are missed by the rows",
  async (driver) => {
    await using crash = await crashed(driver, ["aa", "bb"]);
    const path = segmentOf(crash);
    await flipBit(path, await placeIn(path, "bb"));
    const report = await performRecovery(crash.base, crash.db, { driver });
    assertEquals(outline(report), ["log-damaged null: accepted"]);
    assertEquals(report.sound, 2);
  },
);

testDrivers("a log that is gone is told", async (driver) => {
  await using crash = await crashed(driver, ["aa", "bb"]);
  await Deno.remove(join(crash.base, ".poh", "log"), { recursive: true });
  await Deno.remove(crash.file("bb"));
  const told = await verifyStore(crash.base, crash.db, { driver });
  assertEquals(outline(told), [
    "log-damaged null: none",
    "payload-missing bb: none",
  ]);
  const report = await performRecovery(crash.base, crash.db, { driver });
  assertEquals(outline(report), [
    "log-damaged null: accepted",
    "payload-missing bb: quarantined",
  ]);
  const store = await crash.open();
  await store.saveTx(sampleTx({ txId: "cc" }));
  assertEquals(await store.listTxs(), ["aa", "cc"]);
});

testDrivers(
  "nothing of an older log is done",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(one);
    await using older = await temp.snapshot();
    await temp.store.saveTx(two);
    await temp.close();
    await using crash = await temp.snapshot();
    const log = join(crash.base, ".poh", "log");
    await Deno.remove(log, { recursive: true });
    await Deno.rename(join(older.base, ".poh", "log"), log);
    // The database was closed: nothing of the log is missed.
    const report = await performRecovery(crash.base, crash.db, { driver });
    assertEquals(outline(report), []);
    const store = await crash.open();
    assertEquals(await store.loadTx("a"), two);
  },
);

testDrivers(
  "a log that is gone is missed by nobody after a close",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(one);
    await temp.close();
    const log = join(temp.base, ".poh", "log");
    await Deno.remove(log, { recursive: true });
    const report = await performRecovery(temp.base, temp.db, { driver });
    assertEquals([outline(report), report.sound], [[], 1]);
  },
);

testDrivers("a batch that was torn is no damage", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.store.saveTx(one);
  await using before = await temp.snapshot();
  const payload = randomBytes(3_000);
  const ids = ["b", "c", "d", "e"];
  await Promise.all(
    ids.map((txId) => temp.store.saveTx(sampleTx({ txId, payload }))),
  );
  await using after = await temp.snapshot();
  const batch = await Deno.readFile(segmentOf(after));
  const { size } = await Deno.stat(segmentOf(before));
  assert(size > 4096);
  for (let hole = 0; hole < 12_288; hole += 512) {
    await using crash = await before.snapshot();
    // Written in any order, a sector is missing.
    const torn = batch.slice();
    torn.fill(0, Math.max(hole, 512), hole + 1_024);
    await Deno.writeFile(segmentOf(crash), torn);
    const report = await performRecovery(crash.base, crash.db, { driver });
    assertEquals(report.counts["log-damaged"], 0, `hole at ${hole}`);
    const store = await crash.open();
    assertEquals(await store.loadTx("a"), one);
    await crash.close();
  }
});

testDrivers(
  "one bit flipped anywhere never costs more than it hits",
  async (driver) => {
    const ids = ["aa", "bb", "cc"];
    await using crash = await crashed(driver, ids);
    const { size } = await Deno.stat(segmentOf(crash));
    assert(size > FIRST_RECORD);
    const end = await placeIn(segmentOf(crash), "cc") + 100;
    for (let at = 0; at < end; at += 23) {
      await using flipped = await crash.snapshot();
      await flipBit(segmentOf(flipped), at);
      for (const id of ids) await Deno.remove(flipped.file(id));
      const report = await performRecovery(flipped.base, flipped.db, {
        driver,
      });
      assert(
        report.sound >= 2,
        `${report.sound} sound with byte ${at} flipped`,
      );
      const isTold = report.counts["log-damaged"] > 0;
      assertEquals(isTold, report.sound < 3, `byte ${at}`);
      const again = await performRecovery(flipped.base, flipped.db, { driver });
      assertEquals([again.findings, again.sound], [[], report.sound]);
    }
  },
);
