import { assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { Reserve } from "../../src/files/full_disk.ts";
import { StoreLocks } from "../../src/files/locks.ts";
import { Place } from "../../src/files/place.ts";
import type { Result, Waiting } from "../../src/log/batch.ts";
import { DiskRoom } from "../../src/log/disk_room.ts";
import { Following } from "../../src/log/following.ts";
import { LogHealth } from "../../src/log/health.ts";
import { LogReader } from "../../src/log/log_reader.ts";
import { Members } from "../../src/log/members.ts";
import type { LogEntry, LogRecord } from "../../src/log/record.ts";
import { findRow } from "../../src/sqlite/lookups.ts";
import { logState } from "../../src/sqlite/log_state.ts";
import { bytes, test, text } from "../helpers.ts";
import { idsOf } from "../sqlite/rows.ts";
import { putEntry, tempParts, writeSegment } from "./helpers.ts";

/** What follows a log of which this writer has joined. */
async function tempFollowing() {
  const parts = await tempParts();
  const { dir, rows, files: { basePath } } = parts;
  await writeSegment(dir, 1, []);
  const locks = await StoreLocks.acquire(basePath, {});
  const members = new Members(dir, locks);
  await members.join(async () => {});
  const reserve = new Reserve(basePath, false);
  const following = new Following({
    ...parts,
    locks,
    sync: false,
    reserve,
    reader: new LogReader(dir, rows),
    health: new LogHealth(parts, new Place(basePath)),
    members,
    room: new DiskRoom(reserve, rows),
  });
  return {
    ...parts,
    following,
    async [Symbol.asyncDispose]() {
      await following.close();
      members.close();
      locks.release();
      await parts[Symbol.asyncDispose]();
    },
  };
}

function record(n: number, entry: Partial<LogEntry> = {}): LogRecord {
  const given = putEntry({ txId: `tx-${n}`, ...entry });
  return { ...given, position: 80 + 8 * n, length: 8, startsBatch: true };
}

function waiting(entry: LogEntry): Waiting {
  return {
    entry,
    rule: "replace",
    result: { made: true },
    settle: Promise.withResolvers<Result>(),
  };
}

test("rows of new ids follow later, all others at once", async () => {
  await using temp = await tempFollowing();
  const { following, rows, files, dir } = temp;
  await following.follow([record(0)], true);
  assertEquals([rows.deferred.size, following.isBehind], [1, true]);
  assertEquals(dir.state().resolved, 88);
  assertEquals(text(await files.load("tx-0")), "payload of tx-0");
  await following.follow([record(1)]);
  assertEquals([rows.deferred.size, following.isBehind], [0, false]);
  assertEquals(dir.state().resolved, 88);
  assertEquals(logState(rows), { applied: 96, changes: 2, filesSynced: 0 });
  assertEquals(following.filesPut, 2);
  await following.follow([record(2, { kind: "remove", payload: null })]);
  assertEquals([following.filesPut, await idsOf(rows)], [2, ["tx-0", "tx-1"]]);
});

test("a payload that stays in the log has no file, and an older one goes", async () => {
  await using temp = await tempFollowing();
  const { following, rows, files } = temp;
  await following.follow([record(0)]);
  const packed = { txId: "tx-0", isPacked: true };
  await following.follow([record(1, packed)]);
  assertEquals([files.find("tx-0"), findRow(rows, "tx-0")?.place], [null, 88]);
  await following.follow([record(2, { isPacked: true })], true);
  assertEquals(files.find("tx-2"), null);
  assertEquals(findRow(rows, "tx-2")?.place, 96);
});

test("a file that is stuck keeps its payload in the log, its row at once", async () => {
  await using temp = await tempFollowing();
  const { following, rows, files } = temp;
  await Deno.mkdir(join(files.basePath, "tx-1.bin", "x"), { recursive: true });
  const stuck = await following.follow([record(0), record(1)], true);
  assertEquals([...stuck.keys()], [88]);
  assertEquals(rows.deferred.size, 0);
  const places = [0, 1].map((n) => findRow(rows, `tx-${n}`)?.place);
  assertEquals(places, [null, 88]);
  const { stuck: left } = following.takeUnsynced(96);
  assertEquals(left, [88]);
});

test("few files are made here, many new ones by another thread", async () => {
  await using temp = await tempFollowing();
  const { following, files, rows } = temp;
  const many = Array.from({ length: 70 }, (_, n) => record(n));
  const elsewhere = (records: LogRecord[], isNew = true) =>
    following.followElsewhere(records.map((r) => waiting(r)), records, isNew);
  assertEquals(await elsewhere(many.slice(0, 31)), false);
  assertEquals(await elsewhere(many, false), false);
  const packed = many.map((r) => ({ ...r, isPacked: true }));
  assertEquals(await elsewhere(packed), false);
  const batch = many.map((r) => waiting(r));
  const refused = waiting(putEntry({ txId: "refused" }));
  refused.result = { made: false };
  assertEquals(
    await following.followElsewhere([refused, ...batch], many, true),
    true,
  );
  assertEquals(following.underWay.size, 70);
  const one = record(70); // behind them, however few
  assertEquals(await elsewhere([one]), true);
  const settled = await Promise.all(
    [refused, ...batch].map(({ settle }) => settle.promise),
  );
  assertEquals(settled.filter(({ made }) => made).length, 70);
  await following.whenFilesMade();
  assertEquals([following.underWay.size, following.filesPut], [0, 71]);
  assertEquals(text(await files.load("tx-69")), "payload of tx-69");
  assertEquals(rows.deferred.size, 71);
  await following.endTurn();
  assertEquals([rows.deferred.size, following.isBehind], [0, false]);
  assertEquals((await idsOf(rows)).length, 71);
});

test("no row follows behind records that could not", async () => {
  await using temp = await tempFollowing();
  const { following, rows, files } = temp;
  await Deno.mkdir(join(files.basePath, "tx-1.bin", "x"), { recursive: true });
  const { change } = rows;
  rows.change = () => Promise.reject(new Error("locked"));
  const many = Array.from({ length: 70 }, (_, n) => record(n));
  const batch = many.map((r) => waiting(r));
  assertEquals(await following.followElsewhere(batch, many, true), true);
  const settled = await Promise.allSettled(
    batch.map(({ settle }) => settle.promise),
  );
  assertEquals(
    settled.filter(({ status }) => status === "rejected").length,
    70,
  );
  rows.change = change;
  await assertRejects(() => following.follow([record(70)]), Error, "locked");
  assertEquals([following.hasLeft, rows.deferred.size], [true, 0]);
  assertEquals(logState(rows).applied, 0);
  following.goBack();
  await following.follow([...many, record(70)]);
  assertEquals((await idsOf(rows)).length, 71);
});

test("whoever has the turn next finds all rows in the table", async () => {
  await using temp = await tempFollowing();
  const { following, rows } = temp;
  await following.endTurn();
  for (const count of [1, 100, 600]) {
    const at = rows.deferred.size + logState(rows).changes;
    const some = Array.from({ length: count }, (_, n) => record(at + n));
    await following.follow(some.map((r) => ({ ...r, isPacked: true })), true);
    assertEquals(await following.keepUp(), true);
    await following.endTurn();
    assertEquals(rows.deferred.size, 0);
  }
  assertEquals((await idsOf(rows)).length, 701);
  assertEquals(logState(rows).changes, 701);
});

test("files are waited for here, and those of another writer by the log", async () => {
  await using temp = await tempFollowing();
  const { following } = temp;
  following.goOnFrom(80);
  await following.follow([record(0)]);
  following.goOnFrom(88);
  await following.follow([record(1, { payload: bytes("x") })]);
  following.rolled(96, 160);
  const own = following.takeUnsynced(160);
  assertEquals([own.isAll(80, 160), [...own.files()].length], [true, 2]);
  following.goOnFrom(200);
  assertEquals(following.takeUnsynced(200).isAll(160, 200), false);
  const refused: string[] = [];
  await following.syncFiles(["tx-0"], (txId) => refused.push(txId));
  assertEquals(refused, []);
});
