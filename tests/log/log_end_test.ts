import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { LogDir } from "../../src/log/log_dir.ts";
import { LogEnd } from "../../src/log/log_end.ts";
import type { LogRecord } from "../../src/log/record.ts";
import {
  FIRST_RECORD,
  positionOf,
  SEGMENT_SPAN,
  segmentOf,
} from "../../src/log/segment.ts";
import { randomBytes, refusingDisk, test } from "../helpers.ts";
import { putEntry, scanned, tempLog, writeSegment } from "./helpers.ts";

const START = positionOf(1, FIRST_RECORD);

async function logWithEnd({ sync = false } = {}) {
  const log = await tempLog();
  const position = await writeSegment(log.dir, 1, []);
  const end = new LogEnd(log.dir, sync);
  end.seek(position);
  return { ...log, end };
}

test("a log has no end before it was looked for, or where there is no segment", async () => {
  await using log = await tempLog();
  const end = new LogEnd(log.dir, false);
  assertThrows(() => end.position, Error, "not open");
  assertThrows(() => end.seek(START), Error, "no segment 1");
});

test("records are written one behind the other, the first begins the batch", async () => {
  await using log = await logWithEnd();
  const { end, dir } = log;
  assertEquals([end.position, end.used], [START, FIRST_RECORD]);
  const all = [1, 2, 3].map((n) => putEntry({ txId: `${n}` }));
  const first = end.append(all.slice(0, 2), true);
  const then = end.append(all.slice(2), true);
  const found = scanned(dir, START);
  assertEquals(found.records, [...first, ...then]);
  assertEquals(found.records.map(({ txId }) => txId), ["1", "2", "3"]);
  assertEquals(
    found.records.map(({ startsBatch }) => startsBatch),
    [true, false, true],
  );
  assertEquals([found.end, found.gaps], [end.position, []]);
  assertEquals(end.used, end.position - positionOf(1, 0));
  assertEquals(end.append([], true), []);
});

test("a segment is zeroed ahead, unless room is short, and trimmed", async () => {
  await using log = await logWithEnd();
  const { end, dir } = log;
  const size = () => dir.segment(1)!.size();
  end.append([putEntry()], false);
  assertEquals(size(), end.used);
  end.append([putEntry()], true);
  const zeroed = size();
  assert(zeroed >= end.used + 64 * 1024, `${zeroed}`);
  end.append([putEntry()], true);
  assertEquals(size(), zeroed); // it was written into the zeros
  const { end: before } = scanned(dir, START);
  end.trim();
  assertEquals(size(), end.used);
  assertEquals(scanned(dir, START).end, before);
  end.append([putEntry({ payload: randomBytes(60_000) })], true);
  assert(size() >= end.used + 64 * 1024);
  for (let n = 0; n < 100; n++) {
    end.append([putEntry({ payload: randomBytes(60_000) })], true);
  }
  assert(size() > end.used + 64 * 1024 && size() <= end.used + 2 ** 22);
});

test("what stands where the next record is to be is noticed, and wiped", async () => {
  await using log = await logWithEnd();
  const { end, dir } = log;
  assertEquals(end.isTaken(), false);
  end.append([putEntry()], true);
  assertEquals(end.isTaken(), false);
  end.wipe(); // zeros stay
  assert(dir.segment(1)!.size() > end.used);
  const at = end.used + 31;
  dir.segment(1)!.write(at, new Uint8Array([1]));
  assertEquals(end.isTaken(), true);
  dir.segment(1)!.write(at, new Uint8Array([0, 1]));
  assertEquals(end.isTaken(), false);
  end.wipe();
  assertEquals(dir.segment(1)!.size(), end.used);
  end.append([putEntry()], true);
  assert(dir.segment(1)!.size() > end.used);
});

