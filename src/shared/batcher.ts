/**
 * Small requests that wait at the same time go to a server as one.
 *
 * @module
 */

import { nextTurn } from "../async/turn.ts";

interface Waiting<I, O> {
  item: I;
  settle: PromiseWithResolvers<O>;
}

/** What becomes of one item alone that cannot be done. */
export class Refused {
  /** Why. */
  readonly error: unknown;

  /** Refuses an item. */
  constructor(error: unknown) {
    this.error = error;
  }
}

/** Gathers items while batches are under way. */
export class Batcher<I, O> {
  readonly #work: (items: I[]) => Promise<(O | Refused)[]>;
  readonly #limits: { items: number; batches: number };
  #waiting: Waiting<I, O>[] = [];
  #running = 0;
  #starting = false;

  /**
   * @param work Does a batch; its results in the order of the items.
   * @param limits Items in a batch, and batches at the same time.
   */
  constructor(
    work: (items: I[]) => Promise<(O | Refused)[]>,
    limits: { items: number; batches: number },
  ) {
    this.#work = work;
    this.#limits = limits;
  }

  /** What becomes of an item; rejects with what its batch does. */
  submit(item: I): Promise<O> {
    const settle = Promise.withResolvers<O>();
    this.#waiting.push({ item, settle });
    this.#start();
    return settle.promise;
  }

  /** What is submitted in this turn goes together. */
  async #start(): Promise<void> {
    if (this.#starting || this.#running === this.#limits.batches) return;
    this.#starting = true;
    await nextTurn();
    this.#starting = false;
    const batch = this.#waiting.splice(0, this.#limits.items);
    if (batch.length === 0) return;
    this.#running++;
    if (this.#waiting.length > 0) this.#start();
    await this.#do(batch);
    this.#running--;
    if (this.#waiting.length > 0) this.#start();
  }

  /** Never rejects: what goes wrong is told to those whom it concerns. */
  async #do(batch: Waiting<I, O>[]): Promise<void> {
    try {
      const results = await this.#work(batch.map(({ item }) => item));
      for (const [n, { settle }] of batch.entries()) {
        const result = results[n]!;
        if (result instanceof Refused) settle.reject(result.error);
        else settle.resolve(result);
      }
    } catch (error) {
      for (const { settle } of batch) settle.reject(error);
    }
  }
}
