/**
 * A store that machines share, or a bucket alone, as a source.
 *
 * @module
 */

import { InvalidTxIdError, PohStorageError } from "../../errors.ts";
import { remoteStores, type SharedPayloads } from "../../remote_url.ts";
import type { DriverChoice } from "../../model/driver_info.ts";
import type { TxInfo } from "../../types.ts";
import {
  type HealSource,
  type OnUnread,
  Pieces,
  searchEach,
  type Take,
} from "../../check/source.ts";

/** Reads the payloads of a store in a bucket, or of a folder that machines share. */
export class SharedSource implements HealSource {
  readonly name: string;
  readonly #payloads: SharedPayloads;

  private constructor(name: string, payloads: SharedPayloads) {
    this.name = name;
    this.#payloads = payloads;
  }

  /**
   * Opens a store.
   *
   * @param db Its database; null: payloads are looked for by the names of their
   * ids, which those saved twice do not have.
   * @throws {PohStorageError} `NO_SOURCE` if it cannot be opened.
   */
  static async open(
    name: string,
    base: string,
    db: string | null,
    driver: DriverChoice,
  ): Promise<SharedSource> {
    const { openPayloads } = await remoteStores();
    try {
      return new SharedSource(name, await openPayloads(base, db, driver));
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      throw new PohStorageError(
        "NO_SOURCE",
        `Cannot heal from ${name}: ${(error as Error).message}`,
        { cause: error },
      );
    }
  }

  search(
    wanted: readonly TxInfo[],
    take: Take,
    signal: AbortSignal,
    onUnread: OnUnread,
  ): Promise<void> {
    return searchEach(wanted, signal, async (info) => {
      let bytes: ReadableStream<Uint8Array> | null;
      try {
        bytes = await this.#payloads.find(info);
      } catch (error) {
        if (error instanceof InvalidTxIdError) return; // no object can be its
        throw error;
      }
      if (!bytes) return;
      const pieces = new Pieces(bytes);
      if (!await take(info, pieces) && pieces.hasBroken) onUnread(info);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#payloads.close();
  }
}
