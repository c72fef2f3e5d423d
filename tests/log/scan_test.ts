import { assert, assertEquals } from "@std/assert";
import { MAX_PAYLOAD } from "../../src/model/limits.ts";
import { LogDir } from "../../src/log/log_dir.ts";
import {
  type Found,
  isBlank,
  nextSound,
  payloadAt,
  recordAt,
  scanLog,
} from "../../src/log/scan.ts";
import { HEAD_BYTES } from "../../src/model/limits.ts";
import { rowOf } from "../../src/log/record.ts";
import {
  FIRST_RECORD,
  newHeader,
  offsetOf,
  positionOf,
} from "../../src/log/segment.ts";
import { randomBytes, seededRandom, test } from "../helpers.ts";
import {
  encodeRecord,
  putEntry,
  scanned,
  STORE_ID,
  tempLog,
  writeSegment,
} from "./helpers.ts";

const START = positionOf(1, FIRST_RECORD);

function entries(count: number, size = 20) {
  return Array.from(
    { length: count },
    (_, n) =>
      putEntry({ txId: `tx-${n}`, payload: randomBytes(size + n % 7, n) }),
  );
}

test("a scan gives all records, of small and large windows", async () => {
  await using log = await tempLog();
  for (const size of [20, 5_000, MAX_PAYLOAD - 10]) {
    const all = entries(60, size);
    const end = await writeSegment(log.dir, 1, all);
    const found = scanned(log.dir, START);
    assertEquals(found.records.map(({ txId }) => txId), all.map((e) => e.txId));
    assertEquals(
      found.records.map((r) => r.payload),
      all.map((e) => e.payload),
    );
    assertEquals([found.gaps, found.end], [[], end]);
    const middle = found.records[30]!;
    const rest = scanned(log.dir, middle.position);
    assertEquals(
      rest.records.map(({ txId }) => txId),
      all.slice(30).map((e) => e.txId),
    );
    assertEquals(recordAt(log.dir, middle.position), middle);
    assertEquals(recordAt(log.dir, middle.position + 8), null);
    assertEquals(recordAt(log.dir, end), null);
    log.dir.drop(1);
  }
  assertEquals(recordAt(log.dir, START), null);
});

test("a scan goes on in the next segment", async () => {
  await using log = await tempLog();
  const all = entries(9);
  const end1 = await writeSegment(log.dir, 1, all.slice(0, 4));
  const end2 = await writeSegment(log.dir, 2, [], { previousEnd: end1 });
  const end3 = await writeSegment(log.dir, 3, all.slice(4), {
    previousEnd: end2,
  });
  const found = scanned(log.dir, START);
  assertEquals(found.records.map(({ txId }) => txId), all.map((e) => e.txId));
  assertEquals([found.gaps, found.end], [[], end3]);
});

test("a log cut at any byte ends with its last whole record", async () => {
  await using log = await tempLog();
  const all = entries(4);
  await writeSegment(log.dir, 1, all);
  const { records } = scanned(log.dir, START);
  const ends = [START, ...records.map((r) => r.position + r.length)];
  const segment = log.dir.segment(1)!;
  const whole = segment.read(0, segment.size());
  for (let length = FIRST_RECORD; length <= whole.length; length++) {
    for (const fill of [false, true]) {
      segment.truncate(length);
      if (fill) segment.write(length, new Uint8Array(5_000)); // zeroed ahead
      // A record ends with zeros, which zeros give back.
      const next = whole.findIndex((byte, at) => at >= length && byte !== 0);
      const reached = !fill ? length : next < 0 ? whole.length : next;
      const expected = ends.findLast((end) => offsetOf(end) <= reached)!;
      const found = scanned(log.dir, START);
      assertEquals([found.end, found.gaps], [expected, []], `cut at ${length}`);
      const isWhole = whole.subarray(offsetOf(expected), length)
        .every((byte) => byte === 0);
      assertEquals(isBlank(segment, offsetOf(expected)), isWhole);
    }
    segment.truncate(0);
    segment.write(0, whole);
  }
});

test("a bit that flips anywhere costs the record that it is in, and no other", async () => {
  await using log = await tempLog();
  const all = entries(5);
  await writeSegment(log.dir, 1, all);
  const { records } = scanned(log.dir, START);
  const segment = log.dir.segment(1)!;
  for (let at = FIRST_RECORD; at < segment.size(); at++) {
    const byte = segment.read(at, 1);
    segment.write(at, Uint8Array.of(byte[0]! ^ (1 << at % 8)));
    const hit = records.findIndex((r) =>
      offsetOf(r.position) <= at && at < offsetOf(r.position) + r.length
    );
    const { position, length } = records[hit]!;
    const found = scanned(log.dir, START);
    assertEquals(
      found.records.map(({ txId }) => txId),
      all.filter((_, n) => n !== hit).map(({ txId }) => txId),
    );
    const isLast = hit === records.length - 1;
    assertEquals(
      found.gaps,
      isLast ? [] : [{ from: position, to: position + length }],
    );
    segment.write(at, byte);
  }
});

