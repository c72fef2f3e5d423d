/**
 * The transparency log of an open store.
 *
 * @module
 */

import { PohStorageError } from "../errors.ts";
import { piecesOf } from "../files/durable_fs.ts";
import { type HashedPayload, PayloadHasher } from "../proofs/chunk_tree.ts";
import { StoreTlog, type TlogHost } from "../tlog/store_tlog.ts";
import type { TxInfo } from "../types.ts";
import { openPayload } from "./find_payload.ts";
import { type OpenStore, writerOf } from "./open_store.ts";

/**
 * Makes the log of a store that is open for writing.
 *
 * @param alone Runs work while nobody else changes the store.
 */
export function tlogOf(
  store: OpenStore,
  alone: TlogHost["alone"],
): StoreTlog {
  const { rows, files: { basePath } } = store;
  const { tlog, queue, locks } = writerOf(store);
  return new StoreTlog({
    ...{ rows, basePath, tlog, alone },
    flush: () => queue.flush(),
    others: () => locks.others(),
    hash: (info) => hash(store, info),
  });
}

/** What a payload comes to, a piece at a time; null where it cannot be read. */
async function hash(
  store: OpenStore,
  info: TxInfo,
): Promise<HashedPayload | null> {
  const hasher = new PayloadHasher();
  try {
    const opened = await openPayload(store, info);
    if (!opened) return null;
    if (opened instanceof Uint8Array) hasher.update(opened);
    else for await (const piece of piecesOf(opened)) hasher.update(piece);
    return hasher.finish();
  } catch (error) {
    if (error instanceof PohStorageError) return null;
    throw error;
  }
}
