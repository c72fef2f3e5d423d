/**
 * What all suites have in common.
 *
 * @module
 */

import { test } from "../helpers.ts";

/**
 * Declares tests of which each has something made for it, that ends with it.
 */
export function suite<T extends AsyncDisposable>(
  name: string,
  make: () => Promise<T>,
  options: { ignore?: boolean; timeout?: number },
): (what: string, fn: (made: T) => Promise<void>) => void {
  return (what, fn) =>
    test(`${name}: ${what}`, async () => {
      await using made = await make();
      await fn(made);
    }, options);
}
