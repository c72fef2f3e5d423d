import { assertEquals } from "@std/assert";
import { TxExistsError } from "../../mod.ts";
import type { IfExists } from "../../src/model/if_exists.ts";
import type { Result, Waiting } from "../../src/log/batch.ts";
import { decideAll } from "../../src/log/decide.ts";
import { LogReader } from "../../src/log/log_reader.ts";
import { type LogEntry, rowOf } from "../../src/log/record.ts";
import { putRow } from "../../src/sqlite/row_changes.ts";
import { saveRow } from "../sqlite/rows.ts";
import { bytes, namesIn, test } from "../helpers.ts";
import {
  type Parts,
  putEntry,
  scanned,
  tempParts,
  writeSegment,
} from "./helpers.ts";

function entryOf(txId: string, payload = "1"): LogEntry {
  return putEntry({ txId, payload: bytes(payload) });
}

function change(
  entry: LogEntry,
  how: { rule?: IfExists | null } & Partial<Waiting> = {},
): Waiting {
  return {
    entry,
    rule: "replace",
    result: { made: false },
    settle: Promise.withResolvers<Result>(),
    ...how,
  };
}

function removal(txId: string, how: Partial<Waiting> = {}): Waiting {
  const entry = putEntry({ txId, kind: "remove", payload: null });
  return change({ ...entry, storageHash: "", size: 0 }, { rule: null, ...how });
}

function decided(parts: Parts, ...batch: Waiting[]) {
  const log = new LogReader(parts.dir, parts.rows);
  const { entries, isNew } = decideAll(batch, new Map(), parts, log);
  return {
    logged: entries.map(({ kind, txId }) => `${kind} ${txId}`),
    outcomes: batch.map(({ result }) => result.saved?.outcome ?? null),
    made: batch.map(({ result }) => result.made),
    entries,
    isNew,
  };
}

/** Saves a row, with its payload in a file unless told otherwise. */
async function saved(parts: Parts, txId: string, payload = "1") {
  const row = rowOf(entryOf(txId, payload))!;
  await saveRow(parts.rows, row);
  await parts.files.place(txId, bytes(payload));
  return row;
}

test("new ids are created, each once", async () => {
  await using parts = await tempParts();
  const found = decided(
    parts,
    change(entryOf("a")),
    change(entryOf("b")),
    change(entryOf("a", "2")),
  );
  assertEquals(found.logged, ["put a", "put b", "put a"]);
  assertEquals(found.outcomes, ["created", "created", "replaced"]);
  assertEquals(found.isNew, false);
  const alone = decided(parts, change(entryOf("c")), change(entryOf("d")));
  assertEquals([alone.isNew, alone.made], [true, [true, true]]);
});

test("the same again changes nothing where its payload is sound", async () => {
  await using parts = await tempParts();
  await saved(parts, "a");
  const again = decided(parts, change(entryOf("a")));
  assertEquals([again.logged, again.outcomes], [[], ["unchanged"]]);
  assertEquals(again.made, [false]);
  await parts.files.place("a", bytes("x"));
  const mended = decided(parts, change(entryOf("a")));
  assertEquals([mended.logged, mended.outcomes], [["put a"], ["unchanged"]]);
  assertEquals(mended.isNew, false);
});

test("the same again in one batch is logged once", async () => {
  await using parts = await tempParts();
  const found = decided(parts, change(entryOf("a")), change(entryOf("a")));
  assertEquals(found.logged, ["put a"]);
  assertEquals(found.outcomes, ["created", "unchanged"]);
  assertEquals(found.made, [true, false]);
});

test("the same again with a size that was unknown is logged", async () => {
  await using parts = await tempParts();
  const row = await saved(parts, "a");
  await saveRow(parts.rows, { ...row, size: -1 });
  const found = decided(parts, change(entryOf("a")));
  assertEquals([found.logged, found.outcomes], [["put a"], ["unchanged"]]);
});

