/**
 * Tells that every payload file has its row by counting both: there is no need
 * then to look for the row of each file.
 *
 * @module
 */

import { listHolders } from "../files/locks.ts";
import { dataVersion } from "../sqlite/overlay.ts";
import type { CheckThread } from "./check_thread.ts";
import type { OpenStore } from "./open_store.ts";

/** How many payload files there were, and how many of them have a row. */
export class Census {
  readonly #store: OpenStore;
  /** The files, at which state of the store; null: not known. */
  #files: { count: number; state: string } | null = null;
  /** Rows that have a payload file of their own, no two of them the same. */
  owners = 0;

  /** Counts nothing yet. */
  constructor(store: OpenStore) {
    this.#store = store;
  }

  /**
   * Counts the payload files, on a thread where there is one. The step that
   * lists them tells what failed.
   *
   * @param signal Ends it: then the count is not known.
   */
  async count(thread: CheckThread | null, signal?: AbortSignal): Promise<void> {
    try {
      const state = this.#state();
      const count = state === null ? null : await this.#count(thread, signal);
      if (state !== null && count !== null) this.#files = { count, state };
    } catch {
      this.#files = null;
    }
  }

  /** Forgets the count: files may have come and gone. */
  forget(): void {
    this.#files = null;
  }

  /** As many files as rows that own one: then there is none without a row. */
  areAllOwned(): boolean {
    return this.#store.files.hasOwnNames &&
      this.#files?.count === this.owners &&
      this.#files.state === this.#state();
  }

  async #count(
    thread: CheckThread | null,
    signal?: AbortSignal,
  ): Promise<number | null> {
    const { files } = this.#store;
    const counted = files.hasOwnNames ? await thread?.countFiles() : null;
    if (typeof counted === "number") return counted;
    let count = 0;
    for await (const _ of files.files()) {
      if (signal?.aborted) return null;
      count++;
    }
    return count;
  }

  /**
   * Another one once anyone has put a payload file in its place. Null beside
   * another writer: files of its commits may be on their way.
   */
  #state(): string | null {
    const { files, rows, writer } = this.#store;
    const others = writer?.locks.others() ?? listHolders(files.basePath);
    if (others.length > 0) return null;
    return `${dataVersion(rows.connection)} ${writer?.queue.filesPut}`;
  }
}
