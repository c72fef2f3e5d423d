import { assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  backupStore,
  describeStore,
  IntegrityError,
  performRecovery,
  restoreStore,
  StorageManager,
  StoreMismatchError,
  verifyStore,
} from "../../mod.ts";
import { quarantinePath } from "../../src/files/layout.ts";
import { listQuarantine } from "../../src/payloads/quarantine.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import {
  assertBytes,
  bytes,
  type Driver,
  namesIn,
  outline,
  overwriteInLog,
  randomBytes,
  sampleTx,
  tempDir,
  type TempStore,
  tempStore,
  testDrivers,
  text,
} from "../helpers.ts";

const small = sampleTx({ txId: "small", payload: bytes("small") });
const empty = sampleTx({ txId: "empty", payload: new Uint8Array() });
const edge = sampleTx({ txId: "edge", payload: randomBytes(1_000) });
const above = sampleTx({ txId: "above", payload: randomBytes(1_001) });
const large = sampleTx({ txId: "large", payload: randomBytes(200_000) });
const all = [small, empty, edge, above, large];

function packedStore(driver: Driver, packBelow = 1_000): Promise<TempStore> {
  return tempStore({ driver, packBelow });
}

/** The payload files of a store. */
function payloadFiles(temp: TempStore): string[] {
  return namesIn(temp.base).filter((name) => name.endsWith(".bin")).sort();
}

async function assertHasAll(store: StorageManager): Promise<void> {
  for (const tx of all) {
    const loaded = await store.loadTx(tx.txId);
    assertEquals({ ...loaded, payload: 0 }, { ...tx, payload: 0 });
    assertBytes(loaded!.payload, tx.payload);
    const stream = await store.loadTxStream(tx.txId);
    const whole = await new Response(stream!.payload).bytes();
    assertBytes(whole, tx.payload);
  }
}

/** Changes the database behind the store's back. */
async function edit(temp: TempStore, driver: Driver, sql: string) {
  const db = await openSqlite(temp.db, driver, false);
  db.exec(sql);
  db.close();
}

testDrivers("payloads up to a size live in the log", async (driver) => {
  await using temp = await packedStore(driver);
  await temp.store.saveTxs(all);
  assertEquals(payloadFiles(temp), ["above.bin", "large.bin"]);
  await assertHasAll(temp.store);
  assertEquals((await temp.store.verify()).sound, all.length);
  const sum = all.reduce((sum, { payload }) => sum + payload.length, 0);
  assertEquals((await temp.store.totals()).bytes, sum);
  assertEquals((await temp.store.verify()).bytes, sum);

  const chunks = new Blob(["stre", "am"]).stream();
  await temp.store.saveTxStream({ ...small, txId: "streamed" }, chunks);
  assertEquals(payloadFiles(temp), ["above.bin", "large.bin"]);
  assertEquals(text((await temp.store.loadTx("streamed"))?.payload), "stream");
  assertEquals(namesIn(join(temp.base, ".poh", "staged")), []);
});

testDrivers(
  "ids, holders and times of any kind come back from the log",
  async (driver) => {
    await using temp = await packedStore(driver);
    const txs = ["é", "𝄞".repeat(20), "a b%", "x".repeat(200)].map((txId) =>
      sampleTx({ txId, holderId: `${txId} ü`, timestamp: 1e300 })
    );
    await temp.store.saveTxs(txs);
    for (const tx of txs) assertEquals(await temp.store.loadTx(tx.txId), tx);
    await temp.reopen();
    for (const tx of txs) assertEquals(await temp.store.loadTx(tx.txId), tx);
    assertEquals((await temp.store.verify()).sound, txs.length);
  },
);

testDrivers("the store remembers it", async (driver) => {
  await using temp = await packedStore(driver);
  await temp.close();
  await using store = await StorageManager.create(temp.base, temp.db, {
    driver,
  });
  await store.saveTx(small);
  assertEquals(payloadFiles(temp), []);
});

testDrivers("a new store keeps all in files, the empty too", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.store.saveTx(empty);
  assertEquals(payloadFiles(temp), ["empty.bin"]);
});

testDrivers("replaced and deleted, wherever it was", async (driver) => {
  await using temp = await packedStore(driver);
  const { store } = temp;
  const versions = [small, large, edge, edge, above, empty, small]
    .map((tx) => ({ ...tx, txId: "a" }));
  for (const inFlight of [1, versions.length]) {
    for (let at = 0; at < versions.length; at += inFlight) {
      const batch = versions.slice(at, at + inFlight);
      await Promise.all(batch.map((tx) => store.saveTx(tx)));
      const { payload } = batch.at(-1)!;
      assertBytes((await store.loadTx("a"))!.payload, payload);
      const files = payload.length > 1_000 ? ["a.bin"] : [];
      assertEquals(payloadFiles(temp), files);
    }
    assertEquals(await store.deleteTx("a"), true);
    assertEquals(await store.deleteTx("a"), false);
    assertEquals(await store.loadTx("a"), null);
  }
  assertEquals((await store.verify()).findings, []);
  await store.saveTx({ ...large, txId: "a" });
  assertEquals(await store.deleteTx("a"), true);
  assertEquals(payloadFiles(temp), []);
});

