import { assertEquals } from "@std/assert";
import type { TxInfo } from "../../src/types.ts";
import { findInfo, findInfos, findRow } from "../../src/sqlite/lookups.ts";
import { setLogState } from "../../src/sqlite/log_state.ts";
import {
  type ChangeAhead,
  type ChangesAhead,
  dataVersion,
} from "../../src/sqlite/overlay.ts";
import { deleteRow, putRow } from "../../src/sqlite/row_changes.ts";
import { findOddRows } from "../../src/sqlite/odd_rows.ts";
import {
  iterateByRowid,
  pageOfTxs,
  rowidRange,
} from "../../src/sqlite/tx_pages.ts";
import { countTxs } from "../../src/sqlite/tx_counts.ts";
import { sampleInfo } from "../contract/metadata_store.ts";
import { type Driver, tempDir, testDrivers } from "../helpers.ts";
import { idsOf, openRows, saveRow } from "./rows.ts";

async function tempRows(driver: Driver) {
  const dir = await tempDir();
  const path = dir.join("poh.db");
  const writer = await openRows(path, { driver });
  for (const txId of ["a", "b"]) await saveRow(writer, sampleInfo({ txId }));
  const reader = await openRows(path, { driver, readOnly: true });
  return {
    writer,
    reader,
    async [Symbol.asyncDispose]() {
      await reader.close();
      await writer.close();
      await dir[Symbol.asyncDispose]();
    },
  };
}

function ahead(row: Partial<TxInfo>, place: number | null = null): ChangeAhead {
  const info = sampleInfo(row);
  return { txId: info.txId, row: info, place };
}

const DELETED: ChangeAhead = { txId: "a", row: null, place: null };

testDrivers(
  "changes that are laid over the rows are seen in all reads",
  async (driver) => {
    await using temp = await tempRows(driver);
    const { reader, writer } = temp;
    assertEquals(await idsOf(reader), ["a", "b"]);
    assertEquals(rowidRange(reader), { first: 1, last: 2 });
    reader.overlay.lay([
      DELETED,
      ahead({ txId: "b", size: 9, timestamp: 2 ** 60 + 256 }),
      ahead({ txId: "c" }, 160),
    ]);
    assertEquals(await idsOf(reader), ["b", "c"]);
    assertEquals(await countTxs(reader, { minSize: 9 }), 1);
    assertEquals(findInfo(reader, "a"), null);
    assertEquals(findInfo(reader, "b")?.timestamp, 2 ** 60 + 256);
    assertEquals(findRow(reader, "c")?.place, 160);
    assertEquals([...findInfos(reader, ["a", "b", "c"]).keys()].length, 2);
    assertEquals(rowidRange(reader), null);
    assertEquals(await idsOf(writer), ["a", "b"]);
    reader.overlay.lay([DELETED]); // in place of those
    assertEquals(await idsOf(reader), ["b"]);
    assertEquals(findInfo(reader, "b")?.size, 5);
  },
);

testDrivers("queries by two conditions see them as well", async (driver) => {
  await using temp = await tempRows(driver);
  const { reader, writer } = temp;
  for (let n = 0; n < 40; n++) {
    await saveRow(writer, sampleInfo({ txId: `row ${n}`, timestamp: n }));
  }
  const rows = Array.from(
    { length: 40 },
    (_, n) => ahead({ txId: `row ${n + 20}`, timestamp: n + 20, size: 9 }),
  );
  reader.overlay.lay(rows);
  for (const sort of ["id", "time"] as const) {
    const query = { since: 18, before: 22, idPrefix: "row ", sort, limit: 10 };
    assertEquals(
      pageOfTxs(reader, query).map(({ txId, size }) => [txId, size]),
      [["row 18", 5], ["row 19", 5], ["row 20", 9], ["row 21", 9]],
    );
  }
  assertEquals(pageOfTxs(reader, { minSize: 9, limit: 100 }).length, 40);
  const last = { holderId: "alice", since: 59, limit: 10 };
  assertEquals(pageOfTxs(reader, last).map(({ txId }) => txId), [
    "a",
    "b",
    "row 59",
  ]);
  assertEquals((await Array.fromAsync(iterateByRowid(reader))).length, 22);
  assertEquals(findOddRows(reader), []);
});

