/**
 * The service as a function from requests to responses.
 *
 * @module
 */

import type { Guard } from "./access.ts";
import { requireNoCondition } from "./conditions.ts";
import { Exchange, requireReadableBody, targetOf } from "./exchange.ts";
import { requestIdOf, traceIdOf } from "./log.ts";
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
  const { limits, metrics, accessLog } = service;
  return (request, info) => {
    const start = performance.now();
    const { method } = request;
    const target = targetOf(request.url);
    let exchange: Exchange | null = null;
    const finish = (response: Response) => {
      const { status } = response;
      const ms = performance.now() - start;
      const route = exchange?.route ?? routeOf(target.path);
      metrics.answered(method, route, status, ms / 1000);
      const isError = status >= 400;
      const isTold = accessLog === "on" || accessLog === "errors" && isError;
      if (isTold || isError || request.headers.has("x-request-id")) {
        const id = exchange?.requestId ?? requestIdOf(request.headers);
        response.headers.set("x-request-id", id);
        if (isTold) {
          const user = exchange?.user ?? "";
          tell(service, { request, info, route, status, ms, id, user });
        }
      }
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
    const admitted = exchange = new Exchange(service, request, target);
    const answer: Answer = app.fetch(request, admitted);
    if (answer instanceof Promise) {
      return answer.then(finish).finally(() => admitted.end(info));
    }
    admitted.end(info);
    return finish(answer);
  };
}

/** A request that is answered. */
interface Answered {
  request: Request;
  info: Deno.ServeHandlerInfo;
  route: string;
  status: number;
  /** How long it took until the headers of the answer, in ms. */
  ms: number;
  id: string;
  user: string;
}

/** Tells the operator of a request. Its query may have what is not for logs. */
function tell(
  service: Service,
  { request, info, route, status, ms, id, user }: Answered,
): void {
  const { method, url, headers } = request;
  const { path } = targetOf(url);
  const { hostname: remote } = info.remoteAddr as Deno.NetAddr;
  const trace = traceIdOf(headers);
  service.notice(
    `${remote} ${method} ${path} ${status} ${ms.toFixed(1)} ms ${id}`,
    status >= 500 ? "error" : "info",
    {
      request_id: id,
      ...(trace !== null && { trace_id: trace }),
      ...(user !== "" && { user }),
      remote,
      method,
      path,
      route,
      status,
      duration_ms: Number(ms.toFixed(3)),
    },
  );
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
  exchange: Exchange,
  scope: Scope | "public",
  guard: Guard,
): void {
  const { request: { method, headers } } = exchange;
  if (scope !== "public") exchange.user = guard(headers, scope);
  if (BODILESS.has(method)) return;
  requireReadableBody(headers);
  requireNoCondition(headers, "if-unmodified-since");
}

function problemResponse(
  service: Service,
  { path, request: { method }, requestId }: Exchange,
  error: unknown,
): Response {
  const problem = service.problemOf(error);
  if (problem.status >= 500 && error !== problem) {
    service.failed(`${method} ${path}`, error, { request_id: requestId });
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
