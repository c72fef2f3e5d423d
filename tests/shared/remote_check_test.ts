// Verification and repair of a store that machines share.

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type RecoverOptions,
  sha256Hex,
  StoreBusyError,
  type StoreReport,
} from "../../mod.ts";
import { openSources } from "../../src/copy/sources/open_sources.ts";
import { GRACE } from "../../src/shared/contracts.ts";
import { plainKey, versionKey } from "../../src/shared/object_key.ts";
import {
  bytes,
  flipBit,
  outline,
  randomBytes,
  sampleTx,
  type TempDir,
  tempDir,
  test,
  text,
} from "../helpers.ts";
import { keysOf, type Node, SharedStore } from "./remote_helpers.ts";

function save({ engine }: Node, txId: string, payload = bytes(txId)) {
  const { payload: _, ...head } = sampleTx({ txId });
  return engine.save(head, payload, "replace");
}

async function put({ objects }: Node, key: string, content: string) {
  await objects.create(key, bytes(content), await sha256Hex(bytes(content)));
}

/** Lets a grace pass for an object. */
async function age(store: SharedStore, key: string): Promise<void> {
  const then = Date.now() / 1000 - GRACE - 60;
  await Deno.utime(store.path(key), then, then);
}

/** Recovers; a second time finds nothing but what the first has left. */
async function recovered(
  node: Node,
  options: RecoverOptions = {},
): Promise<StoreReport> {
  const recover = async (how: typeof options): Promise<StoreReport> => {
    await using sources = await openSources(how, node.objects.url);
    return await node.engine.recover(how, sources);
  };
  const dry = await recover({ ...options, dryRun: true });
  const report = await recover(options);
  const untimed = ({ steps: _, dryRun: __, ...rest }: StoreReport) => rest;
  const isAdopting = options.orphans === "adopt";
  if (!isAdopting) assertEquals(outline(dry), outline(report));
  const again = await recover(options);
  const left = report.findings.filter(({ action }) => action === "none");
  assertEquals(outline(again), outline(left));
  assertEquals(untimed(again).repaired, 0);
  return report;
}

test("a sound store has no findings, however it came about", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  for (let n = 0; n < 50; n++) await save(node, `t${n}`);
  for (let n = 0; n < 20; n++) await save(node, `t${n}`, bytes("newer"));
  for (let n = 10; n < 30; n++) await node.engine.remove(`t${n}`);
  const sound: string[] = [];
  const report = await node.engine.verify({ onSound: (id) => sound.push(id) });
  assertEquals(report.findings, []);
  assertEquals([report.sound, report.checked, sound.length], [30, 30, 30]);
  assertEquals(report.bytes, 10 * 5 + 20 * 3);
  assertEquals((await recovered(node)).findings, []);
  assertEquals((await keysOf(node)).length, 30);
});

test("a damaged transaction leaves the list, its bytes and row are kept", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  for (const txId of ["a", "b", "c"]) await save(node, txId);
  await flipBit(store.path("a.bin"));
  await Deno.remove(store.path("b.bin"));
  const seen = await node.engine.verify({});
  assertEquals(outline(seen), [
    "payload-corrupt a: none",
    "payload-missing b: none",
  ]);
  assert(seen.damaged);
  assertEquals(outline(await recovered(node)), [
    "payload-corrupt a: quarantined",
    "payload-missing b: quarantined",
  ]);
  assertEquals(await node.catalog.listIds(), ["c"]);
  const [bin, json, missing, c] = await keysOf(node);
  assertEquals(c, "c.bin");
  assertEquals(text(await node.objects.read(bin!)), "`");
  const note = JSON.parse(text(await node.objects.read(json!)));
  assertEquals(note.row.txId, "a");
  assertEquals([note.reason, note.expected], [
    "payload-corrupt",
    await sha256Hex(bytes("a")),
  ]);
  assertEquals(JSON.parse(text(await node.objects.read(missing!))).found, null);
  await save(node, "a");
  assertEquals(text((await node.engine.load("a"))!.payload), "a");
});

test("--purge deletes what is damaged", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  await save(node, "a");
  await flipBit(store.path("a.bin"));
  assertEquals(outline(await recovered(node, { purge: true })), [
    "payload-corrupt a: purged",
  ]);
  assertEquals(await keysOf(node), []);
});