testDrivers("movePacked() moves payloads both ways", async (driver) => {
  await using temp = await tempStore({ driver });
  const { store } = temp;
  await store.saveTxs(all);
  assertEquals(await store.movePacked({ packBelow: 1_000 }), 3);
  assertEquals(payloadFiles(temp), ["above.bin", "large.bin"]);
  await assertHasAll(store);
  assertEquals(await store.movePacked({ packBelow: 1_000 }), 0);
  assertEquals(await store.movePacked({ packBelow: 5 }), 1);
  await assertHasAll(store);
  assertEquals(await store.movePacked({ packBelow: 0 }), 2);
  assertEquals(payloadFiles(temp).length, all.length);
  await assertHasAll(store);
  assertEquals((await store.verify()).findings, []);
  await store.saveTx({ ...small, txId: "later" });
  assertEquals(payloadFiles(temp).includes(placeOf("later")), true);
});

testDrivers("what is damaged is not moved", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.store.saveTxs([small, edge]);
  await temp.close();
  await Deno.writeTextFile(join(temp.base, placeOf("small")), "smell");
  const { store } = await reopened(temp, driver);
  assertEquals(await store.movePacked({ packBelow: 1_000 }), 1);
  assertEquals(payloadFiles(temp), ["small.bin"]);
  await assertRejects(() => store.loadTx("small"), IntegrityError);
  await store.close();
});

testDrivers("more than 64 KiB, or nonsense, is refused", async (driver) => {
  for (const packBelow of [-1, 65_537, 1.5, NaN]) {
    await assertRejects(() => tempStore({ driver, packBelow }), RangeError);
  }
});

testDrivers(
  "a damaged one is told, and its bytes go to quarantine",
  async (driver) => {
    await using temp = await packedStore(driver);
    await temp.store.saveTxs(all);
    await temp.close();
    await overwriteInLog(temp.base, "smallalicesmall", "smell");

    const told = await verifyStore(temp.base, temp.db, { driver });
    assertEquals(outline(told), ["payload-corrupt small: none"]);
    const report = await performRecovery(temp.base, temp.db, { driver });
    assertEquals(outline(report), ["payload-corrupt small: quarantined"]);
    assertEquals(report.sound, all.length - 1);
    const second = await performRecovery(temp.base, temp.db, { driver });
    assertEquals(second.findings, []);
    const [found] = await Array.fromAsync(listQuarantine(temp.base));
    const path = join(quarantinePath(temp.base), `${found!.name}.bin`);
    assertEquals(await Deno.readTextFile(path), "smell");

    await Deno.writeTextFile(path, "small"); // what a disk may do
    const { store } = await reopened(temp, driver);
    assertEquals(await store.loadTx("small"), null);
    await store.restoreQuarantined(found!.name);
    await assertHasAll(store);
    await store.close();
  },
);

async function reopened(temp: TempStore, driver: Driver) {
  const { base, db } = temp;
  return { store: await StorageManager.create(base, db, { driver }) };
}

testDrivers(
  "a removal that a crash cut short is finished",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(small);
    await temp.store.movePacked({ packBelow: 1_000 });
    await using crash = await temp.snapshot();
    await Deno.writeTextFile(join(crash.base, placeOf("small")), "small");

    const told = await verifyStore(crash.base, crash.db, { driver });
    assertEquals(outline(told), ["unfinished small: none"]);
    const report = await performRecovery(crash.base, crash.db, { driver });
    assertEquals(outline(report), ["unfinished small: finished"]);
    assertEquals(payloadFiles(crash), []);
    assertEquals(report.sound, 1);
  },
);

testDrivers(
  "a file under the name of one that lives in the log is an orphan",
  async (driver) => {
    await using temp = await packedStore(driver);
    await temp.store.saveTx(small);
    await temp.close();
    await Deno.writeTextFile(join(temp.base, placeOf("small")), "stray");
    const options = { driver, orphans: "adopt" } as const;
    const report = await performRecovery(temp.base, temp.db, options);
    assertEquals(outline(report), ["orphan-payload small: none"]);
    const { store } = await reopened(temp, driver);
    assertEquals(text((await store.loadTx("small"))?.payload), "small");
    await store.close();
  },
);

testDrivers("a rebuild has them whole, from the log", async (driver) => {
  for (const isLost of [false, true]) {
    await using temp = await packedStore(driver);
    await temp.store.saveTxs(all);
    await temp.store.saveTx({ ...small, txId: "gone" });
    await temp.store.deleteTx("gone");
    await temp.close();
    await Deno.writeTextFile(temp.db, "no database any more");
    if (isLost) await Deno.remove(temp.db);
    const options = { driver, rebuild: true, packBelow: 1_000 };
    const report = await performRecovery(temp.base, temp.db, options);
    assertEquals(report.counts["metadata-damaged"] > 0, true);
    assertEquals([report.sound, report.counts["payload-missing"]], [
      all.length,
      0,
    ]);
    const { store } = await reopened(temp, driver);
    for (const tx of [small, empty, edge]) {
      assertEquals(await store.loadTx(tx.txId), tx);
    }
    for (const { txId, payload } of all) {
      assertBytes((await store.loadTx(txId))!.payload, payload);
    }
    assertEquals(await store.loadTx("gone"), null);
    await store.saveTx({ ...small, txId: "later" });
    assertEquals(payloadFiles(temp), ["above.bin", "large.bin"]);
    await store.close();
  }
});

