import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  PohStorageError,
  type PruneFilter,
  type PruneResult,
} from "../../mod.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import {
  filesBelow,
  namesIn,
  sampleTx,
  tempStore,
  testDrivers,
} from "../helpers.ts";

const payloadFiles = (base: string) =>
  namesIn(base).filter((name) => name.endsWith(".bin"));

testDrivers(
  "prune() deletes what a filter selects, and tells how much",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const { store } = temp;
    const save = (
      txId: string,
      timestamp: number,
      holderId: string,
      n: number,
    ) =>
      store.saveTx(
        sampleTx({ txId, timestamp, holderId, payload: new Uint8Array(n) }),
      );
    await save("a", 100, "alice", 10);
    await save("b", 200, "bob", 20);
    await save("c", 300, "alice", 100_000);
    await save("d", 400, "bob", 40);
    assertEquals(await store.prune({ before: 200 }), result(1, 10));
    assertEquals(await store.listTxs(), ["b", "c", "d"]);
    assertEquals(
      await store.prune({ holderId: "bob", since: 400 }),
      result(1, 40),
    );
    assertEquals(await store.prune({ minSize: 100_000 }), result(1, 100_000));
    assertEquals(await store.prune({ idPrefix: "x" }), result(0, 0));
    assertEquals(await store.listTxs(), ["b"]);
    assertEquals(payloadFiles(temp.base), ["b.bin"]);
    assert(!(await store.verify()).damaged);
  },
);

function result(deleted: number, bytes: number): PruneResult {
  return { deleted, bytes, changed: 0, interrupted: false };
}

testDrivers(
  "prune() never deletes everything for want of a condition",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(sampleTx());
    const filters: Record<string, unknown>[] = [
      {},
      { limit: 5 },
      { idPrefix: "" },
      { minSize: 0 },
      { since: 0 },
      { since: 0, minSize: 0, idPrefix: "", limit: 5 },
      { before: undefined, holderId: undefined },
    ];
    for (const filter of filters) {
      for (const dryRun of [false, true]) {
        const error = await assertRejects(
          () => temp.store.prune(filter as PruneFilter, { dryRun }),
          PohStorageError,
        );
        assertEquals(error.code, "NO_CRITERION");
      }
    }
    await assertRejects(() => temp.store.prune({ before: NaN }), RangeError);
    assertEquals((await temp.store.prune({ holderId: "alice\0" })).deleted, 0);
    assertEquals(await temp.store.listTxs(), ["a"]);
  },
);

testDrivers("prune() with a limit takes the oldest first", async (driver) => {
  await using temp = await tempStore({ driver });
  for (const [txId, timestamp] of [["a", 3], ["b", 1], ["c", 2]] as const) {
    await temp.store.saveTx(sampleTx({ txId, timestamp }));
  }
  const done = await temp.store.prune({ holderId: "alice", limit: 2 });
  assertEquals(done.deleted, 2);
  assertEquals(await temp.store.listTxs(), ["a"]);
});

testDrivers("a dry run counts the same and changes nothing", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.store.saveTxs(manyOld(700));
  await temp.close();
  const before = await filesBelow(temp.base);
  const reader = await temp.open({ readOnly: true });
  const dry = await reader.prune({ before: 1_000 }, { dryRun: true });
  await assertRejects(() => reader.prune({ before: 0 }), PohStorageError);
  await temp.close();
  assertEquals(await filesBelow(temp.base), before);
  const store = await temp.reopen();
  assertEquals(await store.prune({ before: 1_000 }), dry);
  assertEquals(dry.deleted, 700);
  assertEquals(payloadFiles(temp.base), []);
});

function manyOld(count: number) {
  return Array.from(
    { length: count },
    (_, n) => sampleTx({ txId: `tx-${n}`, timestamp: n }),
  );
}

testDrivers("what is replaced before its turn stays", async (driver) => {
  await using temp = await tempStore({ driver });
  const { store } = temp;
  await store.saveTxs(manyOld(600));
  const other = await openSqlite(temp.db, driver, false);
  const renew = (txId: string) =>
    other.exec(`UPDATE txs SET timestamp = 5000 WHERE tx_id = '${txId}'`);
  let batches = 0;
  const done = await store.prune({ before: 1_000 }, {
    onProgress: () => {
      if (++batches > 1) return;
      renew("tx-300"); // has been read already
      renew("tx-599"); // has not
      other.exec("DELETE FROM txs WHERE tx_id = 'tx-301'");
    },
  });
  other.close();
  assertEquals({ ...done, bytes: 0 }, { ...result(597, 0), changed: 2 });
  assertEquals(await store.listTxs(), ["tx-300", "tx-599"]);
  assertEquals((await store.loadTx("tx-300"))?.timestamp, 5_000);
  assertEquals((await store.loadTx("tx-599"))?.timestamp, 5_000);
});

testDrivers(
  "prune() beside saves of the same ids leaves each whole",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const other = await temp.open();
    await temp.store.saveTxs(manyOld(600));
    const renewed = manyOld(600).filter((_, n) => n % 3 === 0)
      .map((tx) => ({ ...tx, timestamp: 5_000 }));
    const [done] = await Promise.all([
      temp.store.prune({ before: 1_000 }),
      other.saveTxs(renewed),
    ]);
    assert(done.deleted >= 400, `${done.deleted}`);
    assertEquals(await other.listTxs(), renewed.map(({ txId }) => txId).sort());
    const report = await other.verify();
    assertEquals(report.sound, renewed.length);
    assertEquals(report.findings, []);
  },
);

testDrivers(
  "prune() stops between two batches, and goes on later",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTxs(manyOld(600));
    const controller = new AbortController();
    const first = await temp.store.prune({ before: 1_000 }, {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    assertEquals({ ...first, bytes: 0 }, {
      ...result(256, 0),
      interrupted: true,
    });
    assertEquals(await temp.store.countTxs(), 344);
    assertEquals((await temp.store.prune({ before: 1_000 })).deleted, 344);
  },
);

testDrivers(
  "close() lets a prune under way come to its end",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTxs(manyOld(600));
    const pruning = temp.store.prune({ before: 1_000 });
    await temp.store.close();
    assertEquals((await pruning).deleted, 600);
  },
);
