/**
 * A tree in tiles, as C2SP tlog-tiles lays it out: files of 256 hashes, and
 * bundles of 256 entries, that never change once they are full. What is not full
 * is the edge, at most 8 KiB a level.
 *
 * @module
 */

import { joined } from "./encoding.ts";
import { MAX_ENTRY } from "./entry.ts";
import {
  consistencyParts,
  fold,
  inclusionParts,
  leafHash,
  nodeHash,
  nodesOfRange,
  type PathPart,
  type TreeNode,
} from "./merkle.ts";
import { malformed, refuted } from "./proof_error.ts";

/** Hashes of a full tile, entries of a full bundle. */
export const TILE_WIDTH = 256;

/** Levels of nodes between the hashes of a tile and the hash above it. */
const TILE_HEIGHT = 8;

/** What a tile holds: hashes of a level from 0 up, or entries. */
export type TileLevel = number | "entries";

/**
 * Path of a tile below the log's prefix.
 *
 * @param width How many hashes it has; less than 256 where it is partial.
 *
 * @example Usage
 * ```ts
 * import { tilePath } from "@poh/storage/proofs";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(tilePath(0, 1234067), "tile/0/x001/x234/067");
 * assertEquals(tilePath("entries", 5, 17), "tile/entries/005.p/17");
 * ```
 */
export function tilePath(
  level: TileLevel,
  index: number,
  width: number = TILE_WIDTH,
): string {
  const groups = [String(index % 1000).padStart(3, "0")];
  for (let rest = index; rest >= 1000;) {
    rest = Math.floor(rest / 1000);
    groups.unshift(`x${String(rest % 1000).padStart(3, "0")}`);
  }
  const suffix = width < TILE_WIDTH ? `.p/${width}` : "";
  return `tile/${level}/${groups.join("/")}${suffix}`;
}

/** How many hashes a tile has in a tree of a size; 0 where there is none. */
export function tileWidth(
  level: TileLevel,
  index: number,
  size: number,
): number {
  const depth = level === "entries" ? 0 : level;
  const hashes = Math.floor(size / TILE_WIDTH ** depth);
  return Math.max(0, Math.min(TILE_WIDTH, hashes - index * TILE_WIDTH));
}

/** Root over the hashes of a tile, or of a part of it that is a power of 2 wide. */
function hashOf(tile: Uint8Array, from: number, count: number): Uint8Array {
  if (count === 1) return tile.slice(from * 32, from * 32 + 32);
  let hashes: Uint8Array[] = [];
  for (let i = from; i < from + count; i += 2) {
    const at = i * 32;
    hashes.push(
      nodeHash(tile.subarray(at, at + 32), tile.subarray(at + 32, at + 64)),
    );
  }
  while (hashes.length > 1) {
    const above = [];
    for (let i = 0; i < hashes.length; i += 2) {
      above.push(nodeHash(hashes[i]!, hashes[i + 1]!));
    }
    hashes = above;
  }
  return hashes[0]!;
}

/** Where a node is: a tile, and which of its hashes are below the node. */
function placeOf({ height, index }: TreeNode) {
  const level = Math.floor(height / TILE_HEIGHT);
  const count = 2 ** (height % TILE_HEIGHT);
  const first = index * count;
  const tile = Math.floor(first / TILE_WIDTH);
  return { level, tile, from: first - tile * TILE_WIDTH, count };
}

/** Reads a tile: at least its first `width` hashes. */
export type ReadTile = (
  level: number,
  index: number,
  width: number,
) => Promise<Uint8Array> | Uint8Array;

/**
 * The tree of a size, over tiles that are read as they are needed, each once. The
 * tiles are not checked: hold what comes out against a root.
 */
export class TiledTree {
  /** How many entries it has. */
  readonly size: number;
  readonly #read: ReadTile;
  readonly #tiles = new Map<string, Promise<Uint8Array>>();

  /** Reads nothing yet. */
  constructor(size: number, read: ReadTile) {
    this.size = size;
    this.#read = read;
  }

  /** Its root, or that of its first `size` entries. */
  root(size: number = this.size): Promise<Uint8Array> {
    return this.#hash(nodesOfRange(0, size));
  }

  /** Hash of an entry's leaf. */
  leaf(index: number): Promise<Uint8Array> {
    return this.#hash([{ height: 0, index }]);
  }

  /** The path from an entry to the root. */
  inclusion(index: number): Promise<Uint8Array[]> {
    return this.#path(inclusionParts(index, this.size));
  }

  /** The path that shows that this tree continues that of an older size. */
  consistency(oldSize: number): Promise<Uint8Array[]> {
    return this.#path(consistencyParts(oldSize, this.size));
  }

  #path(parts: PathPart[]): Promise<Uint8Array[]> {
    return Promise.all(parts.map((part) => this.#hash(part)));
  }

  async #hash(nodes: PathPart): Promise<Uint8Array> {
    return fold(
      await Promise.all(nodes.map(async (node) => {
        const { level, tile, from, count } = placeOf(node);
        return hashOf(await this.#tile(level, tile), from, count);
      })),
    );
  }

  #tile(level: number, index: number): Promise<Uint8Array> {
    const path = tilePath(level, index);
    let tile = this.#tiles.get(path);
    if (!tile) {
      tile = this.#readTile(level, index);
      this.#tiles.set(path, tile);
    }
    return tile;
  }

