/**
 * What there is to know of a store at a glance, and what its operator might
 * want to look at. Reads only.
 *
 * @module
 */

import { resolve } from "@std/path";
import { hintsOf } from "./local/hints.ts";
import { listHolders } from "./files/locks.ts";
import { logUse } from "./log/compaction.ts";
import { closeStore, openStore } from "./local/open_store.ts";
import { requireKnown } from "./options.ts";
import { packBelow } from "./local/pack_below.ts";
import { countQuarantine } from "./payloads/quarantine.ts";
import { isRemote, remoteStores } from "./remote_url.ts";
import { countDays, countSizes } from "./model/distribution.ts";
import type { TxFilter } from "./model/filter.ts";
import {
  STORAGE_OPTIONS,
  type StorageOptions,
} from "./model/storage_options.ts";
import type { StoreDescription } from "./model/store_description.ts";
import { hasLog } from "./sqlite/open_database.ts";
import { countHolders, countTxs } from "./sqlite/tx_counts.ts";
import { schemaVersion } from "./sqlite/schema.ts";
import { sumTxs } from "./sqlite/tx_counts.ts";

/** So many holders are named. */
const TOP = 10;

/**
 * Opens a store read-only, describes it, closes it. Creates and changes
 * nothing. Needs `--allow-read` for the base directory and the database.
 *
 * @throws {StoreNotFoundError} If there is no store.
 * @throws {MetadataDamagedError} If the database is damaged.
 *
 * @example Usage
 * ```ts
 * import { describeStore, StorageManager } from "@poh/storage";
 * import { assertEquals } from "@std/assert";
 *
 * const base = await Deno.makeTempDir();
 * await (await StorageManager.create(base, `${base}/poh.db`)).close();
 * const { txs, holders } = await describeStore(base, `${base}/poh.db`);
 * assertEquals({ txs, holders }, { txs: 0, holders: { count: 0, top: [] } });
 * await Deno.remove(base, { recursive: true });
 * ```
 */
export async function describeStore(
  basePath: string,
  sqlitePath: string,
  options: StorageOptions = {},
): Promise<StoreDescription> {
  requireKnown(options, STORAGE_OPTIONS);
  if (isRemote(basePath, sqlitePath)) {
    const { describeRemoteStore } = await remoteStores();
    return await describeRemoteStore(basePath, sqlitePath, options);
  }
  const base = resolve(basePath), db = resolve(sqlitePath);
  const store = await openStore(base, db, { ...options, readOnly: true });
  try {
    const { rows, log } = store;
    const count = (filter: TxFilter) => countTxs(rows, filter);
    const txs = await count({});
    const totals = sumTxs(rows);
    const facts = {
      base,
      db,
      driver: rows.driver,
      schemaVersion: schemaVersion(rows.connection),
      packBelow: packBelow(rows),
      log: hasLog(rows) ? await logUse({ dir: log.dir, rows }) : null,
      writeOnce: store.writeOnce,
      txs,
      ...totals,
      sizes: await countSizes(count, txs - totals.unknownSizes),
      days: await countDays(count, totals.oldest, totals.newest),
      holders: countHolders(rows, TOP),
      writers: listHolders(base),
      pending: hasLog(rows) ? log.pending().toArray().length : 0,
      quarantined: await countQuarantine(base),
    };
    return { ...facts, hints: await hintsOf(facts, rows) };
  } finally {
    await closeStore(store);
  }
}
