import { assertEquals } from "@std/assert";
import { recordRoom } from "../../src/log/record.ts";
import { findInfo, findRow, idsInFiles } from "../../src/sqlite/lookups.ts";
import { logState, setLogState } from "../../src/sqlite/log_state.ts";
import { putRow } from "../../src/sqlite/row_changes.ts";
import {
  aboutInLog,
  bytesInLog,
  clearPlace,
  countInLog,
  forgetLog,
  hasPlaces,
  placesIn,
} from "../../src/sqlite/places.ts";
import { rowidRange, rowsBetween } from "../../src/sqlite/tx_pages.ts";
import { sampleInfo } from "../contract/metadata_store.ts";
import { type Driver, tempDir, testDrivers } from "../helpers.ts";
import { encodeRecord, putEntry } from "../log/helpers.ts";
import { saltOf } from "../../src/log/record.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { openRows } from "./rows.ts";

const IDS = ["a", "取引", "c", "d"];

/** Rows whose payloads are at 80, 160 and 240, and one in a file. */
async function tempRows(driver: Driver) {
  const dir = await tempDir();
  const rows = await openRows(dir.join("poh.db"), { driver });
  rows.transaction(() => {
    for (const [n, txId] of IDS.entries()) {
      const info = sampleInfo({ txId, size: n * 100 });
      putRow(rows, info, n === 3 ? null : 80 * (n + 1));
    }
  });
  return {
    rows,
    async [Symbol.asyncDispose]() {
      await rows.close();
      await dir[Symbol.asyncDispose]();
    },
  };
}

/** Bytes of the record of one of these. */
function lengthOf(n: number): number {
  const payload = new Uint8Array(n * 100);
  const entry = putEntry({ txId: IDS[n]!, payload, isPacked: true });
  const salt = saltOf(new Uint8Array(16));
  return encodeRecord(entry, 80, salt, true).length;
}

testDrivers(
  "payloads in a part of the log are found, from its first position on",
  async (driver) => {
    await using temp = await tempRows(driver);
    const { rows } = temp;
    assertEquals(hasPlaces(rows), true);
    assertEquals([hasPlaces(rows, 80, 81), hasPlaces(rows, 81, 160)], [
      true,
      false,
    ]);
    assertEquals(countInLog(rows, 80, 240), 2);
    assertEquals(countInLog(rows, 0, 10_000), 3);
    assertEquals(placesIn(rows, 160, 241), [
      { txId: "取引", place: 160 },
      { txId: "c", place: 240 },
    ]);
    assertEquals(
      bytesInLog(rows, 0, 10_000),
      lengthOf(0) + lengthOf(1) + lengthOf(2),
    );
    assertEquals(bytesInLog(rows, 160, 240), lengthOf(1));
    assertEquals(aboutInLog(rows, 160, 240), lengthOf(1));
    assertEquals(
      Math.round(aboutInLog(rows, 0, 241)),
      bytesInLog(rows, 0, 241),
    );
    assertEquals([bytesInLog(rows, 0, 80), aboutInLog(rows, 0, 80)], [0, 0]);
    assertEquals(recordRoom(putEntry()) > 0, true);
  },
);

testDrivers("a size that no record has counts for nothing", async (driver) => {
  await using temp = await tempRows(driver);
  const { rows } = temp;
  const info = sampleInfo({ txId: "a", size: 0 });
  const empty = bytesInLog(rows, 80, 81);
  for (const [size, more] of [[65_536, 65_536], [65_537, 0]] as const) {
    await rows.change(() => putRow(rows, { ...info, size }, 80));
    assertEquals(bytesInLog(rows, 80, 81) - empty, more);
  }
});

testDrivers(
  "a payload that went to a file has its place no more",
  async (driver) => {
    await using temp = await tempRows(driver);
    const { rows } = temp;
    await rows.change(() => {
      clearPlace(rows, "a", 88);
      clearPlace(rows, "c", 240);
    });
    assertEquals([findRow(rows, "a")?.place, findRow(rows, "c")?.place], [
      80,
      null,
    ]);
    assertEquals(idsInFiles(rows, [...IDS, "nobody"]), new Set(["c", "d"]));
    await rows.change(() => {
      setLogState(rows, { applied: 8, filesSynced: 8, changes: 3 });
      forgetLog(rows);
    });
    assertEquals([hasPlaces(rows), findInfo(rows, "a")?.size], [false, 0]);
    assertEquals(logState(rows), { applied: 0, changes: 3, filesSynced: 0 });
  },
);

testDrivers(
  "rows are read in the order in which they were first saved",
  async (driver) => {
    await using temp = await tempRows(driver);
    const { rows } = temp;
    assertEquals(rowidRange(rows), { first: 1, last: 4 });
    const found = rowsBetween(rows, 1, 3, 10);
    assertEquals(
      found.map(({ info, place, rowid }) => [info.txId, place, rowid]),
      [["取引", 160, 2], ["c", 240, 3]],
    );
    assertEquals(rowsBetween(rows, 0, 4, 1).length, 1);
    rows.run("INSERT INTO txs VALUES (x'61', 'aa', 1, '', 0, NULL)");
    assertEquals(rowsBetween(rows, 4, 9, 10), []);
    for (
      const [rowid, range] of [
        [2 ** 51, { first: 1, last: 2 ** 51 }],
        [2 ** 51 + 1, null],
      ] as const
    ) {
      rows.run("UPDATE txs SET rowid = ? WHERE tx_id = 'd'", rowid);
      assertEquals(rowidRange(rows), range);
    }
    rows.run("UPDATE txs SET rowid = 4 WHERE tx_id = 'd'");
    rows.run("UPDATE txs SET rowid = ? WHERE tx_id = 'a'", -(2 ** 51) - 1);
    assertEquals(rowidRange(rows), null);
    rows.run("DELETE FROM txs");
    assertEquals(rowidRange(rows), null);
  },
);

testDrivers("a database of an older version has no places", async (driver) => {
  await using dir = await tempDir();
  const db = await openSqlite(dir.join("poh.db"), driver, false);
  db.exec("CREATE TABLE txs (tx_id TEXT PRIMARY KEY, storage_hash, timestamp)");
  db.exec("INSERT INTO txs VALUES ('a', 'aa', 1.5)");
  db.close();
  const path = dir.join("poh.db");
  await using rows = await openRows(path, { driver, readOnly: true });
  assertEquals(hasPlaces(rows), false);
  assertEquals(idsInFiles(rows, ["a", "b"]), new Set(["a"]));
});