  async #readTile(level: number, index: number): Promise<Uint8Array> {
    const width = tileWidth(level, index, this.size);
    if (width === 0) throw refuted("size", "The tree has no such tile");
    const tile = await this.#read(level, index, width);
    if (tile.length % 32 === 0 && tile.length >= width * 32) return tile;
    throw malformed(
      "tile",
      `${tilePath(level, index, width)} has ${tile.length} bytes`,
    );
  }
}

/** Takes what became full: path below the log's prefix, and bytes. */
export type TileSink = (path: string, bytes: Uint8Array) => void;

/** The rightmost part of a tree: all that is needed to go on from it. */
export interface TileEdge {
  /** How many entries the tree has. */
  readonly size: number;
  /** The partial tile of each level, from 0 up; empty where the last one is full. */
  readonly tiles: readonly Uint8Array[];
  /** The partial bundle, empty where the last one is full. */
  readonly bundle: Uint8Array;
}

/**
 * Grows a tree entry by entry, and gives away tiles and bundles that are full.
 *
 * @example Usage
 * ```ts
 * import { TileBuilder } from "@poh/storage/proofs";
 * import { assertEquals } from "@std/assert";
 *
 * const paths: string[] = [];
 * const tree = new TileBuilder((path) => paths.push(path));
 * for (let i = 0; i < 300; i++) tree.append(new Uint8Array([i]));
 * assertEquals(paths, ["tile/entries/000", "tile/0/000"]);
 * assertEquals(tree.edge().tiles.map((tile) => tile.length / 32), [44, 1]);
 * ```
 */
export class TileBuilder {
  readonly #sink: TileSink;
  #size = 0;
  /** The partial tile of each level; what lies behind its width is stale. */
  readonly #tiles: Uint8Array[] = [];
  #bundle: Uint8Array[] = [];

  /** Begins an empty tree, or goes on from an edge. */
  constructor(sink: TileSink, edge?: TileEdge) {
    this.#sink = sink;
    if (!edge) return;
    this.#size = edge.size;
    for (const [level, tile] of edge.tiles.entries()) {
      if (tile.length !== this.#width(level) * 32) {
        throw malformed("edge", `The edge has no tile ${level} of its size`);
      }
      this.#tile(level).set(tile);
    }
    if (edge.size >= TILE_WIDTH ** edge.tiles.length) {
      throw malformed("edge", "The edge has too few levels for its size");
    }
    this.#bundle = entriesOf(edge.bundle).map(framed);
    if (this.#bundle.length !== this.#width(0)) {
      throw malformed("edge", "The edge has another bundle than its size");
    }
  }

  /** How many entries the tree has. */
  get size(): number {
    return this.#size;
  }

  /** Appends an entry; its index. */
  append(entry: Uint8Array): number {
    if (entry.length > MAX_ENTRY) {
      throw malformed("entry", `An entry of ${entry.length} bytes is too long`);
    }
    this.#bundle.push(framed(entry));
    if (this.#bundle.length === TILE_WIDTH) {
      this.#sink(
        tilePath("entries", Math.floor(this.#size / TILE_WIDTH)),
        joined(this.#bundle),
      );
      this.#bundle = [];
    }
    let hash: Uint8Array = leafHash(entry);
    const index = this.#size++;
    for (
      let level = 0, at = index;;
      level++, at = Math.floor(at / TILE_WIDTH)
    ) {
      const tile = this.#tile(level);
      const place = at % TILE_WIDTH;
      tile.set(hash, place * 32);
      if (place < TILE_WIDTH - 1) return index;
      this.#sink(tilePath(level, Math.floor(at / TILE_WIDTH)), tile.slice());
      hash = hashOf(tile, 0, TILE_WIDTH);
    }
  }

  /** The root over all entries so far. */
  root(): Uint8Array {
    return fold(
      nodesOfRange(0, this.#size).map((node) => {
        const { level, from, count } = placeOf(node);
        return hashOf(this.#tiles[level]!, from, count);
      }),
    );
  }

  /** What is not full. */
  edge(): TileEdge {
    const tiles = this.#tiles.map((tile, level) =>
      tile.slice(0, this.#width(level) * 32)
    );
    return { size: this.#size, tiles, bundle: joined(this.#bundle) };
  }

  #tile(level: number): Uint8Array {
    return this.#tiles[level] ??= new Uint8Array(TILE_WIDTH * 32);
  }

  #width(level: number): number {
    return Math.floor(this.#size / TILE_WIDTH ** level) % TILE_WIDTH;
  }
}

/** An entry behind its length, as it stands in a bundle. */
function framed(entry: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(entry.length + 2);
  bytes[0] = entry.length >>> 8;
  bytes[1] = entry.length;
  bytes.set(entry, 2);
  return bytes;
}

/**
 * The entries of a bundle.
 *
 * @throws {ProofError} Code `TLOG_FORMAT`, where it is cut or has more than 256.
 */
export function entriesOf(bundle: Uint8Array): Uint8Array[] {
  const entries: Uint8Array[] = [];
  for (let at = 0; at < bundle.length;) {
    const end = at + 2 + (bundle[at]! << 8 | bundle[at + 1]!);
    if (end > bundle.length || at + 2 > bundle.length) {
      throw malformed("bundle", "A bundle ends within an entry");
    }
    entries.push(bundle.subarray(at + 2, end));
    if (entries.length > TILE_WIDTH) {
      throw malformed("bundle", "A bundle has more than 256 entries");
    }
    at = end;
  }
  return entries;
}
