/**
 * What a request that saves says of the payload and of what may be there: digests
 * as of RFC 9530, preconditions as of RFC 9110.
 *
 * @module
 */

import type { IfMatch } from "../model/if_exists.ts";
import { Problem } from "./problem.ts";

/** The headers that may hold a payload's digest, where no coding is applied. */
const DIGEST_HEADERS = ["repr-digest", "content-digest"];

/**
 * The SHA-256 that a payload is promised to have, in hex; undefined for none.
 * Digests by other functions are passed over, as RFC 9530 has it.
 *
 * @throws {Problem} 400 if it is malformed, or two headers do not agree.
 */
export function promisedDigest(headers: Headers): string | undefined {
  const digests = DIGEST_HEADERS.map((name) => {
    const value = headers.get(name);
    return value === null ? null : sha256In(name, value);
  }).filter((digest) => digest !== null);
  if (new Set(digests).size > 1) {
    throw invalidDigest("Repr-Digest and Content-Digest do not agree");
  }
  return digests[0];
}

function sha256In(name: string, value: string): string | null {
  for (const member of value.split(",")) {
    const [, algorithm, base64] =
      /^([a-z*][\w.*-]*)=:([A-Za-z0-9+/=]*):(?:;.*)?$/.exec(member.trim()) ??
        [];
    if (algorithm === undefined) throw malformed(name);
    if (algorithm !== "sha-256") continue;
    try {
      const digest = Uint8Array.fromBase64(base64!);
      if (digest.length === 32) return digest.toHex();
    } catch {
      // Refused below.
    }
    throw malformed(name);
  }
  return null;
}

function malformed(name: string): Problem {
  return invalidDigest(`${name} must be like sha-256=:<base64>:`);
}

function invalidDigest(detail: string): Problem {
  return new Problem("INVALID_DIGEST", detail);
}

/** The payload that came is not the promised one. */
export function digestMismatch(
  expected: string,
  found: string | null,
): Problem {
  return new Problem(
    "DIGEST_MISMATCH",
    "The payload does not have the promised digest; nothing was saved",
    { members: { expected, found } },
  );
}

/** Under which conditions a request makes its change. */
export interface Conditions {
  /** Whether it is only to create: `If-None-Match: *`. */
  createsOnly: boolean;
  /** What must be there, by `If-Match`; undefined: anything. */
  ifMatch: IfMatch | undefined;
}

/**
 * The conditions of a request that saves.
 *
 * @throws {Problem} 400 if one is malformed, or none that can be decided within
 * a commit.
 */
export function conditionsOf(headers: Headers): Conditions {
  const noneMatch = headers.get("if-none-match");
  if (noneMatch !== null && noneMatch.trim() !== "*") {
    throw unsupported("If-None-Match of a save must be *");
  }
  return { createsOnly: noneMatch !== null, ifMatch: ifMatchOf(headers) };
}

/**
 * The condition of a request that deletes.
 *
 * @throws {Problem} 400 as {@linkcode conditionsOf} does.
 */
export function ifMatchToDelete(headers: Headers): IfMatch | undefined {
  if (headers.has("if-none-match")) {
    throw unsupported("If-None-Match is for saves; If-Match is for deletions");
  }
  return ifMatchOf(headers);
}

/** Refuses conditions: to pass over one would be to make the change anyway. */
export function requireNoCondition(headers: Headers, ...names: string[]): void {
  for (const name of names) {
    if (headers.has(name)) throw unsupported(`${name} is not supported here`);
  }
}

/**
 * The digests that `If-Match` names. A weak entity tag matches nothing.
 *
 * @throws {Problem} 400 if it is malformed.
 */
export function ifMatchOf(headers: Headers): IfMatch | undefined {
  const value = headers.get("if-match")?.trim();
  if (value === undefined || value === "*") return value;
  const tag = /(W\/)?"([^"]*)"/g;
  if (!/^\s*(W\/)?"[^"]*"\s*(,\s*((W\/)?"[^"]*"\s*)?)*$/.test(value)) {
    throw unsupported('If-Match must be * or a list of entity tags, as "…"');
  }
  return [...value.matchAll(tag)].filter(([, weak]) => !weak)
    .map(([, , digest]) => digest!);
}

function unsupported(detail: string): Problem {
  return new Problem("INVALID_REQUEST", detail);
}
