import { assert, assertEquals, assertThrows } from "@std/assert";
import { PohStorageError } from "../../mod.ts";
import { crc32 } from "../../src/log/crc32.ts";
import {
  decodeHeader,
  encodeHeader,
  FIRST_RECORD,
  newHeader,
  offsetOf,
  positionOf,
  Segment,
  segmentOf,
  storeTag,
} from "../../src/log/segment.ts";
import { randomBytes, tempDir, test } from "../helpers.ts";
import { STORE_ID } from "./helpers.ts";

const HEADER = newHeader({
  number: 3,
  changes: 5,
  storeId: STORE_ID,
  previousEnd: 0,
});

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

test("a header that is cut short, or says that it is of a later version", async () => {
  const bytes = encodeHeader(HEADER);
  assertEquals(decodeHeader(bytes.subarray(0, FIRST_RECORD / 2)), HEADER);
  assertEquals(decodeHeader(bytes.subarray(0, FIRST_RECORD / 2 - 1)), null);
  const copy = bytes.subarray(0, FIRST_RECORD / 2);
  const view = new DataView(copy.buffer);
  view.setUint32(4, 2, true);
  view.setUint32(76, crc32(copy.subarray(0, 76)), true);
  await using dir = await tempDir();
  await Deno.writeFile(dir.join("segment"), bytes);
  for (
    const read of [
      () => decodeHeader(bytes),
      () => Segment.headerOf(dir.join("segment")),
      () => Segment.open(dir.join("segment"), 3, false),
    ]
  ) {
    const error = assertThrows(read, PohStorageError);
    assertEquals(error.code, "LOG_TOO_NEW");
  }
  for (const at of [20, FIRST_RECORD / 2 + 20]) bytes[at]! ^= 1;
  assertEquals(decodeHeader(bytes), null);
});

test("headers of two segments have different salts", async () => {
  const { salt: _, ...header } = HEADER;
  const salts = [newHeader(header), newHeader(header)].map(({ salt }) =>
    salt.bytes.toHex()
  );
  assert(salts[0] !== salts[1]);
  await Promise.resolve();
});

test("a store's id is its UUID's digits, or the digest of anything else", async () => {
  const uuid = "0A1B2C3D-0000-4000-8000-0123456789AB";
  assertEquals(storeTag(uuid), "0a1b2c3d0000400080000123456789ab");
  const digest =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  assertEquals(storeTag(""), digest.slice(0, 32));
  assert(/^[0-9a-f]{32}$/.test(storeTag(`${uuid}0`)));
  assert(storeTag(`${uuid}0`) !== storeTag(`${uuid}1`));
  await Promise.resolve();
});

test("a segment opens under its own number, with a sound header", async () => {
  await using dir = await tempDir();
  const path = dir.join("segment");
  assertEquals(Segment.headerOf(path), null);
  assertThrows(() => Segment.open(path, 3, false), Deno.errors.NotFound);
  await Deno.writeFile(path, encodeHeader(HEADER));
  assertEquals(Segment.headerOf(path), HEADER);
  assertEquals(Segment.open(path, 4, false), null);
  {
    using segment = Segment.open(path, 3, false)!;
    assertEquals(segment.header, HEADER);
    assertThrows(() => segment.write(0, new Uint8Array(1)));
  }
  await Deno.writeFile(path, randomBytes(FIRST_RECORD));
  assertEquals(Segment.headerOf(path), null);
  assertEquals(Segment.open(path, 3, true), null);
  await Deno.mkdir(dir.join("folder"));
  assertThrows(() => Segment.headerOf(dir.join("folder")));
});

test("bytes are read where they were written, and no further than there are", async () => {
  await using dir = await tempDir();
  const path = dir.join("segment");
  await Deno.writeFile(path, encodeHeader(HEADER));
  using segment = Segment.open(path, 3, true)!;
  assertEquals(segment.size(), FIRST_RECORD);
  const bytes = randomBytes(300_000);
  segment.write(FIRST_RECORD, bytes);
  segment.write(FIRST_RECORD + 100, new Uint8Array(8));
  bytes.fill(0, 100, 108);
  assertEquals(segment.size(), FIRST_RECORD + bytes.length);
  assertEquals(segment.read(FIRST_RECORD, bytes.length), bytes);
  assertEquals(segment.read(FIRST_RECORD + 50, 100), bytes.subarray(50, 150));
  assertEquals(
    segment.read(segment.size() - 10, 100),
    bytes.subarray(bytes.length - 10),
  );
  assertEquals(segment.read(segment.size(), 1), new Uint8Array());
  const buffer = new Uint8Array(20);
  assertEquals(segment.fill(segment.size() - 5, buffer), 5);
  assertEquals(buffer.subarray(0, 5), bytes.subarray(bytes.length - 5));
  assertEquals(segment.fill(segment.size(), buffer), 0);
  segment.truncate(FIRST_RECORD + 60);
  assertEquals(segment.read(FIRST_RECORD + 50, 100), bytes.subarray(50, 60));
  await segment.sync();
  segment.syncSync();
});
