/**
 * Counts for people.
 *
 * @module
 */

/** A whole number for people: `1,557`. */
export function numberText(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** A count of things for people: `1 tx`, `1,557 txs`. */
export function countText(
  count: number,
  one: string,
  many: string = `${one}s`,
): string {
  return `${numberText(count)} ${count === 1 ? one : many}`;
}
