/**
 * SHA-256, the digest that binds a payload to its metadata.
 *
 * Web Crypto has no streaming form and costs a thread hop per call; so
 * payloads that come in pieces, and loops over many small ones, use the
 * runtime's synchronous implementation of the same function.
 *
 * @module
 */

import { collectGarbage } from "../async/garbage.ts";

let loaded: typeof import("node:crypto") | undefined;

/** An import would load it at every start, which takes as long as all the rest. */
function builtin(): typeof import("node:crypto") {
  // deno-lint-ignore no-process-global -- likewise
  return loaded ??= process.getBuiltinModule("node:crypto");
}

/**
 * SHA-256 of bytes, by Web Crypto.
 *
 * @returns 64 lower-case hex digits.
 *
 * @example Usage
 * ```ts
 * import { sha256Hex } from "@poh/storage";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(
 *   await sha256Hex(new TextEncoder().encode("abc")),
 *   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
 * );
 * ```
 */
export async function sha256Hex(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes as BufferSource);
  return new Uint8Array(digest).toHex();
}

/**
 * SHA-256 of bytes that need not sit in memory together.
 *
 * @returns 64 lower-case hex digits.
 *
 * @example Usage
 * ```ts
 * import { sha256HexOfStream } from "@poh/storage";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(
 *   await sha256HexOfStream(new Blob(["a", "bc"]).stream()),
 *   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
 * );
 * ```
 */
export async function sha256HexOfStream(
  chunks: AsyncIterable<Uint8Array>,
): Promise<string> {
  const hash = new Sha256();
  for await (const chunk of chunks) hash.update(chunk);
  return hash.hex();
}

/** Incremental SHA-256. */
export class Sha256 {
  #hash = builtin().createHash("sha256");

  /** Takes in the next bytes. */
  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  /** The digest of all bytes so far, 64 lower-case hex digits. Ends the hash. */
  hex(): string {
    return this.#hash.digest("hex");
  }
}

/** SHA-256 of bytes in the way that is cheapest for their size. */
export async function digestOf(bytes: Uint8Array): Promise<string> {
  return bytes.length <= 256 * 1024
    ? sha256HexSync(bytes)
    : await sha256Hex(bytes);
}

/**
 * After so many digests a thread has its garbage collected: `node:crypto` leaves
 * an object for each, whose size V8 does not see.
 */
const COLLECT_AFTER = 32_768;

let digests = 0;

/** SHA-256 of bytes, without leaving the thread: for many small payloads. */
export function sha256HexSync(bytes: Uint8Array): string {
  if (++digests % COLLECT_AFTER === 0) collectGarbage();
  return builtin().hash("sha256", bytes, "hex");
}

/** SHA-256, in hex, and size in bytes of what comes in pieces. */
export async function digestOfPieces(
  pieces: AsyncIterable<Uint8Array>,
): Promise<{ digest: string; size: number }> {
  const hash = new Sha256();
  let size = 0;
  for await (const piece of pieces) {
    hash.update(piece);
    size += piece.length;
  }
  return { digest: hash.hex(), size };
}
