// A store that machines share: the order of things, and what nodes see of each
// other.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { IntegrityError, sha256Hex } from "../../mod.ts";
import { type IfExists, savedTx } from "../../src/model/if_exists.ts";
import type { CatalogEntry } from "../../src/shared/contracts.ts";
import { describeRemote } from "../../src/shared/describe.ts";
import { plainKey, versionKey } from "../../src/shared/object_key.ts";
import { sweepRetired } from "../../src/shared/sweeper.ts";
import {
  assertBytes,
  bytes,
  filesBelow,
  flipBit,
  randomBytes,
  sampleTx,
  test,
  text,
} from "../helpers.ts";
import { keysOf, type Node, SharedStore } from "./remote_helpers.ts";

function save(
  { engine }: Node,
  tx: Parameters<typeof sampleTx>[0] = {},
  rule: IfExists = "replace",
) {
  const { payload, ...head } = sampleTx(tx);
  return engine.save(head, payload, rule);
}

async function loaded({ engine }: Node, txId = "a"): Promise<string | null> {
  const tx = await engine.load(txId);
  return tx && text(tx.payload);
}

async function entryOf({ catalog }: Node, txId = "a"): Promise<CatalogEntry> {
  return (await catalog.find([txId]))[0]!;
}

test("a save is seen by every node, under the plain key of its id", async () => {
  await using store = await SharedStore.make();
  const [one, two] = [await store.node(), await store.node()];
  const info = {
    txId: "A/b",
    holderId: "alice",
    timestamp: 1464307123.25,
    storageHash: await sha256Hex(bytes("hello")),
    size: 5,
  };
  assertEquals(
    await save(one, { txId: "A/b", payload: bytes("hello") }),
    savedTx(info, "created"),
  );
  assertEquals(await two.engine.info("A/b"), info);
  assertEquals(await loaded(two, "A/b"), "hello");
  assertEquals(await keysOf(two), [plainKey("A/b")]);
  assertEquals(await loaded(two, "unknown"), null);
  assertEquals(await two.engine.loadStream("unknown"), null);
});

test("a replacement has an object of its own, and the old one goes", async () => {
  await using store = await SharedStore.make();
  const [one, two] = [await store.node(), await store.node()];
  await save(one, { payload: bytes("first") });
  await save(two, { payload: bytes("second") });
  assertEquals(await loaded(one), "second");
  const { key } = await entryOf(one);
  assert(key.startsWith(".poh/versions/"), key);
  await two.close();
  assertEquals(await keysOf(one), [key]);
});

test("a plain key is not used again while a late deletion may reach it", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  await save(node, { payload: bytes("first") });
  assertEquals(await node.engine.remove("a"), true);
  assertEquals(await node.engine.remove("a"), false);
  await save(node, { payload: bytes("second") });
  const { key } = await entryOf(node);
  assert(key.startsWith(".poh/versions/"), key);
  await node.close();
  assertEquals(await keysOf(node), [key]);
});

test("saves of one id by one node keep the order of their calls", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  const slow = async function* () {
    yield bytes("s");
    await new Promise((resolve) => setTimeout(resolve, 50));
    yield bytes("low");
  };
  const { payload: _, ...head } = sampleTx();
  const saves = [
    node.engine.saveStream(head, slow(), "replace"),
    save(node, { payload: bytes("second") }),
    node.engine.remove("a"),
    save(node, { payload: bytes("third") }),
    save(node, { payload: bytes("last") }),
  ];
  assertEquals((await Promise.all(saves)).length, 5);
  assertEquals(await loaded(node), "last");
  await node.close();
  assertEquals((await keysOf(node)).length, 1);
});

