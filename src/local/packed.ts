/**
 * Payloads that live in the log instead of in files: which do, and how they
 * move.
 *
 * @module
 */

import type { MovePackedOptions } from "../model/packing.ts";
import type { PayloadFiles } from "../payloads/payload_files.ts";
import { findInfo, findRow } from "../sqlite/lookups.ts";
import { pageOfTxs } from "../sqlite/tx_pages.ts";
import { countTxs } from "../sqlite/tx_counts.ts";
import { readPayload, readSource } from "./find_payload.ts";
import type { Change } from "../log/record.ts";
import { type OpenStore, saving, type StoreWriter } from "./open_store.ts";
import { nextTurn } from "../async/turn.ts";
import type { TxInfo } from "../types.ts";

/** Moved in one commit. */
const PAGE = 128;

/** Times that a payload is looked for which others move or replace meanwhile. */
const MOVE_ATTEMPTS = 5;

/** Moves every sound payload that is not where it belongs; how many. */
export async function movePayloads(
  store: OpenStore,
  writer: StoreWriter,
  { signal, onProgress }: MovePackedOptions,
): Promise<number> {
  const { rows } = store;
  const total = await countTxs(rows);
  let moved = 0, done = 0, bytes = 0, after: string | undefined;
  while (!signal?.aborted) {
    const page = pageOfTxs(rows, {
      ...(after !== undefined && { after }),
      limit: PAGE,
    });
    const moves = page.map(async ({ txId }) => {
      const size = await move(txId, store, writer);
      if (size === null) return;
      moved++;
      bytes += size;
    });
    await Promise.all(moves);
    done += page.length;
    onProgress?.({ step: "payloads", done, total, bytes });
    if (page.length < PAGE) break;
    after = page.at(-1)!.txId;
    await nextTurn();
  }
  return moved;
}

/** Moves a payload that is not where it belongs; its size, or null. */
async function move(
  txId: string,
  store: OpenStore,
  writer: StoreWriter,
): Promise<number | null> {
  for (let attempt = 0; attempt < MOVE_ATTEMPTS; attempt++) {
    const info = findInfo(store.rows, txId);
    const change = info && await moveOf(info, store, writer);
    if (!change) return null;
    if (await writer.queue.submit(change)) return change.entry.size;
  }
  return null;
}

/** The older package does not tell the size of what it saves. */
function sizeOf({ txId, size }: TxInfo, files: PayloadFiles): number {
  if (size >= 0) return size;
  const opened = files.open(txId);
  opened?.file.close();
  return opened?.size ?? Infinity;
}

async function moveOf(
  info: TxInfo,
  store: OpenStore,
  { packBelow }: StoreWriter,
): Promise<Change | null> {
  const { files, rows } = store;
  const place = findRow(rows, info.txId)?.place ?? null;
  try {
    const belongs = packBelow.covers(sizeOf(info, files));
    if (belongs === (place !== null)) return null;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return null; // what cannot be read cannot be moved
  }
  const { sound } = await readPayload(
    store,
    info,
    (source) => readSource(info.txId, source),
  );
  if (!sound) return null;
  const { bytes: payload } = sound;
  const whole = { ...info, size: payload.length };
  const how = { payload, isPacked: packBelow.covers(payload.length) };
  return { entry: saving(whole, how), seen: info, home: place };
}
