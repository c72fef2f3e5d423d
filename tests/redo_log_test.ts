import { assertEquals } from "@std/assert";
import { sha256Hex, SqliteStore } from "../mod.ts";
import type { RedoEntry } from "../src/redo_log.ts";
import {
  bytes,
  type Driver,
  type TempDir,
  tempDir,
  test,
  testDrivers,
} from "./helpers.ts";

async function openRows(dir: TempDir, driver: Driver = "builtin") {
  const rows = await SqliteStore.open(dir.join("poh.db"), { driver });
  await rows.init();
  return rows;
}

async function put(
  txId: string,
  payload: Uint8Array = bytes(`payload of ${txId}`),
): Promise<RedoEntry> {
  const storageHash = await sha256Hex(payload);
  return { txId, action: "put", storageHash, payload, staged: null };
}

function other(
  txId: string,
  action: RedoEntry["action"],
  staged: string | null = null,
): RedoEntry {
  const storageHash = "00".repeat(32);
  return { txId, action, storageHash, payload: null, staged };
}

function append(rows: SqliteStore, entries: RedoEntry[], writer = "w1") {
  rows.transaction(() => rows.redo.append(entries, writer));
}

function idsIn(
  { redo }: SqliteStore,
  after?: number,
  writer?: string,
): string[] {
  return redo.idsAfter(after ?? 0, Infinity, writer).map(({ txId }) => txId);
}

testDrivers("an entry comes back as it was logged", async (driver) => {
  await using dir = await tempDir();
  const entries = [
    await put("small"),
    await put("empty", new Uint8Array()),
    await put("zeros", new Uint8Array(1_000)),
    await put('quo"te'),
    await put("取引🪙"),
    other("staged", "put", "name"),
    other("gone", "remove"),
    other("bad", "quarantine", "n"),
  ];
  {
    await using rows = await openRows(dir, driver);
    append(rows, entries);
  }
  await using rows = await openRows(dir, driver);
  const { redo } = rows;
  for (const entry of entries) assertEquals(redo.of(entry.txId), entry);
  for (const txId of ["unknown", "smal", "te", "🪙"]) {
    assertEquals(redo.of(txId), null);
  }
  assertEquals(redo.count(), entries.length);
  assertEquals(redo.stagedOf("staged"), "name");
  assertEquals(redo.stagedOf("bad"), null);
  // What is to be moved to quarantine is no staged payload.
  assertEquals(redo.stagedNames(), new Set(["name"]));
});

testDrivers("small payloads of one commit are one record", async (driver) => {
  await using dir = await tempDir();
  await using rows = await openRows(dir, driver);
  const { redo } = rows;
  const entries = [await put("a"), await put("b"), await put("c")];
  append(rows, [other("x", "remove"), ...entries]);
  append(rows, [await put("d")], "w2");
  assertEquals(redo.next(0), { seq: 1, entries: [other("x", "remove")] });
  assertEquals(redo.next(1), { seq: 4, entries });
  assertEquals(redo.next(4)?.seq, 5);
  assertEquals(redo.next(5), null);
  assertEquals(idsIn(rows), ["x", "a", "b", "c", "d"]);
  assertEquals(idsIn(rows, 1, "w1"), ["a", "b", "c"]);
  assertEquals(redo.idsAfter(1, 2).length, 3); // a record is not split
  assertEquals(redo.idsAfter(0, 1), [{ seq: 1, txId: "x" }]);
});

testDrivers("the newest entry of an id is its entry", async (driver) => {
  await using dir = await tempDir();
  await using rows = await openRows(dir, driver);
  const { redo } = rows;
  append(rows, [await put("a", bytes("1"))]);
  append(rows, [await put("a", bytes("2")), await put("b")]);
  assertEquals(redo.of("a")?.payload, bytes("2"));
  append(rows, [other("a", "remove")]);
  assertEquals(redo.of("a")?.action, "remove");
  append(rows, [other("a", "put", "staged")]);
  assertEquals(redo.of("a")?.staged, "staged");
  append(rows, [await put("a", bytes("3"))]);
  assertEquals(redo.of("a")?.payload, bytes("3"));
});

testDrivers(
  "trim() drops a writer's records up to a number, but for some ids",
  async (driver) => {
    await using dir = await tempDir();
    await using rows = await openRows(dir, driver);
    const { redo } = rows;
    append(rows, [await put("a"), await put("b")]);
    append(rows, [await put("c"), other("d", "remove"), other("e", "remove")]);
    append(rows, [await put("f")], "w2");
    append(rows, [await put("g")]);
    rows.transaction(() => redo.trim("w1", 5, ["b", "e"]));
    assertEquals(idsIn(rows), ["a", "b", "e", "f", "g"]);
    rows.transaction(() => redo.trim("w1", 5));
    assertEquals(idsIn(rows), ["f", "g"]);
    rows.transaction(() => redo.drop(6));
    assertEquals(idsIn(rows), ["g"]);
    rows.transaction(() => redo.clear());
    assertEquals([redo.isEmpty(), redo.count()], [true, 0]);
  },
);

testDrivers("no number is given twice", async (driver) => {
  await using dir = await tempDir();
  let newest = 0;
  for (const entry of [await put("a"), other("a", "remove"), await put("b")]) {
    await using rows = await openRows(dir, driver);
    const { redo } = rows;
    append(rows, [entry]);
    const seq = redo.next(0)!.seq;
    assertEquals([seq > newest, redo.newest()], [true, seq]);
    rows.transaction(() => redo.advance(3));
    newest = redo.newest();
    assertEquals(newest, seq + 3);
    rows.transaction(() => redo.clear());
  }
});

test("a database edited by hand names no files elsewhere", async () => {
  await using dir = await tempDir();
  await using rows = await openRows(dir);
  append(rows, [other("a", "put", "../x"), other("b", "put", "..\\x")]);
  assertEquals(rows.redo.of("a")?.staged, null);
  assertEquals(rows.redo.stagedOf("b"), null);
});
