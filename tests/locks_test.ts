import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { performRecovery, StoreBusyError, verifyStore } from "../mod.ts";
import { keepRepairsAway, listHolders, StoreLocks } from "../src/locks.ts";
import {
  bytes,
  filesBelow,
  flipBit,
  namesIn,
  outline,
  sampleTx,
  startScript,
  tempDir,
  tempStore,
  test,
  within,
} from "./helpers.ts";

// --- the locks themselves -----------------------------------------------------

test("a writer is announced while it holds its share", async () => {
  await using dir = await tempDir();
  assertEquals(listHolders(dir.path), []);
  const before = new Date().toISOString();
  const locks = await StoreLocks.acquire(dir.path);
  const [holder, ...others] = listHolders(dir.path);
  assertEquals(others, []);
  assertEquals(holder?.pid, Deno.pid);
  assert(holder!.since >= before && holder!.since <= new Date().toISOString());
  assertEquals(locks.others(), []);
  locks.release();
  assertEquals(listHolders(dir.path), []);
  assertEquals(namesIn(dir.path, ".poh", "holders"), []);
});

test("many writers have the store open at once", async () => {
  await using dir = await tempDir();
  const one = await StoreLocks.acquire(dir.path);
  const other = await StoreLocks.acquire(dir.path);
  assertEquals(listHolders(dir.path).length, 2);
  assertEquals(one.others().length, 1);
  other.release();
  assertEquals(one.others(), []);
  one.release();
});

test("whileAlone() runs when there is no other writer, and gives its result", async () => {
  await using dir = await tempDir();
  const locks = await StoreLocks.acquire(dir.path);
  for (const value of [1, null]) {
    assertEquals(
      await locks.whileAlone(() => Promise.resolve(value)),
      { value },
    );
  }
  await assertRejects(
    () => locks.whileAlone(() => Promise.reject(new RangeError("stop"))),
    RangeError,
  );
  assertEquals(await locks.whileAlone(() => Promise.resolve(2)), { value: 2 });
  locks.release();
});

test("whileAlone() runs nothing beside another writer", async () => {
  await using dir = await tempDir();
  const one = await StoreLocks.acquire(dir.path);
  const other = await StoreLocks.acquire(dir.path);
  let ran = false;
  const work = () => Promise.resolve(ran = true);
  assertEquals(await one.whileAlone(work), null);
  assertEquals(ran, false);
  // And its own share is as it was.
  assertEquals(await other.whileAlone(work), null);
  other.release();
  assertEquals(await one.whileAlone(work), { value: true });
  one.release();
});

test("acquire() waits while a repair has the store for itself", async () => {
  await using dir = await tempDir();
  const one = await StoreLocks.acquire(dir.path);
  const order: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const repair = one.whileAlone(async () => {
    await promise;
    order.push("repaired");
  });
  const other = StoreLocks.acquire(dir.path).then((locks) => {
    order.push("opened");
    return locks;
  });
  await new Promise((done) => setTimeout(done, 60)); // it tries, and tries again
  assertEquals(order, []);
  resolve();
  await repair;
  (await within(2_000, other)).release();
  assertEquals(order, ["repaired", "opened"]);
  one.release();
});

test("acquire() gives up on a repair that takes too long", async () => {
  await using dir = await tempDir();
  const one = await StoreLocks.acquire(dir.path);
  const now = Date.now;
  await one.whileAlone(async () => {
    let hours = 0;
    Date.now = () => now() + (hours++) * 3_600_000;
    try {
      await assertRejects(
        () => StoreLocks.acquire(dir.path),
        StoreBusyError,
        "being repaired",
      );
    } finally {
      Date.now = now;
    }
  });
  one.release();
});

test("keepRepairsAway() keeps repairs away and writes nothing", async () => {
  await using dir = await tempDir();
  {
    using _ = await keepRepairsAway(dir.path); // nobody ever wrote here
    assertEquals(namesIn(dir.path), []);
  }
  const locks = await StoreLocks.acquire(dir.path);
  {
    using _ = await keepRepairsAway(dir.path);
    using __ = await keepRepairsAway(dir.path);
    assertEquals(await locks.whileAlone(() => Promise.resolve(1)), null);
    assertEquals(listHolders(dir.path).length, 1);
  }
  const repair = await locks.whileAlone(async () => {
    await assertRejects(() => keepRepairsAway(dir.path), StoreBusyError);
  });
  assert(repair !== null);
  locks.release();
});

test("whileCommitting() lets one at a time", async () => {
  await using dir = await tempDir();
  const all = await Promise.all(
    Array.from({ length: 4 }, () => StoreLocks.acquire(dir.path)),
  );
  let inside = 0, most = 0, runs = 0;
  await Promise.all(all.map(async (locks) => {
    for (let n = 0; n < 5; n++) {
      await locks.whileCommitting(async () => {
        most = Math.max(most, ++inside);
        await new Promise((resolve) => setTimeout(resolve, 1));
        inside--;
        runs++;
      });
    }
  }));
  assertEquals([most, runs], [1, 20]);
  for (const locks of all) locks.release();
});

test("whileCommitting() gives the lock back when its work fails", async () => {
  await using dir = await tempDir();
  const one = await StoreLocks.acquire(dir.path);
  const other = await StoreLocks.acquire(dir.path);
  await assertRejects(
    () => one.whileCommitting(() => Promise.reject(new RangeError("stop"))),
    RangeError,
  );
  assertEquals(await within(2_000, other.whileCommitting(() => 42)), 42);
  one.release();
  other.release();
});

