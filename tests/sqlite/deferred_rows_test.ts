import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { InvalidTxError } from "../../mod.ts";
import type { Database } from "../../src/sqlite/database.ts";
import { findInfo, findInfos, findRow } from "../../src/sqlite/lookups.ts";
import {
  logState,
  readSetting,
  setLogState,
  writeSetting,
} from "../../src/sqlite/log_state.ts";
import type { FollowingRow } from "../../src/sqlite/row.ts";
import { deleteRow, followRows, putRow } from "../../src/sqlite/row_changes.ts";
import { countTxs } from "../../src/sqlite/tx_counts.ts";
import { sampleInfo } from "../contract/metadata_store.ts";
import { type Driver, tempDir, testDrivers } from "../helpers.ts";
import { idsOf, openRows, saveRow } from "./rows.ts";

async function tempRows(driver: Driver) {
  const dir = await tempDir();
  const path = dir.join("poh.db");
  const rows = await openRows(path, { driver });
  return {
    rows,
    path,
    async [Symbol.asyncDispose]() {
      await rows.close();
      await dir[Symbol.asyncDispose]();
    },
  };
}

function row(txId: string, position: number, place = null): FollowingRow {
  return { info: sampleInfo({ txId }), place, position };
}

function defer(rows: Database, end: number, ...some: FollowingRow[]): void {
  rows.deferred.add(some, end, logState(rows));
}

testDrivers(
  "rows that are put off are known by their ids, here alone",
  async (driver) => {
    await using temp = await tempRows(driver);
    const { rows, path } = temp;
    await using other = await openRows(path, { driver });
    await saveRow(rows, sampleInfo({ txId: "there" }));
    defer(rows, 24, row("a", 8), row("b", 16));
    assertEquals(rows.deferred.size, 2);
    assertEquals(findInfo(rows, "a"), sampleInfo({ txId: "a" }));
    assertEquals(findRow(rows, "b"), row("b", 16));
    const found = findInfos(rows, ["a", "there", "nobody"]);
    assertEquals([...found.keys()].sort(), ["a", "there"]);
    assertEquals(findInfos(rows, ["b"]).size, 1);
    assertEquals(findInfos(rows, ["nobody"]).size, 0);
    assertEquals(findInfo(other, "a"), null);
    assertEquals(rows.deferred.size, 2);
    assertEquals(logState(rows), { applied: 24, changes: 2, filesSynced: 0 });
    assertEquals(logState(other).applied, 0);
  },
);

testDrivers(
  "they are in the table before anything else is read",
  async (driver) => {
    await using temp = await tempRows(driver);
    const { rows, path } = temp;
    await using other = await openRows(path, { driver });
    await rows.change(() => setLogState(rows, { filesSynced: 4, changes: 10 }));
    defer(rows, 16, row("a", 8));
    assertEquals(await idsOf(rows), ["a"]);
    assertEquals(rows.deferred.size, 0);
    assertEquals(findInfo(other, "a")?.txId, "a");
    assertEquals(logState(other), { applied: 16, changes: 11, filesSynced: 4 });
    defer(rows, 24, row("b", 16));
    assertEquals(await countTxs(rows), 2);
    defer(rows, 32, row("c", 24));
    rows.atOneMoment(() => assertEquals(findInfo(other, "c")?.txId, "c"));
  },
);

testDrivers(
  "they go into the table with the next change, or not at all",
  async (driver) => {
    await using temp = await tempRows(driver);
    const { rows } = temp;
    defer(rows, 16, row("a", 8));
    await assertRejects(
      () =>
        rows.change(() => {
          assertEquals(rows.deferred.size, 0);
          throw new RangeError("stop");
        }),
      RangeError,
    );
    assertEquals([rows.deferred.size, rows.deferred.position?.applied], [
      1,
      16,
    ]);
    await saveRow(rows, sampleInfo({ txId: "b" }));
    assertEquals(rows.deferred.size, 0);
    assertEquals(await idsOf(rows), ["a", "b"]);
  },
);

