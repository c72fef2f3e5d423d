/**
 * What a service tells its operator: lines for people, or JSON for programs.
 *
 * @module
 */

/** How much it matters. */
export type Level = "info" | "warn" | "error";

/** Further fields of an entry. */
export type Fields = Readonly<Record<string, string | number | null>>;

/** Tells an operator something. */
export type Log = (message: string, level: Level, fields: Fields) => void;

/** Which requests are logged. */
export type AccessLog = "off" | "errors" | "on";

/** An entry as a line of JSON. */
export function jsonLine(
  message: string,
  level: Level,
  fields: Fields,
  at: Date = new Date(),
): string {
  return JSON.stringify({
    time: at.toISOString(),
    level,
    msg: message,
    ...fields,
  });
}

/** The id of a request: the one that it came with, where that is sound. */
export function requestIdOf(headers: Headers): string {
  const given = headers.get("x-request-id");
  return given !== null && isRequestId(given) ? given : crypto.randomUUID();
}

/** Whether an id is one to repeat in headers and logs. */
export function isRequestId(id: string): boolean {
  return /^[\w.:=+/-]{1,128}$/.test(id);
}

/** The trace that a request is part of, by W3C's `traceparent`; null: none. */
export function traceIdOf(headers: Headers): string | null {
  const [, traceId] =
    /^[\da-f]{2}-([\da-f]{32})-[\da-f]{16}-[\da-f]{2}(?:-.*)?$/.exec(
      headers.get("traceparent") ?? "",
    ) ?? [];
  return traceId === undefined || /^0+$/.test(traceId) ? null : traceId;
}
