/**
 * Chance that can be had again: everything random in these tests comes from a
 * seed, and a failure tells it.
 *
 * @module
 */

/** A stream of random numbers that follows from its seed. */
export class Random {
  #state: number;

  /** The stream of this seed. */
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** The next number: 0 or more, below 1. */
  next(): number {
    // mulberry32
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number: `from` or more, below `to`. */
  between(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from));
  }

  /** One of these. */
  pick<T>(choices: readonly T[]): T {
    return choices[this.between(0, choices.length)]!;
  }

  /** So many different ones of these. */
  sample<T>(choices: readonly T[], count: number): T[] {
    const left = [...choices];
    return Array.from(
      { length: Math.min(count, left.length) },
      () => left.splice(this.between(0, left.length), 1)[0]!,
    );
  }
}

/** A seed that no one has chosen. */
export function newSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}

/** Bytes that follow from a text. */
export function bytesFrom(text: string, size: number): Uint8Array<ArrayBuffer> {
  let state = 2166136261; // FNV-1a
  for (let at = 0; at < text.length; at++) {
    state = Math.imul(state ^ text.charCodeAt(at), 16777619);
  }
  const random = new Random(state);
  const words = new Uint32Array(Math.ceil(size / 4));
  for (let at = 0; at < words.length; at++) {
    words[at] = random.next() * 2 ** 32;
  }
  return new Uint8Array(words.buffer, 0, size);
}

/** Runs `work`; a failure tells how to have it again. */
export async function withSeed<T>(
  seed: number,
  work: (random: Random) => Promise<T>,
): Promise<T> {
  try {
    return await work(new Random(seed));
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
