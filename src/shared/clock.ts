/**
 * The catalog's clock, without a request for every look at it.
 *
 * @module
 */

/** After so long, in seconds, the clock is asked again. */
const TRUSTED = 60;

/**
 * Within this share of its object's grace a row has to be committed. The rest
 * is more than a commit can take once its deadline has been looked at.
 */
const IN_TIME = 5 / 6;

/** Tells a time at which the catalog's clock has been, or just is. */
export class CatalogClock {
  readonly #ask: () => Promise<number>;
  #known: Promise<{ time: number; at: number }> | null = null;
  #asked = -Infinity;

  /** A clock that is asked by `ask`. */
  constructor(ask: () => Promise<number>) {
    this.#ask = ask;
  }

  /** UNIX seconds; never ahead of the catalog's clock. */
  async now(): Promise<number> {
    if (this.#known === null || elapsed() - this.#asked > TRUSTED) {
      this.#asked = elapsed();
      const known = this.#read();
      this.#known = known;
      known.catch(() => {
        if (this.#known === known) this.#known = null;
      });
    }
    const { time, at } = await this.#known;
    return time + elapsed() - at;
  }

  /** Has the clock asked anew: a machine that slept is behind it. */
  askAgain(): void {
    this.#known = null;
  }

  /**
   * Until when a commit may rely on what is made or read from now on: until then
   * no key that is retired meanwhile is used again.
   */
  async deadline(grace: number): Promise<number> {
    return await this.now() + grace * IN_TIME;
  }

  /** The answer is older than its arrival. */
  async #read(): Promise<{ time: number; at: number }> {
    const time = await this.#ask();
    return { time, at: elapsed() };
  }
}

function elapsed(): number {
  return performance.now() / 1000;
}
