import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  IntegrityError,
  performRecovery,
  PohStorageError,
  StorageManager,
  verifyStore,
} from "../../mod.ts";
import { HEAD_BYTES } from "../../src/model/limits.ts";
import {
  decodeHeader,
  encodeHeader,
  FIRST_RECORD,
} from "../../src/log/segment.ts";
import { quarantinePath } from "../../src/files/layout.ts";
import { listQuarantine } from "../../src/payloads/quarantine.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
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
  await temp.store.countTxs(); // the rows have followed
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
  await temp.store.countTxs(); // the rows have followed
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

testDrivers("a log that is older than its database is told", async (driver) => {
  for (const packBelow of [0, 1_000]) {
    await using temp = await tempStore({ driver, packBelow });
    await temp.store.saveTx(one);
    await using older = await temp.snapshot();
    await temp.store.saveTxs([two, other, sampleTx({ txId: "c" })]);
    await temp.store.countTxs(); // the rows have followed
    await using crash = await temp.snapshot();
    await Deno.copyFile(segmentOf(older), segmentOf(crash));
    const detail = "the last records of the log are damaged";
    const told = await verifyStore(crash.base, crash.db, { driver });
    assertEquals(told.findings[0]!.detail, detail);
    const report = await performRecovery(crash.base, crash.db, { driver });
    // What was packed is lost with its records, and each is named.
    const lost = packBelow > 0
      ? ["a", "b", "c"].map((id) => `payload-missing ${id}: quarantined`)
      : [];
    assertEquals(outline(report), [
      "log-damaged null: accepted",
      ...lost,
      "unfinished a: dropped", // as the row says more than the log
    ]);
    const again = await performRecovery(crash.base, crash.db, { driver });
    assertEquals([again.findings, again.sound], [[], packBelow > 0 ? 0 : 3]);
  }
});

testDrivers(
  "a log of segments older than its database lacks so many changes",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTxs([one, other]);
    await using older = await temp.snapshot();
    await temp.reopen(); // the log goes on in a new segment
    await temp.store.saveTx(two);
    await temp.store.deleteTx("b");
    await temp.store.saveTx(sampleTx({ txId: "c" }));
    await temp.store.countTxs(); // the rows have followed
    await using crash = await temp.snapshot();
    const log = join(crash.base, ".poh", "log");
    await Deno.remove(log, { recursive: true });
    await Deno.rename(join(older.base, ".poh", "log"), log);
    const report = await performRecovery(crash.base, crash.db, { driver });
    assertEquals(outline(report), ["log-damaged null: accepted"]);
    assertEquals(
      report.findings[0]!.detail,
      "the log is older than the database: it lacks the last 3 changes",
    );
    assertEquals(report.sound, 2);
    const store = await crash.open();
    assertEquals(await store.loadTx("a"), two);
    assertEquals(await store.listTxs(), ["a", "c"]);
    await crash.close();
    const again = await performRecovery(crash.base, crash.db, { driver });
    assertEquals(again.findings, []);
  },
);

testDrivers(
  "a segment of another store is never read, and set aside",
  async (driver) => {
    for (const number of ["00000009", "00000001"]) {
      await using temp = await tempStore({ driver });
      await temp.store.saveTxs([one, other]);
      await temp.close();
      await temp.reopen();
      await temp.close();
      const theirs = await crashed(driver, ["theirs"]);
      await using _ = theirs;
      // Under the number that it has in its header, whatever its name is.
      const path = join(temp.base, ".poh", "log", `${number}.seg`);
      const content = await Deno.readFile(segmentOf(theirs));
      await Deno.writeFile(path, renumbered(content, Number(number)));
      const name = `${number}.seg`;
      {
        await using reader = await StorageManager.open(temp.base, temp.db, {
          driver,
          readOnly: true,
        });
        assertEquals(await reader.listTxs(), ["a", "b"]);
      }
      const told = await verifyStore(temp.base, temp.db, { driver });
      assertEquals(told.findings.map(({ detail }) => detail), [
        `${name} in the log is another store's: it is not read`,
      ]);
      const report = await performRecovery(temp.base, temp.db, { driver });
      assertEquals([outline(report), report.sound], [
        ["log-damaged null: accepted"],
        2,
      ]);
      const kept = await Array.fromAsync(listQuarantine(temp.base));
      assertEquals(kept.map(({ reason, size }) => [reason, size]), [
        ["log-damaged", content.length],
      ]);
      const again = await performRecovery(temp.base, temp.db, { driver });
      assertEquals(again.findings, []);
      assertEquals(await (await temp.open()).listTxs(), ["a", "b"]);
    }
  },
);

/** A segment whose header has another number. */
function renumbered(
  content: Uint8Array<ArrayBuffer>,
  number: number,
): Uint8Array<ArrayBuffer> {
  const header = encodeHeader({ ...decodeHeader(content)!, number });
  content.set(header);
  return content;
}

