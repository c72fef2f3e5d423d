/**
 * How two threads share what there is to look at, each thing looked at by one of
 * them: a byte for each thing, in memory that both see.
 *
 * @module
 */

const TAKEN = 1, SOUND = 2;

/** Who has taken what, and what of it is sound. */
export type Claims = Uint8Array<SharedArrayBuffer>;

/** Nothing is taken yet of so many things. */
export function newClaims(count: number): Claims {
  return new Uint8Array(new SharedArrayBuffer(count));
}

/** Takes a thing; false where it was taken before. */
export function claim(claims: Claims, i: number): boolean {
  return Atomics.compareExchange(claims, i, 0, TAKEN) === 0;
}

/** Tells the other thread that a thing is sound. */
export function confirm(claims: Claims, i: number): void {
  Atomics.store(claims, i, SOUND);
}

/** Whether a thing was told to be sound. */
export function isConfirmed(claims: Claims, i: number): boolean {
  return Atomics.load(claims, i) === SOUND;
}
