/**
 * The transparency log of an open store.
 *
 * @module
 */

import { piecesOf } from "../files/durable_fs.ts";
import { StoreTlog, type TlogHost } from "../tlog/store_tlog.ts";
import type { TxInfo } from "../types.ts";
import { openPayload, unreadable } from "./find_payload.ts";
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
    open: (info) => open(store, info),
  });
}

/** The bytes of a payload, a piece at a time; null where there are none. */
async function open(
  store: OpenStore,
  info: TxInfo,
): Promise<AsyncIterable<Uint8Array> | null> {
  const opened = await openPayload(store, info);
  if (!opened) return null;
  return opened instanceof Uint8Array
    ? ReadableStream.from([opened])
    : readable(info.txId, piecesOf(opened));
}

/** Pieces, whose failures are told as such of a payload. */
async function* readable(
  txId: string,
  pieces: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    yield* pieces;
  } catch (error) {
    throw unreadable(txId, error);
  }
}
