// Copies of stores, of whatever kinds.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { IntegrityError, migrateStore, type Tx } from "../mod.ts";
import { call } from "./cli_helpers.ts";
import {
  bytes,
  flipBit,
  randomBytes,
  sampleTx,
  type TempStore,
  tempStore,
  test,
} from "./helpers.ts";

async function contentOf({ store }: TempStore): Promise<Tx[]> {
  const txs: Tx[] = [];
  for (const txId of await store.listTxs()) {
    txs.push((await store.loadTx(txId))!);
  }
  return txs;
}

test("a migration copies all, and again only what is new", async () => {
  await using from = await tempStore();
  await using to = await tempStore({ packBelow: 100 });
  const sizes = [0, 1, 99, 101, 70_000, 1_500_000];
  const ids = ["A", "a", "b/c", "\u{10000}", "\uFFFD", "z"];
  for (const [n, txId] of ids.entries()) {
    const payload = randomBytes(sizes[n]!, n);
    await from.store.saveTx(sampleTx({ txId, payload, timestamp: n / 3 }));
  }
  await to.store.saveTx(sampleTx({ txId: "own" }));
  await to.store.saveTx(sampleTx({ txId: "a", payload: bytes("older") }));
  const first = await migrateStore(from.store, to.store);
  assertEquals(first, {
    copied: 6,
    replaced: 1,
    bytes: sizes.reduce((sum, size) => sum + size),
    present: 0,
    damaged: 0,
    unreadable: 0,
    odd: 0,
    refused: 0,
    interrupted: false,
  });
  assertEquals(await to.store.deleteTx("own"), true);
  assertEquals(await contentOf(to), await contentOf(from));
  await from.store.saveTx(sampleTx({ txId: "b", holderId: "bob" }));
  const second = await migrateStore(from.store, to.store, { verify: true });
  assertEquals([second.copied, second.present], [1, 6]);
});

test("what is damaged is left out and told, the rest is copied", async () => {
  await using from = await tempStore();
  await using to = await tempStore();
  const large = randomBytes(1_500_000);
  for (const txId of ["a", "b", "c", "d"]) {
    const payload = txId === "d" ? large : bytes(txId);
    await from.store.saveTx(sampleTx({ txId, payload }));
  }
  await from.reopen();
  await flipBit(from.file("a"));
  await Deno.remove(from.file("b"));
  await flipBit(from.file("d"), 1_400_000);
  const told: string[] = [];
  const report = await migrateStore(from.store, to.store, {
    onLeftOut: (_, txId) => told.push(txId),
  });
  assertEquals([report.copied, report.damaged, told.sort()], [1, 3, [
    "a",
    "b",
    "d",
  ]]);
  assertEquals(await to.store.listTxs(), ["c"]);
});

test("what the target does not give back is not copied", async () => {
  for (const size of [10, 1_500_000]) {
    await using from = await tempStore();
    await using to = await tempStore();
    const payload = randomBytes(size);
    await from.store.saveTx(sampleTx({ txId: "a", payload }));
    // A target that takes everything, and keeps nothing.
    const info = await to.store.saveTx(sampleTx({ txId: "a", payload }));
    await to.store.deleteTx("a");
    const keep = () => Promise.resolve(info);
    Object.assign(to.store, { saveTx: keep, saveTxStream: keep });
    const error = await assertRejects(
      () => migrateStore(from.store, to.store),
      IntegrityError,
    );
    assertEquals(error.txId, "a");
  }
});

test("verify copies what the target lists and does not have any more", async () => {
  await using from = await tempStore();
  await using to = await tempStore();
  await from.store.saveTx(sampleTx({ txId: "a" }));
  await migrateStore(from.store, to.store);
  const { loadTx } = to.store;
  Object.assign(to.store, {
    async loadTx(txId: string) {
      Object.assign(to.store, { loadTx });
      await to.store.deleteTx(txId); // another is faster
      return await to.store.loadTx(txId);
    },
  });
  const report = await migrateStore(from.store, to.store, { verify: true });
  assertEquals([report.copied, report.present], [1, 0]);
  assertEquals(await to.store.listTxs(), ["a"]);
});

test("a migration that was stopped goes on where it was", async () => {
  await using from = await tempStore();
  await using to = await tempStore();
  await from.store.saveTxs(
    Array.from({ length: 500 }, (_, n) => sampleTx({ txId: `t${n}` })),
  );
  const stop = new AbortController();
  const first = await migrateStore(from.store, to.store, {
    signal: stop.signal,
    onProgress: ({ done, total }) => {
      assertEquals(total, 500);
      if (done === 100) stop.abort();
    },
  });
  assert(first.interrupted && first.copied < 500);
  const second = await migrateStore(from.store, to.store);
  assertEquals([second.copied + first.copied, second.present], [
    500,
    first.copied,
  ]);
  assertEquals(await contentOf(to), await contentOf(from));
});

test("poh-storage migrate: there and back gives the same export", async () => {
  await using from = await tempStore();
  await using to = await tempStore();
  await from.store.saveTx(sampleTx({ txId: "a", timestamp: 0.1 }));
  await from.close();
  await to.close();
  const there = ["--from-base", from.base, "--to-base", `${to.base}/there`];
  const back = ["--base", `${to.base}/there`, "--to-base", `${to.base}/back`];
  assertEquals((await call(["migrate", ...there])).code, 6);
  for (const name of ["there", "back"]) {
    await call(["init", "--base", `${to.base}/${name}`]);
  }
  const first = await call(["migrate", ...there]);
  assertEquals(
    [first.code, first.stdout],
    [0, "Migration complete: 1 copied (12 bytes), 0 there already\n"],
  );
  const again = await call(["migrate", ...there, "--json"]);
  assertEquals(JSON.parse(again.stdout).present, 1);
  assertEquals((await call(["migrate", ...back])).code, 0);
  const exports = [from.base, `${to.base}/back`].map((base) =>
    call(["export", "--base", base])
  );
  const [one, two] = await Promise.all(exports);
  assertEquals(one!.stdout, two!.stdout);
  assert(one!.stdout.length > 0);
});

test("poh-storage migrate: Ctrl-C ends it with 130, and it goes on", async () => {
  await using from = await tempStore();
  await from.store.saveTx(sampleTx());
  await from.close();
  const args = ["migrate", "--base", from.base, "--to-base", `${from.base}/to`];
  await call(["init", "--base", `${from.base}/to`]);
  const stopped = await call(args, { signal: AbortSignal.abort() });
  assertEquals(stopped.code, 130);
  assertEquals(
    stopped.stdout,
    "Migration not complete: 0 copied (0 bytes), 0 there already\n",
  );
  assertEquals((await call(args)).code, 0);
});

test("poh-storage migrate refuses what makes no sense", async () => {
  await using from = await tempStore();
  await from.close();
  const wrong = [
    ["--base", from.base],
    ["--base", from.base, "--to-base", from.base],
    ["--base", from.base, "--to-base", "s3://bucket/prefix"],
  ];
  for (const args of wrong) {
    assertEquals((await call(["migrate", ...args])).code, 2, args.join(" "));
  }
});
