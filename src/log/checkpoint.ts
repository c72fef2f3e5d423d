/**
 * A checkpoint makes durable what has followed the log, and drops the segments
 * that nothing needs any more. A segment goes last: what was refused, by the
 * disk or by whatever is in a file's way, keeps it.
 *
 * @module
 */

import { crashPoint } from "../async/crash_points.ts";
import {
  type Followers,
  hasFollowed,
  isVoid,
  makeFile,
  type Stuck,
} from "./follow.ts";
import type { LogDir } from "./log_dir.ts";
import { type LogRecord, rowOf } from "./record.ts";
import { scanLog } from "./scan.ts";
import { positionOf, segmentOf } from "./segment.ts";
import { type Tree, treePosition } from "./tree.ts";
import { Pacer } from "../async/turn.ts";
import type { FollowingFile } from "./unsynced.ts";
import { putRow } from "../sqlite/row_changes.ts";
import type { WalFile } from "../sqlite/wal_file.ts";
import { findInfo } from "../sqlite/lookups.ts";
import { clearPlace, hasPlaces, placesIn } from "../sqlite/places.ts";

/**
 * What has been logged when a checkpoint is due. The more, the faster are saves:
 * by then the system has written most files by itself. The less, the sooner is a
 * store open again after a crash, which replays up to twice as much. Tests have
 * checkpoints come sooner.
 */
export const CHECKPOINT_DUE = { changes: 32_768, bytes: 32 * 1024 * 1024 };

/** Files synced at a time. */
const PAGE = 512;

/** The parts of a store that follow one log. */
export interface LogParts extends Followers {
  /** The folder of the log. */
  dir: LogDir;
  /** The id of the store, 32 hex digits. */
  storeId: string;
  /** The tree over the log's records. */
  tree?: Tree;
  /** SQLite's log, where it is another one than that of the rows. */
  wal?: WalFile;
}

/** A part of the log, and the last record of each id in it. */
export interface Stretch {
  /** Where it begins. */
  from: number;
  /** Where it ends. */
  end: number;
  /** Positions. */
  last: Map<string, number>;
}

/** The part of the log between two positions. */
export async function stretchOf(
  dir: LogDir,
  from: number,
  end: number,
): Promise<Stretch> {
  const last = new Map<string, number>();
  const pacer = new Pacer();
  for (const { record } of scanLog(dir, from)) {
    if (!record) continue;
    if (record.position >= end) break;
    last.set(record.txId, record.position);
    await pacer.giveWay();
  }
  return { from, end, last };
}

/** The last record of each id. */
function* lastOf(dir: LogDir, { from, end, last }: Stretch) {
  for (const { record } of scanLog(dir, from)) {
    if (!record) continue;
    if (record.position >= end) return;
    if (last.get(record.txId) === record.position) yield record;
  }
}

/** The files that follow a stretch, or that are to be gone. */
export function* filesOf(
  dir: LogDir,
  stretch: Stretch,
): Generator<FollowingFile> {
  for (const { txId, position, isPacked } of lastOf(dir, stretch)) {
    if (!isPacked) yield { txId, position };
  }
}

/** Waits for the files of ids, and hands over each that the disk refused. */
export type SyncFiles = (
  txIds: string[],
  onRefused: (txId: string) => void,
) => Promise<void>;

/**
 * Waits until files, or their absence, are on the disk. What the disk refuses is
 * made anew, once: a system tells of a lost write one time only.
 *
 * @param stuck Records whose file has not followed; gets those refused twice.
 * @param again Makes a record's file once more.
 * @param sync Waits for the files of ids; by another thread, where there is one.
 */
export async function syncFollowed(
  { dir, files }: LogParts,
  following: Iterable<FollowingFile>,
  stuck: Stuck,
  again: (record: LogRecord) => Promise<void>,
  sync: SyncFiles = (txIds, onRefused) => files.sync(txIds, onRefused),
): Promise<void> {
  const refused: FollowingFile[] = [];
  let page = new Map<string, number>();
  const syncPage = async () => {
    await sync(
      [...page.keys()],
      (txId) => refused.push({ txId, position: page.get(txId)! }),
    );
    page = new Map();
  };
  for (const { txId, position } of following) {
    if (stuck.has(position)) continue;
    page.set(txId, position);
    if (page.size === PAGE) await syncPage();
  }
  await syncPage(); // without files as well: a packed payload has its older file go
  crashPoint("files synced");
  for (const { position, txId } of refused) {
    const record = recordOf(dir, position);
    try {
      await again(record);
      await files.sync([txId]);
    } catch (error) {
      stuck.set(position, error as Error);
    }
  }
}

