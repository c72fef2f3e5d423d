/**
 * Payloads that wait for their places: a backup that replaces one keeps the new
 * beside the old until its new database is there. Until then the row that names
 * the new one does not count; from then on whoever opens the folder finds it.
 *
 * @module
 */

import { namesIn } from "../files/durable_fs.ts";
import type { TxInfo } from "../types.ts";
import type { Database } from "../sqlite/database.ts";
import type { PayloadFiles } from "../payloads/payload_files.ts";
import { isWaiting } from "../payloads/staged_files.ts";
import { iterateTxs } from "../sqlite/tx_pages.ts";
import { waitingName } from "../payloads/staged_files.ts";
import { digestOfOpen } from "../files/durable_fs.ts";

/** Renames that one sync of the directory covers. */
const PAGE = 256;

/** A row whose payload waits, and the name under which it does. */
export interface Waiting {
  info: TxInfo;
  name: string;
}

/**
 * The rows whose payloads wait: a backup was cut off behind its new database.
 * Goes through all rows where any payload waits.
 */
export async function* waitingRows(
  files: PayloadFiles,
  rows: Database,
): AsyncGenerator<Waiting> {
  const staged = new Set((await namesIn(files.staged.path)).filter(isWaiting));
  if (staged.size === 0) return;
  for await (const info of iterateTxs(rows)) {
    const name = waitingName(info);
    if (staged.has(name)) yield { info, name };
  }
}

/**
 * Puts payloads that wait, and are what their rows promise, in their places,
 * durably. Another one stays where it is: what is in its place may be sound.
 *
 * @param onPlaced Told of each.
 */
export async function placeWaiting(
  files: PayloadFiles,
  rows: Database,
  onPlaced?: (waiting: Waiting) => void,
): Promise<void> {
  let placed: string[] = [];
  for await (const waiting of waitingRows(files, rows)) {
    const { txId, storageHash } = waiting.info;
    const opened = files.staged.open(waiting.name);
    const found = opened && await digestOfOpen(opened);
    if (found?.digest !== storageHash) continue;
    await files.placeStaged(txId, waiting.name);
    onPlaced?.(waiting);
    if (placed.push(txId) < PAGE) continue;
    await files.sync(placed);
    placed = [];
  }
  if (placed.length > 0) await files.sync(placed);
}
