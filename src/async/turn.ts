/**
 * Long loops give way here, so that a service that runs beside them stays
 * responsive.
 *
 * @module
 */

/** How long work may go on before others have their turn, in ms. */
const LONGEST_STRETCH = 4;

/** Lets timers and I/O have their turn. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Lets others have their turn now and then. */
export class Pacer {
  #since = performance.now();
  /** The turn that all who wait share: turns of their own would add up. */
  #turn: Promise<void> | null = null;

  /** A turn to wait for, when it is time for one; cheap enough for every step. */
  giveWay(): Promise<void> | undefined {
    if (performance.now() - this.#since < LONGEST_STRETCH) return;
    return this.#turn ??= nextTurn().then(() => {
      this.#turn = null;
      this.#since = performance.now();
    });
  }
}