test("a payload in the log is looked at where its row says", async () => {
  await using parts = await tempParts();
  await writeSegment(parts.dir, 1, [entryOf("a")]);
  const [record] = scanned(parts.dir, 0).records;
  const place = record!.position;
  const put = (at: number) =>
    parts.rows.change(() => putRow(parts.rows, rowOf(entryOf("a"))!, at));
  await put(place);
  assertEquals(decided(parts, change(entryOf("a"))).logged, []);
  await put(place + 8);
  assertEquals(decided(parts, change(entryOf("a"))).logged, ["put a"]);
  const other = rowOf(entryOf("a", "2"))!;
  await parts.rows.change(() => putRow(parts.rows, other, place));
  const found = decided(parts, change(entryOf("a", "2")));
  assertEquals(found.logged, ["put a"]);
});

test("rules say what a save does where there is another", async () => {
  await using parts = await tempParts();
  const there = await saved(parts, "a");
  const keep = change(entryOf("a", "2"), { rule: "keep" });
  const fail = change(entryOf("a", "2"), { rule: "fail" });
  const found = decided(parts, keep, fail);
  assertEquals([found.logged, found.made], [[], [false, false]]);
  assertEquals(keep.result.saved?.storageHash, there.storageHash);
  assertEquals(keep.result.saved?.outcome, "kept");
  assertEquals(fail.result.failure instanceof TxExistsError, true);
  const replace = decided(parts, change(entryOf("a", "2")));
  assertEquals([replace.logged, replace.isNew], [["put a"], false]);
});

test("rows under way count as there", async () => {
  await using parts = await tempParts();
  const row = rowOf(entryOf("a"))!;
  const same = change(entryOf("a"));
  const { entries } = decideAll(
    [same],
    new Map([["a", row]]),
    parts,
    new LogReader(parts.dir, parts.rows),
  );
  assertEquals([entries, same.result.saved?.outcome], [[], "unchanged"]);
});

test("a removal takes a row, and says which", async () => {
  await using parts = await tempParts();
  const row = await saved(parts, "a");
  const found = decided(parts, removal("a"), removal("a"), removal("b"));
  assertEquals(found.logged, ["remove a"]);
  assertEquals(found.made, [true, false, false]);
  assertEquals(found.entries[0]!.storageHash, row.storageHash);
  assertEquals(found.isNew, false);
  for (const storageHash of ["nonsense", "AB".repeat(32), "ab".repeat(33)]) {
    await saveRow(parts.rows, { ...row, storageHash });
    assertEquals(decided(parts, removal("a")).entries[0]!.storageHash, "");
  }
});

test("after a removal in the same batch an id is new again", async () => {
  await using parts = await tempParts();
  await saved(parts, "a");
  const found = decided(parts, removal("a"), change(entryOf("a", "2")));
  assertEquals(found.logged, ["remove a", "put a"]);
  assertEquals(found.outcomes[1], "created");
});

test("a change of a row as it was seen spares another one", async () => {
  await using parts = await tempParts();
  const row = await saved(parts, "a");
  const other = { ...row, holderId: "bob" };
  assertEquals(decided(parts, removal("a", { seen: other })).made, [false]);
  assertEquals(decided(parts, removal("b", { seen: row })).made, [false]);
  const put = change(entryOf("b"), { rule: null, seen: row });
  assertEquals(decided(parts, put).made, [false]);
  assertEquals(decided(parts, removal("a", { seen: row })).made, [true]);
});

test("a payload is moved only from where it was seen", async () => {
  await using parts = await tempParts();
  const row = rowOf(entryOf("a"))!;
  await parts.rows.change(() => putRow(parts.rows, row, 800));
  const move = (home: number) =>
    change(entryOf("a"), { rule: null, seen: row, home });
  assertEquals(decided(parts, move(808)).made, [false]);
  assertEquals(decided(parts, move(800)).made, [true]);
  const before = change(entryOf("a", "2"));
  assertEquals(decided(parts, before, move(800)).made, [true, false]);
  const same = { ...entryOf("a"), isPacked: true };
  const first = change(same, { rule: null });
  assertEquals(decided(parts, first, move(800)).made, [true, false]);
});

test("the staged payload of what is not made goes", async () => {
  await using parts = await tempParts();
  await saved(parts, "a");
  const { name } = await parts.files.staged.add([bytes("2")]);
  const entry: LogEntry = { ...entryOf("a", "2"), kind: "put-staged", name };
  decided(parts, change(entry, { rule: "fail" }));
  assertEquals(namesIn(parts.files.staged.path), []);
});