test("what a segment has lost at its end is a gap once another follows", async () => {
  await using log = await tempLog();
  const end1 = await writeSegment(log.dir, 1, entries(3));
  await writeSegment(log.dir, 2, entries(2), { previousEnd: end1 });
  const last = scanned(log.dir, START).records[2]!.position;
  log.dir.segment(1)!.truncate(offsetOf(last) + 9);
  const found = scanned(log.dir, START);
  assertEquals(found.records.length, 4);
  assertEquals(found.gaps, [{ from: last, to: end1 }]);
});

test("a segment whose header is gone is a gap", async () => {
  await using log = await tempLog();
  const end1 = await writeSegment(log.dir, 1, entries(2));
  const end2 = await writeSegment(log.dir, 2, entries(2), {
    previousEnd: end1,
  });
  const end3 = await writeSegment(log.dir, 3, entries(2), {
    previousEnd: end2,
  });
  log.dir.segment(2)!.write(0, new Uint8Array(FIRST_RECORD));
  log.dir.forget(2);
  const found = scanned(log.dir, START);
  assertEquals(found.records.length, 4);
  assertEquals(found.gaps[0], {
    from: positionOf(2, FIRST_RECORD),
    to: end2,
  });
  assertEquals(found.end, end3);
});

test("a segment that is dropped while the log is read is not missed", async () => {
  await using log = await tempLog();
  const { dir } = log;
  const [a, b, c] = ["a", "b", "c"].map((txId) => putEntry({ txId }));
  const first = await writeSegment(dir, 1, [a!]);
  const second = await writeSegment(dir, 2, [b!], { previousEnd: first });
  const end = await writeSegment(dir, 3, [c!], { previousEnd: second });
  const reader = new LogDir(log.base, { sync: false, write: false });
  const scan = scanLog(reader, START);
  assertEquals(scan.next().value, { record: recordAt(dir, START)! });
  for (const number of [1, 2]) dir.drop(number);
  const { position } = recordAt(dir, positionOf(3, FIRST_RECORD))!;
  const next = scan.next().value as Found;
  assertEquals([next.record?.txId, next.record?.position], ["c", position]);
  assertEquals(scan.next(), { done: true, value: end });
  reader[Symbol.dispose]();
});

test("a payload full of records is not taken for some", async () => {
  await using log = await tempLog();
  const header = newHeader({
    number: 1,
    changes: 0,
    storeId: STORE_ID,
    previousEnd: 0,
  });
  const segment = await log.dir.create(header);
  // Records that were sound elsewhere, or would be with another salt.
  const other = newHeader({ ...header });
  const inner = [header.salt, other.salt].flatMap((salt, n) => {
    const entry = putEntry({ txId: `false-${n}` });
    return [encodeRecord(entry, positionOf(1, 8 * n), salt, true)];
  });
  const payload = new Uint8Array(await new Blob(inner).arrayBuffer());
  let offset = FIRST_RECORD;
  const offsets: number[] = [];
  for (const txId of ["one", "two"]) {
    const entry = putEntry({ txId, payload });
    const record = encodeRecord(
      entry,
      positionOf(1, offset),
      header.salt,
      true,
    );
    segment.write(offset, record);
    offsets.push(offset);
    offset += record.length;
  }
  assertEquals(scanned(log.dir, START).records.map((r) => r.txId), [
    "one",
    "two",
  ]);
  segment.write(offsets[0]! + 30, Uint8Array.of(99));
  assertEquals(nextSound(segment, offsets[0]!), offsets[1]!);
  assertEquals(scanned(log.dir, START).records.map((r) => r.txId), ["two"]);
});

test("noise behind the end changes nothing", async () => {
  await using log = await tempLog();
  const random = seededRandom(11);
  const end = await writeSegment(log.dir, 1, entries(3));
  const segment = log.dir.segment(1)!;
  for (let n = 0; n < 200; n++) {
    segment.truncate(offsetOf(end));
    segment.write(
      offsetOf(end),
      randomBytes(1 + Math.floor(random() * 900), n),
    );
    const found = scanned(log.dir, START);
    assertEquals([found.records.length, found.gaps, found.end], [3, [], end]);
  }
  assert(!isBlank(segment, offsetOf(end)));
});

test("a scan of nothing ends where it began", async () => {
  await using log = await tempLog();
  const scan = scanLog(log.dir, START);
  assertEquals(scan.next(), { value: START, done: true });
});

