/**
 * The order of text that databases have, and JavaScript has not.
 *
 * @module
 */

/** By UTF-8 bytes, which is by code points: below 0, 0, or above 0. */
export function compareText(a: string, b: string): number {
  const [left, right] = [a[Symbol.iterator](), b[Symbol.iterator]()];
  while (true) {
    const { value: one, done } = left.next(), { value: other } = right.next();
    if (done || other === undefined) {
      return Number(!done) - Number(other !== undefined);
    }
    if (one !== other) return one.codePointAt(0)! - other.codePointAt(0)!;
  }
}
