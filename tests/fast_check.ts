/**
 * The property-based testing library. Named here and not in `deno.json`, whose
 * packages every task would fetch, also those that run no test.
 *
 * @module
 */

export { default } from "npm:fast-check@4";
