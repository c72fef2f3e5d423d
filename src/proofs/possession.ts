/**
 * Proof that a node had every byte of a payload when it learnt a nonce, for those
 * who have the payload, too.
 *
 * @module
 */

import {
  hashFromBase64,
  isEqual,
  numberFrom,
  toBase64,
  utf8,
} from "./encoding.ts";
import type { Signer } from "./keys.ts";
import { signNote } from "./note.ts";
import { openSigned, type Policy } from "./policy.ts";
import { malformed, refuted } from "./proof_error.ts";
import { Sha256 } from "./sha256_short.ts";

const MAGIC = "poh-storage/possession/v1\n";

/** A payload in memory, or as it comes. */
export type PayloadSource = Uint8Array | AsyncIterable<Uint8Array>;

/**
 * Digest over who answers, a nonce and a payload.
 *
 * @param vkey Key of the log that answers.
 * @param index Entry of the transaction in its log.
 *
 * @example Usage
 * ```ts
 * import { possessionDigest } from "@poh/storage/proofs";
 * import { assertEquals } from "@std/assert";
 *
 * const digest = await possessionDigest(
 *   "node7.example/poh+b8deb6a6+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
 *   1,
 *   Uint8Array.from({ length: 32 }, (_, i) => i),
 *   new TextEncoder().encode("hello"),
 * );
 * assertEquals(digest.slice(0, 4), new Uint8Array([0x95, 0x28, 0x75, 0x85]));
 * ```
 */
export async function possessionDigest(
  vkey: string,
  index: number,
  nonce: Uint8Array,
  payload: PayloadSource,
): Promise<Uint8Array> {
  const hash = new Sha256().update(utf8(`${MAGIC}${vkey}\n${index}\n`, "key"));
  hash.update(nonce);
  if (payload instanceof Uint8Array) hash.update(payload);
  else for await (const piece of payload) hash.update(piece);
  return hash.digest();
}

/** Makes the proof: a signed note. */
export async function provePossession(
  index: number,
  nonce: Uint8Array,
  payload: PayloadSource,
  signer: Signer,
): Promise<string> {
  const { name, vkey } = signer.verifier;
  const digest = await possessionDigest(vkey, index, nonce, payload);
  const text = `${MAGIC}${name}\n${index}\n${toBase64(nonce)}\n${
    toBase64(digest)
  }\n`;
  return await signNote(text, [signer]);
}

/** What was asked for. */
export interface PossessionChallenge {
  /** Entry of the transaction. */
  readonly index: number;
  /** The nonce that the challenger drew. */
  readonly nonce: Uint8Array;
  /** The payload that the challenger has. */
  readonly payload: PayloadSource;
}

/** What a proof of possession says, without what was asked for. */
export interface Possession {
  /** Name of the log. */
  readonly origin: string;
  /** Entry of the transaction. */
  readonly index: number;
  /** The nonce it answers. */
  readonly nonce: Uint8Array;
  /** The digest. */
  readonly digest: Uint8Array;
}

/**
 * Checks that a node has computed over every byte of a payload after it learnt
 * the nonce. It may have fetched them for that, and need not have them any more.
 *
 * @throws {ProofError} `at` names the step: `"note"`, `"signature"`, `"possession"`,
 * `"origin"`, `"index"`, `"nonce"` or `"payload"`.
 */
export async function checkPossession(
  note: string | Uint8Array,
  policy: Policy,
  asked: PossessionChallenge,
): Promise<Possession> {
  const { text, origin, signedBy } = await openSigned(note, policy);
  const said = parsePossession(text);
  if (said.origin !== origin) {
    throw refuted("origin", `The key of ${origin} signed for ${said.origin}`);
  }
  if (said.index !== asked.index) {
    throw refuted(
      "index",
      `It is about entry ${said.index}, not ${asked.index}`,
    );
  }
  if (!isEqual(said.nonce, asked.nonce)) {
    throw refuted("nonce", "It answers another nonce");
  }
  // The digest names one key of the log; the others can have signed it as well.
  const { vkey } = signedBy[0]!;
  const digest = await possessionDigest(
    vkey,
    said.index,
    said.nonce,
    asked.payload,
  );
  if (isEqual(digest, said.digest)) return said;
  throw refuted("payload", "The digest is not that of this payload and nonce");
}

/** Reads the text of a proof of possession, without its signatures. */
export function parsePossession(text: string): Possession {
  const rest = text.startsWith(MAGIC) ? text.slice(MAGIC.length) : "";
  const [origin, index, nonce, digest, end, ...more] = rest.split("\n", 7);
  if (
    !origin || index === undefined || nonce === undefined ||
    digest === undefined || end !== "" || more.length > 0
  ) throw malformed("possession", "A proof of possession has five lines");
  return {
    origin,
    index: numberFrom(index, "possession"),
    nonce: hashFromBase64(nonce, "possession"),
    digest: hashFromBase64(digest, "possession"),
  };
}
