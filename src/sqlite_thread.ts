/**
 * Another thread for what SQLite takes long for: it does not return before it
 * is done, and a service is to answer and Ctrl-C to be heard meanwhile.
 *
 * @module
 */

import { type Job, WORKER_NAME } from "./sqlite_thread_worker.ts";
import type { SqliteStore } from "./sqlite_store.ts";

const MODULE = new URL("./sqlite_thread_worker.ts", import.meta.url);

/**
 * A thread with connections of its own to an open database, the permissions of
 * this one, and its binding: two copies of SQLite in one process would drop each
 * other's locks.
 */
export class SqliteThread implements Disposable {
  readonly #database: Omit<Job, "task">;
  readonly #worker: Worker;

  private constructor({ path, driver }: SqliteStore) {
    this.#database = { path, driver: driver.name };
    this.#worker = new Worker(MODULE, { type: "module", name: WORKER_NAME });
  }

  /** Starts one; null where there can be none. */
  static async start(rows: SqliteStore): Promise<SqliteThread | null> {
    return await mayStart() ? new SqliteThread(rows) : null;
  }

  /**
   * Has it do something; one thing at a time.
   *
   * @returns What it found; null where it could not do it, or the signal came
   * first.
   */
  async ask(
    task: Job["task"],
    signal?: AbortSignal,
  ): Promise<string[] | null> {
    const { promise, resolve } = Promise.withResolvers<string[] | null>();
    const stop = () => resolve(null);
    signal?.addEventListener("abort", stop);
    this.#worker.onmessage = ({ data }) => resolve(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      stop();
    };
    this.#worker.postMessage({ ...this.#database, task });
    try {
      return await promise;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Ends it, whatever it does. */
  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}

/** Whether the thread's module may be loaded: asked first, as Deno tells a refusal on stderr. */
async function mayStart(): Promise<boolean> {
  const permission: Deno.PermissionDescriptor = MODULE.protocol === "file:"
    ? { name: "read", path: MODULE }
    : { name: "import", host: MODULE.host };
  return (await Deno.permissions.query(permission)).state === "granted";
}