test("a row with another size is corrected", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  await save(node, "a");
  const info = await node.engine.info("a");
  await node.catalog.save({ ...info!, size: 77 });
  assertEquals(outline(await recovered(node)), ["size-mismatch a: corrected"]);
  assertEquals(await node.engine.info("a"), info);
});

test("an object without a row is an orphan once no save can want it", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  await put(node, "a.bin", "under way");
  assertEquals((await node.engine.verify({})).findings, []);
  assertEquals((await recovered(node, { orphans: "quarantine" })).findings, []);
  await age(store, "a.bin");
  assertEquals(outline(await node.engine.verify({})), [
    "orphan-payload a: none",
  ]);
  assertEquals(outline(await recovered(node)), ["orphan-payload a: none"]);
  const report = await recovered(node, { orphans: "quarantine" });
  assertEquals(outline(report), ["orphan-payload a: quarantined"]);
  const [bin] = await keysOf(node);
  assert(bin!.startsWith(".poh/quarantine/"), bin);
  assertEquals(text(await node.objects.read(bin!)), "under way");
  // Whoever made it and slept since must not have it.
  const info = { ...sampleTx(), storageHash: "00".repeat(32), size: 9 };
  const late = { put: { info, key: "a.bin" }, deadline: Infinity };
  assertEquals(await node.catalog.commit([late]), ["retired"]);
});

test("orphans are adopted, but for those whose id has a row", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  await save(node, "b");
  const other = versionKey("b", await sha256Hex(bytes("other")));
  await put(node, plainKey("a/1"), "one");
  await put(node, other, "other");
  for (const key of [plainKey("a/1"), other]) await age(store, key);
  assertEquals(outline(await recovered(node, { orphans: "adopt" })), [
    "orphan-payload a/1: adopted",
    "orphan-payload b: none",
  ]);
  assertEquals(text((await node.engine.load("a/1"))!.payload), "one");
  assertEquals(text((await node.engine.load("b"))!.payload), "b");
});

test("recover finishes deletions that were left half-done", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  await save(node, "a");
  await node.catalog.commit([{ remove: "a" }]); // and then it died
  await age(store, "a.bin");
  assertEquals((await node.engine.verify({})).findings, []);
  assertEquals((await recovered(node)).findings, []);
  assertEquals(await keysOf(node), []);
  assertEquals(await node.catalog.retired(9), [{
    key: "a.bin",
    deleted: true,
  }]);
});

test("what was broken off is removed", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  await Deno.writeTextFile(store.path(".poh/tmp/x"), "half");
  assertEquals((await recovered(node)).findings, []);
  await age(store, ".poh/tmp/x");
  const report = await node.engine.recover({});
  assertEquals(outline(report), ["leftover-temp null: removed"]);
  assertEquals((await recovered(node)).findings, []);
});

test("one repairs at a time, beside those who use the store", async () => {
  await using store = await SharedStore.make();
  const [one, two] = [await store.node(), await store.node()];
  await save(one, "a");
  {
    await using _lease = await one.catalog.lease();
    await assertRejects(() => two.engine.recover({}), StoreBusyError);
    await save(two, "b");
  }
  assertEquals((await two.engine.recover({})).sound, 2);
});

test("quarantine is not emptied while somebody repairs", async () => {
  await using store = await SharedStore.make();
  const [one, two] = [await store.node(), await store.node()];
  await save(one, "a");
  await flipBit(store.path("a.bin"));
  await one.engine.recover({});
  {
    await using _lease = await one.catalog.lease();
    await assertRejects(() => two.engine.quarantine.empty(), StoreBusyError);
    assertEquals((await keysOf(one)).length, 2);
  }
  assertEquals(await two.engine.quarantine.empty(), 1);
  assertEquals(await keysOf(one), []);
});

test("a payload that is replaced while it is looked at is no damage", async () => {
  await using store = await SharedStore.make();
  const [one, two] = [await store.node(), await store.node()];
  for (let n = 0; n < 100; n++) await save(one, `t${n}`);
  let isEnded = false;
  const writers = [0, 1, 2, 3].map(async (seed) => {
    for (let n = seed; !isEnded; n += 7) {
      await save(two, `t${n % 100}`, bytes(`${n}`));
      if (n % 5 === 0) await two.engine.remove(`t${n % 100}`);
    }
  });
  try {
    for (let n = 0; n < 5; n++) {
      assertEquals((await one.engine.verify({})).findings, []);
      assertEquals((await one.engine.recover({})).findings, []);
    }
  } finally {
    isEnded = true;
    await Promise.all(writers);
  }
  assertEquals((await recovered(one)).findings, []);
});