test("records that have no room in the segment are refused", async () => {
  await using log = await logWithEnd();
  const { end, dir } = log;
  end.seek(positionOf(1, SEGMENT_SPAN - 4_096));
  assertEquals(end.hasRoom(4_096), true);
  assertEquals(end.hasRoom(4_097), false);
  const large = putEntry({ payload: new Uint8Array(5_000) });
  assertThrows(() => end.append([large], true), RangeError, "no room");
  assertEquals(dir.segment(1)!.size(), FIRST_RECORD);
  end.append([putEntry()], true);
  assertEquals(dir.segment(1)!.size(), SEGMENT_SPAN);
});

test("a record may end where the segment does", async () => {
  await using log = await logWithEnd();
  const { end } = log;
  const [{ length }] = end.append([putEntry()], false) as [LogRecord];
  end.seek(positionOf(1, SEGMENT_SPAN - length));
  end.append([putEntry()], true);
  assertEquals(end.used, SEGMENT_SPAN);
});

test("what is written in part does not stay", async () => {
  await using log = await logWithEnd();
  const { end, dir } = log;
  end.append([putEntry()], false);
  const before = end.position;
  const segment = dir.segment(1)!;
  const { write } = segment;
  segment.write = (offset, bytes) => {
    write.call(segment, offset, bytes.subarray(0, 40));
    throw new Error("No space left on device (os error 28)");
  };
  assertThrows(() => end.append([putEntry()], true), Error, "No space");
  assertEquals([end.position, segment.size()], [before, end.used]);
  segment.write = write;
  end.append([putEntry({ txId: "b" })], true);
  assertEquals(
    scanned(dir, START).records.map(({ txId }) => txId),
    ["a", "b"],
  );
});

test("a disk that has no room for zeros has it for the records", async () => {
  await using log = await logWithEnd();
  const { end, dir } = log;
  const segment = dir.segment(1)!;
  const { write } = segment;
  segment.write = (offset, bytes) => {
    if (bytes.length > 10_000) throw new Error("No space left on device");
    write.call(segment, offset, bytes);
  };
  end.append([putEntry()], true);
  assertEquals(segment.size(), end.used);
  segment.write = write;
  end.append([putEntry()], true);
  assert(segment.size() > end.used);
});

test("a sync waits for the disk only where it is told to", async () => {
  for (const sync of [true, false]) {
    await using log = await logWithEnd({ sync });
    let syncs = 0;
    using _ = refusingDisk(() => ++syncs > 0);
    const { syncDataSync } = Deno.FsFile.prototype;
    if (!sync) {
      await log.end.sync();
      assertEquals(syncs, 0);
    } else await assertRejects(() => log.end.sync(), Error, "os error 5");
    Deno.FsFile.prototype.syncDataSync = syncDataSync;
  }
});

test("a log goes on in a new segment, behind those that a dead process made", async () => {
  await using log = await logWithEnd();
  const { end, dir } = log;
  end.append([putEntry()], false);
  const before = end.position;
  await end.roll(7);
  assertEquals([end.segment, end.used], [2, FIRST_RECORD]);
  assertEquals(dir.state().newest, 2);
  const { number, changes, previousEnd } = dir.segment(2)!.header;
  assertEquals([number, changes, previousEnd], [2, 7, before]);
  await writeSegment(dir, 5, []);
  await end.roll(8);
  assertEquals(segmentOf(end.position), 6);
  end.append([putEntry()], true);
  assert(dir.segment(6)!.size() > end.used);
  assertEquals(dir.segment(1)!.size() + positionOf(1, 0), before);
});

test("an end found anew writes behind what is there", async () => {
  await using log = await logWithEnd();
  const { dir, base } = log;
  log.end.append([putEntry()], true);
  using again = new LogDir(base, { sync: false, write: true });
  const end = new LogEnd(again, false);
  end.seek(log.end.position);
  end.append([putEntry({ txId: "b" })], true);
  assertEquals(scanned(dir, START).records.length, 2);
});
