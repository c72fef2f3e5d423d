/**
 * The media types of requests and answers.
 *
 * @module
 */

import { Problem } from "./problem.ts";

/** One transaction, or a page of a list. */
export const JSON_TYPE = "application/json";
/** Many transactions, a line each; the first one is what answers have. */
export const NDJSON_TYPES = [
  "application/x-ndjson",
  "application/ndjson",
  "application/jsonl",
];

/** The headers of what is said about transactions. */
export const METADATA_HEADERS = {
  "cache-control": "no-cache",
  "vary": "accept",
  "x-content-type-options": "nosniff",
};

/** Whether a client would rather have this type than the usual one. */
export function wants({ headers }: Request, type: string): boolean {
  const accept = headers.get("accept");
  if (accept === null || accept === "*/*") return false;
  const ranges = accept.toLowerCase().split(",").map((range) => {
    const [name, ...parameters] = range.split(";").map((part) => part.trim());
    const weight = parameters.find((part) => part.startsWith("q="));
    return { name, weight: weight ? Number(weight.slice(2)) : 1 };
  });
  const weight = ranges.find(({ name }) => name === type)?.weight ?? 0;
  const rest = ranges.filter(({ name }) => name !== type && name !== "*/*");
  return weight > 0 && rest.every((other) => other.weight <= weight);
}

/**
 * The type of a body. It must be told: a page elsewhere can have a browser send
 * text, and would have to ask first to send JSON.
 */
export function mediaType({ headers }: Request): string {
  const [type] = (headers.get("content-type") ?? "").split(";");
  return type!.trim().toLowerCase();
}

/** The problem of a body that is of another type. */
export function unsupportedType(types: string[]): Problem {
  return new Problem(
    "UNSUPPORTED_TYPE",
    `The body must be ${types.slice(0, 2).join(" or ")}`,
    { headers: { "accept-post": types.join(", ") } },
  );
}