test("parts of a verification come to the whole", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  const ids = ["A", "Z", "a", "b\uFFFD", "b\u{10000}", "ä", "あ", "z"];
  for (const txId of ids) await save(node, txId);
  const ends = await node.catalog.boundaries(3);
  const starts = [undefined, ...ends];
  const sound: string[] = [];
  for (const [n, after] of starts.entries()) {
    const until = ends[n];
    const report = await node.engine.verify({
      ...(after !== undefined && { after }),
      ...(until !== undefined && { until }),
      workers: 2,
      onSound: (txId) => sound.push(txId),
    });
    assertEquals(report.steps.map(({ name }) => name), ["payloads"]);
  }
  assertEquals(sound.length, ids.length);
  assertEquals(new Set(sound), new Set(ids));
  const some = await node.engine.verify({ limit: 3 });
  assertEquals([some.checked, some.cursor], [3, "a"]);
  const rest = await node.engine.verify({ after: some.cursor! });
  assertEquals([rest.checked, rest.cursor], [5, null]);
});

test("machines verify parts beside writers, one recovers what they have found", async () => {
  await using store = await SharedStore.make();
  const nodes = [];
  for (let n = 0; n < 4; n++) nodes.push(await store.node());
  const [writer, repairer] = nodes as [Node, Node];
  const ids = Array.from({ length: 200 }, (_, n) => `t${1000 + n}`);
  for (const txId of ids) await save(writer, txId);
  const damaged = ids.filter((_, n) => n % 20 === 7);
  for (const txId of damaged) await flipBit(store.path(`${txId}.bin`));
  let isEnded = false;
  const writing = (async () => {
    for (let n = 0; !isEnded; n++) {
      const txId = ids[n % ids.length]!;
      if (n % 20 === 3) await save(writer, txId, bytes(`${n}`));
      if (n % 20 === 4) await writer.engine.remove(txId);
      if (n % 20 === 7 && n % 40 === 7) await save(writer, txId);
    }
  })();
  const ends = await writer.catalog.boundaries(nodes.length);
  const reports = await Promise.all(nodes.map(({ engine }, n) =>
    engine.verify({
      ...(n > 0 && { after: ends[n - 1]! }),
      ...(n < ends.length && { until: ends[n]! }),
    })
  ));
  isEnded = true;
  await writing;
  const findings = reports.flatMap(({ findings }) => findings);
  const only = new Set([...findings.map(({ txId }) => txId!), "unknown"]);
  assert(findings.every(({ txId }) => damaged.includes(txId!)), "too many");
  const untouched = damaged.filter((_, n) => n % 2 === 1);
  assert(untouched.every((txId) => only.has(txId)), "too few");
  // What was saved anew since it was found is sound.
  const anew = damaged.slice(0, 2);
  for (const txId of anew) await save(writer, txId);
  const still: string[] = [];
  for (const txId of only) {
    await writer.engine.load(txId).catch(() => still.push(txId));
  }
  const dry = await repairer.engine.recover({ only, dryRun: true });
  const report = await repairer.engine.recover({ only });
  assertEquals(outline(report), outline(dry));
  assertEquals(report.steps.map(({ name }) => name), ["payloads"]);
  assertEquals(
    report.findings.map(({ txId }) => txId).sort(),
    still.sort(),
  );
  for (const txId of anew) {
    assertEquals(text((await writer.engine.load(txId))!.payload), txId);
  }
  const rest = await repairer.engine.recover({ skipPayloads: true });
  assertEquals([rest.checked, rest.findings], [0, []]);
  assertEquals((await recovered(repairer)).findings, []);
});

test("recover can leave out the payloads", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  await save(node, "a");
  await flipBit(store.path("a.bin"));
  await save(node, "b");
  await node.catalog.commit([{ remove: "b" }]); // and then it died
  await put(node, "c.bin", "orphan");
  await age(store, "c.bin");
  const options = { skipPayloads: true, orphans: "adopt" } as const;
  assertEquals(outline(await node.engine.recover(options)), [
    "orphan-payload c: adopted",
  ]);
  assertEquals(await keysOf(node), ["a.bin", "c.bin"]);
  assertEquals(outline(await recovered(node)), [
    "payload-corrupt a: quarantined",
  ]);
});

