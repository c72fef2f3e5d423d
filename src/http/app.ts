/**
 * The routes of the service.
 *
 * @module
 */

import { infoJson, savedJson } from "../format/tx_json.ts";
import { validateTxId } from "../tx.ts";
import type { SavedTx } from "../model/if_exists.ts";
import type { Guard } from "./access.ts";
import { ifMatchToDelete, requireNoCondition } from "./conditions.ts";
import { Exchange, requireReadableBody, targetOf } from "./exchange.ts";
import { listTxs } from "./listing.ts";
import {
  JSON_TYPE,
  METADATA_HEADERS,
  NDJSON_TYPES,
  wants,
} from "./media_types.ts";
import { openApi } from "./openapi.ts";
import { type Context, Hono } from "./packages.ts";
import { PAGE_PARAMETERS, pageResponse } from "./page.ts";
import { type Download, jsonResponse, payloadResponse } from "./payload.ts";
import { Problem, unavailable, unknownTx } from "./problem.ts";
import {
  HEAD_PARAMETERS,
  headOf,
  LIST_PARAMETERS,
  requireParameters,
} from "./query.ts";
import { type Service, stopping } from "./service.ts";
import { STYLE } from "./style.ts";
import { saveOne, savePayload, txOf, txOfBroadcast } from "./uploads.ts";
import { saveLines, saveLinesTellingEach } from "./upload_lines.ts";

type Env = { Bindings: Exchange };
type Answer = Response | Promise<Response>;