test("what is no holder's file does no harm, and a dead one's is swept", async () => {
  await using dir = await tempDir();
  const locks = await StoreLocks.acquire(dir.path);
  const holders = join(dir.path, ".poh", "holders");
  await Deno.writeTextFile(join(holders, "dead.json"), '{"pid":1}');
  await Deno.writeTextFile(join(holders, "garbage.json"), "{");
  await Deno.writeTextFile(join(holders, "new.json"), "");
  assertEquals(listHolders(dir.path).length, 1); // and it changes nothing
  assertEquals(namesIn(holders).length, 4);
  assertEquals(locks.others(), []);
  assertEquals(namesIn(holders).length, 2); // its own, and one being written
  locks.release();
});

// --- managers under them ------------------------------------------------------

test("two managers of one store see each other's changes", async () => {
  await using temp = await tempStore();
  const [one, other] = [temp.store, await temp.open()];
  await one.saveTx(sampleTx({ txId: "a" }));
  assertEquals((await other.loadTx("a"))?.holderId, "alice");
  await other.saveTx(sampleTx({ txId: "a", holderId: "bob" }));
  assertEquals((await one.loadTx("a"))?.holderId, "bob");
  await one.deleteTx("a");
  assertEquals(await other.loadTx("a"), null);
});

test("two managers that save at once lose nothing", async () => {
  await using temp = await tempStore();
  const managers = [temp.store, await temp.open()];
  const ids = Array.from({ length: 120 }, (_, n) => `id-${n + 1_000}`);
  await Promise.all(
    ids.map((txId, n) => managers[n % 2]!.saveTx(sampleTx({ txId }))),
  );
  // And over one id they agree on one of the two.
  await Promise.all(
    managers.map((manager, n) =>
      manager.saveTx(sampleTx({ payload: bytes(`by ${n}`) }))
    ),
  );
  for (const manager of managers) {
    assertEquals(await manager.listTxs({ idPrefix: "id-" }), ids);
    assertEquals((await manager.verify()).counts["payload-corrupt"], 0);
  }
  const store = await temp.reopen();
  const report = await store.verify();
  assertEquals([report.sound, report.findings], [121, []]);
});

test("recover() beside another manager is busy, and repairs nothing", async () => {
  await using temp = await tempStore();
  await temp.store.saveTx(sampleTx());
  await temp.reopen();
  await flipBit(temp.file("a"));
  const before = await filesBelow(temp.base);
  const other = await temp.open();
  const error = await assertRejects(() => other.recover(), StoreBusyError);
  assertEquals(error.holders.map(({ pid }) => pid), [Deno.pid]);
  await assertRejects(
    () => performRecovery(temp.base, temp.db),
    StoreBusyError,
  );
  const changed = Object.entries(await filesBelow(temp.base))
    .filter(([path, digest]) =>
      !path.startsWith("poh.db") && before[path] !== digest
    );
  assertEquals(changed, []);
});

test("after the other one is closed, recover() repairs", async () => {
  await using temp = await tempStore();
  const one = temp.store;
  const other = await temp.open();
  await other.saveTx(sampleTx());
  await other.close();
  await one.close();
  const last = await temp.open();
  await flipBit(temp.file("a"));
  assertEquals(await last.recover(), []);
});

test("verify() and dry runs need no lock", async () => {
  await using temp = await tempStore();
  const other = await temp.open();
  await other.saveTx(sampleTx());
  assertEquals((await temp.store.verify()).sound, 1);
  assertEquals((await verifyStore(temp.base, temp.db)).sound, 1);
  const report = await performRecovery(temp.base, temp.db, { dryRun: true });
  assertEquals(report.sound, 1);
});

test("recover() names the process that holds the store", async () => {
  await using temp = await tempStore();
  await temp.store.saveTx(sampleTx());
  await temp.close();
  await flipBit(temp.file("a"));
  await using child = await startScript("hold_store.ts", [temp.base, temp.db]);
  const error = await assertRejects(
    () => performRecovery(temp.base, temp.db),
    StoreBusyError,
    `pid ${child.pid}`,
  );
  assertEquals(error.code, "BUSY");
  assertEquals(error.holders.map(({ pid }) => pid), [child.pid]);
  assertEquals(
    outline(await verifyStore(temp.base, temp.db)),
    ["payload-corrupt a: none"],
  );
  assertEquals(namesIn(temp.base, ".poh", "quarantine"), []);

  assertEquals(await child.end(), 0);
  const report = await performRecovery(temp.base, temp.db);
  assertEquals(outline(report), ["payload-corrupt a: quarantined"]);
  assertEquals(report.sound, 1);
});

test("a process writes while another one does", async () => {
  await using temp = await tempStore();
  await using child = await startScript("hold_store.ts", [temp.base, temp.db]);
  await temp.store.saveTx(sampleTx());
  assertEquals(await temp.store.listTxs(), ["a", "held"]);
  assertEquals((await temp.store.loadTx("held"))?.holderId, "child");
  await child.end();
});

test("a process that was killed leaves no lock, and nothing it saved is lost", async () => {
  await using temp = await tempStore();
  await temp.close();
  await using child = await startScript("hold_store.ts", [temp.base, temp.db]);
  await child.kill();
  assertEquals(listHolders(temp.base), []);
  const report = await performRecovery(temp.base, temp.db);
  assertEquals([report.sound, report.findings], [1, []]);
  assertEquals(namesIn(temp.base, ".poh", "holders"), []);
  const store = await temp.open();
  assertEquals((await store.loadTx("held"))?.payload, bytes("held"));
  assertEquals(await store.recover(), ["held"]);
});
