/**
 * What a request that saves says of the payload and of what may be there: digests
 * as of RFC 9530, preconditions as of RFC 9110.
 *
 * @module
 */

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
  return new Problem(400, "INVALID_DIGEST", detail);
}

/** The payload that came is not the promised one. */
export function digestMismatch(
  expected: string,
  found: string | null,
): Problem {
  return new Problem(
    400,
    "DIGEST_MISMATCH",
    "The payload does not have the promised digest; nothing was saved",
    { members: { expected, found } },
  );
}

/**
 * Whether a request is only to create: `If-None-Match: *`.
 *
 * @throws {Problem} 400 if the header has another value.
 */
export function createsOnly(headers: Headers): boolean {
  const value = headers.get("if-none-match");
  if (value === null) return false;
  if (value.trim() === "*") return true;
  throw new Problem(
    400,
    "INVALID_REQUEST",
    "If-None-Match of a save must be *",
  );
}

/**
 * Refuses a change under a condition that the service does not decide within a
 * commit: to pass over it would be to make the change whatever is there.
 *
 * @throws {Problem} 400 if there is one.
 */
export function requireNoOtherCondition(headers: Headers): void {
  for (const name of ["if-match", "if-unmodified-since"]) {
    if (!headers.has(name)) continue;
    throw new Problem(
      400,
      "INVALID_REQUEST",
      `${name} is not supported; If-None-Match: * is, for saves`,
    );
  }
}

/** There is a transaction of that id, and the request is only to create. */
export function preconditionFailed(
  txId: string,
  storageHash: string,
): Problem {
  return new Problem(
    412,
    "PRECONDITION_FAILED",
    `There is a transaction ${JSON.stringify(txId)}`,
    {
      members: { tx_id: txId, storage_hash: storageHash },
      headers: { etag: `"${storageHash}"` },
    },
  );
}
