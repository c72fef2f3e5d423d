/**
 * Tells the payload files that rows refer to from those that none does.
 *
 * @module
 */

import type { FileStore } from "../payloads/file_store.ts";
import { hasPlainName, isNameByDigest } from "../files/file_name.ts";
import type { SqliteStore } from "../sqlite/sqlite_store.ts";

/** The payload files of rows. */
export class KnownFiles {
  readonly #files: FileStore;
  readonly #rows: SqliteStore;
  /** Ids by the names that do not tell them. */
  #hidden: Promise<Map<string, string>> | null = null;

  /** Looks at nothing yet. */
  constructor(files: FileStore, rows: SqliteStore) {
    this.#files = files;
    this.#rows = rows;
  }

  /** The names among these of files in which a row has its payload. */
  async among(names: string[]): Promise<Set<string>> {
    const ids = new Map<string, string[]>();
    for (const name of names) {
      const own = this.#files.txIdsOf(name);
      const hidden = await this.#hiddenId(name);
      ids.set(name, hidden === undefined ? own : [...own, hidden]);
    }
    const known = this.#rows.inFiles([...ids.values()].flat());
    return new Set(
      names.filter((name) => ids.get(name)!.some((id) => known.has(id))),
    );
  }

  async #hiddenId(name: string): Promise<string | undefined> {
    if (this.#files.hasOwnNames && !isNameByDigest(name)) return undefined;
    this.#hidden ??= hiddenIds(this.#files, this.#rows);
    return (await this.#hidden).get(name);
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
      for (const name of files.placesOf(txId)) {
        if (!files.txIdsOf(name).includes(txId)) ids.set(name, txId);
      }
    }
  }
  return ids;
}
