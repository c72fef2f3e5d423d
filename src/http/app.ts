/**
 * The routes of the service.
 *
 * @module
 */

import { infoJson, savedJson } from "../format/tx_json.ts";
import { UsageError } from "../format/usage_error.ts";
import { validateTxId } from "../tx.ts";
import type { TxInfo } from "../types.ts";
import type { Guard } from "./access.ts";
import { lingerAtEnd } from "./linger.ts";
import {
  type Context,
  Hono,
  type HttpBindings,
  type MiddlewareHandler,
  routePath,
} from "./packages.ts";
import { openApi } from "./openapi.ts";
import { PAGE_PARAMETERS, pageResponse } from "./page.ts";
import {
  type Download,
  guarded,
  jsonResponse,
  payloadResponse,
} from "./payload.ts";
import { Problem, unavailable, unknownTx } from "./problem.ts";
import { filterOfQuery, LIST_PARAMETERS, requireParameters } from "./query.ts";
import type { Service } from "./service.ts";
import { STYLE } from "./style.ts";
import { saveLines, saveOne, txOf, txOfBroadcast } from "./uploads.ts";

/** Transactions of one JSON page. */
const PAGE = { usual: 100, most: 1_000 };

/** NDJSON is sent in pieces of about this many characters. */
const PIECE = 32 * 1024;

const JSON_TYPE = "application/json";
const NDJSON_TYPES = [
  "application/x-ndjson",
  "application/ndjson",
  "application/jsonl",
];

type Env = { Bindings: HttpBindings };

/** The service as a function from requests to responses. */
export function makeApp(service: Service, guard: Guard): Hono<Env> {
  const app = new Hono<Env>({ getPath });
  app.get("/healthz", takes(), (c) => c.text("OK")); // however much is under way
  app.use(accounted(service));
  app.get("/readyz", takes(), async (c) => {
    const problem = await service.whyNotReady();
    if (problem) throw problem;
    return c.text("OK");
  });
  app.use(async (c, next) => {
    guard(c.req.raw.headers);
    await next();
  });

  app.get(
    "/",
    takes(...Object.keys(PAGE_PARAMETERS)),
    (c) => pageResponse(service, new URL(c.req.url).searchParams),
  );
  app.get("/style.css", takes(), (c) =>
    c.body(STYLE, 200, {
      "content-type": "text/css; charset=utf-8",
      "cache-control": "max-age=3600",
    }));
  app.get("/openapi.json", takes(), (c) => c.json(openApi(service.limits)));
  app.get(
    "/metrics",
    takes(),
    async (c) =>
      c.body(await service.metricsText(), 200, {
        "content-type": service.metrics.contentType,
      }),
  );

  app.get("/txs", takes(...LIST_PARAMETERS), (c) => listTxs(service, c));
  app.post("/txs", takes(), (c) => postTxs(service, c));
  app.post("/broadcast", takes(), (c) => broadcast(service, c));
  app.get("/txs/:id", takes(), async (c) => {
    const download = downloadOf(service, c);
    const respond = wants(c, JSON_TYPE) ? jsonResponse : payloadResponse;
    return await respond(service.store, idOf(c), download);
  });
  app.delete("/txs/:id", takes(), async (c) => {
    const txId = idOf(c);
    if (!await service.store.deleteTx(txId)) throw unknownTx(txId);
    service.metrics.deleted();
    return c.body(null, 204);
  });

  app.notFound((c) => noRoute(app, c).toResponse());
  app.onError((error, c) => {
    const problem = service.problemOf(error);
    if (problem.status >= 500 && error !== problem) {
      service.failed(`${c.req.method} ${c.req.path}`, error);
    }
    return problem.toResponse();
  });
  return app;
}

/**
 * The path as the client wrote it: an id may hold what a URL parser would take
 * for a way up.
 */