test("records behind damage are found however far it goes", async () => {
  await using log = await tempLog();
  const entry = putEntry({ payload: randomBytes(50_000) });
  // Around the borders of what is read at once, one record in each place.
  for (const damaged of [8, 2 ** 20 - 40_000, 2 ** 20, 3 * 2 ** 20 + 8]) {
    await writeSegment(log.dir, 1, []);
    const segment = log.dir.segment(1)!;
    const at = FIRST_RECORD + damaged;
    const position = positionOf(1, at);
    segment.write(FIRST_RECORD, new Uint8Array(damaged).fill(1));
    const record = encodeRecord(entry, position, segment.header.salt, true);
    segment.write(at, record);
    assertEquals(nextSound(segment, FIRST_RECORD), at);
    const found = scanned(log.dir, START);
    assertEquals(found.gaps, [{ from: START, to: position }]);
    assertEquals(found.records.map((one) => one.position), [position]);
    assertEquals(found.end, position + record.length);
    assertEquals(nextSound(segment, at + 1), null);
  }
});

test("a scan begins where it is told to, and leaves out another store's", async () => {
  await using log = await tempLog();
  const { dir } = log;
  const first = await writeSegment(dir, 1, entries(2));
  const second = await writeSegment(dir, 2, entries(3), { previousEnd: first });
  await writeSegment(dir, 3, entries(4), { previousEnd: second });
  const all = scanned(dir, START);
  assertEquals([all.records.length, all.gaps], [9, []]);
  const from = scanned(dir, positionOf(2, 0));
  assertEquals([from.records.length, from.gaps], [7, []]);
  assertEquals(from.records[0]!.position, positionOf(2, FIRST_RECORD));
  dir.drop(1);
  const later = scanned(dir, START);
  assertEquals([later.records.length, later.gaps], [7, []]);
  const header = newHeader({
    number: 3,
    changes: 0,
    storeId: "ff".repeat(16),
    previousEnd: second,
  });
  await dir.create(header);
  dir.belongTo(STORE_ID);
  const own = scanned(dir, START);
  assertEquals([own.records.length, own.gaps, own.end], [3, [], second]);
});

test("a payload stands where its row says, whatever its record is like", async () => {
  await using log = await tempLog();
  const { dir } = log;
  for (const payload of [new Uint8Array(), randomBytes(100)]) {
    const entry = putEntry({ txId: "取", payload, isPacked: true });
    const end = await writeSegment(dir, 1, [entry]);
    const row = rowOf(entry)!;
    assertEquals(payloadAt(dir, START, row), payload);
    assertEquals(payloadAt(dir, START, { ...row, size: -1 }), null);
    const large = { ...row, size: MAX_PAYLOAD + 1 };
    assertEquals(payloadAt(dir, START, large), null);
    dir.segment(1)!.write(FIRST_RECORD, new Uint8Array(8).fill(255));
    assertEquals(payloadAt(dir, START, row), payload);
    const start = FIRST_RECORD + HEAD_BYTES + 3 + 5;
    dir.segment(1)!.truncate(start + payload.length);
    assertEquals(payloadAt(dir, START, row), payload);
    dir.segment(1)!.truncate(start + payload.length - 1);
    assertEquals(payloadAt(dir, START, row), null);
    assertEquals(payloadAt(dir, end, row), null);
    assertEquals(payloadAt(dir, positionOf(9, FIRST_RECORD), row), null);
  }
});

test("zeros are a payload only where they are the row's", async () => {
  await using log = await tempLog();
  const { dir } = log;
  await writeSegment(dir, 1, []);
  dir.segment(1)!.write(FIRST_RECORD, new Uint8Array(1_000));
  const zeros = putEntry({ payload: new Uint8Array(9) });
  assertEquals(payloadAt(dir, START, rowOf(zeros)!), new Uint8Array(9));
  const other = rowOf(putEntry({ payload: randomBytes(9) }))!;
  assertEquals(payloadAt(dir, START, other), null);
  dir.segment(1)!.write(FIRST_RECORD, new Uint8Array([1]));
  assertEquals(payloadAt(dir, START, other), new Uint8Array(9));
});

test("only zeros up to the end are blank", async () => {
  await using log = await tempLog();
  await writeSegment(log.dir, 1, []);
  const segment = log.dir.segment(1)!;
  assertEquals(isBlank(segment, FIRST_RECORD), true);
  segment.write(FIRST_RECORD, new Uint8Array(3 * 2 ** 20));
  assertEquals(isBlank(segment, FIRST_RECORD), true);
  segment.write(segment.size() - 1, new Uint8Array([1]));
  assertEquals(isBlank(segment, FIRST_RECORD), false);
  assertEquals(isBlank(segment, segment.size()), true);
});
