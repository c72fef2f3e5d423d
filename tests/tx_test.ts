import {
  assertEquals,
  assertInstanceOf,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { Buffer } from "node:buffer";
import {
  InvalidTxError,
  InvalidTxIdError,
  type Tx,
  txFromJson,
  txToJson,
  validateTx,
} from "../mod.ts";
import { validateTxHead, validateTxId } from "../src/tx.ts";
import { bytes, randomBytes, sampleTx } from "./helpers.ts";

const ACCEPTED: Record<string, Partial<Tx>> = {
  "time zero": { timestamp: 0 },
  "a time before 1970": { timestamp: -1.5 },
  "a huge time": { timestamp: 1e308 },
  "the smallest time": { timestamp: 5e-324 },
  "an empty payload": { payload: new Uint8Array() },
  "an empty holder": { holderId: "" },
  "a Japanese id": { txId: "取引" },
  "an emoji id": { txId: "🪙" },
  "an id that is a path": { txId: "../x" },
  "a payload that is a Node.js buffer": { payload: Buffer.from("x") },
};

for (const [what, part] of Object.entries(ACCEPTED)) {
  Deno.test(`validateTx() accepts ${what}`, () => {
    validateTx(sampleTx(part));
  });
}

const REFUSED: [string, string, Record<string, unknown>][] = [
  ["an empty id", "tx_id", { txId: "" }],
  ["an id with NUL", "tx_id", { txId: "a\0b" }],
  ["an id with an unpaired surrogate", "tx_id", { txId: "a\ud800" }],
  ["an id that is a number", "tx_id", { txId: 1 }],
  ["an id that is missing", "tx_id", { txId: undefined }],
  ["a holder with NUL", "holder_id", { holderId: "\0" }],
  ["a holder with a surrogate", "holder_id", { holderId: "\udfff" }],
  ["a holder that is null", "holder_id", { holderId: null }],
  ["a time that is NaN", "timestamp", { timestamp: NaN }],
  ["an infinite time", "timestamp", { timestamp: Infinity }],
  ["a time minus infinity", "timestamp", { timestamp: -Infinity }],
  ["a time that is text", "timestamp", { timestamp: "1464307123" }],
  ["a time that is a bigint", "timestamp", { timestamp: 1n }],
  ["a time that is a Date", "timestamp", { timestamp: new Date(0) }],
  ["a payload that is text", "payload", { payload: "hello" }],
  ["a payload that is an array", "payload", { payload: [1, 2] }],
  ["a payload that is a buffer", "payload", { payload: new ArrayBuffer(1) }],
  ["a payload of 16-bit words", "payload", { payload: new Uint16Array(1) }],
];

for (const [what, field, part] of REFUSED) {
  Deno.test(`validateTx() refuses ${what} and names ${field}`, () => {
    const tx = { ...sampleTx(), ...part } as Tx;
    const error = assertThrows(() => validateTx(tx), InvalidTxError);
    assertEquals(error.field, field);
    assertStringIncludes(error.message, field);
    assertEquals(
      error.code,
      field === "tx_id" ? "INVALID_TX_ID" : "INVALID_TX",
    );
    assertEquals(error instanceof InvalidTxIdError, field === "tx_id");
  });
}

Deno.test("validateTxHead() does not look at the payload", () => {
  validateTxHead({ txId: "a", holderId: "", timestamp: 0 });
});

Deno.test("validateTxId() says what it got", () => {
  const error = assertThrows(() => validateTxId(null), InvalidTxIdError);
  assertStringIncludes(error.message, "null");
});

Deno.test("txToJson() and txFromJson() are each other's inverse", () => {
  for (const size of [0, 1, 2, 3, 1_000]) {
    const tx = sampleTx({
      txId: "取引/🪙",
      timestamp: 0.1,
      payload: randomBytes(size, size + 1),
    });
    const json = JSON.parse(JSON.stringify(txToJson(tx)));
    assertEquals(txFromJson(json), tx);
  }
});

Deno.test("txToJson() writes the fields in one order, payload in base64", () => {
  assertEquals(
    JSON.stringify(txToJson(sampleTx({ payload: bytes("\xff\xfeh") }))),
    '{"tx_id":"a","holder_id":"alice","timestamp":1464307123.25,"payload":"w7/Dvmg="}',
  );
});

const VALID = { tx_id: "a", holder_id: "b", timestamp: 1, payload: "aGk=" };

Deno.test("txFromJson() reads the fields in any order", () => {
  const { tx_id, ...rest } = VALID;
  assertEquals(
    txFromJson({ ...rest, tx_id }),
    { txId: "a", holderId: "b", timestamp: 1, payload: bytes("hi") },
  );
});

for (const field of Object.keys(VALID)) {
  Deno.test(`txFromJson() refuses an object without ${field}`, () => {
    const value = Object.fromEntries(
      Object.entries(VALID).filter(([name]) => name !== field),
    );
    const error = assertThrows(() => txFromJson(value), InvalidTxError);
    assertEquals(error.field, field);
    assertStringIncludes(error.message, `${field} is missing`);
  });
}

Deno.test("txFromJson() refuses a field it does not know", () => {
  const error = assertThrows(
    () => txFromJson({ ...VALID, holder: "x" }),
    InvalidTxError,
  );
  assertEquals(error.field, "holder");
});

Deno.test("txFromJson() does not take inherited fields for the object's own", () => {
  assertThrows(() => txFromJson(Object.create(VALID)), InvalidTxError);
});

for (const value of [null, undefined, 1, "a", true, [], [VALID]]) {
  Deno.test(`txFromJson() refuses ${Deno.inspect(value).slice(0, 12)}`, () => {
    const error = assertThrows(() => txFromJson(value), InvalidTxError);
    assertEquals(error.field, "");
    assertStringIncludes(error.message, "JSON object");
  });
}

const NOT_BASE64: unknown[] = [
  "a",
  "aGk",
  "aGk==",
  "aGl=", // bits behind the last byte
  "aG k=x",
  "a-_=",
  "%%%%",
  "あ",
  null,
  42,
  ["aGk="],
];

for (const payload of NOT_BASE64) {
  Deno.test(`txFromJson() refuses the payload ${JSON.stringify(payload)}`, () => {
    const error = assertThrows(
      () => txFromJson({ ...VALID, payload }),
      InvalidTxError,
    );
    assertEquals(error.field, "payload");
    assertStringIncludes(error.message, "base64");
  });
}

Deno.test("txFromJson() refuses a null time, which JSON has for NaN", () => {
  const value = JSON.parse(JSON.stringify({ ...VALID, timestamp: NaN }));
  const error = assertThrows(() => txFromJson(value), InvalidTxError);
  assertEquals(error.field, "timestamp");
});

Deno.test("txFromJson() refuses a number that is too large to be one", () => {
  const value = JSON.parse(
    '{"tx_id":"a","holder_id":"","timestamp":1e999,"payload":""}',
  );
  const error = assertThrows(() => txFromJson(value));
  assertInstanceOf(error, InvalidTxError);
  assertEquals(error.field, "timestamp");
});