/**
 * Makes the files of a stretch once more: whoever was to sync them has died, and
 * may have been the only one to learn that the disk refused one.
 *
 * @param stuck Records whose file has not followed; gets those that cannot.
 * @param again Makes a record's file.
 */
export async function makeAgain(
  { dir }: LogParts,
  stretch: Stretch,
  stuck: Stuck,
  again: (record: LogRecord) => Promise<void>,
): Promise<void> {
  for (const record of lastOf(dir, stretch)) {
    if (stuck.has(record.position)) continue;
    try {
      await again(record);
    } catch (error) {
      stuck.set(record.position, error as Error);
    }
  }
}

function recordOf(dir: LogDir, position: number): LogRecord {
  for (const { record } of scanLog(dir, position)) {
    if (record?.position === position) return record;
    break;
  }
  throw new Error(`The log has no record at ${position} any more`);
}

/** The positions of records whose file could not follow when it was its turn. */
export async function findStuck(
  parts: LogParts,
  stretch: Stretch,
): Promise<number[]> {
  const { dir, rows } = parts;
  const found: number[] = [];
  const inLog = new Set(
    placesIn(rows, stretch.from, stretch.end).map(({ place }) => place),
  );
  const pacer = new Pacer();
  for (const record of lastOf(dir, stretch)) {
    await pacer.giveWay();
    const { position, isPacked } = record;
    // A file has to go where a transaction was deleted, or packed by now.
    const isLeft = isPacked || rowOf(record) === null
      ? !isVoid(record, parts) && !await hasFollowed(record, parts)
      : inLog.has(position);
    if (isLeft) found.push(position);
  }
  return found;
}

/**
 * Tries again what could not follow. For whoever has the turn, once rows have
 * followed the log.
 *
 * @returns What still cannot.
 */
export async function retry(
  parts: LogParts,
  positions: number[],
): Promise<Stuck> {
  const { dir, rows } = parts;
  const stuck: Stuck = new Map();
  for (const position of positions) {
    const record = recordOf(dir, position);
    if (isVoid(record, parts)) continue;
    const { txId } = record;
    try {
      await makeFile(record, parts);
      // A packed payload stays where it is: what could not go was an older file.
      if (record.isPacked) continue;
      await rows.change(() => clearPlace(rows, txId, position));
    } catch (error) {
      stuck.set(position, error as Error); // its save was told why
    }
  }
  return stuck;
}

/**
 * Payloads whose file cannot follow stay in the log, and their rows say so. For
 * whoever has the turn, once rows have followed the log.
 */
export async function keepInLog(
  stuck: Stuck,
  parts: LogParts,
): Promise<void> {
  if (stuck.size === 0) return;
  const { dir, rows } = parts;
  await rows.change(() => {
    for (const position of stuck.keys()) {
      const record = recordOf(dir, position);
      const row = findInfo(rows, record.txId);
      if (row && !isVoid(record, parts)) putRow(rows, row, position);
    }
  });
}

/**
 * Drops the segments before a position, oldest first. Rows and files that came
 * from them have to be durable. The first in which a payload lives stays, and all after
 * it: so the log has every change since its beginning.
 */
export async function dropSegments(
  parts: LogParts,
  until: number,
): Promise<void> {
  const { dir } = parts;
  let isAny = false;
  for (const number of dir.numbers()) {
    if (dir.isForeign(number)) continue; // the next opening sets it aside
    if (!mayDrop(number, parts, until)) break;
    dir.drop(number);
    isAny = true;
    crashPoint("segment dropped");
  }
  if (isAny) await dir.syncNames();
}

/** Whether nothing needs a segment, if all before `until` is durable. */
export function mayDrop(
  number: number,
  { rows }: Followers,
  until: number,
): boolean {
  const end = Math.min(until, treePosition(rows));
  return number < segmentOf(end) &&
    !hasPlaces(rows, positionOf(number, 0), positionOf(number + 1, 0));
}
