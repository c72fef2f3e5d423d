// A tree in tiles is the tree in memory.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  entriesOf,
  leafHash,
  LogAudit,
  MerkleTree,
  ProofError,
  rootOfInclusion,
  TileBuilder,
  TiledTree,
  type TileEdge,
  tilePath,
  tileWidth,
} from "../../proofs.ts";
import { isEqual } from "../../src/proofs/encoding.ts";
import { SampleLog } from "./sample.ts";

const entry = (i: number) => new TextEncoder().encode(`entry ${i}`);

/** A tree that was grown, with its files, full and partial. */
function grow(size: number) {
  const files = new Map<string, Uint8Array>();
  const builder = new TileBuilder((path, bytes) => files.set(path, bytes));
  for (let i = 0; i < size; i++) assertEquals(builder.append(entry(i)), i);
  return { builder, files };
}

/** The tree over files and an edge. */
function over(size: number, files: Map<string, Uint8Array>, edge: TileEdge) {
  return new TiledTree(
    size,
    (level, index) => files.get(tilePath(level, index)) ?? edge.tiles[level]!,
  );
}

Deno.test("tiles of every size to 700, and about 256 and 65,536, have the root of the tree", async () => {
  const last = 65_537;
  const leaves = Array.from({ length: last }, (_, i) => leafHash(entry(i)));
  const memory = new MerkleTree(leaves);
  const files = new Map<string, Uint8Array>();
  const builder = new TileBuilder((path, bytes) => files.set(path, bytes));
  for (let size = 1; size <= last; size++) {
    builder.append(entry(size - 1));
    if (size > 700 && size < 65_535) continue;
    const root = memory.root(size);
    assertEquals(builder.root(), root);
    const tree = over(size, files, builder.edge());
    assertEquals(await tree.root(), root);
    for (const index of new Set([0, size >> 1, size - 1])) {
      assertEquals(await tree.inclusion(index), memory.inclusion(index, size));
      assertEquals(await tree.leaf(index), leaves[index]);
      const old = index + 1;
      assertEquals(await tree.consistency(old), memory.consistency(old, size));
    }
    const older = Math.ceil(size / 2);
    assertEquals(await tree.root(older), memory.root(older));
  }
  assertEquals(files.size, 256 + 256 + 1, "bundles, tiles, and one above");
});

Deno.test("a tree goes on from its edge as if it had never stopped", () => {
  const whole = grow(70_000);
  for (const stop of [0, 1, 255, 256, 257, 65_535, 65_536, 65_537]) {
    const files = new Map<string, Uint8Array>();
    const keep = (path: string, bytes: Uint8Array) => files.set(path, bytes);
    const first = new TileBuilder(keep);
    for (let i = 0; i < stop; i++) first.append(entry(i));
    const second = new TileBuilder(keep, first.edge());
    assertEquals(second.root(), first.root());
    for (let i = stop; i < 70_000; i++) second.append(entry(i));
    assertEquals(second.edge(), whole.builder.edge());
    assertEquals(files, whole.files);
  }
});

Deno.test("an edge that does not fit its size is refused", () => {
  const edge = grow(300).builder.edge();
  const wrong: TileEdge[] = [
    { ...edge, size: 301 },
    { ...edge, size: 299 },
    { ...edge, size: 300 + 65_536 },
    { ...edge, tiles: edge.tiles.slice(1) },
    { ...edge, tiles: edge.tiles.slice(0, 1) },
    { ...edge, bundle: edge.bundle.subarray(1) },
    { ...edge, bundle: new Uint8Array() },
  ];
  for (const odd of wrong) {
    assertThrows(() => new TileBuilder(() => {}, odd), ProofError);
  }
});

Deno.test("a bundle has its entries, and a cut one is refused", () => {
  const { files } = grow(256);
  const bundle = files.get("tile/entries/000")!;
  const entries = entriesOf(bundle);
  assertEquals(
    entries.map((bytes) => new TextDecoder().decode(bytes)),
    Array.from({ length: 256 }, (_, i) => `entry ${i}`),
  );
  for (const cut of [1, 2, bundle.length - 1]) {
    assertThrows(() => entriesOf(bundle.subarray(0, cut)), ProofError);
  }
  assertThrows(() => entriesOf(new Uint8Array([...bundle, 0, 0])), ProofError);
});

Deno.test("tiles have the paths and widths of tlog-tiles", () => {
  assertEquals(tilePath(0, 0), "tile/0/000");
  assertEquals(tilePath(1, 999), "tile/1/999");
  assertEquals(tilePath(63, 1000, 1), "tile/63/x001/000.p/1");
  assertEquals(tilePath(0, 1_000_000), "tile/0/x001/x000/000");
  // The example of the specification: a tree of 70,000.
  assertEquals([tileWidth(0, 272, 70_000), tileWidth(0, 273, 70_000)], [
    256,
    112,
  ]);
  assertEquals([tileWidth(1, 0, 70_000), tileWidth(1, 1, 70_000)], [256, 17]);
  assertEquals([tileWidth(2, 0, 70_000), tileWidth(3, 0, 70_000)], [1, 0]);
  assertEquals(tileWidth("entries", 273, 70_000), 112);
});

Deno.test("a tile that is cut is refused, an altered one leads to another root", async () => {
  const { builder, files } = grow(600);
  const edge = builder.edge();
  const cut = new Map(files).set("tile/0/001", new Uint8Array(8191));
  const error = await assertRejects(
    () => over(600, cut, edge).inclusion(300),
    ProofError,
  );
  assertEquals(error.at, "tile");
  const tile = files.get("tile/0/000")!.slice();
  tile[40]! ^= 1;
  const root = builder.root();
  const altered = new Map(files).set("tile/0/000", tile);
  assertEquals(await over(600, altered, edge).root(), root, "not read for it");
  const path = await over(600, altered, edge).inclusion(0);
  assert(!isEqual(rootOfInclusion(leafHash(entry(0)), 0, 600, path), root));
});

Deno.test("an audit has the root of the tree, and the live entries", async () => {
  const log = await SampleLog.begin();
  const live = new Set<number>();
  let seed = 7;
  const random = (below: number) =>
    (seed = (seed * 1103515245 + 12345) % 2 ** 31) % below;
  for (let i = 0; i < 600; i++) {
    const ends = live.size > 0 && random(3) === 0
      ? [...live][random(live.size)]!
      : null;
    if (ends !== null) live.delete(ends);
    if (ends !== null && random(2) === 0) log.remove(ends, "deleted");
    else {
      const head = { txId: `${i}`, holderId: "", timestamp: i };
      live.add(log.put(head, new Uint8Array([i]), ends));
    }
  }
  const audit = new LogAudit();
  for (const [index, { entry }] of log.items.entries()) {
    audit.add(entry);
    assertEquals(audit.root(), log.tree.root(index + 1));
  }
  assertEquals([...audit.live()], [...live].sort((a, b) => a - b));
  assertEquals(audit.liveCount, live.size);
});
