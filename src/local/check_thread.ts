/**
 * The second thread of a check: it has SQLite check the database, counts the
 * payload files, then looks at payloads beside the first one.
 *
 * @module
 */

import {
  CHECK_THREAD,
  type CheckedStore,
  type CheckJob,
  type Shared,
} from "./check_worker.ts";
import type { Looked, Parts } from "./look_parts.ts";
import type { OpenStore } from "./open_store.ts";
import { Thread } from "../async/thread.ts";

/** A thread that reads a store on a connection of its own. */
export class CheckThread implements AsyncDisposable {
  readonly #store: CheckedStore;
  readonly #thread: Thread<CheckJob & CheckedStore, unknown>;
  readonly #signal: AbortSignal | undefined;

  private constructor(
    store: CheckedStore,
    thread: Thread<CheckJob & CheckedStore, unknown>,
    signal?: AbortSignal,
  ) {
    this.#store = store;
    this.#thread = thread;
    this.#signal = signal;
  }

  /**
   * Starts one; null where there can be none.
   *
   * @param signal Has it answer null from then on.
   */
  static async start(
    { files, rows }: Pick<OpenStore, "files" | "rows">,
    signal?: AbortSignal,
  ): Promise<CheckThread | null> {
    const module = new URL("./check_worker.ts", import.meta.url);
    const thread = await Thread.start<CheckJob & CheckedStore, unknown>(
      module,
      CHECK_THREAD,
    );
    if (!thread) return null;
    const store = {
      base: files.basePath,
      path: rows.path,
      driver: rows.driver.name,
    };
    return new CheckThread(store, thread, signal);
  }

  /** What SQLite finds wrong with the database; null: it cannot be told. */
  integrity(): Promise<string[] | null> {
    return this.#ask({ task: "integrity" });
  }

  /** How many payload files there are; null: it cannot be told. */
  countFiles(): Promise<number | null> {
    return this.#ask({ task: "count" });
  }

  /**
   * What it has seen of some parts that nobody had taken; empty when none was
   * left. Null: of parts that it took nothing is known.
   */
  look(parts: Parts, shared: Shared): Promise<Looked[] | null> {
    return this.#ask({ task: "look", parts, shared });
  }

  /** Ends it: at once where it was told to stop, else when it is done. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ask({ task: "close" });
    this.#thread[Symbol.dispose]();
  }

  async #ask<T>(job: CheckJob): Promise<T | null> {
    const question = { ...job, ...this.#store };
    const signal = this.#signal;
    return await this.#thread.ask(question, { signal }) as T | null;
  }
}
