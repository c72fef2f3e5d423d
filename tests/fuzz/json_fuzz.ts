/**
 * Values from a fuzzer against the JSON form of a transaction.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import fc from "../fast_check.ts";
import { InvalidTxError, txFromJson, txToJson } from "../../mod.ts";
import { validateTx } from "../../src/tx.ts";

/** Mostly like a transaction, with something wrong. */
const almostTx = fc.record({
  tx_id: fc.oneof(fc.string({ unit: "binary" }), fc.anything()),
  holder_id: fc.oneof(fc.string({ unit: "binary" }), fc.anything()),
  timestamp: fc.oneof(fc.double(), fc.integer(), fc.anything()),
  payload: fc.oneof(
    fc.uint8Array().map((bytes) => bytes.toBase64()),
    fc.base64String(),
    fc.string(),
    fc.anything(),
  ),
}, { requiredKeys: [] });

const withMore = fc.tuple(almostTx, fc.dictionary(fc.string(), fc.anything()))
  .map(([tx, more]) => ({ ...more, ...tx }));

/** What JSON.parse makes of a text that is not a plain object's. */
const parsed = fc.oneof(
  fc.json().map((text) => JSON.parse(text) as unknown),
  fc.constantFrom(
    '{"__proto__":{"tx_id":"a"},"holder_id":"","timestamp":0,"payload":""}',
    '{"constructor":1,"tx_id":"a","holder_id":"","timestamp":0,"payload":""}',
    '{"tx_id":"a","tx_id":"","holder_id":"","timestamp":0,"payload":""}',
    '{"tx_id":"a","holder_id":"","timestamp":1e999,"payload":""}',
    '{"tx_id":"a","holder_id":"","timestamp":-0,"payload":"=="}',
    '{"tx_id":"\\ud800","holder_id":"","timestamp":0,"payload":""}',
  ).map((text) => JSON.parse(text) as unknown),
);

/**
 * Asserts for so many values that each is a transaction that says the same, or
 * is refused with an error that names the field.
 */
export function fuzzJson(runs: number): void {
  const value = fc.oneof(almostTx, withMore, parsed, fc.anything());
  fc.assert(fc.property(value, checkValue), { numRuns: runs });
}

function checkValue(value: unknown): void {
  let tx;
  try {
    tx = txFromJson(value);
  } catch (error) {
    assert(error instanceof InvalidTxError, `${error}`);
    assert(error.message !== "");
    return;
  }
  validateTx(tx);
  const json = txToJson(tx);
  const { tx_id, holder_id, timestamp, payload } = value as typeof json;
  // White space in base64 means nothing.
  const bare = payload.replaceAll(/[ \t\n\f\r]/g, "");
  assertEquals(json, { tx_id, holder_id, timestamp, payload: bare });
  assertEquals(txFromJson(JSON.parse(JSON.stringify(json))), {
    ...tx,
    timestamp: tx.timestamp + 0, // JSON has no -0
  });
}
