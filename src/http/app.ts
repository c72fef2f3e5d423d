/**
 * The service as a function from requests to responses.
 *
 * @module
 */

import type { Guard } from "./access.ts";
import { requireNoCondition } from "./conditions.ts";
import { Exchange, requireReadableBody, targetOf } from "./exchange.ts";
import { Hono } from "./packages.ts";
import { Problem, unavailable } from "./problem.ts";
import { requireParameters } from "./query.ts";
import { type Answer, type Call, matchesPath, scopeOf } from "./route.ts";
import { ROUTES } from "./routes.ts";
import { type Service, stopping } from "./service.ts";
import type { Scope } from "./tokens.ts";

/** The service as a function from requests to responses. */
export function makeHandler(
  service: Service,
  guard: Guard,
): Deno.ServeHandler {
  const app = makeApp(service, guard);
  const { limits, metrics } = service;
  return (request, info) => {
    const start = performance.now();
    const { method } = request;
    const target = targetOf(request.url);
    let route: string | null = null;
    const finish = (response: Response) => {
      const { status } = response;
      const seconds = (performance.now() - start) / 1000;
      metrics.answered(method, route ?? routeOf(target.path), status, seconds);
      if (service.stopping) response.headers.set("connection", "close");
      return response;
    };
    // However much is under way, whether the process lives can be asked.
    if (target.path !== "/healthz") {
      const isFull = service.requests >= limits.requests;
      if (isFull || service.refuses) {
        const problem = isFull
          ? unavailable("OVERLOADED", "Too much is under way")
          : stopping();
        service.rejected(problem.code);
        return finish(problem.toResponse());
      }
    }
    const exchange = new Exchange(service, request, target);
    const answer: Answer = app.fetch(request, exchange);
    if (answer instanceof Promise) {
      return answer.then((response) => {
        route = exchange.route;
        return finish(response);
      }).finally(() => exchange.end(info));
    }
    exchange.end(info);
    route = exchange.route;
    return finish(answer);
  };
}

/** Methods whose bodies mean nothing, and are read by nobody. */
const BODILESS = new Set(["GET", "HEAD"]);

function makeApp(
  service: Service,
  guard: Guard,
): Hono<{ Bindings: Exchange }> {
  const app = new Hono<{ Bindings: Exchange }>({
    getPath: (_, options) => (options!.env as Exchange).path,
  });
  for (const route of ROUTES) {
    const { method, path, operation, handle, isDeep } = route;
    const parameters = Object.keys(operation.query ?? {});
    const pattern = path.replace(/\{(\w+)\}/g, isDeep ? ":$1{.+}" : ":$1");
    app.on(method, pattern, (c) => {
      const { env } = c;
      env.route = path;
      admit(env, scopeOf(route, service), guard);
      if (env.hasQuery) requireParameters(env.query, parameters);
      return handle(c, service);
    });
  }
  app.notFound((c) => {
    const { path } = c.env;
    const isPublic = ROUTES.some((route) =>
      scopeOf(route, service) === "public" && matchesPath(route, path)
    );
    admit(c.env, isPublic ? "public" : "read", guard);
    throw noRoute(c);
  });
  app.onError((error, c) => problemResponse(service, c.env, error));
  return app;
}

/** Lets a request pass, or throws the problem that it is answered with. */
function admit(
  { request: { method, headers } }: Exchange,
  scope: Scope | "public",
  guard: Guard,
): void {
  if (scope !== "public") guard(headers, scope);
  if (BODILESS.has(method)) return;
  requireReadableBody(headers);
  requireNoCondition(headers, "if-unmodified-since");
}

function problemResponse(
  service: Service,
  { path, request: { method } }: Exchange,
  error: unknown,
): Response {
  const problem = service.problemOf(error);
  if (problem.status >= 500 && error !== problem) {
    service.failed(`${method} ${path}`, error);
  }
  service.rejected(problem.code);
  return problem.toResponse();
}

/** The route of a path that has not come to it, for the figures. */
function routeOf(path: string): string {
  return ROUTES.find((route) => matchesPath(route, path))?.path ?? "other";
}

function noRoute(c: Call): Problem {
  const allow = ROUTES.filter((route) => matchesPath(route, c.env.path))
    .flatMap(({ method }) => method === "GET" ? ["GET", "HEAD"] : [method]);
  if (allow.length === 0) {
    return new Problem("NO_ROUTE", "There is nothing here");
  }
  return new Problem(
    "METHOD_NOT_ALLOWED",
    `${c.req.method} is not for this path`,
    { headers: { allow: [...new Set(allow)].join(", ") } },
  );
}
