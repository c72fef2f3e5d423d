/**
 * Saves of many transactions.
 *
 * @module
 */

import { SaveTxsError } from "../errors.ts";
import {
  countSave,
  noSaves,
  type SaveCounts,
  type SavedTx,
} from "../model/if_exists.ts";
import type { Tx } from "../types.ts";

/** What `saveMany` keeps in flight: three batches. */
const IN_FLIGHT_TXS = 384;
const IN_FLIGHT_BYTES = 16 * 1024 * 1024;

/**
 * Saves transactions, many at the same time, and takes no more of them than it
 * can keep up with.
 *
 * @throws {SaveTxsError} For the first that could not be saved, once those under
 * way have ended. What the iterable throws is thrown as it is.
 */
export async function saveMany(
  txs: Iterable<Tx> | AsyncIterable<Tx>,
  saveOne: (tx: Tx) => Promise<SavedTx>,
  onSaved?: (saved: SavedTx, index: number) => void,
): Promise<SaveCounts> {
  const failures: SaveTxsError[] = [];
  const ofSource: unknown[] = [];
  const counts = noSaves();
  let next = 0, inFlight = 0, bytes = 0;
  let onEnd = () => {};
  const roomFor = async (txs: number, payloads: number) => {
    while (inFlight > txs || bytes > payloads) {
      await new Promise<void>((resolve) => onEnd = resolve);
    }
  };
  const save = async (tx: Tx, index: number) => {
    const size = tx?.payload?.length ?? 0;
    inFlight++;
    bytes += size;
    try {
      const saved = await saveOne(tx);
      countSave(counts, saved);
      onSaved?.(saved, index);
    } catch (error) {
      const txId = typeof tx?.txId === "string" ? tx.txId : null;
      failures.push(new SaveTxsError(index, txId, error));
    }
    inFlight--;
    bytes -= size;
    onEnd();
  };
  try {
    for await (const tx of txs) {
      save(tx, next++);
      await roomFor(IN_FLIGHT_TXS, IN_FLIGHT_BYTES);
      if (failures.length > 0) break;
    }
  } catch (error) {
    ofSource.push(error); // what is in flight goes on
  }
  await roomFor(0, 0);
  failures.sort((a, b) => a.index - b.index);
  for (const failure of [...failures, ...ofSource]) throw failure;
  return counts;
}