/** The service as a function from requests to responses. */
export function makeHandler(
  service: Service,
  guard: Guard,
): Deno.ServeHandler {
  const app = makeApp(service);
  const { limits, metrics } = service;
  return (request, info) => {
    const start = performance.now();
    const { method } = request;
    const target = targetOf(request.url);
    const finish = (response: Response) => {
      const { status } = response;
      const seconds = (performance.now() - start) / 1000;
      metrics.answered(method, routeOf(target.path), status, seconds);
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
    let answer: Answer;
    try {
      if (!PUBLIC.has(target.path)) guard(request.headers);
      if (!BODILESS.has(method)) {
        requireReadableBody(request.headers);
        requireNoCondition(request.headers, "if-unmodified-since");
      }
      answer = app.fetch(request, exchange);
    } catch (error) {
      answer = problemResponse(service, exchange, method, error);
    }
    if (answer instanceof Promise) {
      return answer.then(finish).finally(() => exchange.end(info));
    }
    exchange.end(info);
    return finish(answer);
  };
}

/** What a load balancer asks, which has no token. */
const PUBLIC = new Set(["/healthz", "/readyz"]);

/** Methods whose bodies mean nothing, and are read by nobody. */
const BODILESS = new Set(["GET", "HEAD"]);

/** The routes. */
export function makeApp(service: Service): Hono<Env> {
  const app = new Hono<Env>({
    getPath: (_, options) => (options!.env as Exchange).path,
  });
  app.get("/healthz", takes([], (c) => c.text("OK")));
  app.get(
    "/readyz",
    takes([], async (c) => {
      const problem = await service.whyNotReady();
      if (problem) throw problem;
      return c.text("OK");
    }),
  );
  app.get(
    "/",
    takes(
      Object.keys(PAGE_PARAMETERS),
      (c) => pageResponse(service, c.env.query),
    ),
  );
  app.get(
    "/style.css",
    takes([], (c) =>
      c.body(STYLE, 200, {
        "content-type": "text/css; charset=utf-8",
        "cache-control": "max-age=3600",
      })),
  );
  app.get("/openapi.json", takes([], (c) => c.json(openApi(service.limits))));
  app.get(
    "/metrics",
    takes([], async (c) =>
      c.body(await service.metricsText(), 200, {
        "content-type": service.metrics.contentType,
      })),
  );

  app.get("/txs", takes(LIST_PARAMETERS, (c) => listTxs(service.store, c.env)));
  app.post("/txs", takes([], (c) => postTxs(service, c)));
  app.post("/broadcast", takes([], (c) => broadcast(service, c)));
  app.get(
    "/txs/:id",
    takes([], (c) => {
      const respond = wants(c.env.request, JSON_TYPE)
        ? jsonResponse
        : payloadResponse;
      return respond(service.store, idOf(c), downloadOf(service, c));
    }),
  );
  app.get(
    "/txs/:id/info",
    takes([], async (c) => {
      const txId = idOf(c);
      const info = await service.store.infoTx(txId);
      if (!info) throw unknownTx(txId);
      return c.body(infoJson(info), 200, {
        ...METADATA_HEADERS,
        "content-type": JSON_TYPE,
      });
    }),
  );
  app.put("/txs/:id", takes(HEAD_PARAMETERS, (c) => putTx(service, c)));
  app.delete(
    "/txs/:id",
    takes([], async (c) => {
      const txId = idOf(c);
      const ifMatch = ifMatchToDelete(c.env.request.headers);
      const options = ifMatch === undefined ? {} : { ifMatch };
      if (!await service.store.deleteTx(txId, options)) throw unknownTx(txId);
      service.metrics.deleted();
      return c.body(null, 204);
    }),
  );

  app.notFound((c) => noRoute(app, c).toResponse());
  app.onError((error, c) =>
    problemResponse(service, c.env, c.env.request.method, error)
  );
  return app;
}

/** Refuses a request whose query has other parameters than these. */
function takes(
  parameters: readonly string[],
  handler: (c: Context<Env>) => Answer,
): (c: Context<Env>) => Answer {
  return (c) => {
    if (c.env.hasQuery) requireParameters(c.env.query, parameters);
    return handler(c);
  };
}

function problemResponse(
  service: Service,
  { path }: Exchange,
  method: string,
  error: unknown,
): Response {
  const problem = service.problemOf(error);
  if (problem.status >= 500 && error !== problem) {
    service.failed(`${method} ${path}`, error);
  }
  service.rejected(problem.code);
  return problem.toResponse();
}

const TX_ROUTES = ["/txs/:id", "/txs/:id/info"];
const ROUTES = new Set([
  "/",
  "/broadcast",
  "/healthz",
  "/metrics",
  "/openapi.json",
  "/readyz",
  "/style.css",
  "/txs",
]);

/** The route of a path, for the figures. */
function routeOf(path: string): string {
  if (!path.startsWith("/txs/")) return ROUTES.has(path) ? path : "other";
  return TX_ROUTES.find((route) => matchesRoute(route, path)) ?? "other";
}

function noRoute(app: Hono<Env>, c: Context<Env>): Problem {
  const allow = app.routes
    .filter(({ path }) => matchesRoute(path, c.req.path))
    .flatMap(({ method }) => method === "GET" ? ["GET", "HEAD"] : [method]);
  if (allow.length === 0) {
    return new Problem(404, "NO_ROUTE", "There is nothing here");
  }
  return new Problem(
    405,
    "METHOD_NOT_ALLOWED",
    `${c.req.method} is not for this path`,
    { headers: { allow: [...new Set(allow)].join(", ") } },
  );
}

function matchesRoute(route: string, path: string): boolean {
  if (route === path) return true;
  if (!TX_ROUTES.includes(route) || !path.startsWith("/txs/")) return false;
  const end = path.indexOf("/", "/txs/".length);
  const rest = end < 0 ? "" : path.slice(end);
  return path.length > "/txs/".length && end !== "/txs/".length &&
    rest === route.slice("/txs/:id".length);
}

/** The id in a path below `/txs/`. */
function idOf(c: Context<Env>): string {
  let txId: string;
  try {
    const [, , segment] = c.env.path.split("/", 3);
    txId = decodeURIComponent(segment!);
  } catch {
    throw new Problem(
      400,
      "INVALID_TX_ID",
      "The id in the path must be percent-encoded UTF-8",
      { members: { field: "tx_id" } },
    );
  }
  validateTxId(txId);
  return txId;
}

function downloadOf(service: Service, c: Context<Env>): Download {
  const { verifications, limits } = service;
  return { request: c.env.request, exchange: c.env, verifications, limits };
}

// --- saving -----------------------------------------------------------------

async function postTxs(
  service: Service,
  c: Context<Env>,
): Promise<Response> {
  const { store, room, limits, metrics } = service;
  const type = mediaType(c);
  if (NDJSON_TYPES.includes(type)) {
    const upload = {
      store,
      exchange: c.env,
      room,
      limits,
      metrics,
      problemOf: (error: unknown) => service.problemOf(error),
    };
    return NDJSON_TYPES.some((type) => wants(c.env.request, type))
      ? await saveLinesTellingEach(upload)
      : c.json(await saveLines(upload));
  }
  if (type !== JSON_TYPE) throw unsupportedType([JSON_TYPE, ...NDJSON_TYPES]);
  const saved = await saveOne(store, c.env.request, txOf, room, limits);
  metrics.saved(saved);
  return savedResponse(c, saved);
}

async function putTx(service: Service, c: Context<Env>): Promise<Response> {
  const { store, room, limits, metrics } = service;
  const { request, query } = c.env;
  const head = headOf(idOf(c), query, request.headers);
  const saved = await savePayload(store, head, request, room, limits);
  metrics.saved(saved);
  return savedResponse(c, saved);
}

function savedResponse(c: Context<Env>, saved: SavedTx): Response {
  return c.body(savedJson(saved), saved.outcome === "created" ? 201 : 200, {
    "content-type": JSON_TYPE,
    // Deno 2.7 would compress it, and make the entity tag a weak one.
    "cache-control": "no-store, no-transform",
    "location": `/txs/${encodeURIComponent(saved.txId)}`,
    "etag": `"${saved.storageHash}"`,
  });
}

async function broadcast(
  service: Service,
  c: Context<Env>,
): Promise<Response> {
  const { store, room, limits, metrics } = service;
  if (mediaType(c) !== JSON_TYPE) throw unsupportedType([JSON_TYPE]);
  metrics.saved(
    await saveOne(store, c.env.request, txOfBroadcast, room, limits),
  );
  return c.text("OK");
}

/**
 * The type of the body. It must be told: a page elsewhere can have a browser
 * send text, and would have to ask first to send JSON.
 */
function mediaType(c: Context<Env>): string {
  const [type] = (c.env.request.headers.get("content-type") ?? "").split(";");
  return type!.trim().toLowerCase();
}

function unsupportedType(types: string[]): Problem {
  return new Problem(
    415,
    "UNSUPPORTED_TYPE",
    `The body must be ${types.slice(0, 2).join(" or ")}`,
    { headers: { "accept-post": types.join(", ") } },
  );
}
