import { assertEquals } from "@std/assert";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { nextTurn } from "../../src/async/turn.ts";
import { sampleInfo } from "../contract/metadata_store.ts";
import { type Driver, tempDir, testDrivers } from "../helpers.ts";
import { openDatabase } from "../../src/sqlite/open_database.ts";
import { putRow } from "../../src/sqlite/row_changes.ts";
import { findRowToRead } from "../../src/sqlite/lookups.ts";
import { openRows, saveRow } from "./rows.ts";
import { findInfo, findRow } from "../../src/sqlite/lookups.ts";
import { sumTxs } from "../../src/sqlite/tx_counts.ts";

/** A store with the row `a`, and a connection that the store knows nothing of. */
async function sharedStore(driver: Driver) {
  const dir = await tempDir();
  const path = dir.join("poh.db");
  const store = await openRows(path, { driver });
  await saveRow(store, sampleInfo({ txId: "a", size: 1 }));
  const other = await openSqlite(path, driver, false);
  return {
    store,
    path,
    /** What another process would do. */
    setSize: (size: number) => other.exec(`UPDATE txs SET size = ${size}`),
    size: () => findRowToRead(store, "a")?.info.size,
    other,
    async [Symbol.asyncDispose]() {
      other.close();
      await store.close();
      await dir[Symbol.asyncDispose]();
    },
  };
}

testDrivers(
  "look-ups of one turn see one moment, the next turn the next",
  async (driver) => {
    await using shared = await sharedStore(driver);
    assertEquals([shared.size(), shared.size()], [1, 1]);
    shared.setSize(2);
    assertEquals(shared.size(), 1);
    await nextTurn();
    assertEquals(shared.size(), 2);
  },
);

testDrivers(
  "look-ups see what this thread has committed, at once",
  async (driver) => {
    await using shared = await sharedStore(driver);
    const { store, path } = shared;
    await using second = await openDatabase(path, { driver });
    assertEquals([shared.size(), shared.size()], [1, 1]);
    second.transaction(() =>
      putRow(second, sampleInfo({ txId: "a", size: 2 }))
    );
    assertEquals(shared.size(), 2);
    store.transaction(() => {
      assertEquals([shared.size(), shared.size()], [2, 2]);
      putRow(store, sampleInfo({ txId: "a", size: 3 }));
      assertEquals([shared.size(), shared.size()], [3, 3]);
    });
    assertEquals([shared.size(), findRowToRead(second, "a")?.info.size], [
      3,
      3,
    ]);
  },
);

testDrivers(
  "whoever is to change something sees the last moment",
  async (driver) => {
    await using shared = await sharedStore(driver);
    assertEquals([shared.size(), shared.size()], [1, 1]);
    shared.setSize(2);
    assertEquals(findRow(shared.store, "a")?.info.size, 2);
    assertEquals([shared.size(), shared.size()], [2, 2]);
    shared.setSize(3);
    assertEquals(findInfo(shared.store, "a")?.size, 3);
  },
);

testDrivers(
  "look-ups that go on and on do not stay at one moment",
  async (driver) => {
    await using shared = await sharedStore(driver);
    assertEquals([shared.size(), shared.size()], [1, 1]);
    shared.setSize(2);
    const end = performance.now() + 5_000;
    while (shared.size() === 1 && performance.now() < end) await null;
    assertEquals(shared.size(), 2);
  },
);

testDrivers("nobody waits for look-ups that are over", async (driver) => {
  await using shared = await sharedStore(driver);
  assertEquals([shared.size(), shared.size()], [1, 1]);
  const checkpoint = () =>
    shared.other.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get()?.[0];
  shared.setSize(2);
  assertEquals(checkpoint(), 1); // they are not over
  await nextTurn();
  assertEquals(checkpoint(), 0);
  assertEquals(sumTxs(shared.store).unknownSizes, 0);
  assertEquals([shared.size(), shared.size()], [2, 2]);
  assertEquals(sumTxs(shared.store).unknownSizes, 0); // which ends them as well
  shared.setSize(3);
  assertEquals(checkpoint(), 0);
});
