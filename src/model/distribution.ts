/**
 * How the transactions of a store are spread over sizes and days.
 *
 * @module
 */

import type { TxFilter } from "./filter.ts";
import type { StoreDescription } from "./store_description.ts";

type SizeClass = StoreDescription["sizes"][number];
type DayCount = StoreDescription["days"][number];

/** Upper bound of the first class of sizes, in bytes, and the factor to the next. */
const LEAST_SIZE = 64;
const SIZE_STEP = 4;

/** Number of days that are counted. */
const DAYS = 14;

const SECONDS_A_DAY = 86_400;

/** No date is later, in seconds. */
const END_OF_TIME = 8.64e12;

/** Counts what a filter selects. */
type Count = (filter: TxFilter) => Promise<number>;

/**
 * Counts transactions by size, the smallest first; an index serves each class.
 *
 * @param known How many transactions have a known size.
 */
export async function countSizes(
  count: Count,
  known: number,
): Promise<SizeClass[]> {
  const classes: SizeClass[] = [];
  let counted = 0, minSize = 0;
  for (let upTo = LEAST_SIZE; counted < known; upTo *= SIZE_STEP) {
    if (!Number.isSafeInteger(upTo)) break; // others delete meanwhile
    const txs = await count({ minSize, maxSize: upTo });
    counted += txs;
    minSize = upTo + 1;
    if (txs > 0 || classes.length > 0) classes.push({ upTo, txs });
  }
  return classes;
}

/**
 * Counts the transactions of the newest days, the oldest first; an index serves
 * each day.
 */
export async function countDays(
  count: Count,
  oldest: number | null,
  newest: number | null,
): Promise<DayCount[]> {
  if (newest === null || Math.abs(newest) >= END_OF_TIME) return [];
  const last = Math.floor(newest / SECONDS_A_DAY);
  const first = Math.max(
    last - DAYS + 1,
    Math.floor((oldest ?? newest) / SECONDS_A_DAY),
  );
  const days: DayCount[] = [];
  for (let day = first; day <= last; day++) {
    const since = day * SECONDS_A_DAY;
    days.push({
      day: new Date(since * 1000).toISOString().slice(0, 10),
      txs: await count({ since, before: since + SECONDS_A_DAY }),
    });
  }
  return days;
}
