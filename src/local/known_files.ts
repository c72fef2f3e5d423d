/**
 * Tells the payload files that rows refer to from those that none does.
 *
 * @module
 */

import { basename } from "@std/path";
import { hasPlainName, isNameByDigest } from "../files/file_name.ts";
import type { Database } from "../sqlite/database.ts";
import type { PayloadFiles } from "../payloads/payload_files.ts";
import { idsInFiles } from "../sqlite/lookups.ts";
import { iterateIds } from "../sqlite/tx_pages.ts";

/** The payload files of rows. */
export class KnownFiles {
  readonly #files: PayloadFiles;
  readonly #rows: Database;
  /** Ids by the places that do not tell them. */
  #hidden: Promise<Map<string, string>> | null = null;

  /** Looks at nothing yet. */
  constructor(files: PayloadFiles, rows: Database) {
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
    const known = idsInFiles(this.#rows, [...ids.values()].flat());
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
  files: PayloadFiles,
  rows: Database,
): Promise<Map<string, string>> {
  const ids = new Map<string, string>();
  for await (const page of iterateIds(rows)) {
    for (const txId of page) {
      if (hasPlainName(txId)) continue;
      for (const place of files.placesOf(txId)) {
        if (!files.txIdsOf(place).includes(txId)) ids.set(place, txId);
      }
    }
  }
  return ids;
}
