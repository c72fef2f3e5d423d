/**
 * The Merkle tree of RFC 6962: roots, and proofs that an entry is in a tree or
 * that one tree continues another, checked as RFC 9162 says.
 *
 * @module
 */

import { isEqual } from "./encoding.ts";
import { malformed, refuted } from "./proof_error.ts";
import { leafHash, nodeHash, sha256 } from "./sha256_short.ts";

export { leafHash, nodeHash };

/** Root of the tree without entries. */
export const EMPTY_ROOT: Uint8Array<ArrayBuffer> = sha256(new Uint8Array());

/** A hash that covers 2^height entries, from entry index · 2^height on. */
export interface TreeNode {
  /** 0 for a leaf. */
  readonly height: number;
  /** How many nodes of this height stand to the left. */
  readonly index: number;
}

/** Demands a size, or an index, that a number can stand for. */
function checkNumber(at: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw malformed(at, `The ${at} is no whole number from 0 to 2^53 - 1`);
  }
}

function checkHashes(at: string, hashes: readonly Uint8Array[]): void {
  const odd = hashes.find((hash) => hash.length !== 32);
  if (odd) throw malformed(at, `The ${at} has a hash of ${odd.length} bytes`);
}

// Bitwise operators would cut to 32 bits.
const isOdd = (n: number) => n % 2 === 1;
const half = (n: number) => Math.floor(n / 2);

/**
 * Root that follows from a leaf and its inclusion path, RFC 9162 2.1.3.2. Index
 * and size decide how long the path must be, and on which side each hash stands.
 *
 * @throws {ProofError} Step `"index"` or `"path"`.
 *
 * @example Usage
 * ```ts
 * import { leafHash, nodeHash, rootOfInclusion } from "@poh/storage/proofs";
 * import { assertEquals } from "@std/assert";
 *
 * const [a, b] = [new Uint8Array([1]), new Uint8Array([2])].map(leafHash);
 * assertEquals(rootOfInclusion(b!, 1, 2, [a!]), nodeHash(a!, b!));
 * ```
 */
