/**
 * Reports and descriptions as JSON, named as all JSON of the program is.
 *
 * @module
 */

import type { Finding, StoreReport } from "../model/report.ts";
import type { StoreDescription } from "../model/store_description.ts";
import { jsonFloat } from "./tx_json.ts";

/** A report as one JSON object, named as all JSON of the program is. */
export function reportJson(report: StoreReport): string {
  const { driver, dryRun, findings, ...rest } = report;
  return JSON.stringify({
    base: rest.base,
    db: rest.db,
    driver: driver && driverJson(driver),
    dry_run: dryRun,
    sound: rest.sound,
    checked: rest.checked,
    bytes: rest.bytes,
    damaged: rest.damaged,
    repaired: rest.repaired,
    healable: rest.healable,
    taken_out: rest.takenOut,
    actions: rest.actions,
    sources: rest.sources,
    interrupted: rest.interrupted,
    cursor: rest.cursor,
    counts: rest.counts,
    findings: findings.map(findingJson),
    steps: rest.steps,
  });
}

/** A finding as JSON. */
export function findingJson({ txId, ...finding }: Finding) {
  return { ...finding, tx_id: txId };
}

/** A driver as JSON. */
export function driverJson(
  driver: NonNullable<StoreReport["driver"]>,
): Record<string, string> {
  return {
    name: driver.name,
    library: driver.library,
    sqlite_version: driver.sqliteVersion,
    ...(driver.fallbackReason !== undefined && {
      fallback_reason: driver.fallbackReason,
    }),
  };
}

/** The description of a store as one JSON object. */
export function descriptionJson(description: StoreDescription): string {
  const { driver, oldest, newest, holders, writers, hints } = description;
  const start = JSON.stringify({
    base: description.base,
    db: description.db,
    driver: driverJson(driver),
    schema_version: description.schemaVersion,
    pack_below: description.packBelow,
    log: description.log,
    write_once: description.writeOnce,
    txs: description.txs,
    bytes: description.bytes,
    unknown_sizes: description.unknownSizes,
    sizes: description.sizes.map(({ upTo, txs }) => ({ up_to: upTo, txs })),
    days: description.days,
    holders: {
      count: holders.count,
      top: holders.top.map(({ holderId, txs }) => ({
        holder_id: holderId,
        txs,
      })),
    },
    lock_holders: writers,
    pending: description.pending,
    quarantined: description.quarantined,
    hints,
  });
  const float = (value: number | null) =>
    value === null ? "null" : jsonFloat(value);
  return `${start.slice(0, -1)},"oldest":${float(oldest)},"newest":${
    float(newest)
  },"durability":"full"}`;
}
