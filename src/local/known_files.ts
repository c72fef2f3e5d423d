/**
 * Tells the payload files that rows refer to from those that none does.
 *
 * @module
 */

import { basename } from "@std/path";
import type { FileStore } from "../payloads/file_store.ts";
import { hasPlainName, isNameByDigest } from "../files/file_name.ts";
import type { SqliteStore } from "../sqlite/sqlite_store.ts";

/** The payload files of rows. */
export class KnownFiles {
  readonly #files: FileStore;
  readonly #rows: SqliteStore;
  /** Ids by the places that do not tell them. */
  #hidden: Promise<Map<string, string>> | null = null;

  /** Looks at nothing yet. */
  constructor(files: FileStore, rows: SqliteStore) {
    this.#files = files;
    this.#rows = rows;
  }

  /** The places among these of files in which a row has its payload. */
  async among(places: string[]): Promise<Set<string>> {
    const ids = new Map<string, string[]>();
    for (const place of places) {
      const own = this.#files.txIdsOf(place);
      const hidden = await this.#hiddenId(place);
      ids.set(place, hidden === undefined ? own : [...own, hidden]);
    }
    const known = this.#rows.inFiles([...ids.values()].flat());
    return new Set(
      places.filter((place) => ids.get(place)!.some((id) => known.has(id))),
    );
  }

  async #hiddenId(place: string): Promise<string | undefined> {
    const tellsId = this.#files.hasOwnNames && !isNameByDigest(basename(place));
    if (tellsId) return undefined;
    this.#hidden ??= hiddenIds(this.#files, this.#rows);
    return (await this.#hidden).get(place);
  }
}

/** Hardly any: but every row has to be looked at. */
async function hiddenIds(
  files: FileStore,
  rows: SqliteStore,
): Promise<Map<string, string>> {
  const ids = new Map<string, string>();
  for await (const page of rows.iterateIds()) {
    for (const txId of page) {
      if (hasPlainName(txId)) continue;
      for (const place of files.placesOf(txId)) {
        if (!files.txIdsOf(place).includes(txId)) ids.set(place, txId);
      }
    }
  }
  return ids;
}
