// The tree against a naive reading of RFC 6962, and against vectors of others.

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  isConsistent,
  leafHash,
  MerkleTree,
  nodeHash,
  ProofError,
  rootOfInclusion,
} from "../../proofs.ts";
import { isEqual, toHex } from "../../src/proofs/encoding.ts";
import { EMPTY_ROOT, fold, nodesOfRange } from "../../src/proofs/merkle.ts";

const entry = (i: number) => new TextEncoder().encode(`entry ${i}`);
const leaves = Array.from({ length: 700 }, (_, i) => leafHash(entry(i)));
const tree = new MerkleTree(leaves);

/** The largest power of 2 below n, as RFC 6962 2.1 has it. */
function split(n: number): number {
  return 2 ** Math.ceil(Math.log2(n) - 1);
}

/** MTH of RFC 6962 2.1, word for word. */
function mth(hashes: Uint8Array[]): Uint8Array {
  if (hashes.length === 0) return EMPTY_ROOT;
  if (hashes.length === 1) return hashes[0]!;
  const k = split(hashes.length);
  return nodeHash(mth(hashes.slice(0, k)), mth(hashes.slice(k)));
}

/** PATH of RFC 6962 2.1.1. */
function path(m: number, hashes: Uint8Array[]): Uint8Array[] {
  if (hashes.length === 1) return [];
  const k = split(hashes.length);
  return m < k
    ? [...path(m, hashes.slice(0, k)), mth(hashes.slice(k))]
    : [...path(m - k, hashes.slice(k)), mth(hashes.slice(0, k))];
}

/** SUBPROOF of RFC 6962 2.1.2. */
function subproof(
  m: number,
  hashes: Uint8Array[],
  known: boolean,
): Uint8Array[] {
  if (m === hashes.length) return known ? [] : [mth(hashes)];
  const k = split(hashes.length);
  return m <= k
    ? [...subproof(m, hashes.slice(0, k), known), mth(hashes.slice(k))]
    : [...subproof(m - k, hashes.slice(k), false), mth(hashes.slice(0, k))];
}

Deno.test("the root of every tree of up to 700 entries is that of RFC 6962", () => {
  for (let size = 0; size <= 700; size++) {
    assertEquals(toHex(tree.root(size)), toHex(mth(leaves.slice(0, size))));
  }
});

Deno.test("every path of every tree of up to 70 entries is that of RFC 6962, and proves its entry alone", () => {
  for (let size = 1; size <= 70; size++) {
    const some = leaves.slice(0, size), root = mth(some);
    for (let index = 0; index < size; index++) {
      const hashes = tree.inclusion(index, size);
      assertEquals(hashes, path(index, some));
      assertEquals(rootOfInclusion(some[index]!, index, size, hashes), root);
      assert(
        !proves(some[(index + 1) % size]!, index, size, hashes, root) ||
          size === 1,
      );
    }
  }
});

Deno.test("every step between trees of up to 70 entries is that of RFC 6962, and proves these two", () => {
  for (let size = 1; size <= 70; size++) {
    const root = mth(leaves.slice(0, size));
    for (let old = 1; old <= size; old++) {
      const oldRoot = mth(leaves.slice(0, old));
      const hashes = tree.consistency(old, size);
      assertEquals(hashes, subproof(old, leaves.slice(0, size), true));
      assert(isConsistent(old, oldRoot, size, root, hashes));
      assert(!isConsistent(old, flip(oldRoot), size, root, hashes));
      assert(!isConsistent(old, oldRoot, size, flip(root), hashes));
    }
  }
});

Deno.test("a path that is shortened, doubled, emptied or altered proves nothing", () => {
  for (const size of [2, 3, 7, 8, 9, 64, 100, 700]) {
    const root = tree.root(size);
    for (const index of [0, 1, size >> 1, size - 1]) {
      const hashes = tree.inclusion(index, size), leaf = leaves[index]!;
      assert(proves(leaf, index, size, hashes, root));
      for (const wrong of altered(hashes)) {
        assert(!proves(leaf, index, size, wrong, root), `${index} of ${size}`);
      }
      for (let other = 0; other < size; other++) {
        if (other === index) continue;
        assert(
          !proves(leaf, other, size, hashes, root),
          `${index} as ${other}`,
        );
      }
    }
    for (let old = 1; old < size; old += 1 + (size >> 4)) {
      const hashes = tree.consistency(old, size);
      for (const wrong of altered(hashes)) {
        const oldRoot = tree.root(old);
        assert(
          !isConsistent(old, oldRoot, size, root, wrong),
          `${old} ${size}`,
        );
      }
    }
  }
});

