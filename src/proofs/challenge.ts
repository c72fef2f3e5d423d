/**
 * Challenges: which entries, and which chunks of their payloads, a node must show.
 * A nonce that the challenger draws decides it, and the node learns that last.
 *
 * @module
 */

import {
  boundedText,
  hashFromBase64,
  joined,
  toBase64,
  utf8,
} from "./encoding.ts";
import { malformed } from "./proof_error.ts";
import { sha256 } from "./sha256_short.ts";

/** A challenge asks for at most this many entries, and chunks of each. */
export const MAX_DRAWS = 4096;

/** What a node is asked to show. */
export interface Challenge {
  /** Name of the log. */
  readonly origin: string;
  /** Size of the checkpoint that the challenger holds. */
  readonly size: number;
  /** Its root. */
  readonly root: Uint8Array;
  /** 32 bytes that nobody could foresee. */
  readonly nonce: Uint8Array;
  /** How many entries are drawn, or which ones the challenger has drawn itself. */
  readonly entries: number | readonly number[];
  /** How many chunks of each payload; of one with fewer, all. */
  readonly chunks: number;
}

/**
 * A challenge as JSON, in one line.
 *
 * @example Usage
 * ```ts
 * import { drawEntries, formatChallenge, parseChallenge } from "@poh/storage/proofs";
 * import { assertEquals } from "@std/assert";
 *
 * const challenge = {
 *   origin: "node7.example/poh",
 *   size: 4,
 *   root: new Uint8Array(32),
 *   nonce: Uint8Array.from({ length: 32 }, (_, i) => i),
 *   entries: 3,
 *   chunks: 4,
 * };
 * assertEquals(drawEntries(challenge), [1, 2, 2]);
 * assertEquals(parseChallenge(formatChallenge(challenge)), challenge);
 * ```
 */
export function formatChallenge(challenge: Challenge): string {
  return JSON.stringify(challengeJson(demandSound(challenge)));
}

/** The value that stands for a challenge in JSON. */
export function challengeJson(challenge: Challenge): unknown {
  const { origin, size, root, nonce, entries, chunks } = challenge;
  return {
    ...{ v: 1, origin, size, root: toBase64(root), nonce: toBase64(nonce) },
    ...(typeof entries === "number" ? { entries } : { indexes: entries }),
    chunks,
  };
}

/**
 * Reads a challenge.
 *
 * @throws {ProofError} Step `"challenge"`: it is malformed, has a field that is not
 * known, or asks for too much.
 */
export function parseChallenge(json: string | Uint8Array): Challenge {
  const text = boundedText(json, "challenge");
  try {
    return challengeOf(JSON.parse(text));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw odd("it is no JSON");
  }
}

function odd(what: string) {
  return malformed("challenge", `A challenge is malformed: ${what}`);
}

/** Reads a challenge that is part of something else. */
export function challengeOf(value: unknown): Challenge {
  if (typeof value !== "object" || value === null) throw odd("it is no object");
  const { v, origin, size, root, nonce, entries, indexes, chunks, ...more } =
    value as Record<string, unknown>;
  const [unknown] = Object.keys(more);
  if (unknown !== undefined) throw odd(`${JSON.stringify(unknown)} is unknown`);
  if (v !== 1) throw odd("its version is not 1");
  const isSound = typeof entries === "number"
    ? indexes === undefined
    : entries === undefined && Array.isArray(indexes);
  if (!isSound) throw odd("it has either a number of entries or indexes");
  if (typeof root !== "string" || typeof nonce !== "string") {
    throw odd("root and nonce are base64");
  }
  return demandSound({
    origin: origin as string,
    size: size as number,
    root: hashFromBase64(root, "challenge"),
    nonce: hashFromBase64(nonce, "challenge"),
    entries: (entries ?? indexes) as number | number[],
    chunks: chunks as number,
  });
}

const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && value as number > 0;

function demandSound(challenge: Challenge): Challenge {
  const { origin, size, root, nonce, entries, chunks } = challenge;
  if (typeof origin !== "string" || origin === "" || origin.includes("\n")) {
    throw odd("origin is a line of text");
  }
  if (!isCount(size)) throw odd("size is a number from 1 to 2^53 - 1");
  if (root.length !== 32 || nonce.length !== 32) {
    throw odd("root and nonce have 32 bytes");
  }
  if (!isCount(chunks) || chunks > MAX_DRAWS) {
    throw odd(`chunks is a number from 1 to ${MAX_DRAWS}`);
  }
  if (typeof entries === "number") {
    if (!isCount(entries) || entries > MAX_DRAWS) {
      throw odd(`entries is a number from 1 to ${MAX_DRAWS}`);
    }
    return challenge;
  }
  const isIndex = (index: unknown) =>
    index === 0 || isCount(index) && index < size;
  if (
    !Array.isArray(entries) || entries.length === 0 ||
    entries.length > MAX_DRAWS || !entries.every(isIndex) ||
    new Set(entries).size < entries.length
  ) {
    throw odd(`indexes are up to ${MAX_DRAWS} different ones below its size`);
  }
  return challenge;
}

/** Indexes of the entries that a challenge draws, in order; some may repeat. */
export function drawEntries(challenge: Challenge): number[] {
  const { entries, size } = challenge;
  if (typeof entries !== "number") return [...entries];
  const prefix = prefixOf(challenge, "entry");
  return Array.from({ length: entries }, (_, j) => draw(prefix, size, j));
}

/** The chunks of an entry that a challenge draws, ascending. */
export function drawChunks(
  challenge: Challenge,
  index: number,
  count: number,
): number[] {
  if (count <= challenge.chunks) {
    return Array.from({ length: count }, (_, n) => n);
  }
  const prefix = prefixOf(challenge, `chunk ${index}`);
  const drawn = new Set<number>();
  for (let j = 0; drawn.size < challenge.chunks; j++) {
    drawn.add(draw(prefix, count, j));
  }
  return [...drawn].sort((a, b) => a - b);
}

function prefixOf(
  { nonce, origin, size }: Challenge,
  label: string,
): Uint8Array {
  return joined([
    utf8("poh-storage/challenge/v1\n", "challenge"),
    nonce,
    utf8(`${origin}\n${size}\n${label}\n`, "challenge"),
  ]);
}

/** A number below a limit, each as likely as the others. */
function draw(prefix: Uint8Array, limit: number, j: number): number {
  const below = BigInt(limit);
  const end = 2n ** 64n / below * below;
  for (let attempt = 0;; attempt++) {
    const text = utf8(`${j}\n${attempt}\n`, "challenge");
    const hash = sha256(joined([prefix, text]));
    const x = new DataView(hash.buffer).getBigUint64(0);
    if (x < end) return Number(x % below);
  }
}
