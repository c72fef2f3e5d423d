/**
 * What there is to know at a glance of a store that machines share.
 *
 * @module
 */

import { countDays, countSizes } from "../model/distribution.ts";
import type { TxFilter } from "../model/filter.ts";
import type { Hint, StoreDescription } from "../model/store_description.ts";
import type { RemoteParts } from "./contracts.ts";
import { countCases } from "./quarantine.ts";

/** So many holders are named. */
const TOP = 10;

/** More retired keys are not counted. */
const MOST_PENDING = 1_000;

/** Timestamps ahead of the clock by less than this, in seconds, are usual. */
const USUAL_SKEW = 300;

/** Describes a store. */
export async function describeRemote(
  { objects, catalog, driver }: RemoteParts,
): Promise<StoreDescription> {
  const [txs, totals, holders, retired, writeOnce, quarantined] = await Promise
    .all([
      catalog.count(),
      catalog.totals(),
      catalog.holders(TOP),
      catalog.retired(MOST_PENDING),
      catalog.isWriteOnce(),
      countCases(objects),
    ]);
  const latest = await catalog.now() + USUAL_SKEW;
  const early = totals.newest !== null && totals.newest > latest
    ? await catalog.count({ since: latest })
    : 0;
  const count = (filter: TxFilter) => catalog.count(filter);
  const [sizes, days] = await Promise.all([
    countSizes(count, txs - totals.unknownSizes),
    countDays(count, totals.oldest, totals.newest),
  ]);
  const hints: Hint[] = [];
  if (early > 0) {
    hints.push({
      code: "clock",
      message: `${early} ${
        early === 1 ? "timestamp is" : "timestamps are"
      } in the future: a clock was wrong, here or where they came from`,
    });
  }
  return {
    base: objects.url,
    db: catalog.url,
    driver,
    schemaVersion: 1,
    packBelow: 0,
    log: null,
    writeOnce,
    txs,
    ...totals,
    sizes,
    days,
    holders,
    writers: [],
    pending: retired.filter(({ deleted }) => !deleted).length,
    quarantined,
    hints,
  };
}
