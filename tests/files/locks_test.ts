import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  performRecovery,
  StorageManager,
  StoreBusyError,
  type StoreHolder,
  verifyStore,
} from "../../mod.ts";
import {
  keepRepairsAway,
  listHolders,
  LockFile,
  StoreLocks,
} from "../../src/files/locks.ts";
import {
  bytes,
  denoScript,
  filesBelow,
  flipBit,
  IS_WINDOWS,
  namesIn,
  outline,
  outputOf,
  sampleTx,
  startScript,
  tempDir,
  tempStore,
  test,
  within,
} from "../helpers.ts";

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
  await one.whileAlone(async () => {
    const start = performance.now();
    await assertRejects(
      () => StoreLocks.acquire(dir.path, { lockTimeout: 100 }),
      StoreBusyError,
      "being repaired",
    );
    const waited = performance.now() - start;
    assert(waited >= 100 && waited < 4_000, `${waited} ms`);
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
    await assertRejects(
      () => keepRepairsAway(dir.path, { lockTimeout: 50 }),
      StoreBusyError,
    );
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

test("whileCommitting() gives up on a lock that is never given back, and who waits together does so together", async () => {
  await using dir = await tempDir();
  const locks = await StoreLocks.acquire(dir.path, { lockTimeout: 300 });
  const other = await StoreLocks.acquire(dir.path);
  const { promise, resolve } = Promise.withResolvers<void>();
  const stuck = other.whileCommitting(() => promise);
  assertEquals(locks.whyStuck(), null); // nobody has waited yet
  const start = performance.now();
  const errors = await Promise.all(
    Array.from(
      { length: 20 },
      () => assertRejects(() => locks.whileCommitting(() => 1), StoreBusyError),
    ),
  );
  const waited = performance.now() - start;
  assert(waited >= 290 && waited < 3_000, `${waited} ms`);
  assertEquals(errors[0]!.holders.map(({ pid }) => pid), [Deno.pid]);
  assertEquals(locks.whyStuck()?.code, "BUSY");
  resolve();
  await stuck;
  assertEquals(locks.whyStuck(), null);
  assertEquals(await locks.whileCommitting(() => 2), 2);
  locks.release();
  other.release();
});

test("whyStuck() finds out by itself", async () => {
  await using dir = await tempDir();
  const locks = await StoreLocks.acquire(dir.path, { lockTimeout: 50 });
  const lock = new LockFile(join(dir.path, ".poh", "commit.lock"));
  assertEquals(lock.tryLock(true), true);
  assertEquals(locks.whyStuck(), null);
  await new Promise((resolve) => setTimeout(resolve, 300));
  assertEquals(locks.whyStuck()?.code, "BUSY");
  lock.close();
  assertEquals(locks.whyStuck(), null);
  locks.release();
});

test("an aborted signal ends a wait at once, but not what need not wait", async () => {
  await using dir = await tempDir();
  const controller = new AbortController();
  const { signal } = controller;
  const options = { lockTimeout: 60_000, signal };
  const locks = await StoreLocks.acquire(dir.path, options);
  const lock = new LockFile(join(dir.path, ".poh", "commit.lock"));
  lock.tryLock(true);
  const waiting = locks.whileCommitting(() => 1);
  setTimeout(() => controller.abort(), 20);
  const error = await within(5_000, waiting.catch((error) => error));
  assertEquals(error.name, "AbortError");
  assertMatch(error.message, /^Interrupted while waiting: Another process/);
  lock.close();
  assertEquals(await locks.whileCommitting(() => 2), 2);
  locks.release();
});

test("who commits all the time gives way to those who wait", async () => {
  await using dir = await tempDir();
  const busy = await StoreLocks.acquire(dir.path);
  const other = await StoreLocks.acquire(dir.path, { lockTimeout: 20_000 });
  let ends = false, turns = 0;
  const work = (async () => {
    while (!ends) {
      await busy.whileCommitting(async () => {
        await new Promise((resolve) => setTimeout(resolve, 10));
      });
    }
  })();
  for (; turns < 5; turns++) await other.whileCommitting(() => {});
  ends = true;
  await work;
  for (const locks of [busy, other]) locks.release();
});

test("a writer that could not take its share again changes nothing any more", async () => {
  await using dir = await tempDir();
  const locks = await StoreLocks.acquire(dir.path, { lockTimeout: 50 });
  const { tryLock } = LockFile.prototype;
  let ran = 0;
  try {
    // As when another process begins a repair the moment this one ends.
    LockFile.prototype.tryLock = function (exclusive) {
      return exclusive && tryLock.call(this, exclusive);
    };
    await assertRejects(
      () => locks.whileAlone(() => Promise.resolve(ran++)),
      StoreBusyError,
    );
  } finally {
    LockFile.prototype.tryLock = tryLock;
  }
  assertEquals(ran, 1);
  for (
    const change of [
      () => locks.whileCommitting(() => ran++),
      () => locks.whileAlone(() => Promise.resolve(ran++)),
    ]
  ) await assertRejects(change, StoreBusyError, "has to be opened again");
  assertEquals([ran, locks.whyStuck()?.code], [1, "BUSY"]);
  locks.release();
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

/** What every process that opens the store for writing changes. */
const SHARED = /^poh\.db|^\.poh\/log\/state$/;

/** All other files. */
function unshared(files: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(files).filter(([path]) => !SHARED.test(path)),
  );
}

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
  assertEquals(unshared(await filesBelow(temp.base)), unshared(before));
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
  assertEquals((await last.recover()).sound, 0);
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

for (const packBelow of [0, 65_536]) {
  test(`verify() finds nothing where a writer stands between log, file and row, packBelow ${packBelow}`, async () => {
    const changes = [["delete", "a"], ["save", "a"], ["save", "new"]] as const;
    for (const [change, txId] of changes) {
      const file = change === "delete" ? "file removed" : "file written";
      for (const point of ["log synced", ...packBelow ? [] : [file]]) {
        await using temp = await tempStore({ packBelow });
        for (const txId of ["a", "b"]) {
          await temp.store.saveTx(sampleTx({ txId }));
        }
        await temp.close();
        await using child = await startScript("hold_at.ts", [
          temp.base,
          temp.db,
          point,
          change,
          txId,
          "another payload",
        ]);
        const report = await verifyStore(temp.base, temp.db);
        assertEquals(outline(report), [], `${change} ${txId} at ${point}`);
        await child.kill();
      }
    }
  });
}

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

test("recover() sees a live writer though .poh/lock was deleted beside it", async () => {
  await using temp = await tempStore();
  await temp.store.saveTx(sampleTx());
  for (let n = 1; n <= 2; n++) {
    await Deno.remove(join(temp.base, ".poh", "lock"));
    const before = await filesBelow(temp.base);
    const error = await assertRejects(
      () => performRecovery(temp.base, temp.db),
      StoreBusyError,
      `pid ${Deno.pid}`,
    );
    assertEquals(error.holders.length, 1);
    assertEquals(unshared(await filesBelow(temp.base)), unshared(before));
    await temp.store.saveTx(sampleTx({ txId: `tx-${n}` }));
  }
  await temp.close();
  assertEquals((await performRecovery(temp.base, temp.db)).sound, 3);
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
  assertEquals(report.sound, 1);
  // Its row may not have followed yet.
  assert(report.findings.every(({ kind }) => kind === "unfinished"));
  assertEquals(namesIn(temp.base, ".poh", "holders"), []);
  const store = await temp.open();
  assertEquals((await store.loadTx("held"))?.payload, bytes("held"));
  assertEquals((await store.recover()).sound, 1);
});

// --- processes that hang --------------------------------------------------------

test("a change beside a process that hangs fails and names it; close() does not hang", async () => {
  await using temp = await tempStore();
  await temp.close();
  const options = { lockTimeout: 300 };
  const store = await StorageManager.create(temp.base, temp.db, options);
  await store.saveTx(sampleTx({ txId: "before" }));
  await using child = await startScript("hold_lock.ts", [
    temp.base,
    temp.db,
    "commit",
  ]);
  const error = await within(
    10_000,
    assertRejects(() => store.saveTx(sampleTx()), StoreBusyError),
  );
  assertMatch(error.message, new RegExp(`committing .*: pid ${child.pid}`));
  assertEquals((await store.loadTx("before"))?.holderId, "alice"); // reads go on
  await within(10_000, assertRejects(() => store.close(), StoreBusyError));
  await child.kill();
  assertEquals(await (await temp.open()).listTxs(), ["before"]);
});

test("who waits for a stopped process is told that it is stopped", async () => {
  await using temp = await tempStore();
  await temp.close();
  await using child = await startScript("hold_lock.ts", [
    temp.base,
    temp.db,
    "commit",
  ]);
  child.signal("SIGSTOP");
  const told = async () => {
    const script = denoScript("save_beside.ts", [temp.base, temp.db], {
      stdout: "piped",
      stderr: "piped",
    });
    const { stdout, stderr } = await outputOf(script);
    assert(stdout !== "", stderr);
    return JSON.parse(stdout);
  };
  const { holders, message } = await told();
  child.signal("SIGCONT");
  assertEquals(holders.map(({ pid }: StoreHolder) => pid), [child.pid]);
  if (Deno.build.os === "linux") {
    assertEquals(holders[0].stopped, true);
    assertMatch(message, /, which is stopped$/);
    assertEquals((await told()).holders[0].stopped, false);
  }
}, { ignore: IS_WINDOWS });

test("a program that keeps the database locked stops neither the event loop nor reads", async () => {
  await using temp = await tempStore();
  const { store } = temp;
  await store.saveTx(sampleTx({ txId: "before" }));
  await using child = await startScript("hold_lock.ts", [
    temp.base,
    temp.db,
    "database",
  ]);
  let longest = 0, last = performance.now(), reads = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  }, 5);
  const saving = store.saveTx(sampleTx({ txId: "after" }));
  const until = performance.now() + 3_000;
  while (performance.now() < until) {
    assertEquals((await store.loadTx("before"))?.txId, "before");
    reads++;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await child.kill();
  await within(5_000, saving);
  clearInterval(timer);
  assert(longest < 1_000, `the event loop stood still for ${longest} ms`);
  assert(reads > 20, `${reads} reads`);
  assertEquals(await store.listTxs(), ["after", "before"]);
});

test("a program that keeps the database locked for too long is told as busy", async () => {
  await using temp = await tempStore({ lockTimeout: 200 });
  await using child = await startScript("hold_lock.ts", [
    temp.base,
    temp.db,
    "database",
  ]);
  const error = await assertRejects(
    () => within(10_000, temp.store.saveTx(sampleTx())),
    StoreBusyError,
  );
  assertMatch(error.message, /locked by another program$/);
  await child.kill();
  await temp.store.saveTx(sampleTx());
});
