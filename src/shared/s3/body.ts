/**
 * What is sent: bytes at hand, or pieces that come one by one.
 *
 * @module
 */

import { digestOf, Sha256, sha256HexSync } from "../../files/hash.ts";
import type { PayloadSource } from "../contracts.ts";

/** What is sent at once; by what is larger progress can be seen. */
export const PIECE = 64 * 1024;

/** What a request sends. */
export interface Body {
  /** Size in bytes. */
  size: number;
  /** SHA-256 in hex: the server refuses what arrives with another one. */
  digest: string;
  /** The bytes, or a way to have them in pieces once more. */
  content: Uint8Array | (() => AsyncIterable<Uint8Array>);
}

/** A body of bytes that are made here. */
export function bodyOf(
  bytes: Uint8Array,
): Body & { content: Uint8Array } {
  return { size: bytes.length, digest: sha256HexSync(bytes), content: bytes };
}

/** A payload as a body. Of a small one all pieces are taken at once. */
export async function bodyOfPayload(
  payload: PayloadSource,
  digest: string,
): Promise<Body> {
  if (payload instanceof Uint8Array) {
    return { size: payload.length, digest, content: payload };
  }
  const { size } = payload;
  const content = () => checkedPieces(payload, digest);
  if (size > PIECE) return { size, digest, content };
  const bytes = new Uint8Array(size);
  let at = 0;
  for await (const piece of content()) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return { size, digest, content: bytes };
}

/**
 * A payload's pieces, each at most {@linkcode PIECE} long. The last one is only
 * given when all of them are what was promised.
 */
export async function* checkedPieces(
  payload: PayloadSource,
  digest: string,
): AsyncGenerator<Uint8Array> {
  if (payload instanceof Uint8Array) {
    await requireDigest(payload, digest);
    return yield* slices(payload);
  }
  const hash = new Sha256();
  let size = 0;
  let last: Uint8Array | undefined;
  for await (const chunk of payload.open()) {
    for (const piece of slices(chunk)) {
      hash.update(piece);
      size += piece.length;
      if (size > payload.size) throw wrong(size, payload.size);
      if (last) yield last;
      last = piece;
    }
  }
  if (size !== payload.size) throw wrong(size, payload.size);
  requireSame(hash.hex(), digest);
  if (last) yield last;
}

/** Bytes in pieces, without a copy. */
export function* slices(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PIECE) {
    yield bytes.subarray(at, at + PIECE);
  }
}

/** Makes sure that bytes are what was promised. */
export async function requireDigest(
  bytes: Uint8Array,
  digest: string,
): Promise<void> {
  requireSame(await digestOf(bytes), digest);
}

function requireSame(found: string, digest: string): void {
  if (found === digest) return;
  throw new Deno.errors.InvalidData(
    `Cannot keep a payload: it has SHA-256 ${found}, expected ${digest}`,
  );
}

function wrong(size: number, expected: number): Error {
  return new Deno.errors.InvalidData(
    `Cannot keep a payload: ${size} bytes came, expected ${expected}`,
  );
}