function getPath(
  _: Request,
  options?: { env?: Env["Bindings"] },
): string {
  const target = options!.env!.incoming.url!;
  const end = target.search(/[?#]/);
  return end < 0 ? target : target.slice(0, end);
}

/** Refuses a request whose query has other parameters than these. */
function takes(...parameters: string[]): MiddlewareHandler<Env> {
  return async (c, next) => {
    requireParameters(new URL(c.req.url).searchParams, parameters);
    await next();
  };
}

/** Counts and limits requests, and says when they are the last. */
function accounted(service: Service): MiddlewareHandler<Env> {
  return async (c, next) => {
    const { incoming, outgoing } = c.env;
    const start = performance.now();
    if (service.requests >= service.limits.requests) {
      throw unavailable("OVERLOADED", "Too much is under way");
    }
    service.requests++;
    outgoing.once("close", () => service.requests--);
    await next();
    const route = routePath(c);
    service.metrics.answered(
      c.req.method,
      route.endsWith("*") ? "other" : route,
      c.res.status,
      (performance.now() - start) / 1000,
    );
    // A body that was not read to its end would be read by nobody.
    const isCutOff = !incoming.complete && hasBody(c.req.raw);
    if (isCutOff && outgoing.socket) lingerAtEnd(outgoing.socket);
    if (service.stopping || isCutOff) c.header("connection", "close");
    // From here on it is the client who keeps the service waiting.
    // The server destroys a connection whose time is up; Deno 2.7 has it wait.
    outgoing.socket?.setTimeout(service.limits.idle);
  };
}

function hasBody({ method, body }: Request): boolean {
  return method !== "GET" && method !== "HEAD" && body !== null;
}

function noRoute(app: Hono<Env>, c: Context<Env>): Problem {
  const allow = app.routes
    .filter(({ path, method }) =>
      method !== "ALL" && matchesRoute(path, c.req.path)
    )
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
  return route === path ||
    route === "/txs/:id" && /^\/txs\/[^/]+$/.test(path);
}

/** The id that a path ends with. */
function idOf(c: Context<Env>): string {
  let txId: string;
  try {
    txId = decodeURIComponent(c.req.path.slice("/txs/".length));
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

function wants(c: Context<Env>, type: string): boolean {
  return (c.req.header("accept") ?? "").toLowerCase().split(",")
    .some((range) => range.split(";")[0]!.trim() === type);
}

function downloadOf(service: Service, c: Context<Env>): Download {
  const { verifications, limits } = service;
  const { outgoing } = c.env;
  return {
    request: c.req.raw,
    verifications,
    limits,
    breakOff(error) {
      service.failed(`${c.req.method} ${c.req.path} broken off`, error);
      outgoing.destroy();
    },
  };
}

// --- saving -----------------------------------------------------------------

async function postTxs(
  service: Service,
  c: Context<Env>,
): Promise<Response> {
  const { store, room, limits, metrics } = service;
  const type = mediaType(c);
  if (NDJSON_TYPES.includes(type)) {
    const counts = await saveLines(
      store,
      c.req.raw,
      room,
      limits,
      (saved) => metrics.saved(saved),
    );
    return c.json(counts);
  }
  if (type !== JSON_TYPE) throw unsupportedType([JSON_TYPE, ...NDJSON_TYPES]);
  const saved = await saveOne(store, c.req.raw, txOf, room, limits);
  metrics.saved(saved);
  return c.body(savedJson(saved), saved.outcome === "created" ? 201 : 200, {
    "content-type": JSON_TYPE,
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
    await saveOne(store, c.req.raw, txOfBroadcast, room, limits),
  );
  return c.text("OK");
}

/**
 * The type of the body. It must be told: a page elsewhere can have a browser
 * send text, and would have to ask first to send JSON.
 */
function mediaType(c: Context<Env>): string {
  const [type] = (c.req.header("content-type") ?? "").split(";");
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

// --- listing ----------------------------------------------------------------

async function listTxs(
  service: Service,
  c: Context<Env>,
): Promise<Response> {
  const { store } = service;
  const params = new URL(c.req.url).searchParams;
  const filter = filterOfQuery(params);
  if (NDJSON_TYPES.some((type) => wants(c, type))) {
    const { breakOff } = downloadOf(service, c);
    return new Response(guarded(ndjson(store.iterateTxs(filter)), breakOff), {
      headers: { "content-type": NDJSON_TYPES[0]!, "vary": "accept" },
    });
  }
  const limit = filter.limit ?? PAGE.usual;
  if (limit > PAGE.most) {
    throw new UsageError(
      `limit must be at most ${PAGE.most} unless NDJSON is asked for`,
    );
  }
  const found = await Array.fromAsync(
    store.iterateTxs({ ...filter, limit: limit + 1 }),
  );
  const txs = found.slice(0, limit);
  const next = found.length > limit ? nextPage(params, txs.at(-1)!) : null;
  const body = `{"txs":[${txs.map(infoJson).join(",")}],"next":${
    JSON.stringify(next)
  }}`;
  return c.body(body, 200, {
    "content-type": JSON_TYPE,
    "vary": "accept",
    ...(next !== null && { link: `<${next}>; rel="next"` }),
  });
}

function nextPage(params: URLSearchParams, { txId }: TxInfo): string {
  const next = new URLSearchParams(params);
  next.set("after", txId);
  return `/txs?${next}`;
}

async function* ndjson(
  infos: AsyncIterable<TxInfo>,
): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  let text = "";
  for await (const info of infos) {
    text += `${infoJson(info)}\n`;
    if (text.length < PIECE) continue;
    yield encoder.encode(text);
    text = "";
  }
  if (text !== "") yield encoder.encode(text);
}
