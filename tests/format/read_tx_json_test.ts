import { assert, assertEquals, assertThrows } from "@std/assert";
import { InvalidTxError } from "../../src/errors.ts";
import { readTxJson } from "../../src/format/read_tx_json.ts";
import { txToJson } from "../../src/tx.ts";
import { randomBytes, sampleTx, test } from "../helpers.ts";

const NAMES = ["tx_id", "holder_id", "timestamp", "payload"];

test("readTxJson() reads what JSON.parse() reads of transactions", () => {
  const texts = [
    '"a"',
    '""',
    '"\\u00e9\\n\\"\\\\"',
    '"\\\\"',
    '"é日本\u{1f600}"',
    '"\\ud83d\\ude00"',
    '" , : { } [ ] "',
    "0",
    "-1.5e3",
    "1464307123.25",
    "true",
    "null",
  ];
  for (const value of texts) {
    for (const name of NAMES) {
      for (const space of ["", " \r\n\t"]) {
        const parts = ["", "{", `"${name}"`, ":", value, "}", ""];
        const text = parts.join(space);
        assertEquals(readTxJson(text), JSON.parse(text), text);
      }
    }
  }
  assertEquals(readTxJson("{}"), {});
  for (let seed = 0; seed < 200; seed++) {
    const payload = randomBytes(40, seed);
    const holderId = String.fromCharCode(...payload);
    const tx = txToJson(sampleTx({ holderId, payload }));
    const text = JSON.stringify(tx, null, seed % 3);
    assertEquals(readTxJson(text), JSON.parse(text));
  }
  return Promise.resolve();
});

test("readTxJson() refuses what JSON.parse() refuses", () => {
  const texts = [
    "",
    "{",
    "{]",
    '{"tx_id"}',
    '{"tx_id":}',
    '{"tx_id":"a"',
    '{"tx_id":"a",}',
    '{"tx_id":"a"}}',
    '{"tx_id":"a"} x',
    '{tx_id:"a"}',
    "{'tx_id':1}",
    '{"tx_id":"a\\"}',
    '{"tx_id":"a\nb"}',
    '{"tx_id":"\\x"}',
    '{"timestamp":01}',
    '{"timestamp":NaN}',
    '{"timestamp":+1}',
    '{"timestamp":1 2}',
    '{"timestamp":1:2}',
    "nul",
    "\ufeff",
  ];
  for (const text of texts) {
    assertThrows(() => JSON.parse(text), SyntaxError);
    assertThrows(() => readTxJson(text), SyntaxError, "", text);
  }
  const long = `{"timestamp":${"1".repeat(401)}}`;
  assertThrows(() => readTxJson(long), SyntaxError);
  return Promise.resolve();
});

test("readTxJson() refuses what is no transaction where it begins, however much follows", () => {
  const start = performance.now();
  const much = 16 * 1024 * 1024;
  for (
    const text of [
      `[${"{},".repeat(much / 3)}`,
      "[".repeat(much),
      `{"tx_id":${"[".repeat(much)}`,
      `{"tx_id":{"tx_id":${"{".repeat(much)}`,
      `{"more":"${"x".repeat(much)}`,
      `{"tx_id":"a","tx_id":"b","holder_id":"${"x".repeat(much)}`,
    ]
  ) {
    assertThrows(() => readTxJson(text), InvalidTxError, "", text.slice(0, 30));
  }
  assert(performance.now() - start < 2_000);
  for (const name of NAMES) {
    const twice = `{"${name}":0,"${name}":0}`;
    assertThrows(() => readTxJson(twice), InvalidTxError, "is given twice");
  }
  return Promise.resolve();
});
