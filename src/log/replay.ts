/**
 * What the first writer of a store does with a log that was not closed: it has
 * rows and files follow all of it that is sound, makes both durable, and begins
 * a new segment. Never is anything written behind records that were found: the
 * page cache may show records that a failed disk does not have.
 *
 * @module
 */

import { basename } from "@std/path";
import { crashPoint } from "../async/crash_points.ts";
import { Pacer } from "../async/turn.ts";
import {
  dropSegments,
  filesOf,
  keepInLog,
  type LogParts,
  mayDrop,
  syncFollowed,
} from "./checkpoint.ts";
import { isDoubtful, type LogDamage, setSegmentAside } from "./damage.ts";
import {
  dropOvertaken,
  hasFollowed,
  isVoid,
  keepNewer,
  makeFile,
  makeRows,
  type Stuck,
} from "./follow.ts";
import type { LogDir } from "./log_dir.ts";
import { type LogRecord, type RecordKind, rowOf } from "./record.ts";
import { type Gap, recordsOf, scanLog } from "./scan.ts";
import {
  FIRST_RECORD,
  newHeader,
  offsetOf,
  positionOf,
  segmentOf,
} from "./segment.ts";
import type { Database } from "../sqlite/database.ts";
import { logState, setLogState } from "../sqlite/log_state.ts";
import { findRow } from "../sqlite/lookups.ts";
import { clearPlace, hasPlaces } from "../sqlite/places.ts";

/** Records whose rows are made in one transaction, and files synced at a time. */
const PAGE = 512;

/** The smallest piece that a disk writes whole. */
const SECTOR = 512;

/** What became of a record that was found in a log that was not closed. */
export interface Replayed {
  /** Which transaction it was about. */
  txId: string;
  /** What it asked for. */
  kind: RecordKind;
  /**
   * `done`: row and file had followed; `finished`: they do now; `void`: the row
   * has changed since; `stuck`: the file cannot follow yet, the record stays.
   */
  outcome: "done" | "finished" | "void" | "stuck";
  /** Why it is stuck. */
  reason?: string;
}

/** Where a log and a database stand. */
export interface Survey extends LogDamage {
  /** Where the records begin that no checkpoint is known to cover. */
  from: number;
  /** Where the log ends. */
  end: number;
  /** Where its last batch begins. */
  lastBatch: number;
  /** The last record of each id. */
  last: Map<string, number>;
  /** Whether nothing has to follow. */
  isClean: boolean;
  /** Numbers of segments with damage. */
  damaged: Set<number>;
  /** Numbers of segments that another store has written. */
  foreign: number[];
}

/**
 * Looks at a log without changing anything: what no checkpoint covers, where it
 * ends, and what it has lost.
 */
export function survey(dir: LogDir, rows: Database): Survey {
  const { applied, changes, filesSynced } = logState(rows);
  const all = dir.numbers();
  const foreign = all.filter((number) => dir.isForeign(number));
  const numbers = all.filter((number) => !foreign.includes(number));
  const first = numbers[0];
  const found: Survey = {
    from: applied,
    end: applied,
    lastBatch: applied,
    last: new Map(),
    isClean: foreign.length === 0,
    lostChanges: 0,
    details: foreign.map((number) =>
      `${
        basename(dir.pathOf(number))
      } in the log is another store's: it is not read`
    ),
    damaged: new Set(),
    foreign,
  };
  // What a checkpoint covered needs no log, unless payloads live in it.
  const isCovered = filesSynced >= applied && !hasPlaces(rows);
  if (first === undefined) {
    if (isCovered) return found; // it may be a new store, or was closed
    found.details.push("the log is gone");
    return { ...found, isClean: false };
  }
  const start = positionOf(first, FIRST_RECORD);
  found.from = Math.max(filesSynced, start);
  if (applied < start) {
    const header = firstHeader(dir, numbers);
    found.lostChanges = Math.max(0, (header?.changes ?? 0) - changes);
  }
  if (isClosed(dir, numbers, applied, found.from)) {
    return { ...found, end: applied };
  }
  found.isClean = false;
  scan(dir, applied, found);
  if (numbers.at(-1)! < segmentOf(applied)) {
    if (!isCovered) found.details.push(olderLog(dir, numbers.at(-1)!, changes));
  } else if (found.end < applied) {
    found.details.push("the last records of the log are damaged");
    found.damaged.add(segmentOf(applied));
  }
  return found;
}