testDrivers(
  "those that cannot go there are told to whoever needs the table",
  async (driver) => {
    await using temp = await tempRows(driver);
    const { rows } = temp;
    rows.deferred.hold(new RangeError("nothing to hold"));
    assertEquals(await countTxs(rows), 0);
    defer(rows, 16, row("a", 8));
    rows.deferred.hold(new RangeError("locked"));
    await assertRejects(() => countTxs(rows), RangeError, "locked");
    assertEquals(findInfo(rows, "a")?.txId, "a");
    await saveRow(rows, sampleInfo({ txId: "b" })); // a change that succeeds
    assertEquals(await countTxs(rows), 2);
    defer(rows, 24, row("c", 16));
    assertEquals(await countTxs(rows), 3);
  },
);

testDrivers(
  "those that another connection had follow are forgotten",
  async (driver) => {
    await using temp = await tempRows(driver);
    const { rows, path } = temp;
    await using other = await openRows(path, { driver });
    rows.deferred.haveFollowed(100);
    defer(rows, 16, row("a", 8));
    defer(rows, 24, row("b", 16));
    assertEquals(rows.deferred.all().map(({ info }) => info.txId), ["a", "b"]);
    await other.change(() => followRows(other, rows.deferred.all(), 24));
    rows.deferred.haveFollowed(16);
    assertEquals(rows.deferred.all().map(({ info }) => info.txId), ["b"]);
    assertEquals(rows.deferred.position?.applied, 24);
    rows.deferred.haveFollowed(24);
    assertEquals([rows.deferred.size, rows.deferred.position], [0, null]);
    assertEquals(await idsOf(rows), ["a", "b"]);
  },
);

testDrivers("rows follow once, in the log's order", async (driver) => {
  await using temp = await tempRows(driver);
  const { rows } = temp;
  const follow = (until: number, ...some: FollowingRow[]) =>
    rows.change(() => followRows(rows, some, until));
  await follow(16, row("a", 8));
  await follow(24, row("a", 8), row("b", 16));
  assertEquals(logState(rows), { applied: 24, changes: 2, filesSynced: 0 });
  await follow(24, row("c", 24));
  assertEquals(logState(rows).applied, 24);
  assertEquals(await idsOf(rows), ["a", "b", "c"]);
});

testDrivers("what SQLite cannot keep is not put off", async (driver) => {
  await using temp = await tempRows(driver);
  const { rows } = temp;
  for (
    const info of [{ txId: "a\0" }, { holderId: "\0" }, { timestamp: NaN }]
  ) {
    const one = { ...row("a", 8), info: sampleInfo(info) };
    assertThrows(() => defer(rows, 16, one), InvalidTxError);
    assertThrows(
      () => rows.transaction(() => putRow(rows, one.info)),
      InvalidTxError,
    );
  }
  const infinite = sampleInfo({ txId: "i", timestamp: -Infinity });
  await saveRow(rows, infinite);
  assertEquals(findInfo(rows, "i"), infinite);
});

testDrivers("settings are kept, replaced and forgotten", async (driver) => {
  await using temp = await tempRows(driver);
  const { rows } = temp;
  const write = (value: string | null) =>
    rows.change(() => writeSetting(rows, "x", value));
  assertEquals(readSetting(rows, "x"), null);
  for (const value of ["1", "2", "", null]) {
    await write(value);
    assertEquals(readSetting(rows, "x"), value);
  }
  for (const value of ["nonsense", "-1", "1.5", "1e300", "9007199254740993"]) {
    await rows.change(() => writeSetting(rows, "applied", value));
    assertEquals(logState(rows).applied, 0, value);
  }
  const state = { applied: 3, changes: 0, filesSynced: 1 };
  await rows.change(() => setLogState(rows, state));
  await rows.change(() => setLogState(rows, {}));
  assertEquals(logState(rows), state);
  await rows.change(() => setLogState(rows, { filesSynced: 9 }));
  assertEquals(logState(rows).filesSynced, 3); // files never are ahead
});

testDrivers("a deletion says whether there was a row", async (driver) => {
  await using temp = await tempRows(driver);
  const { rows } = temp;
  await saveRow(rows, sampleInfo());
  assertEquals(await rows.change(() => deleteRow(rows, "b")), false);
  assertEquals(await rows.change(() => deleteRow(rows, "a")), true);
  assertEquals(await rows.change(() => deleteRow(rows, "a")), false);
});
