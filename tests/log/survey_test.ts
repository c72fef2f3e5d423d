import { assertEquals } from "@std/assert";
import { replay, survey } from "../../src/log/replay.ts";
import { rowOf } from "../../src/log/record.ts";
import {
  FIRST_RECORD,
  offsetOf,
  positionOf,
  type Segment,
} from "../../src/log/segment.ts";
import type { LogPosition } from "../../src/sqlite/deferred_rows.ts";
import { setLogState } from "../../src/sqlite/log_state.ts";
import { putRow } from "../../src/sqlite/row_changes.ts";
import { quarantinePath } from "../../src/files/layout.ts";
import { namesIn, randomBytes, test } from "../helpers.ts";
import {
  type Parts,
  putEntry,
  scanned,
  tempParts,
  writeSegment,
} from "./helpers.ts";

const START = positionOf(1, FIRST_RECORD);

function setState({ rows }: Parts, state: Partial<LogPosition>) {
  return rows.change(() => setLogState(rows, state));
}

function surveyed({ dir, rows }: Parts) {
  const { lostChanges, details, isClean, damaged, from, end } = survey(
    dir,
    rows,
  );
  return { lostChanges, details, isClean, damaged: [...damaged], from, end };
}

/** A live payload in the log. */
function putPlace({ rows }: Parts, place: number) {
  return rows.change(() => putRow(rows, rowOf(putEntry())!, place));
}

test("a store without a log is new, or has lost it", async () => {
  await using parts = await tempParts();
  const clean = {
    lostChanges: 0,
    details: [],
    isClean: true,
    damaged: [],
    from: 0,
    end: 0,
  };
  assertEquals(surveyed(parts), clean);
  await setState(parts, { applied: START, filesSynced: START });
  assertEquals(surveyed(parts), { ...clean, from: START, end: START });
  const gone = { details: ["the log is gone"], isClean: false };
  await putPlace(parts, START);
  assertEquals(surveyed(parts), { ...clean, ...gone, from: START, end: START });
  await parts.rows.change(() => putRow(parts.rows, rowOf(putEntry())!));
  await setState(parts, { filesSynced: START - 1 });
  assertEquals(surveyed(parts), { ...clean, ...gone, from: START, end: START });
});

test("a log ends where the rows have followed to: then it is closed", async () => {
  await using parts = await tempParts();
  const end = await writeSegment(parts.dir, 1, [putEntry()]);
  for (
    const [state, isClean] of [
      [{ applied: end, filesSynced: end }, true],
      [{ applied: end, filesSynced: START }, false],
      [{ applied: START, filesSynced: START }, false],
    ] as const
  ) {
    await setState(parts, state);
    const found = surveyed(parts);
    assertEquals([found.isClean, found.details], [isClean, []]);
    assertEquals([found.from, found.end], [state.filesSynced, end]);
  }
  await setState(parts, { applied: end, filesSynced: end });
  parts.dir.segment(1)!.write(offsetOf(end), new Uint8Array(1));
  assertEquals(surveyed(parts).isClean, false);
});

test("changes that came before the log and that no row has are counted", async () => {
  await using parts = await tempParts();
  await writeSegment(parts.dir, 3, [putEntry()], { changes: 12 });
  await setState(parts, { applied: START, filesSynced: START, changes: 5 });
  assertEquals(surveyed(parts).lostChanges, 7);
  await setState(parts, { changes: 15 });
  assertEquals(surveyed(parts).lostChanges, 0);
  await writeSegment(parts.dir, 4, [], { changes: 20 });
  await Deno.writeFile(parts.dir.pathOf(3), randomBytes(300));
  parts.dir.forget(3);
  assertEquals(surveyed(parts).lostChanges, 5);
  await setState(parts, { applied: positionOf(3, FIRST_RECORD), changes: 5 });
  assertEquals(surveyed(parts).lostChanges, 0); // it had begun by then
});

test("a log that is older than the rows says by how much", async () => {
  await using parts = await tempParts();
  const entries = [putEntry({ txId: "a" }), putEntry({ txId: "b" })];
  await writeSegment(parts.dir, 1, entries, { changes: 10 });
  const applied = positionOf(2, FIRST_RECORD);
  await setState(parts, { applied, filesSynced: START, changes: 20 });
  assertEquals(surveyed(parts).details, [
    "the log is older than the database: it lacks the last 8 changes",
  ]);
  await setState(parts, { filesSynced: applied });
  assertEquals(surveyed(parts).details, []); // all was covered
  await setState(parts, { filesSynced: START });
  await Deno.writeFile(parts.dir.pathOf(1), randomBytes(FIRST_RECORD));
  parts.dir.forget(1);
  assertEquals(
    surveyed(parts).details.at(-1),
    "the log is older than the database",
  );
});

