/**
 * Rows of a store as records under seals.
 *
 * @module
 */

import {
  CHUNK_SIZE,
  encodeEntry,
  encodeRecord,
  type PutReason,
  type RemoveReason,
  sealOf,
  type TxRecord,
} from "../proofs/entry.ts";
import { isEqual } from "../proofs/encoding.ts";
import { ProofError } from "../proofs/proof_error.ts";
import type { Database } from "../sqlite/database.ts";
import type { TxInfo } from "../types.ts";
import {
  dropLive,
  type Growth,
  type LiveEntry,
  liveEntry,
  putLive,
} from "./tlog_tables.ts";

/** The record of a row. */
export function recordOf(
  { txId, holderId, timestamp, size, storageHash }: TxInfo,
  { salt, chunkRoot }: Pick<TxRecord, "salt" | "chunkRoot">,
): TxRecord {
  const digest = Uint8Array.fromHex(storageHash);
  return { salt, txId, holderId, timestamp, size, digest, chunkRoot };
}

/** Whether a row is what an entry has under its seal. */
export function isUnderSeal(row: TxInfo, live: LiveEntry): boolean {
  try {
    return isEqual(sealOf(encodeRecord(recordOf(row, live))), live.seal);
  } catch (error) {
    // What cannot be sealed, such as a digest that is none, never was.
    if (error instanceof ProofError || error instanceof SyntaxError) {
      return false;
    }
    throw error;
  }
}

/**
 * Appends the put of a row, unless it is under the seal of the live entry already:
 * a record that moves a payload, or mends it, changes no transaction. Within a
 * transaction.
 *
 * @param chunkRoot Of a payload above 8,192 bytes.
 * @returns Whether the row is under a seal now: null where it cannot be.
 */
export function appendPut(
  rows: Database,
  growth: Growth,
  row: TxInfo,
  reason: PutReason,
  chunkRoot: Uint8Array | null,
): boolean | null {
  const live = liveEntry(rows, row.txId);
  if (live && isUnderSeal(row, live)) return true;
  if (row.size > CHUNK_SIZE && !chunkRoot) return null;
  const salt = crypto.getRandomValues(new Uint8Array(16));
  let record: TxRecord, seal: Uint8Array;
  try {
    record = recordOf(row, {
      salt,
      chunkRoot: row.size > CHUNK_SIZE ? chunkRoot! : new Uint8Array(32),
    });
    seal = sealOf(encodeRecord(record));
  } catch (error) {
    if (error instanceof ProofError || error instanceof SyntaxError) {
      return null;
    }
    throw error;
  }
  const prev = live?.entry ?? null;
  const index = growth.append(encodeEntry({ kind: "put", reason, prev, seal }));
  putLive(rows, index, record, seal);
  return true;
}

/** Appends the end of a transaction's live entry, if it has one. Within a transaction. */
export function appendRemoval(
  rows: Database,
  growth: Growth,
  txId: string,
  reason: RemoveReason,
): void {
  const live = liveEntry(rows, txId);
  if (!live) return;
  growth.append(encodeEntry({ kind: "remove", reason, prev: live.entry }));
  dropLive(rows, txId);
}
