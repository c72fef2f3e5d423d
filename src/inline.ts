/**
 * Payloads that live in the database instead of in files: which do, and how
 * they move.
 *
 * A payload is in the table `inline_payloads`, under its id and the digest that
 * its row promises. It is committed with the row, so that nothing has to
 * follow, but for the removal of a file that an older version had.
 *
 * @module
 */

import type { CheckOptions } from "./check.ts";
import type { Change } from "./commit_queue.ts";
import type { FileStore } from "./file_store.ts";
import { digestOf } from "./hash.ts";
import { type OpenStore, removal, type StoreWriter } from "./open_store.ts";
import { payloadInLog } from "./redo.ts";
import { nextTurn } from "./turn.ts";
import type { TxInfo } from "./types.ts";

/** Moved in one commit. */
const PAGE = 128;

/** Whether a payload of this size belongs into the database. */
export function isForDatabase(
  size: number,
  { inlineBelow }: StoreWriter,
): boolean {
  return inlineBelow > 0 && size <= inlineBelow;
}

/** The change that saves a small payload where it belongs. */
export function placement(
  writer: StoreWriter,
  info: TxInfo,
  payload: Uint8Array,
): Change & { info: TxInfo } {
  const { txId, storageHash } = info;
  if (isForDatabase(payload.length, writer)) {
    return { info, entry: removal(txId), inline: payload };
  }
  return {
    info,
    entry: { txId, action: "put", storageHash, payload, staged: null },
  };
}

/** Moves every sound payload that is not where it belongs; how many. */
export async function movePayloads(
  store: OpenStore,
  writer: StoreWriter,
  { signal, onProgress }: Pick<CheckOptions, "signal" | "onProgress">,
): Promise<number> {
  const { rows } = store;
  const total = await rows.count();
  let moved = 0, done = 0, bytes = 0, after: string | undefined;
  while (!signal?.aborted) {
    const page = rows.page({
      ...(after !== undefined && { after }),
      limit: PAGE,
    });
    const moves = page.map(async (info) => {
      const change = await moveOf(info, store, writer);
      if (!change || !await writer.queue.submit(change)) return;
      moved++;
      bytes += info.size;
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

/** The older package does not tell the size of what it saves. */
function sizeOf({ txId, size }: TxInfo, files: FileStore): number {
  if (size >= 0) return size;
  const opened = files.open(txId);
  opened?.file.close();
  return opened?.size ?? Infinity;
}

async function moveOf(
  info: TxInfo,
  { files, rows }: OpenStore,
  writer: StoreWriter,
): Promise<Change | null> {
  const inline = rows.inlinePayload(info);
  let payload = inline;
  try {
    const isSmall = isForDatabase(sizeOf(info, files), writer);
    if (inline ? isSmall : !isSmall) return null;
    payload ??= await files.load(info.txId) ??
      await payloadInLog(info, files, rows);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return null; // what cannot be read cannot be moved
  }
  if (!payload || await digestOf(payload) !== info.storageHash) return null;
  const whole = { ...info, size: payload.length };
  const change = placement(writer, whole, payload);
  const isThere = (change.inline !== undefined) === (inline !== null);
  return isThere ? null : { ...change, seen: info };
}
