import { assert, assertEquals, assertThrows } from "@std/assert";
import { InvalidTxError, PohStorageError } from "../../mod.ts";
import { crc32 } from "../../src/log/crc32.ts";
import {
  decodeRecord,
  packedLength,
  payloadWithin,
} from "../../src/log/decode_record.ts";
import {
  type LogEntry,
  requireLoggable,
  rowOf,
  saltOf,
} from "../../src/log/record.ts";
import { MAX_PAYLOAD } from "../../src/model/limits.ts";
import {
  encodeHeader,
  FIRST_RECORD,
  positionOf,
} from "../../src/log/segment.ts";
import { bytes, randomBytes, seededRandom, test } from "../helpers.ts";
import { encodeRecord, putEntry } from "./helpers.ts";

const SALT = saltOf(randomBytes(16, 7));

const ENTRIES: LogEntry[] = [
  putEntry(),
  putEntry({ payload: new Uint8Array() }),
  putEntry({ payload: randomBytes(MAX_PAYLOAD), isPacked: true }),
  putEntry({ txId: "ä/𝄞\u0000", holderId: "", timestamp: -0.5 }),
  putEntry({
    kind: "put-staged",
    payload: null,
    size: 2 ** 40,
    name: "a staged file",
    storageHash: "ab".repeat(32),
  }),
  putEntry({ kind: "remove", payload: null, size: 0, holderId: "" }),
  putEntry({ kind: "quarantine", payload: null, name: "case.bin" }),
  putEntry({
    extensions: [
      { type: 1, bytes: randomBytes(16) },
      { type: 2, bytes: randomBytes(32) },
      { type: 250, bytes: new Uint8Array() },
    ],
  }),
];

/** The entry that a record was made of. */
function entryOf(bytes: Uint8Array, position: number) {
  const record = decodeRecord(bytes, 0, position, SALT);
  if (!record) return null;
  const { position: _, length: __, startsBatch: ___, ...entry } = record;
  return entry;
}

test("a record gives back what was put into it", async () => {
  for (const entry of ENTRIES) {
    for (const startsBatch of [true, false]) {
      const bytes = encodeRecord(entry, 4096, SALT, startsBatch);
      assertEquals(bytes.length % 8, 0);
      assertEquals(entryOf(bytes, 4096), entry);
      const record = decodeRecord(bytes, 0, 4096, SALT)!;
      assertEquals(record.startsBatch, startsBatch);
      assertEquals(record.length, bytes.length);
    }
  }
  await Promise.resolve();
});

test("a record has its fields where the format says", async () => {
  const entry = putEntry();
  const bytes = encodeRecord(entry, 2 ** 27 + 160, SALT, true);
  const view = new DataView(bytes.buffer);
  assertEquals(view.getUint32(0, true), crc32(bytes.subarray(4), SALT.crc));
  assertEquals(view.getUint32(4, true), bytes.length);
  assertEquals(view.getFloat64(8, true), 2 ** 27 + 160);
  assertEquals(bytes.subarray(16, 20), SALT.bytes.subarray(0, 4));
  assertEquals(view.getUint32(20, true), entry.payload!.length);
  assertEquals([bytes[24], bytes[25]], [1, 16]);
  assertEquals(view.getUint16(26, true), 1);
  assertEquals(view.getUint16(28, true), "alice".length);
  assertEquals(view.getUint16(30, true), 0);
  assertEquals(bytes.subarray(32, 64).toHex(), entry.storageHash);
  assertEquals(view.getFloat64(64, true), entry.timestamp);
  assertEquals(view.getFloat64(72, true), entry.size);
  assertEquals(
    new TextDecoder().decode(bytes.subarray(80, 80 + 6 + entry.size)),
    "aalicepayload of a",
  );
  await Promise.resolve();
});

test("the example of docs/on-disk.md is what is written", async () => {
  const page = await Deno.readTextFile(
    new URL("../../docs/on-disk.md", import.meta.url),
  );
  const dumps = page.matchAll(/(?:^ {4,5}\d+ {2}(?:[0-9a-f]{2} ?){16}\n)+/gm);
  const [header, record] = Array.from(
    dumps,
    ([dump]) =>
      Uint8Array.fromHex(dump.replace(/^ *\d+ {2}/gm, "").replace(/\s/g, "")),
  );
  const salt = saltOf(Uint8Array.from({ length: 16 }, (_, n) => n));
  const position = positionOf(1, FIRST_RECORD);
  const storeId = "00112233445566778899aabbccddeeff";
  assertEquals(
    header,
    encodeHeader({ number: 1, salt, changes: 0, storeId, previousEnd: 0 })
      .slice(0, 80),
  );
  const entry = putEntry({
    txId: "tx1",
    payload: bytes("hello"),
    isPacked: true,
  });
  assertEquals(record, encodeRecord(entry, position, salt, true));
  assert(page.includes(position.toLocaleString("en")));
});

