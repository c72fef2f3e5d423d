/**
 * Work under way at the same time, bounded by its number and by the bytes that
 * it holds.
 *
 * @module
 */

/** What is under way. */
export class Pool {
  readonly #most: { tasks: number; bytes: number };
  readonly #running = new Set<Promise<void>>();
  #bytes = 0;
  /** Resolves when the next piece of work has ended. */
  #end = Promise.withResolvers<void>();
  #failure: { error: unknown } | null = null;

  /** A pool for so many tasks that hold so many bytes together. */
  constructor(most: { tasks: number; bytes: number }) {
    this.#most = most;
  }

  /**
   * Starts work once there is room for it; what is larger than all room waits
   * until it is alone.
   *
   * @throws What work that was started before has thrown.
   */
  async start(bytes: number, work: () => Promise<void>): Promise<void> {
    while (
      this.#running.size >= this.#most.tasks ||
      this.#running.size > 0 && this.#bytes + bytes > this.#most.bytes
    ) await this.#end.promise;
    this.#requireSuccess();
    this.#bytes += bytes;
    const task = work().catch((error) => {
      this.#failure ??= { error };
    }).finally(() => {
      this.#bytes -= bytes;
      this.#running.delete(task);
      this.#end.resolve();
      this.#end = Promise.withResolvers();
    });
    this.#running.add(task);
  }

  /**
   * Waits for the end of all work.
   *
   * @throws What the first that failed has thrown.
   */
  async end(): Promise<void> {
    await Promise.all(this.#running);
    this.#requireSuccess();
  }

  #requireSuccess(): void {
    if (this.#failure) throw this.#failure.error;
  }
}

/** How things are worked through. */
export interface WorkThrough<T> {
  /** How many are under way at the same time, and the bytes that they hold. */
  most: { tasks: number; bytes?: number };
  /** The bytes that one of them holds; default 0. */
  bytesOf?: (thing: T) => number;
  /** Ends it between two of them. */
  signal?: AbortSignal | undefined;
}

/**
 * Does work for one thing after the other, several at the same time. All of it
 * has ended when this ends, by whatever.
 *
 * @returns Whether it was done for all of them; false: the signal came before.
 * @throws What the first that failed has thrown.
 */
export async function workThrough<T>(
  things: Iterable<T> | AsyncIterable<T>,
  work: (thing: T) => Promise<void>,
  { most, bytesOf = () => 0, signal }: WorkThrough<T>,
): Promise<boolean> {
  const pool = new Pool({ bytes: Infinity, ...most });
  try {
    for await (const thing of things) {
      if (signal?.aborted) return false;
      await pool.start(bytesOf(thing), () => work(thing));
    }
  } finally {
    await pool.end();
  }
  return true;
}
