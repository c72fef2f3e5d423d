/**
 * Complete payloads under names that nothing refers to yet: `.poh/staged/`.
 *
 * @module
 */

import { join } from "@std/path";
import {
  createFileFrom,
  openRegular,
  readRegular,
  removeFileSync,
  syncDir,
} from "../files/durable_fs.ts";
import { sha256HexSync } from "../files/hash.ts";
import type { TxInfo } from "../types.ts";

/** The files of one such folder. */
export class StagedFiles {
  /** The folder. */
  readonly path: string;
  readonly #sync: boolean;

  /**
   * Of this folder; touches nothing yet.
   *
   * @param sync Whether to wait for the disk.
   */
  constructor(path: string, sync: boolean) {
    this.path = path;
    this.#sync = sync;
  }

  /** Keeps a payload; `sync` makes its name durable. */
  async add(
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<{ name: string; digest: string; size: number }> {
    const name = crypto.randomUUID();
    const path = join(this.path, name);
    return { name, ...await createFileFrom(path, chunks, this.#sync) };
  }

  /** Waits until the names are on the disk. */
  async sync(): Promise<void> {
    if (this.#sync) await syncDir(this.path);
  }

  /** The open file; null when it is in its place by now. */
  open(name: string): { file: Deno.FsFile; size: number } | null {
    return openRegular(join(this.path, name));
  }

  /** All bytes; null when the payload is in its place by now. */
  async load(name: string): Promise<Uint8Array | null> {
    return await readRegular(join(this.path, name));
  }

  /** All bytes of a payload, which is staged no more. */
  async take(name: string): Promise<Uint8Array> {
    const payload = await this.load(name);
    if (!payload) {
      throw new Deno.errors.NotFound(`The staged payload ${name} is gone`);
    }
    this.remove(name);
    return payload;
  }

  /** Removes a payload that nothing came to refer to. */
  remove(name: string): void {
    try {
      removeFileSync(join(this.path, name));
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      // It does no harm, and recover removes it.
    }
  }
}

/**
 * The name under which a payload waits that is to take the place of another: its
 * row tells it.
 */
export function waitingName({ txId, storageHash }: TxInfo): string {
  const id = sha256HexSync(new TextEncoder().encode(txId));
  return `${id}-${storageHash}`;
}

/** Whether a staged file is a payload that waits for its place, by its name. */
export function isWaiting(name: string): boolean {
  return /^[0-9a-f]{64}-[0-9a-f]{64}$/.test(name);
}