test("many nodes that save one id leave one of their payloads, whole", async () => {
  await using store = await SharedStore.make();
  const nodes = await Promise.all([1, 2, 3].map(() => store.node()));
  const payloads = nodes.map((_, n) => randomBytes(50_000, n));
  await Promise.all(
    nodes.flatMap((node, n) =>
      Array.from({ length: 10 }, () => save(node, { payload: payloads[n]! }))
    ),
  );
  const tx = await nodes[0]!.engine.load("a");
  assert(payloads.some((payload) => text(payload) === text(tx!.payload)));
  for (const node of nodes) await node.close();
  assertEquals((await keysOf(nodes[0]!)).length, 1);
});

test("what is saved too late is refused, and leaves nothing behind", async () => {
  await using store = await SharedStore.make();
  // With a grace that is over before it begins every attempt is late.
  const node = await store.node({ grace: -6 });
  const error = await assertRejects(() => save(node), Error, "took too long");
  assertEquals((error as Error & { code: string }).code, "TOO_SLOW");
  assertEquals(await node.engine.info("a"), null);
  await node.close();
  assertEquals(await keysOf(node), []);
});

test("a payload in pieces comes back as a stream, whatever its size", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  for (const size of [0, 1, 100_000, 5_000_000]) {
    const payload = randomBytes(size, size);
    const { payload: _, ...head } = sampleTx();
    const pieces = ReadableStream.from(piecesOf(payload, 70_000));
    const saved = await node.engine.saveStream(head, pieces, "replace");
    assertEquals(saved.size, size);
    const stream = await node.engine.loadStream("a");
    const parts = await Array.fromAsync(stream!.payload);
    assertBytes(new Uint8Array(await new Blob(parts).arrayBuffer()), payload);
    const reader = (await node.engine.loadStream("a"))!.payload
      .getReader({ mode: "byob" });
    let read = 0, buffer = new Uint8Array(1000);
    for (let done = false; !done;) {
      const result = await reader.read(buffer);
      ({ done } = result);
      read += result.value?.length ?? 0;
      buffer = new Uint8Array(result.value!.buffer);
    }
    assertEquals(read, size);
  }
});

test("a payload that is not the expected one is not saved", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  const { payload, ...head } = sampleTx();
  const pieces = () => ReadableStream.from([payload]);
  await assertRejects(
    () =>
      node.engine.saveStream(head, pieces(), "replace", {
        expected: "0".repeat(64),
      }),
    IntegrityError,
  );
  assertEquals(await keysOf(node), []);
  const digest = await sha256Hex(payload);
  await node.engine.saveStream(head, pieces(), "replace", { expected: digest });
  assertEquals(await loaded(node), "payload of a");
});

test("a damaged or missing payload is an error, whole or as a stream", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  await save(node);
  await flipBit(store.path("a.bin"));
  const error = await assertRejects(
    () => node.engine.load("a"),
    IntegrityError,
  );
  assert(error.found !== null);
  const stream = await node.engine.loadStream("a");
  await assertRejects(
    () => Array.fromAsync(stream!.payload),
    IntegrityError,
  );
  await Deno.remove(store.path("a.bin"));
  for (const how of ["load", "loadStream"] as const) {
    const missing = await assertRejects(
      () => node.engine[how]("a") as Promise<unknown>,
      IntegrityError,
    );
    assertEquals(missing.found, null);
  }
});

test("prune deletes what is still as it was seen", async () => {
  await using store = await SharedStore.make();
  const [one, two] = [await store.node(), await store.node()];
  for (let n = 0; n < 600; n++) {
    await save(one, { txId: `t${n}`, timestamp: n });
  }
  let replaced: Promise<unknown> | null = null;
  const { deleted, changed } = await one.engine.prune({ before: 500 }, {
    onProgress: () => {
      replaced ??= save(two, { txId: "t599", payload: bytes("newer") });
    },
  });
  await replaced;
  assertEquals([deleted, changed], [500, 0]);
  assertEquals(await loaded(two, "t0"), null);
  assertEquals(await loaded(two, "t599"), "newer");
  await one.close();
  await two.close();
  assertEquals((await keysOf(one)).length, 100);
});

