/**
 * The tokens of a service: who has one, and what for.
 *
 * @module
 */

import { sha256HexSync } from "../files/hash.ts";
import { UsageError } from "../format/usage_error.ts";
import { nearest } from "../text/suggestion.ts";

/** What a request needs to be allowed: to read, to change, to operate. */
export type Scope = "read" | "write" | "admin";

/** Every scope: each allows what those before it do. */
export const SCOPES: readonly Scope[] = ["read", "write", "admin"];

/** A token, of which only the digest is kept. */
export interface Token {
  /** What it allows. */
  scope: Scope;
  /** Whose it is, for the log; `""` for nobody's. */
  name: string;
  /** SHA-256 of it, in hex, as bytes. */
  digest: Uint8Array;
}

/** A token that can be guessed is none. */
const TOKEN = /^[\x21-\x7e]{16,}$/;
const NAME = /^[\w.@-]{1,64}$/;

/**
 * A token.
 *
 * @throws {UsageError} If it is short, or has other than visible ASCII characters.
 */
export function tokenOf(text: string, scope: Scope, name = ""): Token {
  if (TOKEN.test(text)) return { scope, name, digest: digestOf(text) };
  throw new UsageError(
    "a token must be 16 or more visible ASCII characters, without spaces",
  );
}

/**
 * The tokens of a file: a line each, `read`, `write` or `admin`, the token, and
 * if wanted a name; a token alone is one for `write`. Blank lines and those that
 * begin with # say nothing.
 *
 * @throws {UsageError} If a line is malformed, a token comes twice, or there is
 * none; the message has no part of any token.
 */
export function readTokens(text: string): Token[] {
  const tokens: Token[] = [];
  for (const [n, line] of text.split(/\r?\n/).entries()) {
    const words = line.trim().split(/[ \t]+/);
    if (words[0] === "" || words[0]!.startsWith("#")) continue;
    try {
      tokens.push(tokenOfLine(words));
    } catch (error) {
      throw new UsageError(`line ${n + 1}: ${(error as Error).message}`);
    }
  }
  if (tokens.length === 0) throw new UsageError("there is no token");
  const digests = new Set(tokens.map(({ digest }) => digest.join()));
  if (digests.size === tokens.length) return tokens;
  throw new UsageError("a token is there twice");
}

function tokenOfLine(words: string[]): Token {
  if (words.length === 1) return tokenOf(words[0]!, "write");
  const [scope, token, name = "", ...more] = words;
  if (!SCOPES.includes(scope as Scope)) {
    const near = nearest(scope!, SCOPES);
    throw new UsageError(
      `a line begins with read, write or admin${
        near === null ? "" : `; did you mean ${near}?`
      }`,
    );
  }
  if (more.length > 0 || name !== "" && !NAME.test(name)) {
    throw new UsageError(
      "a name is one word of at most 64 letters, digits and . _ @ -",
    );
  }
  return tokenOf(token!, scope as Scope, name);
}

/** Of one length, whatever the token: to compare two takes one time. */
export function digestOf(token: string): Uint8Array {
  const encoder = new TextEncoder();
  return encoder.encode(sha256HexSync(encoder.encode(token)));
}
