import { deleteRow, putRow } from "../../src/sqlite/row_changes.ts";
import { countTxs } from "../../src/sqlite/tx_counts.ts";
import { deleteUnlisted, findOddRows } from "../../src/sqlite/odd_rows.ts";
import {
  iterateByHolder,
  iterateByRowid,
  iterateIds,
  iterateTxs,
  pageOfRows,
  pageOfTxs,
} from "../../src/sqlite/tx_pages.ts";
import type { TxInfo, TxQuery } from "../../src/types.ts";
import { assertEquals } from "@std/assert";
import { sampleInfo } from "../contract/metadata_store.ts";
import { testTxQueries } from "../contract/tx_queries.ts";
import { drivers, tempDir, testDrivers } from "../helpers.ts";
import { idsOf, openRows } from "./rows.ts";

for (const driver of drivers()) {
  testTxQueries(`SQLite [${driver}]`, async () => {
    const dir = await tempDir();
    const rows = await openRows(dir.join("poh.db"), { driver });
    return {
      store: {
        save: (info) => rows.change(() => putRow(rows, info)),
        remove: (txId) => rows.change(() => deleteRow(rows, txId)),
        listIds: () => idsOf(rows),
        iterate: (query) => iterateTxs(rows, query),
        count: (filter) => countTxs(rows, filter),
      },
      async [Symbol.asyncDispose]() {
        await rows.close();
        await dir[Symbol.asyncDispose]();
      },
    };
  });
}

testDrivers("ids alone are read in pages, in either order", async (driver) => {
  await using dir = await tempDir();
  await using rows = await openRows(dir.join("poh.db"), { driver });
  const ids = Array.from({ length: 4_097 }, (_, n) => `${n + 10_000}`);
  rows.transaction(() =>
    ids.forEach((txId, n) => {
      // Many of one time, more than a page has.
      putRow(rows, sampleInfo({ txId, timestamp: n < 3_000 ? 5 : -n }));
    })
  );
  const flat = async (query: TxQuery) =>
    (await Array.fromAsync(iterateIds(rows, query))).flat();
  assertEquals(await flat({}), ids);
  assertEquals(await flat({ reverse: true }), ids.toReversed());
  const byTime = [...ids.slice(3_000).reverse(), ...ids.slice(0, 3_000)];
  assertEquals(await flat({ sort: "time" }), byTime);
  const pages = await Array.fromAsync(iterateIds(rows, { limit: 2_048 }));
  assertEquals(pages.map((page) => page.length), [2_048]);
  const found = pageOfRows(rows, { after: ids[3_000]!, limit: 2 });
  assertEquals(found.map(({ info }) => info.txId), ids.slice(3_001, 3_003));
  assertEquals(
    pageOfTxs(rows, { limit: 3 }).map((i) => i.txId),
    ids.slice(0, 3),
  );
});

testDrivers(
  "rows are read by holder and time, and by rowid",
  async (driver) => {
    await using dir = await tempDir();
    await using rows = await openRows(dir.join("poh.db"), { driver });
    const infos = Array.from({ length: 1_024 }, (_, n) =>
      sampleInfo({
        txId: `${n + 10_000}`,
        holderId: n % 3 === 0 ? "b" : "a",
        timestamp: n % 2 === 0 ? 1.5 : n,
      }));
    rows.transaction(() => infos.forEach((info) => putRow(rows, info)));
    const byHolder = infos.toSorted((x, y) =>
      x.holderId < y.holderId
        ? -1
        : x.holderId > y.holderId
        ? 1
        : x.timestamp - y.timestamp || (x.txId < y.txId ? -1 : 1)
    );
    const ids = (some: TxInfo[]) => some.map(({ txId }) => txId);
    const found = await Array.fromAsync(iterateByHolder(rows));
    assertEquals(ids(found), ids(byHolder));
    const backwards = await Array.fromAsync(iterateByRowid(rows));
    assertEquals(ids(backwards), ids(infos).reverse());
    // An id, and a holder, of bytes that are no UTF-8: no call could name them.
    rows.run("UPDATE txs SET tx_id = CAST(x'ff' AS TEXT) WHERE rowid = 1");
    rows.run("UPDATE txs SET holder_id = CAST(x'ff' AS TEXT) WHERE rowid = 2");
    rows.run("UPDATE txs SET holder_id = ? WHERE rowid = 3", "\uFFFD");
    rows.run("UPDATE txs SET timestamp = 'noon' WHERE rowid = 4");
    rows.run("UPDATE txs SET holder_id = x'61' WHERE rowid = 5");
    const sound = ids(await Array.fromAsync(iterateByHolder(rows)));
    assertEquals(sound.length, 1_024 - 4);
    assertEquals(sound.includes(infos[2]!.txId), true);
    assertEquals(findOddRows(rows).map(({ listed }) => listed), [false, true]);
  },
);

testDrivers(
  "rows that no list has are deleted, and no others",
  async (driver) => {
    await using dir = await tempDir();
    await using rows = await openRows(dir.join("poh.db"), { driver });
    const ids = Array.from({ length: 1_024 }, (_, n) => `${n + 10_000}`);
    rows.transaction(() =>
      ids.forEach((txId) => putRow(rows, sampleInfo({ txId })))
    );
    rows.run("UPDATE txs SET tx_id = x'6162' WHERE rowid = 1");
    rows.run("UPDATE txs SET tx_id = NULL WHERE rowid = 2");
    for (const rowid of [3, 512, 513, 1_024]) {
      const odd = `x'ff' || '${rowid}'`;
      rows.run(
        `UPDATE txs SET tx_id = CAST(${odd} AS TEXT) WHERE rowid = ${rowid}`,
      );
    }
    rows.run("UPDATE txs SET tx_id = ? WHERE rowid = 4", "\uFFFD");
    assertEquals((await idsOf(rows)).length, 1_024 - 6);
    rows.transaction(() => deleteUnlisted(rows));
    const count = rows.first("SELECT count(*) FROM txs")![0];
    assertEquals(count, 1_024 - 6);
    assertEquals((await idsOf(rows)).at(-1), "\uFFFD");
  },
);
