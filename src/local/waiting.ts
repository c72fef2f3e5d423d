/**
 * Payloads that wait for their places: a backup that replaces one keeps the new
 * beside the old until its new database is there. Until then the row that names
 * the new one does not count; from then on whoever opens the folder finds it.
 *
 * @module
 */

import { basename } from "@std/path";
import { namesIn } from "../files/durable_fs.ts";
import { type FileStore, isWaiting } from "../payloads/file_store.ts";
import type { SqliteStore } from "../sqlite/sqlite_store.ts";
import type { TxInfo } from "../types.ts";

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
  files: FileStore,
  rows: SqliteStore,
): AsyncGenerator<Waiting> {
  const staged = new Set((await namesIn(files.stagedPath)).filter(isWaiting));
  if (staged.size === 0) return;
  for await (const info of rows.iterate()) {
    const name = basename(files.stagedFor(info));
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
  files: FileStore,
  rows: SqliteStore,
  onPlaced?: (waiting: Waiting) => void,
): Promise<void> {
  let placed: string[] = [];
  for await (const waiting of waitingRows(files, rows)) {
    const { txId, storageHash } = waiting.info;
    const found = await files.digestOfWaiting(waiting.info);
    if (found?.digest !== storageHash) continue;
    await files.placeStaged(txId, waiting.name);
    onPlaced?.(waiting);
    if (placed.push(txId) < PAGE) continue;
    await files.sync(placed);
    placed = [];
  }
  if (placed.length > 0) await files.sync(placed);
}
