// Entries and records: one way to write each, and no other is read.

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  encodeEntry,
  encodeRecord,
  LogAudit,
  type LogEntry,
  parseEntry,
  parseRecord,
  ProofError,
  sealOf,
  type TxRecord,
} from "../../proofs.ts";
import { hex, ORIGIN, STORE_ID, vectorLog } from "./sample.ts";

const seal = new Uint8Array(32).fill(9);

function atOf(call: () => unknown): string {
  return assertThrows(call, ProofError).at;
}

Deno.test("every entry is read as it was written", () => {
  const entries: LogEntry[] = [
    { kind: "put", reason: "saved", prev: null, seal },
    { kind: "put", reason: "adopted", prev: 0, seal },
    { kind: "put", reason: "carried-over", prev: 2 ** 53 - 1, seal },
    { kind: "put", reason: "restored", prev: 7, seal },
    { kind: "remove", reason: "deleted", prev: 1 },
    { kind: "remove", reason: "pruned", prev: 1 },
    { kind: "remove", reason: "damaged", prev: 1 },
    { kind: "remove", reason: "vanished", prev: 1 },
    { kind: "begin", storeId: "7", origin: ORIGIN, predecessor: null },
    {
      kind: "begin",
      storeId: "7",
      origin: "é",
      predecessor: "a\n1\nb\n\n— a b\n",
    },
  ];
  for (const entry of entries) {
    assertEquals(parseEntry(encodeEntry(entry)), entry);
  }
});

Deno.test("what is no entry is refused", () => {
  const put = encodeEntry({ kind: "put", reason: "saved", prev: null, seal });
  const remove = encodeEntry({ kind: "remove", reason: "deleted", prev: 1 });
  const begin = encodeEntry({
    ...{ kind: "begin", storeId: "7", origin: ORIGIN, predecessor: null },
  });
  const set = (bytes: Uint8Array, at: number, value: number) => {
    const other = bytes.slice();
    other[at] = value;
    return other;
  };
  const wrong = [
    new Uint8Array(),
    put.subarray(0, 10),
    put.subarray(0, 42),
    new Uint8Array([...put, 0]),
    new Uint8Array([...remove, 0]),
    set(put, 0, 2),
    set(put, 1, 0),
    set(put, 1, 4),
    set(put, 2, 4),
    set(remove, 2, 4),
    set(begin, 2, 1),
    set(put, 3, 0), // an index above 2^53
    set(begin, 3, 0),
    new Uint8Array([...remove.subarray(0, 3), ...new Uint8Array(8).fill(255)]),
    set(begin, 11, 0),
    begin.subarray(0, begin.length - 1),
    set(begin, begin.length - 2, 0xff), // no UTF-8
    new Uint8Array(65_536),
  ];
  for (const bytes of wrong) {
    assertEquals(atOf(() => parseEntry(bytes)), "entry");
  }
  assertEquals(
    atOf(() => encodeEntry({ kind: "remove", reason: "deleted", prev: -1 })),
    "entry",
  );
  assertEquals(
    atOf(() =>
      encodeEntry({
        ...{
          kind: "begin",
          storeId: "a\nb",
          origin: ORIGIN,
          predecessor: null,
        },
      })
    ),
    "entry",
  );
});

const record: TxRecord = {
  salt: new Uint8Array(16).fill(1),
  txId: "tx é 🔒",
  holderId: "",
  timestamp: 1.5,
  size: 9000,
  digest: new Uint8Array(32).fill(2),
  chunkRoot: new Uint8Array(32).fill(3),
};

Deno.test("every record is read as it was written", () => {
  for (
    const other of [
      record,
      { ...record, txId: "\ufeffa" }, // a byte order mark is a character
      { ...record, txId: "a\0b", holderId: "c\n" },
      { ...record, timestamp: 0 },
      { ...record, timestamp: -1e300 },
      { ...record, size: 2 ** 53 - 1 },
      { ...record, size: 8192, chunkRoot: new Uint8Array(32) },
      { ...record, size: 0, chunkRoot: new Uint8Array(32) },
    ]
  ) assertEquals(parseRecord(encodeRecord(other)), other);
});