testDrivers("backups and what is restored have them", async (driver) => {
  await using dir = await tempDir();
  await using temp = await packedStore(driver);
  await temp.store.saveTxs(all);
  const folder = dir.join("folder"), tar = dir.join("store.tar");
  for (let n = 0; n < 2; n++) {
    await backupStore(temp.base, temp.db, folder, { driver });
    const { writable } = await Deno.create(tar);
    await backupStore(temp.base, temp.db, writable, { driver });
    await temp.store.saveTx(small);
  }
  for (const [at, source] of [folder, tar].entries()) {
    const base = dir.join(`restored-${at}`), db = join(base, "poh.db");
    await restoreStore(source, base, db, { driver });
    const report = await verifyStore(base, db, { driver });
    assertEquals(report.findings, []);
    await using store = await StorageManager.create(base, db, { driver });
    await assertHasAll(store);
    await store.saveTx({ ...small, txId: "later" });
    // All in files, until somebody moves them.
    const names = namesIn(base).filter((name) => name.endsWith(".bin"));
    assertEquals(names.length, all.length);
    assertEquals(await store.movePacked({ packBelow: 1_000 }), 3);
    await assertHasAll(store);
  }
});

testDrivers(
  "a database is no good without the log that has its payloads",
  async (driver) => {
    await using dir = await tempDir();
    await using temp = await packedStore(driver);
    await temp.store.saveTxs(all);
    await temp.close();
    const unmounted = dir.join("unmounted");
    await assertRejects(
      () => performRecovery(unmounted, temp.db, { driver }),
      StoreMismatchError,
    );
    const { store } = await reopened(temp, driver);
    await store.deleteTx("above");
    await store.deleteTx("large");
    await store.close();
    await assertRejects(
      () => performRecovery(unmounted, temp.db, { driver, create: true }),
      StoreMismatchError,
    );
    assertEquals(namesIn(dir.path), []);
  },
);

testDrivers(
  "a row whose digest was altered does not take the payload with it",
  async (driver) => {
    await using temp = await packedStore(driver);
    await temp.store.saveTx(small);
    await temp.close();
    const other = "0".repeat(64);
    await edit(temp, driver, `UPDATE txs SET storage_hash = '${other}'`);
    const report = await performRecovery(temp.base, temp.db, { driver });
    assertEquals(outline(report), ["payload-corrupt small: quarantined"]);
    const kept = await Array.fromAsync(listQuarantine(temp.base));
    const withBytes = kept.find(({ found }) => found !== null)!;
    const path = join(quarantinePath(temp.base), `${withBytes.name}.bin`);
    assertEquals(await Deno.readTextFile(path), "small");
  },
);

testDrivers("inlineBelow is packBelow's former name", async (driver) => {
  await using temp = await tempStore({ driver, inlineBelow: 1_000 });
  await temp.store.saveTx(small);
  assertEquals(payloadFiles(temp), []);
  await temp.close();
  const { base, db } = temp;
  const both = { driver, packBelow: 10, inlineBelow: 11 };
  const error = await assertRejects(
    () => StorageManager.create(base, db, both),
    RangeError,
  );
  assertEquals(
    error.message,
    "packBelow and inlineBelow are one option: got 10 and 11; give packBelow alone",
  );
  const same = { driver, packBelow: 10, inlineBelow: 10 };
  await (await StorageManager.create(base, db, same)).close();
  assertEquals((await describeStore(base, db, { driver })).packBelow, 10);
});

testDrivers("a writer follows a change by another one", async (driver) => {
  await using temp = await packedStore(driver);
  const writer = temp.store;
  const other = await temp.open();
  await other.movePacked({ packBelow: 0 });
  // It looks again after a second.
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  await writer.saveTx(small);
  assertEquals(payloadFiles(temp), ["small.bin"]);
  assertEquals(writer.packBelow, 0);
});

testDrivers(
  "an older file that goes late takes no payload along",
  async (driver) => {
    await using temp = await packedStore(driver);
    await temp.store.saveTx(above);
    const newer = { ...above, payload: bytes("newer") };
    const { removeSync } = Deno;
    Deno.removeSync = () => {
      throw new Deno.errors.PermissionDenied("busy");
    };
    try {
      await assertRejects(() => temp.store.saveTx(newer), Error, "busy");
    } finally {
      Deno.removeSync = removeSync;
    }
    await temp.close();
    assertEquals(outline(await verifyStore(temp.base, temp.db)), []);
    await temp.open();
    assertBytes((await temp.store.loadTx(above.txId))!.payload, newer.payload);
  },
);
