/**
 * The packages that the service is built on. Named here and not in `deno.json`,
 * whose packages every program that imports this one would fetch.
 *
 * @module
 */

export { type Context, Hono, type MiddlewareHandler } from "npm:hono@4.13.19";
export { html } from "npm:hono@4.13.19/html";
export { routePath } from "npm:hono@4.13.19/route";
export {
  getRequestListener,
  type HttpBindings,
} from "npm:@hono/node-server@2.1.9";
export {
  PrometheusExporter,
  PrometheusSerializer,
} from "npm:@opentelemetry/exporter-prometheus@0.301.0";
export { MeterProvider } from "npm:@opentelemetry/sdk-metrics@3.1.0";
export type { Meter } from "npm:@opentelemetry/api@1.10.0";
