import { assertEquals } from "@std/assert";
import type { TxInfo, TxQuery } from "../../mod.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { sampleInfo } from "../contract/metadata_store.ts";
import { type Driver, seededRandom, tempDir, testDrivers } from "../helpers.ts";
import type { Database } from "../../src/sqlite/database.ts";
import { iterateTxs, pageOfTxs } from "../../src/sqlite/tx_pages.ts";
import { openRows } from "./rows.ts";
import { putRow } from "../../src/sqlite/row_changes.ts";

/** So many that no page is found at the first try. */
const ROWS = 20_000;

/** Rows whose ids follow their times, their holders, or neither. */
function makeRows(ids: "by time" | "by holder" | "at random"): TxInfo[] {
  const random = seededRandom(ROWS);
  const below = (n: number) => Math.floor(random() * n);
  return Array.from({ length: ROWS }, (_, n) => {
    const holderId = `h${below(3)}${below(20) ? "" : below(50)}`;
    const number = String(n).padStart(6, "0");
    const txId = ids === "by time"
      ? number
      : ids === "by holder"
      ? `${holderId}/${number}`
      : `${below(2 ** 32).toString(16).padStart(8, "0")}-${n}`;
    const timestamp = ids === "by time" ? n >> 2 : below(ROWS) / 4;
    const size = below(10) ? below(100) : below(100_000) - 1;
    return sampleInfo({ txId, holderId, timestamp, size });
  });
}

async function storeOf(
  path: string,
  driver: Driver,
  rows: TxInfo[],
): Promise<Database> {
  const store = await openRows(path, { driver, sync: false });
  store.transaction(() => rows.forEach((row) => putRow(store, row)));
  return store;
}

/** What a query selects, the plain way. */
function expected(rows: TxInfo[], query: TxQuery): string[] {
  const { holderId, idPrefix = "", since, before, minSize, maxSize } = query;
  const { sort = "id", reverse = false, after, limit } = query;
  const selected = rows.filter((row) =>
    (holderId === undefined || row.holderId === holderId) &&
    row.txId.startsWith(idPrefix) &&
    (since === undefined || row.timestamp >= since) &&
    (before === undefined || row.timestamp < before) &&
    (minSize === undefined || row.size >= minSize) &&
    (maxSize === undefined || row.size >= 0 && row.size <= maxSize)
  );
  // The ids here are ASCII: their order is that of their bytes.
  const byId = (a: TxInfo, b: TxInfo) => a.txId < b.txId ? -1 : 1;
  const order = (a: TxInfo, b: TxInfo) =>
    (sort === "time" ? a.timestamp - b.timestamp : 0) || byId(a, b);
  const cursor = rows.find(({ txId }) => txId === after);
  return selected
    .sort((a, b) => reverse ? order(b, a) : order(a, b))
    .filter((row) =>
      cursor === undefined ||
      row !== cursor && (order(row, cursor) > 0) !== reverse
    )
    .slice(0, limit)
    .map(({ txId }) => txId);
}

for (const ids of ["by time", "by holder", "at random"] as const) {
  testDrivers(
    `pages are what a plain search finds, with ids ${ids}`,
    async (driver) => {
      await using dir = await tempDir();
      const rows = makeRows(ids);
      await using store = await storeOf(dir.join("poh.db"), driver, rows);
      const random = seededRandom(11);
      const below = (n: number) => Math.floor(random() * n);
      const any = () => rows[below(ROWS)]!;
      for (let n = 0; n < 300; n++) {
        const since = below(ROWS) / 4;
        const minSize = below(4) ? below(100) : below(100_000);
        const query: TxQuery = {
          ...(below(2) && { sort: "time" }),
          ...(below(2) && { reverse: true }),
          ...(below(3) === 0 && { holderId: any().holderId }),
          ...(below(3) === 0 &&
            { idPrefix: any().txId.slice(0, 1 + below(5)) }),
          ...(below(2) && { since }),
          ...(below(2) &&
            { before: since + below(ROWS) / (below(2) ? 4 : 90) }),
          ...(below(3) === 0 && { minSize }),
          ...(below(3) === 0 && { maxSize: minSize + below(2_000) }),
          ...(below(2) && { after: any().txId }),
          limit: 1 + below(300),
        };
        assertEquals(
          pageOfTxs(store, query as TxQuery & { limit: number })
            .map(({ txId }) => txId),
          expected(rows, query),
          JSON.stringify(query),
        );
      }
    },
  );
}

testDrivers("a query that spans pages gives each row once", async (driver) => {
  await using dir = await tempDir();
  const rows = makeRows("by time");
  await using store = await storeOf(dir.join("poh.db"), driver, rows);
  for (
    const query of [
      { since: 4_000 }, // far behind in the order of ids
      { before: 1_000, reverse: true },
      { idPrefix: "01", sort: "time" },
      { maxSize: 10, sort: "time", reverse: true },
      { holderId: "h1", minSize: 90 },
    ] as const
  ) {
    const found = await Array.fromAsync(
      iterateTxs(store, query),
      (i) => i.txId,
    );
    assertEquals(found.length > 1_000, true);
    assertEquals(found.join(), expected(rows, query).join());
  }
});

testDrivers("an older schema gives the same, read-only", async (driver) => {
  await using dir = await tempDir();
  const path = dir.join("poh.db");
  const rows = makeRows("at random").slice(0, 3_000)
    .map((row) => ({ ...row, holderId: "", size: -1 }));
  await (await storeOf(path, driver, rows)).close();
  const db = await openSqlite(path, driver, false);
  for (
    const statement of [
      ...["time", "size", "holder", "place"].map((name) =>
        `DROP INDEX txs_by_${name}`
      ),
      "ALTER TABLE txs DROP COLUMN place",
      "ALTER TABLE txs DROP COLUMN size",
      "ALTER TABLE txs DROP COLUMN holder_id",
      "PRAGMA user_version = 0",
    ]
  ) db.exec(statement);
  db.close();
  await using store = await openRows(path, { driver, readOnly: true });
  for (
    const query of [
      { since: 2_000, before: 2_100 },
      { idPrefix: "a", sort: "time", reverse: true },
      { holderId: "", sort: "time", limit: 10 },
      { holderId: "h1" },
      { minSize: 0 },
      { maxSize: 5, sort: "time" },
    ] as const
  ) {
    const found = await Array.fromAsync(
      iterateTxs(store, query),
      (i) => i.txId,
    );
    assertEquals(found.join(), expected(rows, query).join());
  }
});

testDrivers("a time that is text has no place in time", async (driver) => {
  await using dir = await tempDir();
  const path = dir.join("poh.db");
  await using store = await storeOf(path, driver, [
    sampleInfo({ txId: "a", timestamp: 1 }),
    sampleInfo({ txId: "b", timestamp: 2 }),
  ]);
  const db = await openSqlite(path, driver, false);
  db.exec("UPDATE txs SET timestamp = 'x' WHERE tx_id = 'a'");
  db.close();
  const ids = (query: TxQuery) =>
    Array.fromAsync(iterateTxs(store, query), (info) => info.txId);
  assertEquals(await ids({ sort: "time" }), ["b"]);
  assertEquals(await ids({ sort: "time", reverse: true }), ["b"]);
  assertEquals(await ids({}), ["a", "b"]);
});