function olderLog(dir: LogDir, newest: number, changes: number): string {
  const segment = dir.segment(newest);
  if (!segment) return "the log is older than the database";
  let inLog = segment.header.changes;
  for (const _ of recordsOf(segment, FIRST_RECORD)) inLog++;
  return `the log is older than the database: it lacks the last ${
    changes - inLog
  } changes`;
}

function firstHeader(dir: LogDir, numbers: number[]) {
  for (const number of numbers) {
    const segment = dir.segment(number);
    if (segment) return segment.header;
  }
  return null;
}

/** Whether the log ends where the rows have followed to, and files as well. */
export function isClosed(
  dir: LogDir,
  numbers: number[],
  applied: number,
  from: number,
): boolean {
  const newest = numbers.at(-1)!;
  return from === applied && segmentOf(applied) === newest &&
    dir.segment(newest)?.size() === offsetOf(applied);
}

/** Goes through all records, and tells damage from writes that were torn. */
function scan(dir: LogDir, applied: number, found: Survey): void {
  let open: Gap[] = [];
  const damage = (gap: Gap) => {
    found.damaged.add(segmentOf(gap.from));
    found.details.push(
      `${gap.to - gap.from} bytes of the log at ${gap.from} are damaged`,
    );
  };
  const records = scanLog(dir, found.from);
  let next = records.next();
  for (; !next.done; next = records.next()) {
    const { record, gap } = next.value;
    if (gap) {
      open.push(gap);
      continue;
    }
    found.last.set(record.txId, record.position);
    if (!record.startsBatch) continue;
    found.lastBatch = record.position;
    // It was written only once all before it was on the disk.
    open.forEach(damage);
    open = [];
  }
  found.end = next.value;
  // The last batch may have been on its way to the disk, in any order.
  for (const gap of open) {
    const isTorn = gap.from >= applied && hasHole(dir, gap);
    if (!isTorn) damage(gap);
  }
}

/** Whether a sector of a gap never reached the disk. */
function hasHole(dir: LogDir, { from, to }: Gap): boolean {
  const segment = dir.segment(segmentOf(from));
  if (!segment || segmentOf(to) !== segmentOf(from)) return false;
  const bytes = segment.read(offsetOf(from), to - from);
  let at = 0;
  while (at < bytes.length) {
    const end = Math.min(
      at + SECTOR - (offsetOf(from) + at) % SECTOR,
      bytes.length,
    );
    if (bytes.subarray(at, end).every((byte) => byte === 0)) return true;
    at = end;
  }
  return false;
}

/**
 * Has rows and files follow the log to its end, and begins a new segment, unless
 * the log was closed. For whoever is the only writer; safe to repeat.
 *
 * @param distrust Whether a disk has failed, so that what rows and files look
 * like may be in memory only: then all that the log has is made anew.
 * @returns What is wrong with the log.
 */
export async function replay(
  parts: LogParts,
  onReplayed: (replayed: Replayed) => void = () => {},
  distrust = false,
): Promise<LogDamage> {
  const { dir, rows, wal = rows.wal } = parts;
  const unlogged = distrust ? await beginAgain(parts) : new Set<string>();
  const found = survey(dir, rows);
  const { lostChanges, details, isClean } = found;
  if (isClean && dir.numbers().length > 0) return { lostChanges, details };
  // Whoever wrote these may have died before it learned that the disk refused
  // them; all before the last batch had been synced when that was written.
  const isLast = segmentOf(found.lastBatch) === segmentOf(found.end);
  if (isLast) await dir.writeAgain(found.lastBatch, found.end);
  await wal.writeAgain((work) => rows.change(work));
  const wasApplied = logState(rows).applied;
  await applyRows(parts, found, unlogged);
  const stuck = await applyFiles(parts, found, wasApplied, onReplayed);
  await syncFollowed(
    parts,
    filesOf(dir, found),
    stuck,
    // What was void stays so: its file may be the only copy of what the row says.
    async (record) => {
      if (!isVoid(record, parts)) await makeFile(record, parts);
    },
  );
  await keepInLog(stuck, parts);
  await beginAnew(parts, found, stuck);
  return { lostChanges, details };
}

/**
 * Has rows and files follow from the beginning of the log.
 *
 * @returns Ids that the log has deleted and that have a row all the same, as
 * recover has given them one since: what the log says of them counts no more.
 */
