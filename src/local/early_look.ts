/**
 * The look at all payloads, which begins while SQLite checks the database, and
 * the thread that takes part in both.
 *
 * @module
 */

import { MetadataDamagedError } from "../errors.ts";
import { isLarge } from "../sqlite/integrity.ts";
import { countTxs } from "../sqlite/tx_counts.ts";
import { CheckThread } from "./check_thread.ts";
import type { OpenStore } from "./open_store.ts";
import { PayloadLook } from "./payload_look.ts";
import type { Pacer } from "../async/turn.ts";

/** A look that may have begun. */
export class EarlyLook implements AsyncDisposable {
  readonly #store: OpenStore;
  readonly #pacer: Pacer;
  readonly #signal: AbortSignal | undefined;
  #look: PayloadLook | null = null;
  /** The second thread; null where the store is small or there can be none. */
  thread: CheckThread | null = null;

  /** Begins nothing yet. */
  constructor(store: OpenStore, pacer: Pacer, signal?: AbortSignal) {
    this.#store = store;
    this.#pacer = pacer;
    this.#signal = signal;
  }

  /** Starts the thread, where there is enough to do for it. */
  async startThread(): Promise<void> {
    if (!isLarge(this.#store.rows)) return;
    this.thread = await CheckThread.start(this.#store, this.#signal);
  }

  /**
   * Waits for what the thread does, and looks at payloads meanwhile: only looks,
   * as what a damaged database says proves nothing about them.
   */
  async during<T>(others: Promise<T>): Promise<T> {
    let isOver = false;
    const look = async () => {
      try {
        await (await this.begin())?.early(() => isOver);
      } catch (error) {
        if (!(error instanceof MetadataDamagedError)) throw error;
        this.drop(); // SQLite's own check tells more
      }
    };
    const [result] = await Promise.all([
      others.finally(() => isOver = true),
      look(),
    ]);
    return result;
  }

  /** The look that goes on; null where rows have no order but that of their ids. */
  async begin(): Promise<PayloadLook | null> {
    return this.#look ??= PayloadLook.begin(
      this.#store,
      await countTxs(this.#store.rows),
      this.#pacer,
      this.thread,
      this.#signal,
    );
  }

  /** Drops what was seen: it may be so no more. */
  drop(): void {
    this.#look?.stop();
    this.#look = null;
  }

  /** Ends look and thread. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.drop();
    await this.thread?.[Symbol.asyncDispose]();
  }
}