test("no flipped bit of a record goes unnoticed", async () => {
  const bytes = encodeRecord(putEntry({ txId: "abc" }), 160, SALT, true);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    assertEquals(decodeRecord(bytes, 0, 160, SALT), null, `bit ${bit}`);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
  }
  assertEquals(decodeRecord(bytes, 0, 160, SALT)?.txId, "abc");
  await Promise.resolve();
});

test("a record that is torn anywhere is none", async () => {
  const whole = encodeRecord(putEntry(), 160, SALT, true);
  for (let length = 0; length < whole.length; length++) {
    assertEquals(decodeRecord(whole.subarray(0, length), 0, 160, SALT), null);
    const zeros = new Uint8Array(whole.length);
    zeros.set(whole.subarray(0, length));
    // What is torn off may have been zeros anyway.
    const isWhole = zeros.every((byte, at) => byte === whole[at]);
    assertEquals(decodeRecord(zeros, 0, 160, SALT) !== null, isWhole);
    if (length === 0) continue;
    const tail = new Uint8Array(whole.length);
    tail.set(whole.subarray(length), length); // an earlier page is missing
    assertEquals(decodeRecord(tail, 0, 160, SALT), null);
  }
  await Promise.resolve();
});

test("a record elsewhere, or of another segment, is none", async () => {
  const bytes = encodeRecord(putEntry(), 160, SALT, true);
  assertEquals(decodeRecord(bytes, 0, 168, SALT), null);
  const other = saltOf(randomBytes(16, 8));
  assertEquals(decodeRecord(bytes, 0, 160, other), null);
  // Nor where only the first bytes of the salt are the same.
  const similar = saltOf(SALT.bytes.with(15, SALT.bytes[15]! ^ 1));
  assertEquals(decodeRecord(bytes, 0, 160, similar), null);
  await Promise.resolve();
});

test("noise is never a record, and never an error", async () => {
  const random = seededRandom(3);
  for (let n = 0; n < 2_000; n++) {
    const noise = randomBytes(400, n + 1);
    const view = new DataView(noise.buffer);
    // As like a record as noise can be.
    view.setUint32(4, 8 * Math.floor(random() * 50), true);
    view.setFloat64(8, 160, true);
    noise.set(SALT.bytes.subarray(0, 4), 16);
    assertEquals(decodeRecord(noise, 0, 160, SALT), null);
  }
  await Promise.resolve();
});

/** A record with a byte that its writer did not give it, and its checksum. */
function withByte(at: number, value: number, entry = putEntry()) {
  const bytes = encodeRecord(entry, 160, SALT, true);
  bytes[at] = value;
  const view = new DataView(bytes.buffer);
  view.setUint32(0, crc32(bytes.subarray(4), SALT.crc), true);
  return bytes;
}

test("a record of an unknown kind, or with an unknown flag, is refused", async () => {
  for (
    const [at, value, told] of [
      [24, 5, "of kind 5"], // reserved
      [24, 77, "of kind 77"],
      [25, 16 + 2, "with flags 18"],
      [25, 128, "with flags 128"],
    ] as const
  ) {
    const error = assertThrows(
      () => decodeRecord(withByte(at, value), 0, 160, SALT),
      PohStorageError,
      `The log has a record ${told} at 160, which this program does not know: use a newer one`,
    );
    assertEquals(error.code, "LOG_TOO_NEW");
  }
  await Promise.resolve();
});

test("an extension of an unknown type is skipped, and kept", async () => {
  const extensions = [200, 1].map((type) => ({ type, bytes: randomBytes(70) }));
  const entry = putEntry({ extensions });
  const bytes = encodeRecord(entry, 160, SALT, true);
  const { position, length, startsBatch, ...found } = decodeRecord(
    bytes,
    0,
    160,
    SALT,
  )!;
  assertEquals(found, entry);
  assertEquals([position, length, startsBatch], [160, bytes.length, true]);
  await Promise.resolve();
});

