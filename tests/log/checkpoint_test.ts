import { assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  dropSegments,
  filesOf,
  findStuck,
  keepInLog,
  makeAgain,
  mayDrop,
  retry,
  stretchOf,
  syncFollowed,
} from "../../src/log/checkpoint.ts";
import { makeFile } from "../../src/log/follow.ts";
import { type LogEntry, type LogRecord, rowOf } from "../../src/log/record.ts";
import { FIRST_RECORD, positionOf } from "../../src/log/segment.ts";
import { findRow } from "../../src/sqlite/lookups.ts";
import { deleteRow, putRow } from "../../src/sqlite/row_changes.ts";
import {
  bytes,
  IS_WINDOWS,
  namesIn,
  refusingDisk,
  test,
  text,
} from "../helpers.ts";
import {
  type Parts,
  putEntry,
  scanned,
  tempParts,
  writeSegment,
} from "./helpers.ts";

const START = positionOf(1, FIRST_RECORD);

/** Logs entries, and has the rows follow. */
async function logged(parts: Parts, ...entries: LogEntry[]) {
  const end = await writeSegment(parts.dir, 1, entries);
  const { records } = scanned(parts.dir, START);
  for (const record of records) await follow(parts, record);
  return { records, end };
}

async function follow({ rows }: Parts, record: LogRecord): Promise<void> {
  const row = rowOf(record);
  const place = record.isPacked ? record.position : null;
  await rows.change(() =>
    row ? putRow(rows, row, place) : deleteRow(rows, record.txId)
  );
}

function remove(txId: string): LogEntry {
  return putEntry({ txId, kind: "remove", payload: null });
}

test("a stretch has the last record of each id, up to its end", async () => {
  await using parts = await tempParts();
  const { records, end } = await logged(
    parts,
    putEntry({ txId: "a" }),
    putEntry({ txId: "b", isPacked: true }),
    putEntry({ txId: "a", payload: bytes("2") }),
    remove("c"),
  );
  const at = records.map(({ position }) => position);
  const whole = await stretchOf(parts.dir, START, end);
  assertEquals(
    [...whole.last],
    [["a", at[2]], ["b", at[1]], ["c", at[3]]] as [string, number][],
  );
  assertEquals([...filesOf(parts.dir, whole)], [
    { txId: "a", position: at[2]! },
    { txId: "c", position: at[3]! },
  ]);
  const some = await stretchOf(parts.dir, START, at[2]!);
  assertEquals([...some.last.keys()], ["a", "b"]);
  assertEquals([...filesOf(parts.dir, some)], [
    { txId: "a", position: at[0]! },
  ]);
});

test("a payload that moved while its checkpoint was made stays as it is", async () => {
  for (const isPacked of [true, false]) {
    await using parts = await tempParts();
    const { files, dir } = parts;
    const payload = bytes("moved");
    const { records } = await logged(
      parts,
      putEntry({ txId: "a", payload, isPacked }),
      putEntry({ txId: "a", payload, isPacked: !isPacked }),
    );
    const [before, after] = records as [LogRecord, LogRecord];
    if (isPacked) await makeFile(after, parts);
    const names = namesIn(files.basePath);
    const stretch = await stretchOf(dir, START, after.position);
    assertEquals(await findStuck(parts, stretch), []);
    assertEquals((await retry(parts, [before.position])).size, 0);
    await keepInLog(new Map([[before.position, new Error("late")]]), parts);
    assertEquals(namesIn(files.basePath), names);
    const place = isPacked ? null : after.position;
    assertEquals(findRow(parts.rows, "a")?.place, place);
  }
});

test("what the disk refuses is made anew, once", async () => {
  await using parts = await tempParts();
  const { records } = await logged(
    parts,
    ...["a", "b", "c"].map((txId) => putEntry({ txId })),
  );
  const [a, b, c] = records.map(({ position }) => position);
  for (const record of records) await makeFile(record, parts);
  const following = records.map(({ txId, position }) => ({ txId, position }));
  const asked: string[][] = [];
  const again: string[] = [];
  const stuck = new Map([[b!, new Error("stuck before")]]);
  await syncFollowed(
    parts,
    following,
    stuck,
    async ({ txId }) => {
      again.push(txId);
      if (txId === "c") throw new Error("is a directory");
      await Promise.resolve();
    },
    async (txIds, onRefused) => {
      asked.push(txIds);
      txIds.forEach((txId) => onRefused(txId));
      await Promise.resolve();
    },
  );
  assertEquals(asked, [["a", "c"]]);
  assertEquals(again, ["a", "c"]);
  assertEquals([...stuck.keys()], [b, c]);
  assertEquals(stuck.has(a!), false);
});

test("a file that is refused again is stuck", async () => {
  await using parts = await tempParts();
  const { records } = await logged(parts, putEntry());
  await makeFile(records[0]!, parts);
  const [{ txId, position }] = records as [LogRecord];
  const stuck = new Map<number, Error>();
  using _ = refusingDisk(() => true);
  await syncFollowed(
    parts,
    [{ txId, position }],
    stuck,
    (record) => makeFile(record, parts),
  );
  assertEquals([...stuck.keys()], [position]);
  const gone = [{ txId, position: position + 8 }];
  await assertRejects(
    () => syncFollowed(parts, gone, new Map(), async () => {}),
    Error,
    "no record",
  );
});

