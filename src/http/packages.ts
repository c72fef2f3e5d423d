/**
 * The packages that the service is built on. Named here and not in `deno.json`,
 * whose packages every program that imports this one would fetch.
 *
 * @module
 */

export { type Context, Hono } from "npm:hono@4.13.19";
export { html } from "npm:hono@4.13.19/html";
export { Counter, Gauge, Registry } from "npm:prom-client@15.1.3";
