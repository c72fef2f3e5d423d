import { assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { quarantinePath } from "../../src/files/layout.ts";
import { listQuarantine } from "../../src/payloads/quarantine.ts";
import {
  followingRow,
  hasFollowed,
  isVoid,
  keepNewer,
  makeFile,
  makeFiles,
  makeRows,
} from "../../src/log/follow.ts";
import { type LogEntry, type LogRecord, rowOf } from "../../src/log/record.ts";
import { findInfo, findRow } from "../../src/sqlite/lookups.ts";
import { logState } from "../../src/sqlite/log_state.ts";
import { putRow } from "../../src/sqlite/row_changes.ts";
import { idsOf, saveRow } from "../sqlite/rows.ts";
import {
  bytes,
  IS_WINDOWS,
  namesIn,
  refusingDisk,
  test,
  text,
} from "../helpers.ts";
import { putEntry, tempParts } from "./helpers.ts";

function record(entry: Partial<LogEntry>, position = 80): LogRecord {
  const given = putEntry(entry);
  return { ...given, position, length: 8, startsBatch: true };
}

function removal(txId: string, position = 80): LogRecord {
  return record({ txId, kind: "remove", payload: null }, position);
}

test("a put has its file follow, a removal its absence", async () => {
  await using parts = await tempParts();
  const { files } = parts;
  const put = record({ txId: "a", payload: bytes("1") });
  assertEquals(await hasFollowed(put, parts), false);
  await makeFile(put, parts);
  assertEquals(text(await files.load("a")), "1");
  assertEquals(await hasFollowed(put, parts), true);
  await files.place("a", bytes("2"));
  assertEquals(await hasFollowed(put, parts), false);
  assertEquals(await hasFollowed(removal("a"), parts), false);
  await makeFile(removal("a"), parts);
  assertEquals(await files.load("a"), null);
  assertEquals(await hasFollowed(removal("a"), parts), true);
});

test("a packed payload has an older version's file go, and no other", async () => {
  await using parts = await tempParts();
  const { files, rows } = parts;
  const packed = record({ txId: "a", isPacked: true });
  await files.place("a", bytes("old"));
  await makeFile(packed, parts);
  assertEquals(files.find("a"), "a.bin"); // no row: the file is nobody's
  for (const [place, isGone] of [[160, false], [80, true]] as const) {
    await rows.change(() => putRow(rows, rowOf(packed)!, place));
    await files.place("a", bytes("old"));
    assertEquals(await hasFollowed(packed, parts), false);
    await makeFile(packed, parts);
    assertEquals(files.find("a") === null, isGone, `${place}`);
  }
  await saveRow(rows, rowOf(packed)!);
  await files.place("a", bytes("old"));
  await makeFile(packed, parts);
  assertEquals(await hasFollowed(packed, parts), true);
});

test("a staged payload goes to its place, once or twice", async () => {
  await using parts = await tempParts();
  const { files } = parts;
  const { name } = await files.staged.add([bytes("large")]);
  const payload = bytes("large");
  const staged = record({ txId: "a", payload, kind: "put-staged", name });
  await makeFile(staged, parts);
  await makeFile(staged, parts);
  assertEquals(text(await files.load("a")), "large");
  await files.place("a", bytes("other"));
  await assertRejects(
    () => makeFile(staged, parts),
    Deno.errors.NotFound,
    "is gone",
  );
});

test("what is taken out of service goes to quarantine, if it is there", async () => {
  await using parts = await tempParts();
  const { files } = parts;
  const aside = record({ txId: "a", kind: "quarantine", name: "case.bin" });
  await makeFile(aside, parts);
  await files.place("a", bytes("bad"));
  await makeFile(aside, parts);
  assertEquals(files.find("a"), null);
  const quarantine = quarantinePath(files.basePath);
  assertEquals(namesIn(quarantine), ["case.bin"]);
  assertEquals(await Deno.readTextFile(join(quarantine, "case.bin")), "bad");
  assertEquals(await hasFollowed(aside, parts), true);
});

test("what is in quarantine is not replaced by a file that came since", async () => {
  await using parts = await tempParts();
  const { files } = parts;
  const aside = record({ txId: "a", kind: "quarantine", name: "case.bin" });
  const quarantine = quarantinePath(files.basePath);
  const kept = () => Deno.readTextFile(join(quarantine, "case.bin"));
  for (
    const [payload, count] of [["bad", 1], ["bad", 1], ["other", 3]] as const
  ) {
    await files.place("a", bytes(payload));
    await makeFile(aside, parts);
    assertEquals([files.find("a"), await kept()], [null, "bad"]);
    assertEquals(namesIn(quarantine).length, count);
  }
  const [found] = await Array.fromAsync(listQuarantine(files.basePath));
  assertEquals([found?.txId, found?.reason, found?.size], [
    "a",
    "orphan-payload",
    5,
  ]);
});

test(
  "what is taken out of service is waited for, its new folder too",
  async () => {
    await using parts = await tempParts();
    const { files } = parts;
    const aside = record({ txId: "a", kind: "quarantine", name: "case.bin" });
    const quarantine = quarantinePath(files.basePath);
    await files.place("a", bytes("bad"));
    for (const refused of [0, 1]) { // the folder's name, then the file's
      using _ = refusingDisk((sync) => sync === refused);
      await assertRejects(() => makeFile(aside, parts), Error, "os error 5");
    }
    assertEquals(namesIn(quarantine), ["case.bin"]);
  },
  { ignore: IS_WINDOWS },
);

test("of each id the last record's file is made, and all are told", async () => {
  await using parts = await tempParts();
  const { files } = parts;
  const { name } = await files.staged.add([bytes("overtaken")]);
  const records = [
    record({ txId: "a", payload: bytes("1") }, 80),
    record({ txId: "b", kind: "put-staged", payload: null, name }, 88),
    record({ txId: "a", payload: bytes("2") }, 96),
    record({ txId: "b", payload: bytes("3") }, 104),
    record({ txId: "c", payload: bytes("4") }, 112),
  ];
  await Deno.mkdir(join(files.basePath, "c.bin", "x"), { recursive: true });
  const made: number[] = [];
  const stuck = await makeFiles(records, parts, (r) => made.push(r.position));
  assertEquals([...stuck.keys()], [112]);
  assertEquals(made, [96, 104, 112]);
  assertEquals(text(await files.load("a")), "2");
  assertEquals(text(await files.load("b")), "3");
  assertEquals(namesIn(files.staged.path), []);
});

test("a record is void where the row says no more what it did", async () => {
  await using parts = await tempParts();
  const { rows } = parts;
  const put = record({ txId: "a" });
  assertEquals(isVoid(put, parts), true);
  assertEquals(isVoid(removal("a"), parts), false);
  await saveRow(rows, rowOf(put)!);
  assertEquals(isVoid(put, parts), false);
  assertEquals(isVoid(removal("a"), parts), true);
  await saveRow(rows, { ...rowOf(put)!, storageHash: "00".repeat(32) });
  assertEquals(isVoid(put, parts), true);
});

test("a record is void where the payload has moved since", async () => {
  await using parts = await tempParts();
  const { rows } = parts;
  for (
    const [isPacked, place, expected] of [
      [true, null, true],
      [true, 80, false],
      [true, 160, true],
      [false, null, false],
      [false, 80, false], // its file could not follow
      [false, 160, true],
    ] as const
  ) {
    const put = record({ txId: "a", isPacked }, 80);
    await rows.change(() => putRow(rows, rowOf(put)!, place));
    assertEquals(isVoid(put, parts), expected, `${isPacked} ${place}`);
  }
});

test("a file that may be newer is kept, with why", async () => {
  await using parts = await tempParts();
  const { files } = parts;
  await keepNewer("a", parts);
  assertEquals(namesIn(files.basePath, ".poh").includes("quarantine"), false);
  await files.place("a", bytes("newer"));
  await keepNewer("a", parts);
  assertEquals(files.find("a"), null);
  const kept = namesIn(quarantinePath(files.basePath));
  assertEquals(kept.length, 2);
  const note = kept.find((name) => name.endsWith(".json"))!;
  const path = join(quarantinePath(files.basePath), note);
  const { txId, reason } = JSON.parse(await Deno.readTextFile(path));
  assertEquals([txId, reason], ["a", "metadata-outdated"]);
});

test("rows follow in order, each record once, with the position", async () => {
  await using parts = await tempParts();
  const { rows } = parts;
  const records = [
    record({ txId: "a" }, 80),
    record({ txId: "b", isPacked: true }, 88),
    record({ txId: "c" }, 96),
    removal("a", 104),
    removal("nobody", 112),
  ];
  await makeRows(records, 120, rows, new Map([[96, new Error("stuck")]]));
  assertEquals(await idsOf(rows), ["b", "c"]);
  assertEquals(findRow(rows, "b")!.place, 88);
  assertEquals(findRow(rows, "c")!.place, 96);
  assertEquals(logState(rows), { applied: 120, changes: 5, filesSynced: 0 });
  await makeRows(records, 120, rows); // again: nothing happens
  assertEquals(findRow(rows, "c")!.place, 96);
  const more = [...records, record({ txId: "a" }, 120)];
  await makeRows(more, 128, rows);
  assertEquals(logState(rows).changes, 6);
  assertEquals(findRow(rows, "a")!.place, null);
  assertEquals(findRow(rows, "c")!.place, 96);
  await makeRows([], 200, rows);
  assertEquals(logState(rows).applied, 200);
});

test("rows that were put off follow first", async () => {
  await using parts = await tempParts();
  const { rows } = parts;
  const put = record({ txId: "a", isPacked: true }, 80);
  assertEquals(followingRow(put), {
    info: rowOf(put)!,
    place: 80,
    position: 80,
  });
  assertEquals(followingRow({ ...put, isPacked: false }).place, null);
  rows.deferred.add([followingRow(put)], 88, logState(rows));
  await makeRows([removal("a", 88)], 96, rows);
  assertEquals(findInfo(rows, "a"), null);
  assertEquals(rows.deferred.size, 0);
  assertEquals(logState(rows), { applied: 96, changes: 2, filesSynced: 0 });
});
