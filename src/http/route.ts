/**
 * What a route is: from these objects come what is served, who may ask for it,
 * the figures' names, and the description for programs.
 *
 * @module
 */

import { validateTxId } from "../tx.ts";
import type { Exchange } from "./exchange.ts";
import type { Context } from "./packages.ts";
import { Problem } from "./problem.ts";
import type { ProblemCode } from "./problem_codes.ts";
import type { Service } from "./service.ts";
import type { Scope } from "./tokens.ts";

/** What Hono hands to a handler. */
export type Call = Context<{ Bindings: Exchange }>;

/** A response, at once or later. */
export type Answer = Response | Promise<Response>;

/** A JSON Schema, or a reference to one of `schemas.ts`. */
export type Schema = Readonly<Record<string, unknown>>;

/** A parameter of the query, or a header. */
export interface Parameter {
  /** What it says. */
  description: string;
  /** Its type; text unless given. */
  schema?: Schema;
}

/** A body by its media type. */
export type Content = Readonly<Record<string, { schema?: Schema }>>;

/** One kind of answer. */
export interface AnswerKind {
  /** When it comes, and what it says. */
  description: string;
  /** Its headers. */
  headers?: Readonly<Record<string, Parameter>>;
  /** Its body. */
  content?: Content;
}

/** What a route takes and answers. */
export interface Operation {
  /** Its name, one of a kind. */
  id: string;
  /** What it does, in a line. */
  summary: string;
  /** What else a client should know. */
  description?: string;
  /** The parameters of its query: all others are refused. */
  query?: Readonly<Record<string, Parameter>>;
  /** Headers that it heeds. */
  headers?: Readonly<Record<string, Parameter>>;
  /** The body that it takes. */
  body?: Content;
  /** Its answers but for problems, by status. */
  answers: Readonly<Record<number, AnswerKind>>;
  /** The problems that are its own, beside those that any request may meet. */
  problems?: readonly ProblemCode[];
  /** What `HEAD` is there for, where a client has a use for it. */
  head?: Pick<Operation, "id" | "summary">;
}

/** One method of one path. */
export interface Route {
  /** Its method; that of GET answers HEAD as well. */
  method: "GET" | "POST" | "PUT" | "DELETE";
  /** Its path; `{id}` stands for any segment that is not empty. */
  path: string;
  /** Whether its last segment stands for all segments that follow. */
  isDeep?: true;
  /** Who may ask; `"public"`: anybody; `"log"`: as the service says of its log. */
  scope: Scope | "public" | "log";
  /** What it takes and answers. */
  operation: Operation;
  /** Answers a request that is admitted and has no unknown parameters. */
  handle: (c: Call, service: Service) => Answer;
}

/** Whether a route's path stands for that of a request, percent-encoded. */
export function matchesPath(route: Route, path: string): boolean {
  if (route.path === path) return true;
  if (!route.path.includes("{")) return false;
  const wanted = route.path.split("/"), given = path.split("/");
  const isLong = route.isDeep && given.length > wanted.length;
  return (wanted.length === given.length || isLong === true) &&
    wanted.every((segment, n) =>
      segment.startsWith("{") ? given[n] !== "" : segment === given[n]
    );
}

/** What a request needs to be let to a route. */
export function scopeOf(
  { scope }: Pick<Route, "scope">,
  service: Pick<Service, "isLogPublic">,
): Scope | "public" {
  if (scope !== "log") return scope;
  return service.isLogPublic ? "public" : "read";
}

/** A body of JSON. */
export function jsonContent(schema: Schema): Content {
  return { "application/json": { schema } };
}

/** An answer of plain text. */
export function plainText(description: string): AnswerKind {
  return { description, content: { "text/plain": { schema: TEXT } } };
}

/** Any text. */
export const TEXT: Schema = { type: "string" };

/** A schema of `schemas.ts`. */
export function ref(name: string): Schema {
  return { $ref: `#/components/schemas/${name}` };
}

/** The id in a path below `/txs/`. */
export function idOf(c: Call): string {
  let txId: string;
  try {
    const [, , segment] = c.env.path.split("/", 3);
    txId = decodeURIComponent(segment!);
  } catch {
    throw new Problem(
      "INVALID_TX_ID",
      "The id in the path must be percent-encoded UTF-8",
      { members: { field: "tx_id" } },
    );
  }
  validateTxId(txId);
  return txId;
}