Deno.test("two records never have the same bytes", () => {
  const of = (txId: string, holderId: string) =>
    hex(encodeRecord({ ...record, txId, holderId }));
  assert(of("ab", "c") !== of("a", "bc"));
  assert(of("", "abc") !== of("abc", ""));
});

Deno.test("what cannot be sealed is refused", () => {
  for (
    const other of [
      { ...record, salt: new Uint8Array(15) },
      { ...record, digest: new Uint8Array(31) },
      { ...record, chunkRoot: new Uint8Array(33) },
      { ...record, txId: "a\ud800" },
      { ...record, holderId: "\udc00" },
      { ...record, timestamp: NaN },
      { ...record, timestamp: Infinity },
      { ...record, size: -1 },
      { ...record, size: 1.5 },
      { ...record, size: 2 ** 53 },
      { ...record, size: 8192 }, // with a chunk root
      { ...record, chunkRoot: new Uint8Array(32) }, // without one
    ]
  ) assertEquals(atOf(() => encodeRecord(other)), "record");
});

Deno.test("a record that is cut, longer, or written otherwise is refused", () => {
  const bytes = encodeRecord(record);
  for (let end = 0; end < bytes.length; end++) {
    assertEquals(atOf(() => parseRecord(bytes.subarray(0, end))), "record");
  }
  assertEquals(
    atOf(() => parseRecord(new Uint8Array([...bytes, 0]))),
    "record",
  );
  const time = bytes.length - 64 - 16;
  for (const value of [-0, NaN, Infinity]) {
    const other = bytes.slice();
    new DataView(other.buffer).setFloat64(time, value);
    assertEquals(atOf(() => parseRecord(other)), "record", `${value}`);
  }
  const size = bytes.slice();
  size[time + 8] = 1; // above 2^53
  assertEquals(atOf(() => parseRecord(size)), "record");
});

Deno.test("each byte of a record is under its seal", () => {
  const bytes = encodeRecord(record), sealed = hex(sealOf(bytes));
  for (const at of bytes.keys()) {
    const other = bytes.slice();
    other[at]! ^= 1;
    assert(hex(sealOf(other)) !== sealed);
  }
});

Deno.test("an audit refuses a log that cannot have been", async () => {
  const { items } = await vectorLog();
  const [begin, put] = items.map(({ entry }) => entry) as [
    Uint8Array,
    Uint8Array,
  ];
  const ends = (prev: number) =>
    encodeEntry({ kind: "remove", reason: "deleted", prev });
  const after = (...entries: Uint8Array[]) => {
    const audit = new LogAudit();
    for (const entry of entries) audit.add(entry);
    return audit;
  };
  assertEquals(after(begin, put).begin?.storeId, STORE_ID);
  const wrong: [string, Uint8Array[]][] = [
    ["entry", [put]], // no beginning
    ["entry", [begin, begin]],
    ["entry", [begin, put, begin]],
    ["prev", [begin, ends(0)]], // no put
    ["prev", [begin, put, ends(2)]], // itself
    ["prev", [begin, put, ends(3)]], // in the future
    ["prev", [begin, put, ends(1), ends(1)]], // twice
    ["prev", [begin, put, ends(1), ends(2)]], // a removal
  ];
  for (const [at, entries] of wrong) {
    const last = entries.pop()!;
    const audit = after(...entries), size = audit.size;
    const live = [...audit.live()];
    assertEquals(atOf(() => audit.add(last)), at);
    assertEquals(
      [audit.size, [...audit.live()]],
      [size, live],
      "it took nothing",
    );
  }
  const audit = after(begin, put), root = audit.root();
  const checkpoint = { origin: ORIGIN, size: 2, root };
  audit.demand(checkpoint);
  assertEquals(atOf(() => audit.demand({ ...checkpoint, size: 3 })), "size");
  assertEquals(
    atOf(() => audit.demand({ ...checkpoint, origin: "b" })),
    "origin",
  );
  assertEquals(atOf(() => audit.demand({ ...checkpoint, root: seal })), "root");
});
