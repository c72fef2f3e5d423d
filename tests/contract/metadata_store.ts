/**
 * What every {@linkcode MetadataStore} does.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { InvalidTxError, type TxInfo } from "../../mod.ts";
import type { MetadataStore } from "../../src/model/store.ts";
import { TRICKY_IDS } from "./payload_store.ts";
import { suite } from "./suite.ts";

/** A store to test, and what ends with it. */
export interface MetadataStoreCase extends AsyncDisposable {
  /** An empty store, initialized. */
  store: MetadataStore;
  /** Closes it and opens what it kept. */
  reopen(): Promise<MetadataStore>;
}

/** Times that come back exactly as they were. */
export const TIMESTAMPS = [
  0,
  1,
  -1,
  1464307123,
  1464307123.25,
  0.1,
  -0.1,
  1 / 3,
  2 ** 31,
  2 ** 32 + 1,
  -(2 ** 31) - 1,
  Number.MAX_SAFE_INTEGER,
  -Number.MAX_SAFE_INTEGER,
  2 ** 53,
  2 ** 53 + 2,
  -(2 ** 53) - 2,
  2 ** 63,
  -(2 ** 63),
  2 ** 64,
  1e19 + 4096,
  1e300,
  -1e300,
  1e308,
  Number.MAX_VALUE,
  -Number.MAX_VALUE,
  5e-324,
  -5e-324,
  2.2250738585072014e-308,
  1e-7,
];

/** Facts; what is not given is made up. */
export function sampleInfo(info: Partial<TxInfo> = {}): TxInfo {
  return {
    txId: "a",
    holderId: "alice",
    timestamp: 1464307123.25,
    storageHash: "0123456789abcdef".repeat(4),
    size: 5,
    ...info,
  };
}

/** Declares the tests. */
export function testMetadataStore(
  name: string,
  make: () => Promise<MetadataStoreCase>,
  options: { ignore?: boolean } = {},
): void {
  const test = suite(name, make, options);

  test("load() gives what save() took, also later", async (made) => {
    const info = sampleInfo();
    await made.store.save(info);
    assertEquals(await made.store.load("a"), info);
    assertEquals(await (await made.reopen()).load("a"), info);
  });

  test("an unknown id has no facts", async ({ store }) => {
    await store.save(sampleInfo({ txId: "ab" }));
    assertEquals(await store.load("a"), null);
    assertEquals(await store.remove("a"), false);
    assertEquals(await store.listIds(), ["ab"]);
  });

  test("init() is harmless when repeated", async ({ store }) => {
    await store.save(sampleInfo());
    await store.init();
    await store.init();
    assertEquals(await store.listIds(), ["a"]);
  });

  test("save() replaces every fact", async ({ store }) => {
    await store.save(sampleInfo());
    const newer = sampleInfo({
      holderId: "bob",
      timestamp: -2.5,
      storageHash: "ff".repeat(32),
      size: 0,
    });
    await store.save(newer);
    assertEquals(await store.load("a"), newer);
    assertEquals(await store.listIds(), ["a"]);
  });

  test("remove() forgets this id alone", async (made) => {
    await made.store.save(sampleInfo());
    await made.store.save(sampleInfo({ txId: "b" }));
    assertEquals(await made.store.remove("a"), true);
    assertEquals(await made.store.load("a"), null);
    assertEquals(await made.store.remove("a"), false);
    assertEquals(await (await made.reopen()).listIds(), ["b"]);
  });

  test("timestamps come back exactly", async (made) => {
    for (const [n, timestamp] of TIMESTAMPS.entries()) {
      await made.store.save(sampleInfo({ txId: `${n}`, timestamp }));
    }
    const store = await made.reopen();
    for (const [n, timestamp] of TIMESTAMPS.entries()) {
      assertEquals((await store.load(`${n}`))?.timestamp, timestamp);
    }
  });

  test("sizes come back exactly", async ({ store }) => {
    for (const size of [-1, 0, 1, 2 ** 31, 2 ** 32 + 1, 2 ** 53 - 1]) {
      await store.save(sampleInfo({ size }));
      assertEquals((await store.load("a"))?.size, size);
    }
  });

  test("no two ids share facts", async (made) => {
    for (const [size, txId] of TRICKY_IDS.entries()) {
      await made.store.save(sampleInfo({ txId, holderId: txId, size }));
    }
    const store = await made.reopen();
    for (const [size, txId] of TRICKY_IDS.entries()) {
      const info = sampleInfo({ txId, holderId: txId, size });
      assertEquals(await store.load(txId), info);
    }
    assertEquals((await store.listIds()).length, TRICKY_IDS.length);
  });

  test("text with quotes and wildcards is text", async ({ store }) => {
    for (const txId of ["'; DROP TABLE txs; --", '"', "_", "%", "?1", "\\"]) {
      await store.save(sampleInfo({ txId, holderId: txId }));
      assertEquals((await store.load(txId))?.holderId, txId);
    }
  });

  test("text with NUL is refused, not cut", async ({ store }) => {
    await store.save(sampleInfo({ txId: "a" }));
    for (const info of [{ txId: "a\0b" }, { holderId: "a\0" }]) {
      await assertRejects(() => store.save(sampleInfo(info)), InvalidTxError);
    }
    assertEquals(await store.listIds(), ["a"]);
    assertEquals(await store.load("a\0b").catch(() => null), null);
    assertEquals(await store.remove("a\0b").catch(() => false), false);
    assertEquals(await store.load("a"), sampleInfo());
  });

  test("a time that is no number of seconds is refused", async ({ store }) => {
    for (const timestamp of [NaN, Infinity, -Infinity]) {
      await assertRejects(() => store.save(sampleInfo({ timestamp })));
    }
    assertEquals(await store.listIds(), []);
  });

  test("ids are in the order of their UTF-8 bytes", async ({ store }) => {
    const ids = [
      "a",
      "B",
      "_",
      "é",
      "取",
      "￿",
      "🪙",
      "a\u0301",
      "aa",
      "10",
      "9",
    ];
    for (const txId of ids) await store.save(sampleInfo({ txId }));
    const byBytes = ids.toSorted((a, b) => compareBytes(a, b));
    assertEquals(await store.listIds(), byBytes);
    assert(byBytes.indexOf("￿") < byBytes.indexOf("🪙")); // UTF-16 differs
  });

  test("close() is harmless when repeated", async ({ store }) => {
    await store.close();
    await store.close();
    await assertRejects(() => store.load("a"));
  });
}

function compareBytes(a: string, b: string): number {
  const encoder = new TextEncoder();
  const [x, y] = [encoder.encode(a), encoder.encode(b)];
  const at = x.findIndex((byte, n) => byte !== y[n]);
  return at === -1 ? x.length - y.length : x[at]! - (y[at] ?? -1);
}
