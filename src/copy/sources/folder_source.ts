/**
 * A folder as a source: a backup, another store, or payload files alone.
 *
 * @module
 */

import { join } from "@std/path";
import { openRegular, piecesOf } from "../../files/durable_fs.ts";
import { PohStorageError } from "../../errors.ts";
import type { LogReader } from "../../log/log_reader.ts";
import { sourcesOf } from "../../local/find_payload.ts";
import { earlierNames } from "../../local/naming.ts";
import { openForReading } from "../../local/read_store.ts";
import type { DriverChoice } from "../../model/driver_info.ts";
import type { TxInfo } from "../../types.ts";
import {
  type HealSource,
  isPossible,
  type OnUnread,
  Pieces,
  searchEach,
  type Take,
} from "../../check/source.ts";
import type { Database } from "../../sqlite/database.ts";
import { PayloadFiles } from "../../payloads/payload_files.ts";
import { findInfo } from "../../sqlite/lookups.ts";

/** Reads payloads below a folder; changes nothing there. */
export class FolderSource implements HealSource {
  readonly name: string;
  readonly #files: PayloadFiles;
  /** Null where there are payload files alone. */
  readonly #rows: Database | null;
  /** Null where there are payload files alone. */
  readonly #log: LogReader | null;
  /** Tells the folder from what may have its path later. */
  readonly #identity: string;

  private constructor(
    name: string,
    files: PayloadFiles,
    rows: Database | null,
    log: LogReader | null,
  ) {
    this.name = name;
    this.#files = files;
    this.#rows = rows;
    this.#log = log;
    this.#identity = identityOf(files.basePath);
  }

  /**
   * Opens a folder. Where its database cannot be used, its payload files can all
   * the same: their digests are known.
   *
   * @param db Its database; null: `poh.db` in the folder, if there is one.
   * @throws {PohStorageError} `NO_SOURCE` if there is neither a database nor a
   * payload file.
   */
  static async open(
    name: string,
    base: string,
    db: string | null,
    driver: DriverChoice,
  ): Promise<FolderSource> {
    const files = new PayloadFiles(base, {}, earlierNames(base));
    try {
      const store = await openForReading(
        base,
        db ?? join(base, "poh.db"),
        { driver },
      );
      return new FolderSource(name, store.files, store.rows, store.log);
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      if (db !== null || !await hasPayloads(files)) {
        throw new PohStorageError(
          "NO_SOURCE",
          `Cannot heal from ${name}: there is no store, no backup and no payload file (${
            (error as Error).message
          })`,
          { cause: error },
        );
      }
      return new FolderSource(name, files, null, null);
    }
  }

  async search(
    wanted: readonly TxInfo[],
    take: Take,
    signal: AbortSignal,
    onUnread: OnUnread,
  ): Promise<void> {
    await searchEach(wanted, signal, async (info) => {
      const isUnread = await this.#look(info, take);
      if (isUnread) onUnread(info);
    });
    // Below a volume that was unmounted meanwhile nothing is found either.
    if (identityOf(this.#files.basePath) !== this.#identity) {
      throw new Deno.errors.NotFound("the folder is another one by now");
    }
  }

  rowFor(txId: string, storageHash: string): TxInfo | null {
    const row = unlessUnreadable(() =>
      this.#rows && findInfo(this.#rows, txId)
    );
    return row?.storageHash === storageHash && isPossible(row) ? row : null;
  }

  /**
   * Tries every place where this store may keep the payload.
   *
   * @returns Whether one of them could not be read, and none had it.
   */
  async #look(info: TxInfo, take: Take): Promise<boolean> {
    const origin = { files: this.#files, rows: this.#rows, log: this.#log };
    let isUnread = false;
    const onUnread = (error: unknown) => isUnread ||= !isOtherThing(error);
    for await (const source of sourcesOf(origin, info, onUnread)) {
      let bytes: AsyncIterable<Uint8Array>;
      try {
        const opened = typeof source === "string" ? openRegular(source) : null;
        if (typeof source === "string" && !opened) continue;
        bytes = opened ? piecesOf(opened.file) : once(source as Uint8Array);
      } catch (error) {
        if (error instanceof Deno.errors.NotCapable) throw error;
        onUnread(error);
        continue;
      }
      const pieces = new Pieces(bytes);
      if (await take(info, pieces)) return false;
      isUnread ||= pieces.hasBroken;
    }
    return isUnread;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#log?.close();
    await this.#rows?.close();
  }
}

function identityOf(path: string): string {
  const { dev, ino } = Deno.statSync(path);
  return `${dev} ${ino}`;
}

/** What cannot be read here is looked for elsewhere. */
function unlessUnreadable<T>(read: () => T | null): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return null;
  }
}

/** Whether a path has something else than a payload. */
function isOtherThing(error: unknown): boolean {
  const { cause } = Object(error);
  return [error, cause].some((one) => one instanceof Deno.errors.InvalidData);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function hasPayloads(files: PayloadFiles): Promise<boolean> {
  try {
    for await (const _ of files.files()) return true;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return false;
}
