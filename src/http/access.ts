/**
 * Who may use the service.
 *
 * @module
 */

import { timingSafeEqual } from "node:crypto";
import { sha256HexSync } from "../files/hash.ts";
import { Problem } from "./problem.ts";

/** Lets a request pass, or throws the problem that it is answered with. */
export type Guard = (headers: Headers, scope: Scope) => void;

/** What a request needs to be allowed: to read, to change, to operate. */
export type Scope = "read" | "write" | "admin";

/** Whether only this machine can reach a service that binds to `host`. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" ||
    /^127(\.\d{1,3}){3}$/.test(host);
}

/**
 * Requires the token: as `Authorization: Bearer <token>`, or, so that a browser
 * can ask for it, as the password of HTTP Basic.
 */
export function tokenGuard(token: string): Guard {
  const expected = digest(token);
  return (headers) => {
    const given = givenToken(headers.get("authorization") ?? "");
    // Digests are of one length, and comparing them takes one time.
    if (given !== null && timingSafeEqual(digest(given), expected)) return;
    throw new Problem(
      "UNAUTHORIZED",
      given === null
        ? "A bearer token is needed"
        : "The bearer token is not the right one",
      {
        headers: {
          "www-authenticate": challenge(headers),
        },
      },
    );
  };
}

/**
 * Without a token only this machine may ask, and under a name of its own: a web
 * page elsewhere whose name was made to lead here is refused.
 */
export const localGuard: Guard = (headers) => {
  const host = headers.get("host") ?? "";
  const name = /^(?:\[([^\]]*)\]|([^:]*))(?::\d+)?$/.exec(host);
  if (isLoopback((name?.[1] ?? name?.[2] ?? "").toLowerCase())) return;
  throw new Problem(
    "WRONG_HOST",
    "Without a token the service answers to localhost only",
  );
};

/** Chromium understands no more than one challenge in a header. */
function challenge(headers: Headers): string {
  return headers.get("accept")?.includes("text/html")
    ? 'Basic realm="poh-storage", charset="UTF-8"'
    : 'Bearer realm="poh-storage"';
}

function digest(token: string): Uint8Array {
  return new TextEncoder().encode(
    sha256HexSync(new TextEncoder().encode(token)),
  );
}

function givenToken(authorization: string): string | null {
  const [, scheme, value] = /^(\w+) +(\S+) *$/.exec(authorization) ?? [];
  if (value === undefined) return null;
  if (/^bearer$/i.test(scheme!)) return value;
  if (!/^basic$/i.test(scheme!)) return null;
  try {
    const pair = new TextDecoder().decode(Uint8Array.fromBase64(value));
    return pair.includes(":") ? pair.slice(pair.indexOf(":") + 1) : null;
  } catch {
    return null; // no base64
  }
}
