/**
 * A tar archive that `backup` wrote as a source.
 *
 * @module
 */

import { PohStorageError } from "../../errors.ts";
import { ownPlaces } from "../../payloads/payload_layout.ts";
import { readTar, type TarEntry } from "../tar.ts";
import type { TxInfo } from "../../types.ts";
import type { HealSource, Take } from "../../check/source.ts";

/**
 * Reads an archive from its beginning to its end, once for each search: a search
 * should be for many payloads. Payloads that the archived store kept in its
 * database are not found here.
 */
export class TarSource implements HealSource {
  readonly name: string;
  readonly #path: string;

  private constructor(name: string, path: string) {
    this.name = name;
    this.#path = path;
  }

  /**
   * Checks that a file begins as an archive does.
   *
   * @throws {PohStorageError} `NO_SOURCE` if it does not.
   */
  static async open(name: string, path: string): Promise<TarSource> {
    try {
      for await (const entry of readTar(await streamOf(path))) {
        await drain(entry);
        return new TarSource(name, path);
      }
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      throw noArchive(name, (error as Error).message, error);
    }
    throw noArchive(name, "it is empty");
  }

  async search(
    wanted: readonly TxInfo[],
    take: Take,
    signal: AbortSignal,
  ): Promise<void> {
    // Of a backup from here, or from a system with other case rules.
    const missing = new Map(
      wanted.flatMap((info) =>
        ownPlaces(info.txId).map((place) => [place, info] as const)
      ),
    );
    for await (const entry of readTar(await streamOf(this.#path))) {
      if (signal.aborted || missing.size === 0) return;
      const info = missing.get(entry.name);
      // To stop in the middle of an entry would end the archive.
      if (!info || info.size >= 0 && info.size !== entry.size) {
        await drain(entry);
      } else if (await take(info, entry.bytes)) {
        for (const place of ownPlaces(info.txId)) missing.delete(place);
      } else await drain(entry);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

async function streamOf(path: string): Promise<ReadableStream<Uint8Array>> {
  return (await Deno.open(path, { read: true })).readable;
}

/** An entry has to be read before the next one can be. */
async function drain({ bytes }: TarEntry): Promise<void> {
  for await (const _ of bytes);
}

function noArchive(
  name: string,
  why: string,
  cause?: unknown,
): PohStorageError {
  return new PohStorageError(
    "NO_SOURCE",
    `Cannot heal from ${name}: it is no tar archive (${why})`,
    { cause },
  );
}
