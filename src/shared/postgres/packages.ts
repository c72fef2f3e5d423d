/**
 * The packages that metadata in PostgreSQL is built on. Named here and not in
 * `deno.json`, whose packages every program that imports this one would fetch.
 *
 * @module
 */

// @ts-types="npm:@types/pg@8.23.1"
export { default as pg } from "npm:pg@8.23.1";
// @ts-types="npm:@types/pg@8.23.1"
export type { ClientBase, ClientConfig, PoolConfig } from "npm:pg@8.23.1";