export function rootOfInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
): Uint8Array {
  checkNumber("size", size);
  checkNumber("index", index);
  checkHashes("leaf", [leaf]);
  checkHashes("path", path);
  if (index >= size) {
    throw refuted("index", `Entry ${index} is not in a tree of ${size}`);
  }
  let hash = leaf, at = index, last = size - 1;
  for (const sibling of path) {
    if (last === 0) throw refuted("path", "The path is too long");
    if (isOdd(at) || at === last) {
      hash = nodeHash(sibling, hash);
      while (!isOdd(at) && at !== 0) [at, last] = [half(at), half(last)];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [at, last] = [half(at), half(last)];
  }
  if (last !== 0) throw refuted("path", "The path is too short");
  return hash;
}

/**
 * Whether a tree continues another, RFC 9162 2.1.4.2: its first `oldSize` entries
 * are those of the other. An old size of 0 proves nothing and is refused.
 *
 * @throws {ProofError} Code `TLOG_FORMAT`, for what is no size or no hash.
 *
 * @example Usage
 * ```ts
 * import { isConsistent, leafHash, nodeHash } from "@poh/storage/proofs";
 * import { assert } from "@std/assert";
 *
 * const [a, b] = [new Uint8Array([1]), new Uint8Array([2])].map(leafHash);
 * assert(isConsistent(1, a!, 2, nodeHash(a!, b!), [b!]));
 * assert(!isConsistent(1, b!, 2, nodeHash(a!, b!), [a!]));
 * ```
 */
export function isConsistent(
  oldSize: number,
  oldRoot: Uint8Array,
  newSize: number,
  newRoot: Uint8Array,
  path: readonly Uint8Array[],
): boolean {
  checkNumber("size", oldSize);
  checkNumber("size", newSize);
  checkHashes("path", path);
  if (oldSize === 0 || oldSize > newSize) return false;
  if (oldSize === newSize) {
    return path.length === 0 && isEqual(oldRoot, newRoot);
  }
  checkHashes("root", [oldRoot, newRoot]);
  let at = oldSize - 1, last = newSize - 1;
  while (isOdd(at)) [at, last] = [half(at), half(last)];
  // A whole old tree is a node of the new one, so its root is not told again.
  const hashes = at === 0 ? [oldRoot, ...path] : path;
  const [first, ...rest] = hashes;
  if (!first) return false;
  let inOld = first, inNew = first;
  for (const hash of rest) {
    if (last === 0) return false;
    if (isOdd(at) || at === last) {
      inOld = nodeHash(hash, inOld);
      inNew = nodeHash(hash, inNew);
      while (!isOdd(at) && at !== 0) [at, last] = [half(at), half(last)];
    } else {
      inNew = nodeHash(inNew, hash);
    }
    [at, last] = [half(at), half(last)];
  }
  return last === 0 && isEqual(inOld, oldRoot) && isEqual(inNew, newRoot);
}

/** The largest power of 2 below a number above 1. */
function splitOf(count: number): number {
  let power = 1;
  while (power * 2 < count) power *= 2;
  return power;
}

/** The fewest nodes that cover entries, from left to right. */
export function nodesOfRange(begin: number, end: number): TreeNode[] {
  const nodes: TreeNode[] = [];
  while (begin < end) {
    let height = 0, width = 1;
    while (begin % (width * 2) === 0 && begin + width * 2 <= end) {
      width *= 2;
      height++;
    }
    nodes.push({ height, index: begin / width });
    begin += width;
  }
  return nodes;
}

/** One hash of a path, as the nodes that it is made of. */
export type PathPart = readonly TreeNode[];

/** What the inclusion path of an entry is made of, from the leaf's sibling up. */
export function inclusionParts(index: number, size: number): PathPart[] {
  checkNumber("size", size);
  checkNumber("index", index);
  if (index >= size) {
    throw refuted("index", `Entry ${index} is not in a tree of ${size}`);
  }
  const parts: PathPart[] = [];
  let begin = 0, end = size;
  while (end - begin > 1) {
    const middle = begin + splitOf(end - begin);
    if (index < middle) {
      parts.push(nodesOfRange(middle, end));
      end = middle;
    } else {
      parts.push(nodesOfRange(begin, middle));
      begin = middle;
    }
  }
  return parts.reverse();
}

/** What the path from an older size to a newer one is made of. */
export function consistencyParts(oldSize: number, newSize: number): PathPart[] {
  checkNumber("size", oldSize);
  checkNumber("size", newSize);
  if (oldSize === 0 || oldSize > newSize) {
    throw refuted("size", `No path leads from size ${oldSize} to ${newSize}`);
  }
  const parts: PathPart[] = [];
  let begin = 0, end = newSize;
  while (end !== oldSize) {
    const middle = begin + splitOf(end - begin);
    if (oldSize <= middle) {
      parts.push(nodesOfRange(middle, end));
      end = middle;
    } else {
      parts.push(nodesOfRange(begin, middle));
      begin = middle;
    }
  }
  // Where the old tree is one node, whoever checks has its root.
  if (begin !== 0) parts.push(nodesOfRange(begin, end));
  return parts.reverse();
}

/** The hash over neighbouring nodes, from left to right, the largest first. */
export function fold(hashes: readonly Uint8Array[]): Uint8Array {
  if (hashes.length === 0) return EMPTY_ROOT;
  return hashes.reduceRight((right, left) => nodeHash(left, right));
}

/** A tree in memory, over the hashes of its leaves. */
export class MerkleTree {
  readonly #levels: Uint8Array[][];

  /** Hashes the whole tree. */
  constructor(leaves: readonly Uint8Array[]) {
    let level = [...leaves];
    this.#levels = [level];
    while (level.length > 1) {
      const above: Uint8Array[] = [];
      for (let i = 0; i + 1 < level.length; i += 2) {
        above.push(nodeHash(level[i]!, level[i + 1]!));
      }
      this.#levels.push(level = above);
    }
  }

  /** How many leaves it has. */
  get size(): number {
    return this.#levels[0]!.length;
  }

  /** Its root, or that of its first `size` leaves. */
  root(size: number = this.size): Uint8Array {
    return this.#hash(nodesOfRange(0, size));
  }

  /** The path from a leaf to the root of the first `size` leaves. */
  inclusion(index: number, size: number = this.size): Uint8Array[] {
    return inclusionParts(index, size).map((part) => this.#hash(part));
  }

  /** The path that shows that a tree of `newSize` continues that of `oldSize`. */
  consistency(oldSize: number, newSize: number = this.size): Uint8Array[] {
    return consistencyParts(oldSize, newSize).map((part) => this.#hash(part));
  }

  #hash(nodes: PathPart): Uint8Array {
    return fold(nodes.map(({ height, index }) => {
      const hash = this.#levels[height]?.[index];
      if (hash) return hash;
      throw refuted("size", `The tree has ${this.size} leaves only`);
    }));
  }
}