Deno.test("a node is no leaf, and a tree of another size has another root", () => {
  const [a, b, c] = leaves as [Uint8Array, Uint8Array, Uint8Array];
  const joined = new Uint8Array([...a, ...b]);
  assert(!isEqual(leafHash(joined), nodeHash(a, b)));
  assert(!proves(nodeHash(a, b), 0, 3, [c], tree.root(3)), "a subtree as leaf");
});

Deno.test("sizes and indexes are whole numbers below 2^53", () => {
  const [hash] = leaves as [Uint8Array];
  for (const odd of [-1, 0.5, 2 ** 53, NaN, Infinity]) {
    for (
      const call of [
        () => rootOfInclusion(hash, 0, odd, []),
        () => rootOfInclusion(hash, odd, 4, []),
        () => isConsistent(odd, hash, 4, hash, []),
        () => isConsistent(1, hash, odd, hash, []),
        () => tree.inclusion(odd),
        () => tree.consistency(odd),
      ]
    ) assertEquals(assertThrows(call, ProofError).code, "TLOG_FORMAT");
  }
  assert(!isConsistent(0, EMPTY_ROOT, 4, tree.root(4), []), "from nothing");
});

Deno.test("paths at the end of what a number can count have their length", () => {
  const size = Number.MAX_SAFE_INTEGER;
  assertEquals(nodesOfRange(0, size).length, 53);
  const hashes = Array.from({ length: 53 }, () => leaves[0]!);
  rootOfInclusion(leaves[0]!, 0, size, hashes);
  assertThrows(
    () => rootOfInclusion(leaves[0]!, 0, size, hashes.slice(1)),
    ProofError,
  );
  assertThrows(
    () => rootOfInclusion(leaves[0]!, 0, size, [...hashes, leaves[0]!]),
    ProofError,
  );
  assertEquals(fold([]), EMPTY_ROOT);
});

function proves(
  leaf: Uint8Array,
  index: number,
  size: number,
  hashes: Uint8Array[],
  root: Uint8Array,
): boolean {
  try {
    return isEqual(rootOfInclusion(leaf, index, size, hashes), root);
  } catch (error) {
    if (error instanceof ProofError) return false;
    throw error;
  }
}

function flip(hash: Uint8Array): Uint8Array {
  const other = hash.slice();
  other[7]! ^= 1;
  return other;
}

/** Paths that are not the one given. */
function* altered(hashes: Uint8Array[]): Generator<Uint8Array[]> {
  if (hashes.length > 0) {
    yield [];
    yield hashes.slice(1);
    yield hashes.slice(0, -1);
    yield [...hashes, ...hashes];
    for (const at of hashes.keys()) {
      yield hashes.map((hash, i) => i === at ? flip(hash) : hash);
    }
  }
  yield [...hashes, leaves[0]!];
  yield [leaves[0]!, ...hashes];
  const [first, second, ...rest] = hashes;
  if (second) yield [second, first!, ...rest];
}

// --- vectors of transparency-dev/merkle, see merkle_vectors/NOTICE -----------

interface InclusionVector {
  file: string;
  leafIdx: number;
  treeSize: number;
  root: string;
  leafHash: string;
  proof: string[] | null;
  wantErr: boolean;
}

interface ConsistencyVector {
  file: string;
  size1: number;
  size2: number;
  root1: string;
  root2: string;
  proof: string[] | null;
  wantErr: boolean;
}

function vectors<T>(name: string): T[] {
  const url = new URL(`merkle_vectors/${name}.jsonl`, import.meta.url);
  const lines = Deno.readTextFileSync(url).trimEnd().split("\n");
  assertEquals(lines.length, 98);
  return lines.map((line) => JSON.parse(line));
}

const bytes = (base64: string) =>
  Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));

Deno.test("inclusion is checked as the vectors of transparency-dev/merkle say", () => {
  for (const vector of vectors<InclusionVector>("inclusion")) {
    const { leafIdx, treeSize, root, leafHash, proof, wantErr } = vector;
    const hashes = (proof ?? []).map(bytes);
    const right = proves(
      bytes(leafHash),
      leafIdx,
      treeSize,
      hashes,
      bytes(root),
    );
    assertEquals(right, !wantErr, vector.file);
  }
});

Deno.test("consistency is checked as the vectors of transparency-dev/merkle say", () => {
  const check = (vector: ConsistencyVector): boolean => {
    const { size1, size2, root1, root2, proof } = vector;
    try {
      const hashes = (proof ?? []).map(bytes);
      return isConsistent(size1, bytes(root1), size2, bytes(root2), hashes);
    } catch (error) {
      if (error instanceof ProofError) return false;
      throw error;
    }
  };
  for (const vector of vectors<ConsistencyVector>("consistency")) {
    assertEquals(check(vector), !vector.wantErr, vector.file);
  }
});