async function beginAgain({ dir, rows }: LogParts): Promise<Set<string>> {
  const unlogged = new Set<string>();
  const numbers = dir.numbers();
  const header = firstHeader(dir, numbers);
  const start = positionOf(numbers[0] ?? 0, FIRST_RECORD);
  const { applied } = logState(rows);
  if (!header || applied < start) return unlogged;
  for (const { record } of scanLog(dir, start)) {
    if (!record || record.position >= applied) continue;
    const { txId } = record;
    if (rowOf(record) === null && findRow(rows, txId)) unlogged.add(txId);
    else unlogged.delete(txId);
  }
  const { changes } = header;
  await rows.change(() =>
    setLogState(rows, { applied: start, changes, filesSynced: start })
  );
  return unlogged;
}

/** The rows first: their payloads are durable, in the log. */
async function applyRows(
  { dir, rows }: LogParts,
  { from, end }: Survey,
  unlogged: ReadonlySet<string>,
): Promise<void> {
  let page: LogRecord[] = [], passed = 0;
  const { applied } = logState(rows);
  for (const { record } of scanLog(dir, from)) {
    if (!record || record.position < applied) continue;
    if (unlogged.has(record.txId)) passed++;
    else page.push(record);
    if (page.length < PAGE) continue;
    await makeRows(page, record.position + record.length, rows);
    page = [];
  }
  await makeRows(page, end, rows);
  if (passed === 0) return;
  await rows.change(() =>
    setLogState(rows, { changes: logState(rows).changes + passed })
  );
}

async function applyFiles(
  parts: LogParts,
  found: Survey,
  wasApplied: number,
  onReplayed: (replayed: Replayed) => void,
): Promise<Stuck> {
  const { dir, rows } = parts;
  const stuck: Stuck = new Map();
  const keepsFiles = found.lostChanges > 0 || found.details.length > 0 ||
    isDoubtful(rows);
  const pacer = new Pacer();
  for (const { record } of scanLog(dir, found.from)) {
    if (!record) continue;
    if (found.last.get(record.txId) !== record.position) {
      dropOvertaken(record, parts);
      continue;
    }
    const { txId, kind, position } = record;
    const replayed = await replayOne(record, parts, keepsFiles);
    const { outcome, error } = replayed;
    if (error) stuck.set(position, error);
    else if (outcome !== "void" && !record.isPacked) {
      if (findRow(rows, txId)?.place === position) {
        await rows.change(() => clearPlace(rows, txId, position));
      }
    }
    // A row that had not followed is a change that was half done as well.
    const isLate = outcome === "done" && position >= wasApplied;
    onReplayed({
      txId,
      kind,
      outcome: isLate ? "finished" : outcome,
      ...(error && { reason: error.message }),
    });
    crashPoint("record replayed");
    await pacer.giveWay();
  }
  return stuck;
}

async function replayOne(
  record: LogRecord,
  parts: LogParts,
  keepsFiles: boolean,
): Promise<{ outcome: Replayed["outcome"]; error?: Error }> {
  if (isVoid(record, parts)) return { outcome: "void" };
  try {
    const isDone = await hasFollowed(record, parts);
    if (isDone && rowOf(record) === null) return { outcome: "done" };
    if (!isDone && keepsFiles) await keepNewer(record.txId, parts);
    // What is as it should be may be so in memory only, after a sync that failed:
    // the system tells of that once, and the next sync succeeds.
    await makeFile(record, parts);
    return { outcome: isDone ? "done" : "finished" };
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return { outcome: "stuck", error: error as Error };
  }
}

/** A new segment, from which the log goes on; what nothing needs is dropped. */
async function beginAnew(
  parts: LogParts,
  found: Survey,
  stuck: Stuck,
): Promise<void> {
  const { dir, rows, storeId, tree, wal = rows.wal } = parts;
  await tree?.follow(found.end);
  const numbers = dir.numbers();
  const { changes, applied } = logState(rows);
  const number = Math.max(numbers.at(-1) ?? 0, segmentOf(applied)) + 1;
  const header = newHeader({
    number,
    // The changes that the database has lost are none of those to come.
    changes: changes + found.lostChanges,
    storeId,
    previousEnd: found.end,
  });
  await dir.create(header);
  crashPoint("segment sealed");
  const start = positionOf(number, FIRST_RECORD);
  const [firstStuck = start] = [...stuck.keys()].sort((a, b) => a - b);
  await rows.change(() =>
    setLogState(rows, {
      applied: start,
      changes: header.changes,
      filesSynced: firstStuck,
    })
  );
  await wal.flush();
  for (const old of found.foreign) await setSegmentAside(old, parts);
  for (const old of found.damaged) {
    if (numbers.includes(old) && mayDrop(old, parts, firstStuck)) {
      await setSegmentAside(old, parts);
    }
  }
  await dropSegments(parts, firstStuck);
}