test("many files are synced a page at a time, and names without any", async () => {
  await using parts = await tempParts();
  const sizes: number[] = [];
  const sync = async (txIds: string[]) => {
    sizes.push(txIds.length);
    await Promise.resolve();
  };
  const many = Array.from(
    { length: 1_030 },
    (_, n) => ({ txId: `${n}`, position: n }),
  );
  await syncFollowed(parts, many, new Map(), async () => {}, sync);
  assertEquals(sizes, [512, 512, 6]);
  sizes.length = 0;
  await syncFollowed(parts, [], new Map(), async () => {}, sync);
  assertEquals(sizes, [0]);
});

test("the files of a stretch are made again, but for those that are stuck", async () => {
  await using parts = await tempParts();
  const { records, end } = await logged(
    parts,
    ...["a", "b", "c", "a"].map((txId) => putEntry({ txId })),
  );
  const stuck = new Map([[records[1]!.position, new Error("before")]]);
  const made: number[] = [];
  await makeAgain(
    parts,
    await stretchOf(parts.dir, START, end),
    stuck,
    async ({ txId, position }) => {
      if (txId === "c") throw new Error("now");
      made.push(position);
      await Promise.resolve();
    },
  );
  assertEquals(made, [records[3]!.position]);
  assertEquals(stuck.get(records[2]!.position)?.message, "now");
  assertEquals(stuck.size, 2);
});

test("what could not follow is found by row and file, and tried again", async () => {
  await using parts = await tempParts();
  const { files, rows, dir } = parts;
  const { records, end } = await logged(
    parts,
    putEntry({ txId: "done" }),
    putEntry({ txId: "kept" }),
    remove("gone"),
    remove("there"),
    putEntry({ txId: "packed", isPacked: true }),
  );
  const [done, kept, , there] = records;
  await makeFile(done!, parts);
  await rows.change(() => putRow(rows, rowOf(kept!)!, kept!.position));
  await files.place("there", bytes("x"));
  const left = await findStuck(parts, await stretchOf(dir, START, end));
  assertEquals(left, [kept!.position, there!.position]);
  assertEquals([...await retry(parts, left)], []);
  assertEquals(text(await files.load("kept")), "payload of kept");
  assertEquals(findRow(rows, "kept")!.place, null);
  assertEquals(files.find("there"), null);
  assertEquals(await findStuck(parts, await stretchOf(dir, START, end)), []);
});

test("a try that fails again says so, one that is void is none", async () => {
  await using parts = await tempParts();
  const { files, rows } = parts;
  const { records } = await logged(
    parts,
    putEntry({ txId: "a" }),
    putEntry({ txId: "b" }),
    putEntry({ txId: "c", isPacked: true }),
  );
  await Deno.mkdir(join(files.basePath, "a.bin", "x"), { recursive: true });
  await rows.change(() => deleteRow(rows, "b"));
  const [a, , c] = records.map(({ position }) => position);
  const stuck = await retry(parts, records.map(({ position }) => position));
  assertEquals([...stuck.keys()], [a]);
  assertEquals(files.find("b"), null);
  assertEquals(findRow(rows, "c")!.place, c); // it lives in the log
});

test("payloads whose file cannot follow stay in the log, as their rows say", async () => {
  await using parts = await tempParts();
  const { rows } = parts;
  const { records } = await logged(
    parts,
    putEntry({ txId: "a" }),
    putEntry({ txId: "b" }),
    remove("c"),
  );
  const changed = { ...rowOf(records[1]!)!, storageHash: "00".repeat(32) };
  await rows.change(() => putRow(rows, changed));
  const stuck = new Map(records.map((r) => [r.position, new Error("stuck")]));
  await keepInLog(new Map(), parts);
  assertEquals(findRow(rows, "a")!.place, null);
  await keepInLog(stuck, parts);
  assertEquals(findRow(rows, "a")!.place, records[0]!.position);
  assertEquals(findRow(rows, "b")!.place, null);
  assertEquals(findRow(rows, "c"), null);
});

test("segments go oldest first, up to one in which a payload lives", async () => {
  await using parts = await tempParts();
  const { dir, rows } = parts;
  for (const number of [1, 2, 3, 4]) await writeSegment(dir, number, []);
  const end = positionOf(4, FIRST_RECORD);
  assertEquals([3, 4, 5].map((n) => mayDrop(n, parts, end)), [
    true,
    false,
    false,
  ]);
  const place = positionOf(3, FIRST_RECORD);
  await rows.change(() => putRow(rows, rowOf(putEntry())!, place));
  assertEquals([2, 3].map((n) => mayDrop(n, parts, end)), [true, false]);
  await dropSegments(parts, positionOf(2, FIRST_RECORD));
  assertEquals(dir.numbers(), [2, 3, 4]);
  await dropSegments(parts, end);
  assertEquals(dir.numbers(), [3, 4]);
  await rows.change(() => putRow(rows, rowOf(putEntry())!, null));
  await dropSegments(parts, end);
  assertEquals(dir.numbers(), [4]);
});

test(
  "that a segment is gone is waited for, and nothing where none went",
  async () => {
    await using parts = await tempParts();
    const { dir } = parts;
    for (const number of [1, 2]) await writeSegment(dir, number, []);
    using _ = refusingDisk(() => true);
    await dropSegments(parts, START);
    const end = positionOf(2, FIRST_RECORD);
    await assertRejects(() => dropSegments(parts, end), Error, "os error 5");
    assertEquals(dir.numbers(), [2]);
  },
  { ignore: IS_WINDOWS },
);
