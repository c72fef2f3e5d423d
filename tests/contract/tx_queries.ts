/**
 * What every store of metadata does that takes queries, beyond what a
 * {@linkcode MetadataStore} does.
 *
 * @module
 */

import { assertEquals, assertRejects } from "@std/assert";
import {
  PohStorageError,
  type TxFilter,
  type TxInfo,
  type TxQuery,
} from "../../mod.ts";
import type { Catalog } from "../../src/shared/contracts.ts";
import { seededRandom } from "../helpers.ts";
import { sampleInfo, TIMESTAMPS } from "./metadata_store.ts";
import { TRICKY_IDS } from "./payload_store.ts";
import { suite } from "./suite.ts";

/** What is tested. */
export type TxQueries = Pick<
  Catalog,
  "save" | "remove" | "listIds" | "iterate" | "count"
>;

/** A store to test, and what ends with it. */
export interface TxQueriesCase extends AsyncDisposable {
  /** An empty store, initialized. */
  store: TxQueries;
}

/** Declares the tests. */
export function testTxQueries(
  name: string,
  make: () => Promise<TxQueriesCase>,
  options: { ignore?: boolean } = {},
): void {
  const test = suite(name, make, options);

  test("a timestamp is found by itself, and by nothing near", async ({ store }) => {
    for (const timestamp of TIMESTAMPS) {
      await store.save(sampleInfo({ timestamp }));
      assertEquals(await store.count({ since: timestamp }), 1, `${timestamp}`);
      assertEquals(await store.count({ before: timestamp }), 0, `${timestamp}`);
      if (Math.abs(timestamp) === Number.MAX_VALUE) continue;
      const near = Math.abs(timestamp) * 2 ** -52 || 5e-324;
      assertEquals(await store.count({ since: timestamp + near }), 0);
      assertEquals(await store.count({ before: timestamp + near }), 1);
    }
  });

  test("a filter by text that no row can have selects nothing", async ({ store }) => {
    for (const txId of ["a", "a\uFFFD"]) {
      await store.save(sampleInfo({ txId, holderId: txId }));
    }
    for (const text of ["a\0", "a\0b", "a\uD800"]) {
      assertEquals(await idsOf(store, { holderId: text }), []);
      assertEquals(await idsOf(store, { idPrefix: text }), []);
      assertEquals(await store.count({ idPrefix: text }), 0);
    }
  });

  test("an empty store lists nothing", async ({ store }) => {
    assertEquals(await store.listIds(), []);
    assertEquals(await Array.fromAsync(store.iterate()), []);
    assertEquals(await store.count(), 0);
  });

  test("every page is read, none twice", async ({ store }) => {
    const ids = Array.from({ length: 1_100 }, (_, n) => `id-${n + 10_000}`);
    await Promise.all(ids.map((txId) => store.save(sampleInfo({ txId }))));
    assertEquals(await store.listIds(), ids);
    for (const limit of [1, 511, 512, 513, 1_024, 1_100, 5_000]) {
      const some = await idsOf(store, { limit });
      assertEquals(some, ids.slice(0, limit));
      assertEquals(await store.count({ limit }), some.length);
    }
    assertEquals(await idsOf(store, { after: "id-10511" }), ids.slice(512));
  });

  test("iterate() can be left early, and changed under", async ({ store }) => {
    for (const txId of ["a", "b", "c"]) await store.save(sampleInfo({ txId }));
    for await (const { txId } of store.iterate()) {
      await store.remove(txId);
      if (txId === "b") break;
    }
    assertEquals(await store.listIds(), ["c"]);
  });

  const FILTERS: [TxFilter, string[]][] = [
    [{}, ["a1", "a2", "b1", "b2", "c1"]],
    [{ holderId: "alice" }, ["a1", "b1"]],
    [{ holderId: "" }, ["c1"]],
    [{ holderId: "nobody" }, []],
    [{ idPrefix: "a" }, ["a1", "a2"]],
    [{ idPrefix: "a1" }, ["a1"]],
    [{ idPrefix: "" }, ["a1", "a2", "b1", "b2", "c1"]],
    [{ idPrefix: "z" }, []],
    [{ since: 2 }, ["a2", "b2", "c1"]],
    [{ since: 2.0000001 }, ["b2", "c1"]],
    [{ before: 2 }, ["a1", "b1"]],
    [{ since: 1, before: 3 }, ["a1", "a2"]],
    [{ since: 3, before: 3 }, []],
    [{ after: "a2" }, ["b1", "b2", "c1"]],
    [{ after: "b" }, ["b1", "b2", "c1"]],
    [{ after: "c1" }, []],
    [{ limit: 0 }, []],
    [{ limit: 2 }, ["a1", "a2"]],
    [{ holderId: "alice", since: 0 }, ["a1"]],
    [{ idPrefix: "b", after: "b1" }, ["b2"]],
    [{ holderId: "bob", idPrefix: "b", since: 3, before: 9, limit: 1 }, ["b2"]],
    [{ minSize: 20 }, ["a2", "b1"]],
    [{ minSize: 19.5, maxSize: 20.5 }, ["a2"]],
    [{ maxSize: 10 }, ["a1", "b2"]],
    [{ minSize: 0 }, ["a1", "a2", "b1", "b2"]],
    [{ maxSize: 0 }, []],
    [{ minSize: 31, maxSize: 1e300 }, []],
    [{ minSize: 1e300 }, []],
    [{ minSize: 10, holderId: "alice", since: 0 }, ["a1"]],
  ];

  const ORDERS: [TxQuery, string[]][] = [
    [{ sort: "id", reverse: true }, ["c1", "b2", "b1", "a2", "a1"]],
    [{ sort: "time" }, ["b1", "a1", "a2", "b2", "c1"]],
    [{ sort: "time", reverse: true }, ["c1", "b2", "a2", "a1", "b1"]],
    [{ reverse: true, after: "b2", limit: 2 }, ["b1", "a2"]],
    [{ reverse: true, after: "b", idPrefix: "a" }, ["a2", "a1"]],
    [{ after: "b", idPrefix: "a" }, []],
    [{ sort: "time", after: "a1", limit: 2 }, ["a2", "b2"]],
    [{ sort: "time", after: "b1", since: 2 }, ["a2", "b2", "c1"]],
    [{ sort: "time", after: "c1", before: 2 }, []],
    [{ sort: "time", reverse: true, after: "c1", before: 2 }, ["a1", "b1"]],
    [{ sort: "time", after: { txId: "x", timestamp: 2 } }, ["b2", "c1"]],
    [{ after: { txId: "x", timestamp: 0 } }, []],
    [{ sort: "time", holderId: "bob", reverse: true }, ["b2", "a2"]],
    [{ sort: "time", minSize: 10, idPrefix: "b" }, ["b1", "b2"]],
  ];

  test("filters select, all conditions together", async ({ store }) => {
    const rows: [string, string, number, number][] = [
      ["a1", "alice", 1, 10],
      ["a2", "bob", 2, 20],
      ["b1", "alice", -1.5, 30],
      ["b2", "bob", 3, 10],
      ["c1", "", 1e300, -1],
    ];
    for (const [txId, holderId, timestamp, size] of rows) {
      await store.save(sampleInfo({ txId, holderId, timestamp, size }));
    }
    for (const [filter, ids] of FILTERS) {
      assertEquals(await idsOf(store, filter), ids, JSON.stringify(filter));
      assertEquals(await store.count(filter), ids.length);
    }
    for (const [query, ids] of ORDERS) {
      assertEquals(await idsOf(store, query), ids, JSON.stringify(query));
    }
  });

  test("transactions of one time are in the order of their ids", async ({ store }) => {
    const ids = Array.from({ length: 600 }, (_, n) => `id-${n + 1_000}`);
    await Promise.all(ids.map((txId) => store.save(sampleInfo({ txId }))));
    assertEquals(await idsOf(store, { sort: "time" }), ids);
    assertEquals(
      await idsOf(store, { sort: "time", reverse: true, after: "id-1002" }),
      ["id-1001", "id-1000"],
    );
  });

  test("an order of time cannot go on after an id that is gone", async ({ store }) => {
    await store.save(sampleInfo({ txId: "b" }));
    const error = await assertRejects(
      () => idsOf(store, { sort: "time", after: "a" }),
      PohStorageError,
    );
    assertEquals(error.code, "CURSOR_GONE");
    assertEquals(await idsOf(store, { after: "a" }), ["b"]);
  });

  test("a limit may be larger than any store", async ({ store }) => {
    for (const txId of ["a", "b", "c"]) await store.save(sampleInfo({ txId }));
    for (const limit of [Infinity, 1e300, Number.MAX_SAFE_INTEGER, 2 ** 31]) {
      assertEquals((await idsOf(store, { limit })).length, 3, `${limit}`);
      assertEquals(await store.count({ limit }), 3, `${limit}`);
    }
  });

  test("an id prefix may be any text", async ({ store }) => {
    const ids = ["取", "取引", "取引🪙", "取\u{10FFFF}", "取\u{10FFFF}a", "収"];
    ids.push("🪙", "🪙a", "\uD7FF", "\uD7FFa", "\uE000", "\u{10FFFF}b");
    for (const txId of ids) await store.save(sampleInfo({ txId }));
    for (
      const idPrefix of [
        "取",
        "取引",
        "🪙",
        "取引🪙",
        "取\u{10FFFF}",
        "\uD7FF",
        "\u{10FFFF}",
      ]
    ) {
      assertEquals(
        (await idsOf(store, { idPrefix })).sort(),
        ids.filter((id) => id.startsWith(idPrefix)).sort(),
      );
    }
  });

  test("random filters agree with a plain search", async ({ store }) => {
    const random = seededRandom(7);
    const below = (n: number) => Math.floor(random() * n);
    const rows = Array.from({ length: 200 }, (_, n) =>
      sampleInfo({
        txId: `${"abc"[n % 3]}${below(50)}-${n}`,
        holderId: `h${below(4)}`,
        timestamp: below(20) - 10 + below(4) / 4,
      }));
    await Promise.all(rows.map((row) => store.save(row)));
    for (let n = 0; n < 150; n++) {
      const filter: TxFilter = {
        ...(below(2) && { holderId: `h${below(5)}` }),
        ...(below(2) && { idPrefix: ["a", "b1", "c", "d"][below(4)]! }),
        ...(below(2) && { since: below(24) - 12 }),
        ...(below(2) && { before: below(24) - 12.25 }),
        ...(below(2) && { after: rows[below(200)]!.txId }),
        ...(below(2) && { limit: below(30) }),
      };
      const expected = rows.filter((row) => isSelected(row, filter))
        .map(({ txId }) => txId).sort().slice(0, filter.limit);
      assertEquals(await idsOf(store, filter), expected);
      assertEquals(await store.count(filter), expected.length);
    }
  });

  test("wildcards in a filter are text", async ({ store }) => {
    for (const txId of ["'; DROP TABLE txs; --", '"', "_", "%", "?1", "\\"]) {
      await store.save(sampleInfo({ txId, holderId: txId }));
    }
    assertEquals(await store.count({ holderId: "_" }), 1);
    assertEquals(await store.count({ idPrefix: "%" }), 1);
  });

  test("a filter by what was replaced finds nothing", async ({ store }) => {
    await store.save(sampleInfo());
    await store.save(sampleInfo({ holderId: "bob" }));
    assertEquals(await store.count({ holderId: "alice" }), 0);
    assertEquals(await store.count({ holderId: "bob" }), 1);
  });

  test("a filter by a time that is no number is refused", async ({ store }) => {
    for (const timestamp of [NaN, Infinity, -Infinity]) {
      await assertRejects(() => store.count({ since: timestamp }));
    }
  });

  test("no two ids share a holder", async ({ store }) => {
    for (const txId of TRICKY_IDS) {
      await store.save(sampleInfo({ txId, holderId: txId }));
    }
    for (const holderId of TRICKY_IDS) {
      assertEquals(await idsOf(store, { holderId }), [holderId]);
    }
  });
}

function isSelected(row: TxInfo, filter: TxFilter): boolean {
  const { holderId = row.holderId, idPrefix = "", after = "" } = filter;
  const { since = -Infinity, before = Infinity } = filter;
  return row.holderId === holderId && row.txId.startsWith(idPrefix) &&
    row.txId > after && row.timestamp >= since && row.timestamp < before;
}

async function idsOf(
  store: TxQueries,
  query: TxQuery,
): Promise<string[]> {
  return await Array.fromAsync(store.iterate(query), ({ txId }) => txId);
}