testDrivers("they are there until the database changes", async (driver) => {
  await using temp = await tempRows(driver);
  const { reader, writer } = temp;
  reader.overlay.lay([DELETED]);
  const before = dataVersion(reader.connection);
  assertEquals([findInfo(reader, "a"), reader.overlay.isLaid], [null, true]);
  await saveRow(writer, sampleInfo({ txId: "d" }));
  assertEquals(before === dataVersion(reader.connection), false);
  assertEquals(findInfo(reader, "a")?.txId, "a");
  assertEquals(reader.overlay.isLaid, false);
  assertEquals(await idsOf(reader), ["a", "b", "d"]);
});

testDrivers(
  "saves that have resolved are looked for in the log",
  async (driver) => {
    await using temp = await tempRows(driver);
    const { reader, writer } = temp;
    let resolved = 0;
    const asked: number[] = [];
    reader.overlay.readAhead({
      resolved: () => resolved,
      changesAhead(until) {
        asked.push(until);
        const changes = [ahead({ txId: `at ${until}` }, until)];
        return { changes, isWhole: true };
      },
    });
    assertEquals(findInfo(reader, "at 8"), null);
    assertEquals(asked, []); // nothing has resolved
    resolved = 8;
    assertEquals(findInfo(reader, "a")?.txId, "a");
    assertEquals(asked, []); // it has a row
    assertEquals(findRow(reader, "at 8")?.place, 8);
    assertEquals(findInfo(reader, "nobody"), null);
    assertEquals(asked, [8]); // once
    resolved = 16;
    assertEquals(await idsOf(reader), ["a", "at 16", "b"]);
    assertEquals(asked, [8, 16]);
    await writer.change(() => setLogState(writer, { applied: 16 }));
    assertEquals(await idsOf(reader), ["a", "b"]); // as its rows have followed
    resolved = 24;
    reader.atOneMoment(() => {
      resolved = 32;
      assertEquals(findInfo(reader, "at 32"), null);
    });
    assertEquals(asked, [8, 16, 24]);
    assertEquals(findRow(reader, "at 32")?.place, 32); // the next moment
  },
);

testDrivers(
  "what a writer does while the log is read comes to the next look",
  async (driver) => {
    await using temp = await tempRows(driver);
    const { reader, writer } = temp;
    const follow = (applied: number, ...txIds: string[]) =>
      writer.transaction(() => {
        for (const txId of txIds) putRow(writer, sampleInfo({ txId }));
        setLogState(writer, { applied });
      });
    const changes = (...txIds: string[]) =>
      txIds.map((txId) => ahead({ txId }));
    const given: (() => ChangesAhead)[] = [];
    let resolved = 8;
    reader.overlay.readAhead({
      resolved: () => resolved,
      changesAhead: () => given.shift()!(),
    });

    given.push(() => {
      follow(16, "c");
      writer.transaction(() => deleteRow(writer, "c"));
      return { changes: changes("c"), isWhole: true };
    });
    assertEquals(await idsOf(reader), ["a", "b", "c"]);
    assertEquals(await idsOf(reader), ["a", "b"]);

    resolved = 32;
    given.push(() => ({
      changes: (function* () {
        follow(24, "d"); // one of both
        yield* changes("d", "e");
      })(),
      isWhole: true,
    }));
    assertEquals(await idsOf(reader), ["a", "b", "d", "e"]);

    resolved = 40;
    given.push(() => {
      follow(40, "e", "f");
      return { changes: [], isWhole: false }; // for a checkpoint has dropped it
    });
    assertEquals(await idsOf(reader), ["a", "b", "d", "e", "f"]);

    resolved = 48; // where rows and log do not fit, it shows what there is
    const rest = { changes: changes("g"), isWhole: false };
    given.push(() => rest, () => rest, () => rest);
    assertEquals(findInfo(reader, "g")?.txId, "g");
    assertEquals(given.length, 0);
  },
);
