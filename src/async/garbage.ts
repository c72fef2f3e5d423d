/**
 * Garbage that V8 does not see the size of: what lies behind an object, such as
 * the bytes of an array, or an object of `node:crypto`.
 *
 * @module
 */

/** There where V8 was started with `--expose-gc`, as the program starts it. */
const { gc } = globalThis as { gc?: () => void };

/** Has the thread's garbage collected, where that can be asked for. */
export function collectGarbage(): void {
  gc?.();
}
