/**
 * The description of the interface, for programs: made from the routes.
 *
 * @module
 */

import type { ProblemCode, ProblemStatus } from "./problem_codes.ts";
import { PROBLEM_CODES, TITLES } from "./problem_codes.ts";
import {
  type AnswerKind,
  type Operation,
  type Parameter,
  ref,
  type Route,
  TEXT,
} from "./route.ts";
import { SCHEMAS } from "./schemas.ts";

/** The problems that every request may meet. */
const ANY: readonly ProblemCode[] = ["INVALID_REQUEST", "INTERNAL"];

/** Those of requests that are not for anybody. */
const GUARDED: readonly ProblemCode[] = [
  "UNAUTHORIZED",
  "FORBIDDEN",
  "WRONG_HOST",
];

/** Those of all requests but to ask whether the process lives. */
const REFUSED: readonly ProblemCode[] = ["OVERLOADED", "STOPPING"];

/** Those of requests with a body. */
const WITH_BODY: readonly ProblemCode[] = [
  "AMBIGUOUS_LENGTH",
  "CUT_SHORT",
  "TOO_SLOW",
  "UNSUPPORTED_CODING",
  "UNSUPPORTED_TRANSFER",
];

/** Those of requests that use the store. */
export const OF_STORE: readonly ProblemCode[] = [
  "BUSY",
  "CLOSED",
  "DATABASE",
  "METADATA_DAMAGED",
  "NOT_READY",
  "OBJECT_STORE",
  "STORE_MOVED",
  "UNREACHABLE",
];

/** Those of requests that change it. */
export const OF_CHANGES: readonly ProblemCode[] = [
  ...OF_STORE,
  "DISK_FAILED",
  "DISK_FULL",
  "FILE_STUCK",
  "LOG_DAMAGED",
  "READ_ONLY",
];

/** Headers of problems, by status. */
const PROBLEM_HEADERS: Partial<
  Record<ProblemStatus, Record<string, Parameter>>
> = {
  401: { "WWW-Authenticate": { description: "Bearer, or Basic for browsers" } },
  405: { "Allow": { description: "The methods that the path has" } },
  412: { "ETag": { description: "Of what is there; absent where nothing is" } },
  415: { "Accept-Post": { description: "The types that it takes" } },
  416: { "Content-Range": { description: "How many bytes there are" } },
  503: {
    "Retry-After": {
      description: "Seconds until it may be worth to try again",
      schema: { type: "integer" },
    },
  },
};

const REQUEST_ID = {
  "X-Request-Id": {
    description: "That of the request, or one that the log has",
  },
};

/** The OpenAPI document of these routes. */
export function openApi(routes: readonly Route[]) {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = paths[route.path] ??= pathItem(route);
    path[route.method.toLowerCase()] = operationOf(route);
    if (route.operation.head) path.head = headOf(route, route.operation.head);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "poh-storage",
      version: "1",
      description:
        "Verified, crash-safe storage of transactions. A save that was answered survives power loss.",
      contact: { name: "poh-storage" },
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    security: [{ token: [] }, { password: [] }, {}],
    tags: tagsOf(routes),
    paths,
    components: {
      securitySchemes: {
        token: { type: "http", scheme: "bearer" },
        password: {
          type: "http",
          scheme: "basic",
          description: "The token as the password of any user, for browsers",
        },
      },
      schemas: SCHEMAS,
    },
  };
}

/** What all methods of a path have: the segments that vary. */
function pathItem({ path }: Route): Record<string, unknown> {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
  return names.length === 0 ? {} : {
    parameters: names.map((name) => ({
      name,
      in: "path",
      required: true,
      description: SEGMENTS[name] ?? name,
      schema: { type: "string", minLength: 1 },
    })),
  };
}

/** What the segments of paths are. */
const SEGMENTS: Readonly<Record<string, string>> = {
  name: "Name of a case in quarantine",
  tile: "Path of a tile, with slashes in it.",
  id:
    "Id of the transaction, percent-encoded as encodeURIComponent does. Clients that resolve . and .. in paths cannot name transactions with those two ids.",
};

/** Whom routes are for. */
const NEEDS: Readonly<Record<Route["scope"], string>> = {
  public: "",
  read: "Needs a token of scope read.",
  write: "Needs a token of scope write.",
  admin: "Needs a token of scope admin.",
  log: "Needs a token of scope read, unless the log is served to anybody.",
};

function operationOf(route: Route): Record<string, unknown> {
  const { scope, operation } = route;
  const { id, summary, description, body } = operation;
  const needs = NEEDS[scope];
  return {
    operationId: id,
    summary,
    description: [description, needs].filter(Boolean).join(" ") || summary,
    tags: [tagOf(route)],
    ...(scope === "public" && { security: [] }),
    ...parametersOf(operation),
    ...(body && { requestBody: { required: true, content: body } }),
    responses: {
      ...Object.fromEntries(
        Object.entries(operation.answers).map(([status, answer]) => [
          status,
          answerOf(answer),
        ]),
      ),
      ...problemsOf(route),
    },
  };
}

/** The same without bodies. */
function headOf(
  route: Route,
  { id, summary }: Pick<Operation, "id" | "summary">,
): Record<string, unknown> {
  const { responses, ...rest } = operationOf(route);
  const withoutBodies = Object.entries(
    responses as Record<string, Record<string, unknown>>,
  ).map(([status, { content: _, ...answer }]) => [status, answer]);
  return {
    ...rest,
    operationId: id,
    summary,
    responses: Object.fromEntries(withoutBodies),
  };
}

function parametersOf({ query = {}, headers = {} }: Operation) {
  const parameters = [
    ...Object.entries(query).map((entry) => ["query", ...entry] as const),
    ...Object.entries(headers).map((entry) => ["header", ...entry] as const),
  ].map(([place, name, { description, schema = TEXT }]) => ({
    name,
    in: place,
    description,
    schema,
  }));
  return parameters.length > 0 && { parameters };
}

function answerOf({ description, headers, content }: AnswerKind) {
  return {
    description,
    ...(headers && { headers: headersOf(headers) }),
    ...(content && { content }),
  };
}

function headersOf(headers: Readonly<Record<string, Parameter>>) {
  return Object.fromEntries(
    Object.entries(headers).map(([name, { description, schema = TEXT }]) => [
      name,
      { description, schema },
    ]),
  );
}

/** The problems of a route by status, each with the codes that it may have. */
function problemsOf({ path, scope, operation }: Route) {
  const codes = [
    ...ANY,
    ...(scope === "public" ? [] : GUARDED),
    ...(path === "/healthz" ? [] : REFUSED),
    ...(operation.body ? WITH_BODY : []),
    ...(operation.problems ?? []),
  ];
  const byStatus = Map.groupBy(new Set(codes), (code) => PROBLEM_CODES[code]);
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => {
      const headers = PROBLEM_HEADERS[status];
      const which = { type: "object", properties: { code: { enum: codes } } };
      return [status, {
        description: `${TITLES[status]}: ${codes.join(", ")}`,
        headers: headersOf({ ...REQUEST_ID, ...headers }),
        content: {
          "application/problem+json": {
            schema: { allOf: [ref("Problem"), which] },
          },
        },
      }];
    }),
  );
}

function tagOf({ path }: Route): string {
  const [, first] = path.split("/");
  if (first === "admin") return "operations";
  return first === "txs" || first === "broadcast" ? "transactions" : "service";
}

function tagsOf(routes: readonly Route[]) {
  return [...new Set(routes.map(tagOf))].map((name) => ({ name }));
}
