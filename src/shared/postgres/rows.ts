/**
 * Between the rows of the table and what the program has for them.
 *
 * @module
 */

import { InvalidTxIdError } from "../../errors.ts";
import type { CatalogEntry } from "../contracts.ts";
import { plainKey } from "../object_key.ts";
import type { TxInfo } from "../../types.ts";
import type { Row } from "./connections.ts";

/** The columns of a row; `size` as a number that the driver does not make text. */
export const COLUMNS =
  "tx_id, storage_hash, timestamp, holder_id, size::float8 AS size, object_key";

/** What a row says. */
export function toInfo(row: Row): TxInfo {
  return {
    txId: row.tx_id as string,
    holderId: row.holder_id as string,
    timestamp: row.timestamp as number,
    storageHash: row.storage_hash as string,
    size: row.size as number,
  };
}

/** What a row says, with the key it names. */
export function toEntry(row: Row): CatalogEntry {
  const info = toInfo(row);
  return {
    info,
    key: row.object_key as string | null ?? plainKey(info.txId),
  };
}

/** The plain key of an id; null for one whose name would be too long. */
export function plainKeyOrNull(txId: string): string | null {
  try {
    return plainKey(txId);
  } catch (error) {
    if (error instanceof InvalidTxIdError) return null;
    throw error;
  }
}