test("prune keeps what was replaced before it was its turn", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  await save(node);
  const seen = await entryOf(node);
  await save(node, { payload: bytes("newer") });
  const remove = { remove: "a", seen };
  assertEquals(await node.catalog.commit([remove]), ["unchanged"]);
  assertEquals(await loaded(node), "newer");
});

test("what the database refuses of one save does no harm to others", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  const saves = ["a", "b", "c"].map((txId) => {
    const holderId = txId === "b" ? "\ud800" : "alice";
    return save(node, { txId, holderId });
  });
  const ends = await Promise.allSettled(saves);
  assertEquals(ends.map(({ status }) => status), [
    "fulfilled",
    "rejected",
    "fulfilled",
  ]);
  assertEquals(await node.catalog.listIds(), ["a", "c"]);
});

test("of what died between its object and its row nothing is seen", async () => {
  await using store = await SharedStore.make();
  const [dead, node] = [await store.node(), await store.node()];
  dead.catalog.commit = () => new Promise(() => {}); // it dies here
  save(dead, { payload: bytes("half") });
  while ((await keysOf(node)).length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assertEquals(await node.engine.info("a"), null);
  assertEquals(await loaded(node), null);
  assertEquals((await node.engine.recover({})).findings, []);
  await save(node, { payload: bytes("whole") });
  assertEquals(await loaded(node), "whole");
});

test("a store that is open read-only is not changed", async () => {
  await using store = await SharedStore.make();
  const node = await store.node({ readOnly: true });
  const { engine } = node;
  for (
    const change of [
      () => save(node),
      () => engine.remove("a"),
      () => engine.prune({ before: 1 }, {}),
      () => engine.recover({}),
    ]
  ) await assertRejects(change as () => Promise<unknown>, Error, "read-only");
  assertEquals((await engine.recover({ dryRun: true })).damaged, false);
});

test("to describe a store changes nothing", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  await save(node);
  await Deno.remove(store.path(".poh/tmp"));
  const before = await filesBelow(store.base);
  const { driver } = node.catalog;
  const { txs, hints } = await describeRemote({ ...node, driver });
  assertEquals([txs, hints], [1, []]);
  assertEquals(await filesBelow(store.base), before);
  await Deno.mkdir(store.path(".poh/tmp"));
});

test("a machine that slept saves at once", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  const { catalog } = node;
  const now = catalog.now.bind(catalog);
  let asked = 0;
  // The clock that it goes by has stood still for two hours.
  catalog.now = async () => await now() - (asked++ === 0 ? 7_200 : 0);
  await save(node, { payload: bytes("late") });
  assertEquals(await loaded(node), "late");
  assertEquals(asked, 2);
});

test("a key that no row names is retired by whoever gives it up", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  await save(node);
  const { info } = await entryOf(node);
  const other = versionKey("a", info.storageHash);
  const { catalog } = node;
  const keys = ["a.bin", other];
  assertEquals(await catalog.retire(keys), new Set([other]));
  assertEquals(await catalog.retiredOf(keys), new Set([other]));
  const put = { info, key: other };
  assertEquals(await catalog.commit([{ put, deadline: Infinity }]), [
    "retired",
  ]);
  assertEquals((await entryOf(node)).key, "a.bin");
});

function piecesOf(whole: Uint8Array, size: number): Uint8Array[] {
  const pieces = [];
  for (let at = 0; at < whole.length; at += size) {
    pieces.push(whole.subarray(at, at + size));
  }
  return pieces;
}

test("a sweep ends when it is enough, however many keys others retire", async () => {
  await using store = await SharedStore.make();
  const { catalog, objects } = await store.node();
  let pages = 0;
  // Others are as quick to retire as this one is to delete.
  catalog.retired = () =>
    Promise.resolve([{ key: `${pages++}.bin`, deleted: false }]);
  await sweepRetired(objects, catalog, { isEnough: () => pages === 3 });
  assertEquals(pages, 3);
});