testDrivers(
  "a segment of another store that is copied to a live log is not read either",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(one);
    await using theirs = await crashed(driver, ["theirs"]);
    const path = join(temp.base, ".poh", "log", "00000009.seg");
    const content = await Deno.readFile(segmentOf(theirs));
    await Deno.writeFile(path, renumbered(content, 9));
    await temp.store.saveTx(two);
    await temp.store.recover();
    await temp.store.saveTx(other);
    assertEquals(await temp.store.listTxs(), ["a", "b"]);
    const reopened = await temp.reopen();
    assertEquals(await reopened.listTxs(), ["a", "b"]);
    const kept = await Array.fromAsync(listQuarantine(temp.base));
    assertEquals(kept.map(({ reason }) => reason), ["log-damaged"]);
  },
);

// --- what is packed ---------------------------------------------------------------

testDrivers(
  "damage around a packed payload takes nothing from it",
  async (driver) => {
    // Of each part of a record's head, and what follows it.
    for (let at = 0; at < HEAD_BYTES + 7; at += 12) {
      await using temp = await tempStore({ driver, packBelow: 1_000 });
      await temp.store.saveTxs([one, other]);
      await temp.close();
      const path = segmentOf(temp);
      const start = await placeIn(path, "b") - HEAD_BYTES;
      await flipBit(path, start + at);
      {
        await using reader = await StorageManager.open(temp.base, temp.db, {
          driver,
          readOnly: true,
        });
        assertEquals(await reader.loadTx("b"), other);
      }
      const told = await verifyStore(temp.base, temp.db, { driver });
      assertEquals(outline(told), ["log-damaged b: none"], `byte ${at}`);
      const report = await performRecovery(temp.base, temp.db, { driver });
      assertEquals(outline(report), ["log-damaged b: corrected"]);
      assertEquals(report.sound, 2);
      const again = await performRecovery(temp.base, temp.db, { driver });
      assertEquals([again.findings, again.sound], [[], 2]);
      assertEquals(await (await temp.open()).loadTx("b"), other);
    }
  },
);

testDrivers(
  "a segment that has lost its headers still has its payloads",
  async (driver) => {
    await using temp = await tempStore({ driver, packBelow: 1_000 });
    await temp.store.saveTxs([one, other]);
    await temp.close();
    const path = segmentOf(temp);
    const content = await Deno.readFile(path);
    await Deno.writeFile(path, content.fill(0, 0, FIRST_RECORD));
    const report = await performRecovery(temp.base, temp.db, { driver });
    assertEquals(report.sound, 2);
    assertEquals(report.counts["payload-missing"], 0);
    const again = await performRecovery(temp.base, temp.db, { driver });
    assertEquals([again.findings, again.sound], [[], 2]);
    const store = await temp.open();
    assertEquals(await store.loadTx("a"), one);
    assertEquals(await store.loadTx("b"), other);
  },
);

testDrivers(
  "a row whose digest has a digit changed is what is damaged",
  async (driver) => {
    for (const packBelow of [0, 1_000]) {
      await using temp = await tempStore({ driver, packBelow });
      await temp.store.saveTxs([one, other]);
      await temp.close();
      const edit = async (digest: string) => {
        const db = await openSqlite(temp.db, driver, false);
        db.prepare("UPDATE txs SET storage_hash = ? WHERE tx_id = 'b'")
          .run(digest);
        db.close();
      };
      const { storageHash } = (await (await temp.open()).infoTx("b"))!;
      await temp.close();
      await edit((storageHash[0] === "0" ? "1" : "0") + storageHash.slice(1));
      const told = await verifyStore(temp.base, temp.db, { driver });
      assertEquals(outline(told), ["row-damaged b: none"]);
      const report = await performRecovery(temp.base, temp.db, { driver });
      assertEquals(outline(report), ["row-damaged b: corrected"]);
      assertEquals(report.sound, 2);
      assertEquals(await (await temp.open()).loadTx("b"), other);
      await temp.close();
      // Another digest is the payload's damage.
      await edit("00".repeat(32));
      const lost = await performRecovery(temp.base, temp.db, { driver });
      assertEquals(outline(lost), ["payload-corrupt b: quarantined"]);
    }
  },
);

testDrivers(
  "a directory in a file's way is told in one line, and by recover",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await Deno.mkdir(join(temp.file("a"), "within"), { recursive: true });
    const error = await assertRejects(
      () => temp.store.saveTx(one),
      PohStorageError,
    );
    assertEquals(error.code, "FILE_STUCK");
    assertMatch(
      error.message,
      /^Tx "a" is saved, but its payload file cannot be put in its place \(.*\): the log keeps the payload, and recover does it once the way is free$/,
    );
    assertEquals(await temp.store.loadTx("a"), one);
    await temp.close();
    const report = await performRecovery(temp.base, temp.db, { driver });
    assertEquals(outline(report), ["unfinished a: none"]);
    assertMatch(report.findings[0]!.detail, /cannot be finished now/);
    assertEquals(report.sound, 1);
    await Deno.remove(temp.file("a"), { recursive: true });
    const after = await performRecovery(temp.base, temp.db, { driver });
    assertEquals([outline(after), after.sound], [
      ["unfinished a: finished"],
      1,
    ]);
    assertEquals(await Deno.readTextFile(temp.file("a")), "1");
  },
);
