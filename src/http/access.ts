/**
 * Who may use the service.
 *
 * @module
 */

import { timingSafeEqual } from "node:crypto";
import { Problem } from "./problem.ts";
import { digestOf, type Scope, SCOPES, type Token } from "./tokens.ts";

/**
 * Lets a request pass, or throws the problem that it is answered with.
 *
 * @returns The name of its token; `""` for none.
 */
export type Guard = (headers: Headers, scope: Scope) => string;

/** Whether only this machine can reach a service that binds to `host`. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" ||
    /^127(\.\d{1,3}){3}$/.test(host);
}

/**
 * Requires a token that allows what is asked: as `Authorization: Bearer <token>`,
 * or, so that a browser can ask for it, as the password of HTTP Basic.
 *
 * @param tokens Those that are good now.
 */
export function tokenGuard(tokens: () => readonly Token[]): Guard {
  return (headers, scope) => {
    const given = givenToken(headers.get("authorization") ?? "");
    const token = given === null ? null : find(tokens(), given);
    if (token === null) {
      throw new Problem(
        "UNAUTHORIZED",
        given === null
          ? "A bearer token is needed"
          : "The bearer token is not the right one",
        { headers: { "www-authenticate": challenge(headers) } },
      );
    }
    if (SCOPES.indexOf(token.scope) >= SCOPES.indexOf(scope)) return token.name;
    throw new Problem(
      "FORBIDDEN",
      `This needs a token of scope ${scope}, and the token has ${token.scope}`,
    );
  };
}

/** The token of that text; compares with all, in a time that tells nothing. */
function find(tokens: readonly Token[], text: string): Token | null {
  const digest = digestOf(text);
  let found: Token | null = null;
  for (const token of tokens) {
    if (timingSafeEqual(token.digest, digest)) found = token;
  }
  return found;
}

/**
 * Without a token only this machine may ask, and under a name of its own: a web
 * page elsewhere whose name was made to lead here is refused. Nobody operates.
 */
export const localGuard: Guard = (headers, scope) => {
  const host = headers.get("host") ?? "";
  const name = /^(?:\[([^\]]*)\]|([^:]*))(?::\d+)?$/.exec(host);
  if (!isLoopback((name?.[1] ?? name?.[2] ?? "").toLowerCase())) {
    throw new Problem(
      "WRONG_HOST",
      "Without a token the service answers to localhost only",
    );
  }
  if (scope !== "admin") return "";
  throw new Problem(
    "FORBIDDEN",
    "This needs a token of scope admin, and the service was given none",
  );
};

/** Chromium understands no more than one challenge in a header. */
function challenge(headers: Headers): string {
  return headers.get("accept")?.includes("text/html")
    ? 'Basic realm="poh-storage", charset="UTF-8"'
    : 'Bearer realm="poh-storage"';
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
