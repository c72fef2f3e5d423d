/**
 * Compaction takes back the room of payloads in the log that were replaced or
 * deleted: what still lives in the oldest segment is written again, at the end,
 * as any change is; then nothing needs the segment, and the next checkpoint
 * drops it. One segment at a time, beside whatever else goes on.
 *
 * @module
 */

import type { LogParts } from "./checkpoint.ts";
import type { Change, LogRecord } from "./record.ts";
import { recordAt } from "./scan.ts";
import { positionOf } from "./segment.ts";

/** A segment is worth it when less of it than this is alive. */
const ALIVE = 0.5;

/** A log of fewer bytes than this is left alone. */
const SMALL_LOG = 4 * 1024 * 1024;

/** Moved at once. */
const PAGE = 128;

/** The oldest segment, if it is to be compacted; else null. */
export function segmentToCompact({ dir, rows }: LogParts): number | null {
  const numbers = dir.numbers();
  const [oldest] = numbers;
  if (oldest === undefined || numbers.length < 2) return null;
  const sizes = numbers.map((number) => dir.segment(number)?.size() ?? 0);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total < SMALL_LOG) return null;
  const [from, to] = [positionOf(oldest, 0), positionOf(oldest + 1, 0)];
  const isWorthIt = rows.bytesInLog(from, to) < ALIVE * sizes[0]! ||
    // Younger ones wait for this one to go, whatever is in them.
    rows.bytesInLog() < ALIVE * total;
  return isWorthIt ? oldest : null;
}

/**
 * Writes again what lives in a segment.
 *
 * @param submit Makes a change, unless its row is another one by now.
 * @returns How many payloads were moved. What is damaged stays where it is.
 */
export async function compact(
  { dir, rows }: LogParts,
  number: number,
  submit: (change: Change) => Promise<boolean>,
): Promise<number> {
  const places = rows.places(positionOf(number, 0), positionOf(number + 1, 0));
  let moved = 0;
  for (let at = 0; at < places.length; at += PAGE) {
    const page = places.slice(at, at + PAGE);
    const moves = page.map(async ({ txId, place }) => {
      const record = recordAt(dir, place);
      const row = rows.get(txId);
      if (!row || !record?.isPacked || record.txId !== txId) return;
      if (await submit({ entry: entryOf(record), seen: row })) moved++;
    });
    await Promise.all(moves);
  }
  return moved;
}

/** Without its place. */
function entryOf(record: LogRecord): Change["entry"] {
  const { position: _, length: __, startsBatch: ___, ...entry } = record;
  return entry;
}
