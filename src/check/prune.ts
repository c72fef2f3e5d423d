/**
 * Deletes what a filter selects, batch by batch, beside whoever else uses the
 * store: the job that ends the life of transactions.
 *
 * @module
 */

import { crashPoint } from "../async/crash_points.ts";
import { PohStorageError } from "../errors.ts";
import { comparisonsOf, filterRules, sideOf } from "../model/filter.ts";
import { type OptionsType, optionsType, rule } from "../options.ts";
import type { TxFilter, TxInfo, TxQuery } from "../types.ts";

/** Deletions that are committed together. */
const BATCH = 256;

/**
 * Which transactions to prune: at least one condition beside `limit`, `since`,
 * an empty `idPrefix` and a `minSize` of 0.
 */
export type PruneFilter = Omit<TxFilter, "after">;

const { after: _, ...pruneRules } = filterRules;

/** Checks a {@linkcode PruneFilter}. */
export const PRUNE_FILTER: OptionsType = optionsType<PruneFilter>(
  "PruneFilter",
  pruneRules,
);

/** How to prune. */
export interface PruneOptions {
  /** Only tell what would be deleted; a read-only store will do. */
  dryRun?: boolean;
  /** Stops between two batches; what was deleted stays deleted. */
  signal?: AbortSignal;
  /** Told after each batch how far it has got. */
  onProgress?: (soFar: PruneResult) => void;
}

/** Checks {@linkcode PruneOptions}. */
export const PRUNE_OPTIONS: OptionsType = optionsType<PruneOptions>(
  "PruneOptions",
  { dryRun: rule.flag, signal: rule.signal, onProgress: rule.callback },
);

/** What pruning has done. */
export interface PruneResult {
  /** Transactions deleted, or that would be. */
  deleted: number;
  /** Bytes of their payloads, as far as the sizes are known. */
  bytes: number;
  /**
   * Transactions that were selected and kept, since somebody replaced or
   * deleted them before it was their turn.
   */
  changed: number;
  /** Whether it was stopped before its end. */
  interrupted: boolean;
}

/**
 * Prunes by the rows of an open store.
 *
 * @param remove Deletes each transaction that is still as it was seen; tells
 * of each whether it was.
 */
export async function pruneRows<Row extends TxInfo>(
  rows: { iterate(query: TxQuery): AsyncIterable<Row> },
  filter: PruneFilter,
  { dryRun = false, signal, onProgress }: PruneOptions,
  remove: (seen: Row[]) => Promise<boolean[]>,
): Promise<PruneResult> {
  requireCriterion(filter);
  const result = { deleted: 0, bytes: 0, changed: 0, interrupted: false };
  const end = async (batch: Row[]) => {
    const removed = dryRun ? batch.map(() => true) : await remove(batch);
    crashPoint("batch pruned");
    for (const [n, { size }] of batch.entries()) {
      if (removed[n]) {
        result.deleted++;
        result.bytes += Math.max(size, 0);
      } else result.changed++;
    }
    onProgress?.({ ...result });
  };
  let batch: Row[] = [];
  for await (const info of rows.iterate({ ...filter, sort: orderOf(filter) })) {
    if (signal?.aborted) {
      result.interrupted = true;
      return result;
    }
    batch.push(info);
    if (batch.length < BATCH) continue;
    await end(batch);
    batch = [];
  }
  if (batch.length > 0) await end(batch);
  return result;
}

/** The oldest go first, where time is what they are chosen by. */
function orderOf(filter: PruneFilter): "id" | "time" {
  const isByTime = filter.limit !== undefined ||
    comparisonsOf(filter)?.some(({ column }) => column === "timestamp");
  return isByTime ? "time" : "id";
}

/**
 * Whether a filter says what to prune. What selects everything is no condition. Nor is a mere lower bound of the
 * time: it would delete the newest, and keep what one wants to be rid of.
 */
export function hasCriterion(filter: PruneFilter): boolean {
  const comparisons = comparisonsOf(filter);
  if (comparisons === null) return true; // which selects nothing
  return comparisons.some((comparison) => {
    const { column, value } = comparison;
    const isLower = sideOf(comparison) === "lower";
    const isAnySize = column === "size" && value === 0;
    return !(isLower && (column === "timestamp" || isAnySize));
  });
}

function requireCriterion(filter: PruneFilter): void {
  if (hasCriterion(filter)) return;
  throw new PohStorageError(
    "NO_CRITERION",
    "Cannot prune without a condition, such as a time before which: it would delete every transaction, or all the newest",
  );
}