test("what was read too long ago is not acted on", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  await save(node, "a");
  await flipBit(store.path("a.bin"));
  const late = await store.node({ grace: -1 }); // before it began
  const only = new Set(["a"]);
  for (const purge of [false, true]) {
    assertEquals(outline(await late.engine.recover({ only, purge })), [
      "payload-corrupt a: none",
    ]);
  }
  assertEquals(await node.catalog.count(), 1);
  assertEquals(outline(await node.engine.recover({ only, purge: true })), [
    "payload-corrupt a: purged",
  ]);
  assert(!(await keysOf(node)).includes("a.bin"));
});

test("an interrupted check tells where to go on", async () => {
  await using store = await SharedStore.make();
  const node = await store.node();
  for (let n = 100; n < 200; n++) await save(node, `t${n}`);
  const stop = new AbortController();
  const first = await node.engine.verify({
    signal: stop.signal,
    workers: 1,
    onSound: (txId) => txId === "t120" && stop.abort(),
  });
  assert(first.interrupted);
  const second = await node.engine.verify({ after: first.cursor! });
  assertEquals(first.checked + second.checked, 100);
});

// --- heal -----------------------------------------------------------------------

/** A folder of payload files by their names. */
async function folderOf(
  dir: TempDir,
  files: Record<string, Uint8Array>,
): Promise<string> {
  const path = dir.join("files");
  await Deno.mkdir(path);
  for (const [name, content] of Object.entries(files)) {
    await Deno.writeFile(`${path}/${name}`, content);
  }
  return path;
}

test("a shared store is healed by new objects, and keeps what was damaged", async () => {
  await using dir = await tempDir();
  await using store = await SharedStore.make();
  const node = await store.node();
  const large = randomBytes(200_000);
  for (const txId of ["a", "b", "d"]) await save(node, txId);
  await save(node, "c", large);
  await flipBit(store.path("a.bin"));
  await Deno.remove(store.path("b.bin"));
  await Deno.remove(store.path("c.bin"));
  await Deno.remove(store.path("d.bin"));
  const from = await folderOf(dir, {
    "a.bin": bytes("a"),
    "b.bin": bytes("B"),
    "c.bin": large,
  });
  await using sources = await openSources({ from }, node.objects.url);
  const seen = await node.engine.verify({}, sources);
  assertEquals([seen.healable, seen.damaged], [2, true]);
  const report = await recovered(node, { from });
  assertEquals(outline(report), [
    "payload-corrupt a: healed",
    "payload-missing b: quarantined",
    "payload-missing c: healed",
    "payload-missing d: quarantined",
  ]);
  assertEquals(report.sources, [
    { source: from, healed: 2, wrong: 1, failure: null },
  ]);
  assertEquals(report.takenOut.toSorted(), ["b", "d"]);
  assertEquals(text((await node.engine.load("a"))?.payload), "a");
  assertEquals((await node.engine.load("c"))?.payload, large);
  const kept = await Array.fromAsync(node.engine.quarantine.list());
  assertEquals(
    kept.map(({ txId, size }) => [txId, size]).sort(),
    [["a", 1], ["b", null], ["d", null]],
  );
  assertEquals((await node.engine.verify({})).sound, 2);
});

test("what is in quarantine of a shared store comes back once a source has it", async () => {
  await using dir = await tempDir();
  await using store = await SharedStore.make();
  const node = await store.node();
  for (const txId of ["a", "b"]) await save(node, txId);
  await Deno.remove(store.path("a.bin"));
  await recovered(node);
  assertEquals(await node.catalog.listIds(), ["b"]);
  const from = await folderOf(dir, { "a.bin": bytes("a") });
  const report = await recovered(node, { from });
  assertEquals(outline(report), ["out-of-service a: healed"]);
  assertEquals(await node.catalog.listIds(), ["a", "b"]);
  assertEquals(text((await node.engine.load("a"))?.payload), "a");
  assertEquals(await Array.fromAsync(node.engine.quarantine.list()), []);
});
