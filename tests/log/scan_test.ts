import { assert, assertEquals } from "@std/assert";
import { MAX_PAYLOAD } from "../../src/model/limits.ts";
import { isBlank, nextSound, recordAt, scanLog } from "../../src/log/scan.ts";
import {
  decodeHeader,
  encodeHeader,
  FIRST_RECORD,
  newHeader,
  offsetOf,
  positionOf,
  segmentOf,
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

test("positions name a segment and an offset", async () => {
  const position = positionOf(123_456_789, 66_000_000);
  assertEquals(segmentOf(position), 123_456_789);
  assertEquals(offsetOf(position), 66_000_000);
  assert(Number.isSafeInteger(position));
  await Promise.resolve();
});

test("a header gives back what was put into it, whatever bit of it flips", async () => {
  const header = newHeader({
    number: 7,
    changes: 12_345,
    storeId: STORE_ID,
    previousEnd: positionOf(6, 4_000),
  });
  const bytes = encodeHeader(header);
  assertEquals(bytes.length, FIRST_RECORD);
  assertEquals(decodeHeader(bytes), header);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    assertEquals(decodeHeader(bytes), header, `bit ${bit}`);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
  }
  assertEquals(decodeHeader(bytes.fill(0)), null);
  await Promise.resolve();
});

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
      const isWhole = offsetOf(expected) >= length;
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
