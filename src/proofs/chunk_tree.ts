/**
 * Chunks of a payload: a tree over pieces of 8 KiB, so that a piece can be shown
 * to belong to a payload without the rest of it.
 *
 * @module
 */

import { CHUNK_SIZE } from "./entry.ts";
import { MerkleTree } from "./merkle.ts";
import { Sha256 } from "./sha256_short.ts";

/** How many chunks a payload has; an empty one has one, which is empty. */
export function chunkCount(size: number): number {
  return Math.max(1, Math.ceil(size / CHUNK_SIZE));
}

/** How many bytes a chunk has. */
export function chunkLength(size: number, n: number): number {
  return Math.min(CHUNK_SIZE, size - n * CHUNK_SIZE);
}

/** What was made of a payload. */
export interface HashedPayload {
  /** How many bytes it has. */
  readonly size: number;
  /** SHA-256 of all of it. */
  readonly digest: Uint8Array;
  /** The chunk root of its record: 32 zeros up to 8,192 bytes. */
  readonly chunkRoot: Uint8Array;
  /** The tree over its chunks, for paths. */
  readonly tree: MerkleTree;
}

/**
 * Hashes a payload that comes in pieces. It keeps 32 bytes for each 8 KiB.
 *
 * @example Usage
 * ```ts
 * import { PayloadHasher } from "@poh/storage/proofs";
 * import { assertEquals } from "@std/assert";
 *
 * const hasher = new PayloadHasher();
 * for (let i = 0; i < 10; i++) hasher.update(new Uint8Array(1000));
 * const { size, tree } = hasher.finish();
 * assertEquals([size, tree.size], [10_000, 2]);
 * ```
 */
export class PayloadHasher {
  readonly #whole = new Sha256();
  readonly #leaves: Uint8Array[] = [];
  /** Over the leaf of the chunk that is not full. */
  #chunk = newLeaf();
  #filled = 0;
  #size = 0;

  /** Takes in the next bytes. */
  update(bytes: Uint8Array): void {
    this.#whole.update(bytes);
    this.#size += bytes.length;
    for (let at = 0; at < bytes.length;) {
      const piece = bytes.subarray(at, at + CHUNK_SIZE - this.#filled);
      this.#chunk.update(piece);
      at += piece.length;
      this.#filled += piece.length;
      if (this.#filled === CHUNK_SIZE) this.#endChunk();
    }
  }

  /** What was made of the payload. Ends the hashing. */
  finish(): HashedPayload {
    if (this.#filled > 0 || this.#size === 0) this.#endChunk();
    const tree = new MerkleTree(this.#leaves);
    const chunkRoot = this.#size > CHUNK_SIZE
      ? tree.root()
      : new Uint8Array(32);
    return { size: this.#size, digest: this.#whole.digest(), chunkRoot, tree };
  }

  #endChunk(): void {
    this.#leaves.push(this.#chunk.digest());
    this.#chunk = newLeaf();
    this.#filled = 0;
  }
}

const LEAF = Uint8Array.of(0);

/** A hash of a leaf, before its bytes come. */
function newLeaf(): Sha256 {
  return new Sha256().update(LEAF);
}

/** Hashes a payload that is in memory. */
export function hashPayload(payload: Uint8Array): HashedPayload {
  const hasher = new PayloadHasher();
  hasher.update(payload);
  return hasher.finish();
}
