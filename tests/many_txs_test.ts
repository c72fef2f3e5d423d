// Many transactions by one call, streams of NDJSON, stores for tests.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
} from "@std/assert";
import {
  IntegrityError,
  InvalidTxError,
  StorageManager,
  type Tx,
  txToJson,
} from "../mod.ts";
import { bytes, flipBit, sampleTx, tempStore, test, text } from "./helpers.ts";

const IDS = Array.from({ length: 40 }, (_, n) => `tx-${10 + n}`);

async function filled(): Promise<StorageManager> {
  const store = await StorageManager.temporary();
  await store.saveTxs(
    IDS.map((txId) => sampleTx({ txId, payload: bytes(`of ${txId}`) })),
  );
  return store;
}

const idOf = (tx: Tx | null) => tx && tx.txId;

test("loadTxs() gives what was asked for in its order, null for an unknown id", async () => {
  await using store = await filled();
  const asked = ["tx-30", "none", "tx-10", "tx-30", ...IDS];
  const loaded = await Array.fromAsync(store.loadTxs(asked));
  assertEquals(
    loaded.map(idOf),
    asked.map((txId) => txId === "none" ? null : txId),
  );
  assertEquals(text(loaded[2]!.payload), "of tx-10");
});

test("loadTxs() throws at the damaged one, after those before it", async () => {
  await using temp = await tempStore();
  await temp.store.saveTxs(IDS.map((txId) => sampleTx({ txId })));
  await temp.close();
  await flipBit(temp.file("tx-13"));
  await using store = await StorageManager.open(temp.base, temp.db);
  const seen: (string | null)[] = [];
  const error = await assertRejects(async () => {
    for await (const tx of store.loadTxs(IDS)) seen.push(idOf(tx));
  });
  assertInstanceOf(error, IntegrityError);
  assertEquals(error.txId, "tx-13");
  assertEquals(seen, ["tx-10", "tx-11", "tx-12"]);
});

test("iterateLoaded() loads what a query selects", async () => {
  await using store = await filled();
  const query = { idPrefix: "tx-1", reverse: true, limit: 3 };
  const loaded = await Array.fromAsync(store.iterateLoaded(query));
  assertEquals(loaded.map(idOf), ["tx-19", "tx-18", "tx-17"]);
  assertEquals(text(loaded[0]!.payload), "of tx-19");
});

test("deleteTxs() deletes and counts what was there", async () => {
  await using store = await filled();
  assertEquals(await store.deleteTxs(["tx-10", "none", "tx-12"]), 2);
  assertEquals((await store.listTxs()).length, IDS.length - 2);
  assertEquals(await store.deleteTxs(store.iterateTxIds()), IDS.length - 2);
  assertEquals(await store.countTxs(), 0);
});

test("exportNdjson() is what importNdjson() takes", async () => {
  await using store = await filled();
  await using copy = await StorageManager.temporary();
  const query = { idPrefix: "tx-2" };
  const lines = (await new Response(store.exportNdjson(query)).text())
    .trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(lines.length, 10);
  assertEquals(lines[0], txToJson((await store.loadTx("tx-20"))!));
  const counts = await copy.importNdjson(store.exportNdjson(query));
  assertEquals([counts.txs, counts.created], [10, 10]);
  assertEquals(await copy.loadTx("tx-29"), await store.loadTx("tx-29"));
  const again = await copy.importNdjson(store.exportNdjson(query));
  assertEquals(again.unchanged, 10);
});

test("importNdjson() names the line that is no transaction, and keeps those before", async () => {
  await using store = await StorageManager.temporary();
  const good = JSON.stringify(txToJson(sampleTx({ txId: "a" })));
  for (
    const [bad, message] of [
      ["{", /^line 3: not JSON/],
      ['{"tx_id":"b"}', /^line 3: holder_id is missing/],
      ['{"tx_id":""}', /^line 3: /],
    ] as const
  ) {
    const error = await assertRejects(() =>
      store.importNdjson(new Blob([`${good}\n\n${bad}\n${good}`]).stream())
    );
    assertInstanceOf(error, InvalidTxError);
    assertMatch(error.message, message);
  }
  assertEquals(await store.listTxs(), ["a"]);
});

test("a signal stops what takes long, and what was done stays", async () => {
  await using store = await filled();
  const reason = new Error("enough");
  const stopped = (work: (signal: AbortSignal) => Promise<unknown>) =>
    assertRejects(() => work(AbortSignal.abort(reason)), Error, "enough");
  await stopped((signal) => Array.fromAsync(store.loadTxs(IDS, { signal })));
  await stopped((signal) =>
    Array.fromAsync(store.iterateLoaded({}, { signal }))
  );
  await stopped((signal) =>
    new Response(store.exportNdjson({}, { signal })).text()
  );
  await stopped((signal) => store.deleteTxs(IDS, { signal }));
  await stopped((signal) => store.saveTxs([sampleTx({})], { signal }));
  assertEquals(await store.countTxs(), IDS.length);
  const controller = new AbortController();
  const onSaved = () => controller.abort(reason);
  const endless = async function* () {
    for (let n = 0;; n++) yield sampleTx({ txId: `new-${n}` });
  };
  const { signal } = controller;
  await assertRejects(
    () => store.saveTxs(endless(), { onSaved, signal }),
    Error,
    "enough",
  );
  assert(await store.countTxs({ idPrefix: "new-" }) > 0);
});

test("temporary() makes a store that is gone when it is closed", async () => {
  const store = await StorageManager.temporary({ packBelow: 1024 });
  const { basePath } = store;
  await store.saveTx(sampleTx({ txId: "a" }));
  assertEquals((await store.verify()).sound, 1);
  await store.close();
  await assertRejects(() => Deno.stat(basePath), Deno.errors.NotFound);
});

test("refuseMilliseconds refuses what is plainly no time in seconds", async () => {
  await using store = await StorageManager.temporary({
    refuseMilliseconds: true,
  });
  const late = sampleTx({ txId: "a", timestamp: 1464307123000 });
  for (
    const save of [
      () => store.saveTx(late),
      () => store.saveTxStream(late, new Blob(["x"]).stream()),
    ]
  ) {
    const error = await assertRejects(save);
    assertInstanceOf(error, InvalidTxError);
    assertEquals(error.field, "timestamp");
  }
  await store.saveTx(sampleTx({ txId: "a", timestamp: 1e11 }));
  await using other = await StorageManager.temporary();
  assertEquals((await other.saveTx(late)).outcome, "created");
});
