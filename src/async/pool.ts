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
    ) await Promise.race(this.#running);
    this.#requireSuccess();
    this.#bytes += bytes;
    const task = work().catch((error) => {
      this.#failure ??= { error };
    }).finally(() => {
      this.#bytes -= bytes;
      this.#running.delete(task);
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