test("records at the end that rows have followed and that are gone are damage", async () => {
  await using parts = await tempParts();
  const end = await writeSegment(parts.dir, 1, [putEntry(), putEntry()]);
  const [, second] = scanned(parts.dir, START).records;
  await setState(parts, { applied: end, filesSynced: START });
  parts.dir.segment(1)!.truncate(offsetOf(second!.position) + 20);
  const { details, damaged } = surveyed(parts);
  assertEquals(details, ["the last records of the log are damaged"]);
  assertEquals(damaged, [1]);
});

/** Three records of 3,000 bytes each, in batches of this size. */
async function threeLarge(parts: Parts, batch: number, isPacked = false) {
  const entries = ["a", "b", "c"].map((txId, n) =>
    putEntry({ txId, payload: randomBytes(3_000, n + 1), isPacked })
  );
  await writeSegment(parts.dir, 1, entries, { batch });
  const { records } = scanned(parts.dir, START);
  return { records, segment: parts.dir.segment(1)! };
}

test("of the last batch a sector may never have reached the disk", async () => {
  for (const where of ["first", "middle", "last"] as const) {
    await using parts = await tempParts();
    const { records, segment } = await threeLarge(parts, 3);
    const { position, length } = records[1]!;
    const from = offsetOf(position), to = from + length;
    const hole: [number, number] = {
      first: [from, Math.ceil(from / 512) * 512] as [number, number],
      middle: [2 * 2_048, 2 * 2_048 + 512] as [number, number],
      last: [Math.floor(to / 512) * 512, to] as [number, number],
    }[where];
    segment.write(from + 100, Uint8Array.of(1, 2, 3)); // it is altered as well
    segment.write(hole[0], new Uint8Array(hole[1] - hole[0]));
    const { details, damaged } = surveyed(parts);
    assertEquals([details, damaged], [[], []], where);
    await setState(parts, { applied: position + length });
    assertEquals(surveyed(parts).details.length, 1); // it had been synced
  }
});

test("other holes, and bytes that were altered, are damage", async () => {
  for (
    const { batch, alter } of [
      { batch: 1, alter: (s: Segment, at: number) => zero(s, at, 1_024) },
      { batch: 3, alter: (s: Segment, at: number) => zero(s, at, 400) },
      {
        batch: 3,
        alter: (s: Segment, at: number) => s.write(at, Uint8Array.of(1, 2)),
      },
    ]
  ) {
    await using parts = await tempParts();
    const { records, segment } = await threeLarge(parts, batch);
    const { position, length } = records[1]!;
    alter(segment, 4_096 + 20);
    const { details, damaged, end } = surveyed(parts);
    assertEquals(details, [
      `${length} bytes of the log at ${position} are damaged`,
    ]);
    assertEquals(damaged, [1]);
    assertEquals(end, records[2]!.position + records[2]!.length);
  }
});

function zero(segment: Segment, at: number, length: number): void {
  segment.write(at, new Uint8Array(length));
}

test("a new segment counts what the rows have lost as done", async () => {
  await using parts = await tempParts();
  const end = await writeSegment(parts.dir, 3, [putEntry()], { changes: 12 });
  await setState(parts, { applied: START, filesSynced: START, changes: 5 });
  const damage = await replay(parts);
  assertEquals(damage.lostChanges, 7);
  const { number, changes, previousEnd } = parts.dir.segment(4)!.header;
  assertEquals([number, changes, previousEnd], [4, 13, end]);
  assertEquals(parts.dir.numbers(), [4]);
});

test("a damaged segment is set aside once nothing needs it", async () => {
  for (const isNeeded of [true, false]) {
    await using parts = await tempParts();
    const { segment } = await threeLarge(parts, 1, isNeeded);
    segment.write(4_096, Uint8Array.of(1, 2, 3, 4));
    const { details } = await replay(parts);
    assertEquals(details.length, 1);
    const { basePath } = parts.files;
    const aside = namesIn(basePath, ".poh").includes("quarantine")
      ? namesIn(quarantinePath(basePath)).length
      : 0;
    assertEquals(
      [parts.dir.numbers(), aside],
      isNeeded ? [[1, 2], 0] : [[2], 2],
    );
  }
});
