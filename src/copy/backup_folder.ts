/**
 * A folder that payloads are copied or linked into: the payload files of a
 * backup, or of a store that is being restored.
 *
 * @module
 */

import { join } from "@std/path";
import type { PayloadTarget } from "./backup_walk.ts";
import { type PayloadSource, unreadable } from "../local/find_payload.ts";
import {
  CHUNK,
  createFileFrom,
  digestOfOpen,
  openRegular,
  regularSize,
  removeFileSync,
  renameFile,
  syncFile,
} from "../files/durable_fs.ts";
import { MetadataDamagedError } from "../errors.ts";
import type { TxInfo } from "../types.ts";
import type { Database } from "../sqlite/database.ts";
import type { PayloadFiles } from "../payloads/payload_files.ts";
import { findInfo } from "../sqlite/lookups.ts";
import { waitingName } from "../payloads/staged_files.ts";

/** How payloads get into a folder. */
export interface FolderOptions {
  /** Whether to wait for the disk. */
  sync: boolean;
  /** Whether hard links are tried before copies. */
  link: boolean;
  /** Whether hard links that are there give way to copies. */
  unlink: boolean;
  /** The rows of the backup that the folder holds; null when it has none. */
  previous: Database | null;
  /** Read what is there whole, instead of trusting the row and the size. */
  verify: boolean;
}

/** Fills a folder with payloads. */
export class PayloadFolder implements PayloadTarget {
  /** How many payloads share their bytes with the store they come from. */
  linked = 0;
  readonly #files: PayloadFiles;
  readonly #options: FolderOptions;
  #previous: Database | null;

  constructor(files: PayloadFiles, options: FolderOptions) {
    this.#files = files;
    this.#options = options;
    this.#previous = options.previous;
  }

  async has(info: TxInfo): Promise<number | null> {
    const path = this.#files.pathOf(info.txId);
    const size = regularSize(path);
    if (size === null) return null;
    if (this.#options.unlink && isShared(path)) return null;
    const known = this.#known(info.txId);
    if (known && !this.#options.verify) {
      const isKept = known.storageHash === info.storageHash &&
        known.size === size;
      return isKept ? size : null;
    }
    const opened = openRegular(path);
    const found = opened && await digestOfOpen(opened);
    if (found?.digest !== info.storageHash) return null;
    // It may be of a backup that was interrupted.
    if (this.#options.sync) await syncFile(path);
    return found.size;
  }

  async take(
    info: TxInfo,
    source: PayloadSource,
  ): Promise<{ digest: string; size: number } | null> {
    const name = crypto.randomUUID();
    const path = join(this.#files.staged.path, name);
    const isLinked = this.#link(source, path);
    const found = isLinked
      ? await digestOfLink(info.txId, path)
      : await this.#copy(info.txId, source, path);
    if (found?.digest !== info.storageHash) {
      removeFileSync(path);
      return found;
    }
    if (isLinked) {
      this.linked++;
      if (this.#options.sync) await syncFile(path);
    }
    await this.#put(info, path);
    return found;
  }

  #known(txId: string): TxInfo | null {
    try {
      return this.#previous && findInfo(this.#previous, txId);
    } catch (error) {
      if (!(error instanceof MetadataDamagedError)) throw error;
      this.#previous = null; // the payloads' own bytes will tell
      return null;
    }
  }

  #link(source: PayloadSource, path: string): boolean {
    if (typeof source !== "string" || !this.#options.link) return false;
    try {
      if (regularSize(source) === null) return false;
      Deno.linkSync(source, path);
      return true;
    } catch {
      return false; // another file system, or one without links: a copy will do
    }
  }

  async #copy(
    txId: string,
    source: PayloadSource,
    path: string,
  ): Promise<{ digest: string; size: number } | null> {
    const { sync } = this.#options;
    if (typeof source !== "string") {
      return await createFileFrom(path, [source], sync);
    }
    using file = openPayload(txId, source);
    return file && await createFileFrom(path, bytesOf(txId, file), sync);
  }

  /**
   * What the previous backup refers to stays until its database is replaced:
   * until then the new payload waits where its row tells.
   */
  async #put(info: TxInfo, path: string): Promise<void> {
    const { txId, storageHash } = info;
    const known = this.#known(txId);
    const isFree = known === null || known.storageHash === storageHash;
    const to = isFree
      ? this.#files.pathOf(txId)
      : join(this.#files.staged.path, waitingName(info));
    // The backup syncs both folders before its database goes in place.
    await renameFile(path, to, false);
  }
}

/** A payload's file; null when there is none. */
export function openPayload(txId: string, path: string): Deno.FsFile | null {
  try {
    return openRegular(path)?.file ?? null;
  } catch (error) {
    throw unreadable(txId, error);
  }
}

/** The rest of an open payload. */
export async function* bytesOf(
  txId: string,
  file: Deno.FsFile,
): AsyncGenerator<Uint8Array> {
  while (true) {
    const buffer = new Uint8Array(CHUNK);
    let read: number | null;
    try {
      read = await file.read(buffer);
    } catch (error) {
      throw unreadable(txId, error);
    }
    if (read === null) return;
    yield buffer.subarray(0, read);
  }
}

async function digestOfLink(
  txId: string,
  path: string,
): Promise<{ digest: string; size: number } | null> {
  try {
    const opened = openRegular(path);
    return opened && await digestOfOpen(opened);
  } catch (error) {
    removeFileSync(path);
    throw unreadable(txId, error);
  }
}

/** Whether a file has its bytes in common with another; false on Windows. */
function isShared(path: string): boolean {
  return (Deno.lstatSync(path).nlink ?? 1) > 1;
}
