/**
 * Turns for what only so many may do at once.
 *
 * @module
 */

/** Lets so many do something at once; others wait for their turn, in order. */
export class Slots {
  readonly #count: number;
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** So many. */
  constructor(count: number) {
    this.#count = this.#free = count;
  }

  /** Does it when it is its turn. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    await this.#take();
    try {
      return await work();
    } finally {
      this.#give();
    }
  }

  /** Waits for the end of all that was begun before. */
  async idle(): Promise<void> {
    for (let n = 0; n < this.#count; n++) await this.#take();
    for (let n = 0; n < this.#count; n++) this.#give();
  }

  async #take(): Promise<void> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #give(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  }
}
