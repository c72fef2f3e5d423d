import { assertEquals } from "@std/assert";
import { LogReader } from "../../src/log/log_reader.ts";
import { rowOf } from "../../src/log/record.ts";
import { FIRST_RECORD, positionOf } from "../../src/log/segment.ts";
import { setLogState } from "../../src/sqlite/log_state.ts";
import { bytes, test } from "../helpers.ts";
import {
  encodeRecord,
  type Parts,
  putEntry,
  scanned,
  tempParts,
  writeSegment,
} from "./helpers.ts";

const START = positionOf(1, FIRST_RECORD);

function setApplied({ rows }: Parts, applied: number, filesSynced = applied) {
  return rows.change(() => setLogState(rows, { applied, filesSynced }));
}

async function filled() {
  const parts = await tempParts();
  const entries = ["a", "b", "a"].map((txId, n) =>
    putEntry({ txId, payload: bytes(`${n}`), isPacked: n === 1 })
  );
  const end = await writeSegment(parts.dir, 1, entries);
  const log = new LogReader(parts.dir, parts.rows);
  return { ...parts, log, end, records: scanned(parts.dir, START).records };
}

test("the last change of an id is found, as the log grows", async () => {
  await using parts = await filled();
  const { log, dir, end, records } = parts;
  assertEquals(log.start(), START);
  assertEquals(log.find("a"), records[2]!);
  assertEquals(log.find("c"), null);
  assertEquals(log.pending().map(({ txId }) => txId).toArray(), ["b", "a"]);
  const { salt } = dir.segment(1)!.header;
  const more = encodeRecord(putEntry({ txId: "c" }), end, salt, true);
  dir.segment(1)!.write(end - positionOf(1, 0), more);
  assertEquals(log.find("c")?.position, end);
  assertEquals(log.positions().size, 3);
  await setApplied(parts, end);
  assertEquals(log.start(), end);
  assertEquals([...log.positions().keys()], ["c"]);
  assertEquals(log.find("a"), null);
});

test("a write that is seen in part is looked at again", async () => {
  await using parts = await filled();
  const { log, dir, end } = parts;
  const segment = dir.segment(1)!, { salt } = segment.header;
  const write = (txId: string, position: number) => {
    const record = encodeRecord(putEntry({ txId }), position, salt, true);
    segment.write(position - positionOf(1, 0), record);
    return position + record.length;
  };
  const zeros = new Uint8Array(write("c", end) - end);
  const behind = end + zeros.length;
  segment.write(end - positionOf(1, 0), zeros);
  write("d", behind);
  assertEquals([log.find("c"), log.find("d")?.position], [null, behind]);
  write("c", end);
  assertEquals(log.find("c")?.position, end);
  write("e", behind); // in the place of one that could not be written
  assertEquals([log.find("d"), log.find("e")?.position], [null, behind]);
});

test("a log begins with its first segment, whatever the rows say", async () => {
  await using parts = await tempParts();
  const log = new LogReader(parts.dir, parts.rows);
  assertEquals([log.start(), log.isAhead(), log.size()], [
    FIRST_RECORD,
    false,
    0,
  ]);
  await writeSegment(parts.dir, 3, []);
  assertEquals(log.start(), positionOf(3, FIRST_RECORD));
  assertEquals(log.size(), FIRST_RECORD);
  await writeSegment(parts.dir, 4, [putEntry()]);
  assertEquals(log.size() > 2 * FIRST_RECORD, true);
});

test("a log is ahead where anything stands behind what rows have followed", async () => {
  await using parts = await filled();
  const { log, end } = parts;
  for (
    const [applied, isAhead] of [
      [START, true],
      [parts.records[2]!.position, true],
      [end, false],
    ] as const
  ) {
    await setApplied(parts, applied, 0);
    assertEquals(log.isAhead(), isAhead, `${applied}`);
  }
  parts.dir.segment(1)!.write(end - positionOf(1, 0), new Uint8Array(100));
  assertEquals(log.isAhead(), false); // zeroed ahead
  await writeSegment(parts.dir, 2, [], { previousEnd: end });
  assertEquals(log.isAhead(), true); // a newer segment
  await setApplied(parts, positionOf(2, FIRST_RECORD), 0);
  assertEquals(log.isAhead(), false);
});

test("changes ahead are the last of each id, up to a position", async () => {
  await using parts = await filled();
  const { log, records } = parts;
  const [first, second, third] = records;
  const ahead = (until?: number) =>
    Array.from(
      log.changesAhead(until).changes,
      ({ txId, place, row }) =>
        [txId, place, row?.storageHash ?? null] as const,
    );
  const hash = (n: number) => rowOf(records[n]!)!.storageHash;
  assertEquals(ahead(), [
    ["a", null, hash(2)],
    ["b", second!.position, hash(1)],
  ]);
  assertEquals(ahead(third!.position), [
    ["a", null, hash(0)],
    ["b", second!.position, hash(1)],
  ]);
  assertEquals(ahead(first!.position), []);
  await setApplied(parts, second!.position, 0);
  assertEquals(ahead().map(([txId]) => txId), ["b", "a"]);
  assertEquals(log.recordsFrom(third!.position).toArray(), [third!]);
  assertEquals(log.changesAhead().isWhole, true);
  await writeSegment(parts.dir, 2, [], { previousEnd: parts.end });
  parts.dir.drop(1);
  assertEquals(log.changesAhead().isWhole, false);
});

test("payloads are read at their places", async () => {
  await using parts = await filled();
  const { log, records } = parts;
  const [first, second] = records;
  assertEquals(log.at(first!.position), first!);
  assertEquals(log.at(first!.position + 8), null);
  const row = rowOf(second!)!;
  assertEquals(log.payloadSoon(row, second!.position), bytes("1"));
  assertEquals(log.payloadSoon(row, first!.position), null);
  assertEquals(log.payloadAt(second!.position, row), bytes("1"));
  parts.dir.setState({ resolved: 77 });
  assertEquals(log.resolved(), 77);
  log.close();
  assertEquals(log.at(first!.position), first!); // it is opened again
});