test("what has a checksum and is no record is none", async () => {
  const extensions = [{ type: 9, bytes: new Uint8Array(4) }];
  for (
    const bytes of [
      withByte(80, 0xff), // the id is no UTF-8
      withByte(27, 200), // the id is longer than the record
      withByte(23, 1), // the payload is
      withByte(87, 255, putEntry({ extensions })), // its extension is
      withByte(81, 0x2f, putEntry({ txId: "", holderId: "", name: "a_b" })),
    ]
  ) assertEquals(decodeRecord(bytes, 0, 160, SALT), null);
  await Promise.resolve();
});

test("a text that no record can hold is refused", async () => {
  const long = "x".repeat(65_536);
  for (const entry of [{ txId: long }, { holderId: long }]) {
    assertThrows(
      () => encodeRecord(putEntry(entry), 160, SALT, true),
      InvalidTxError,
      "65536 bytes",
    );
  }
  const payload = new Uint8Array(MAX_PAYLOAD + 1);
  assertThrows(
    () => encodeRecord(putEntry({ payload }), 160, SALT, true),
    RangeError,
  );
  await Promise.resolve();
});

test("the payload of a put is found by its head, or nothing is", async () => {
  for (const entry of ENTRIES) {
    const { txId, holderId, payload, extensions = [], kind } = entry;
    const record = encodeRecord(entry, 4_096, SALT, false);
    const length = packedLength(txId, holderId, payload?.length ?? 0);
    const found = payloadWithin(record.subarray(0, length), 4_096, txId);
    const isPlain = kind === "put" && extensions.length === 0 &&
      /^[\0-\x7f]*$/.test(txId);
    assertEquals(found, isPlain ? payload : null);
    if (isPlain) assertEquals(length, record.length);
    assertEquals(payloadWithin(record, 4_104, txId), null);
    assertEquals(payloadWithin(record, 4_096, `${txId}x`), null);
    assertEquals(payloadWithin(record, 4_096, "other"), null);
    assertEquals(payloadWithin(record.subarray(0, 79), 4_096, txId), null);
  }
  await Promise.resolve();
});

test("text up to the last character of ASCII, and from the next on", async () => {
  for (const txId of ["\x7f", "a\x7fb", "\x80", "a\x80", "\u07ff\u0800"]) {
    const entry = putEntry({ txId, holderId: txId });
    const bytes = encodeRecord(entry, 4096, SALT, true);
    assertEquals(entryOf(bytes, 4096), entry);
  }
  await Promise.resolve();
});

test("a time that is not a number is refused", async () => {
  const error = assertThrows(
    () => requireLoggable(putEntry({ timestamp: NaN })),
    InvalidTxError,
  );
  assertEquals(error.field, "timestamp");
  requireLoggable(putEntry({ timestamp: Infinity }));
  await Promise.resolve();
});

test("a put leaves a row, a removal none", async () => {
  const { kind: _, payload: __, name: ___, isPacked: ____, ...row } =
    putEntry();
  assertEquals(rowOf(putEntry()), row);
  assertEquals(rowOf(putEntry({ kind: "put-staged" })), row);
  assertEquals(rowOf(putEntry({ kind: "remove" })), null);
  assertEquals(rowOf(putEntry({ kind: "quarantine" })), null);
  await Promise.resolve();
});

test("a record is found in the midst of other bytes, if it is all there", async () => {
  const record = encodeRecord(putEntry({ txId: "abc" }), 4096, SALT, true);
  const bytes = new Uint8Array(record.length + 160);
  bytes.set(record, 80);
  assertEquals(decodeRecord(bytes, 80, 4096, SALT)?.txId, "abc");
  assertEquals(decodeRecord(bytes, 72, 4096, SALT), null);
  for (const cut of [1, 8, record.length - 80, record.length - 40]) {
    const some = bytes.subarray(0, 80 + record.length - cut);
    assertEquals(decodeRecord(some, 80, 4096, SALT), null);
  }
  await Promise.resolve();
});

test("a payload is that of an id to its last character", async () => {
  const entry = putEntry({ txId: "abcd", holderId: "", payload: bytes("1") });
  const record = encodeRecord(entry, 4096, SALT, true);
  assertEquals(payloadWithin(record, 4096, "abcd"), bytes("1"));
  for (const txId of ["abce", "xbcd", "abc", "abcde"]) {
    assertEquals(payloadWithin(record, 4096, txId), null, txId);
  }
  await Promise.resolve();
});
