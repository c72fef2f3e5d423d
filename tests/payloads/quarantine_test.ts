import { assertEquals } from "@std/assert";
import { sha256Hex } from "../../mod.ts";
import { LocalEngine } from "../../src/local/local_engine.ts";
import { listQuarantine, writeNote } from "../../src/payloads/quarantine.ts";
import { keepCase, listCases } from "../../src/shared/quarantine.ts";
import { testQuarantine } from "../contract/quarantine.ts";
import { bytes, namesIn, tempDir, test } from "../helpers.ts";
import { SharedStore } from "../shared/remote_helpers.ts";

testQuarantine("a store on one machine", async () => {
  const dir = await tempDir();
  const base = dir.join("base");
  const again = () => LocalEngine.open(base, dir.join("poh.db"), {}, true);
  const engine = await again();
  return {
    base,
    engine,
    again,
    async [Symbol.asyncDispose]() {
      await engine.close();
      await dir[Symbol.asyncDispose]();
    },
  };
});

testQuarantine("a store that machines share", async () => {
  const store = await SharedStore.make();
  const { engine } = await store.node();
  return {
    base: store.base,
    engine,
    again: async () => (await store.node()).engine,
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
});

test("a case is kept when its bytes are those of its note, and stay so", async () => {
  await using store = await SharedStore.make();
  const { objects } = await store.node();
  const [one, two] = [
    await sha256Hex(bytes("one")),
    await sha256Hex(bytes("two")),
  ];
  await objects.create("a.bin", bytes("one"), one);
  const about = { txId: "a", reason: "orphan-payload" as const, at: "" };
  const keep = (found: string | null) =>
    keepCase(objects, "a.bin", "a.bin", {
      ...about,
      expected: null,
      found,
      row: null,
    });
  assertEquals(await keep(two), false);
  assertEquals(await keep(null), true);
  for (let n = 0; n < 2; n++) assertEquals(await keep(one), true);
  const entries = await Array.fromAsync(listCases(objects));
  const kept = entries.filter(({ size }) => size !== null);
  assertEquals(kept.map(({ found, size }) => [found, size]), [[one, 3]]);
  const path = store.path(`.poh/quarantine/${kept[0]!.name}.bin`);
  await Deno.writeTextFile(path, "two");
  assertEquals(await keep(one), false);
});

test("where there is no store there is no quarantine", async () => {
  await using dir = await tempDir();
  assertEquals(await Array.fromAsync(listQuarantine(dir.join("none"))), []);
});

test("the same case has the same name, others have others", async () => {
  await using dir = await tempDir();
  const note = {
    txId: "a",
    reason: "payload-corrupt" as const,
    at: new Date(0).toISOString(),
    expected: "00".repeat(32),
    found: "11".repeat(32),
    row: null,
  };
  const later = { ...note, at: new Date(1).toISOString() };
  const name = await writeNote(dir.path, "a.bin", note);
  assertEquals(await writeNote(dir.path, "a.bin", later), name);
  const others = await Promise.all([
    writeNote(dir.path, "b.bin", { ...note, txId: "b" }),
    writeNote(dir.path, "a.bin", { ...note, found: "22".repeat(32) }),
    writeNote(dir.path, "a.bin", { ...note, expected: "22".repeat(32) }),
    // Where case does not count, names that differ in nothing else are one.
    writeNote(dir.path, "A.bin", { ...note, txId: "A" }),
    writeNote(dir.path, null, note),
  ]);
  assertEquals(new Set([name, ...others]).size, 6);
  assertEquals(
    new Set([name, ...others].map((name) => name.toLowerCase())).size,
    6,
  );
  assertEquals(namesIn(dir.path, ".poh", "quarantine").length, 6);
});
