/**
 * The transparency log of a store: a Merkle tree over what the record log has
 * recorded. Saves do nothing for it. At each checkpoint of the record log the
 * tree follows, before a segment may go; `tlog_tables.ts` says how that survives a
 * crash. Full tiles and bundles become files, `.poh/tlog/tile/…`, once what they
 * were made of is durable.
 *
 * @module
 */

import { dirname, join } from "@std/path";
import { crashPoint } from "../async/crash_points.ts";
import { Pacer } from "../async/turn.ts";
import { PohStorageError } from "../errors.ts";
import { makeDir, readRegular, replaceFile } from "../files/durable_fs.ts";
import { tmpPath } from "../files/layout.ts";
import type { LogDir } from "../log/log_dir.ts";
import { type LogRecord, type RecordKind, rowOf } from "../log/record.ts";
import { scanLog } from "../log/scan.ts";
import { type Tree, treePosition } from "../log/tree.ts";
import { type Why, whyOf } from "../log/why.ts";
import { hashPayload } from "../proofs/chunk_tree.ts";
import { isEqual, textOf } from "../proofs/encoding.ts";
import { encodeEntry, type RemoveReason } from "../proofs/entry.ts";
import { parseCheckpoint } from "../proofs/checkpoint.ts";
import { parseNote } from "../proofs/note.ts";
import { ProofError } from "../proofs/proof_error.ts";
import {
  TiledTree,
  type TileEdge,
  tilePath,
  tileWidth,
} from "../proofs/tiles.ts";
import type { Database } from "../sqlite/database.ts";
import { appendPut, appendRemoval } from "./seal.ts";
import {
  dropFiles,
  fileBytes,
  Growth,
  originOf,
  pendingPaths,
  readEdge,
  setTreePosition,
} from "./tlog_tables.ts";

/** Records that the tree takes in at once: the event loop waits for them. */
const PAGE = 128;

/** Full tiles that become files before the database forgets them. */
const FILES = 64;

/** Type of the extension of a record that has a chunk root. */
export const CHUNK_ROOT = 2;

/** Folder of the log in a base. */
export function tlogPath(basePath: string): string {
  return join(basePath, ".poh", "tlog");
}

/** The checkpoint that a base publishes; null for none. */
export async function publishedBy(basePath: string): Promise<string | null> {
  const bytes = await readRegular(join(tlogPath(basePath), "checkpoint"));
  return bytes && textOf(bytes, "note");
}

/** The same where it can be read as one: what is begun after it names it. */
export async function lastCheckpoint(basePath: string): Promise<string | null> {
  try {
    const note = await publishedBy(basePath);
    return note !== null && isCheckpoint(note) ? note : null;
  } catch (error) {
    if (error instanceof ProofError) return null; // no text at all
    throw error;
  }
}

/** Whether a note is a checkpoint, whoever signed it. */
export function isCheckpoint(note: string): boolean {
  try {
    parseCheckpoint(parseNote(note).text);
    return true;
  } catch (error) {
    if (error instanceof ProofError) return false;
    throw error;
  }
}

/** The tree of an open store. */
export class Tlog implements Tree {
  readonly #rows: Database;
  readonly #dir: LogDir;
  readonly #base: string;
  readonly #sync: boolean;
  #conflict: PohStorageError | null = null;
  /** Paths of full tiles that are to have files. */
  #due: string[] = [];

  /** Of these rows, which follow the log in this folder. */
  constructor(
    parts: { rows: Database; dir: LogDir; basePath: string },
    sync: boolean,
  ) {
    this.#rows = parts.rows;
    this.#dir = parts.dir;
    this.#base = parts.basePath;
    this.#sync = sync;
  }

  /** Whether the store keeps a log. */
  get isOn(): boolean {
    return treePosition(this.#rows) !== Infinity;
  }

  /**
   * Takes in the records up to a position: each changes what it changes once,
   * whoever else takes them in at the same time, or has been killed doing so.
   */
  async follow(end: number): Promise<boolean> {
    const rows = this.#rows;
    if (!this.isOn) return false;
    const pacer = new Pacer();
    for (let from = treePosition(rows); from < end;) {
      const { records, to } = this.#page(from, end);
      await rows.change(() => {
        if (treePosition(rows) !== from) return; // another process has
        const growth = new Growth(rows);
        for (const record of records) takeIn(rows, growth, record);
        growth.end();
        setTreePosition(rows, to);
      });
      crashPoint("tree grown");
      from = treePosition(rows);
      await pacer.giveWay();
    }
    this.#due = pendingPaths(rows);
    return true;
  }

  /** Some records from a position on, and where they end. */
  #page(from: number, end: number): { records: LogRecord[]; to: number } {
    const records: LogRecord[] = [];
    for (const { record } of scanLog(this.#dir, from)) {
      // What is damaged is gone: `verify --tlog` tells what has no entry.
      if (!record) continue;
      if (record.position >= end) break;
      records.push(record);
      if (records.length === PAGE) {
        return { records, to: Math.min(end, record.position + record.length) };
      }
    }
    return { records, to: end };
  }

  /** Why a tile could not have its file; null: they have theirs. */
  get conflict(): PohStorageError | null {
    return this.#conflict;
  }

  /**
   * Gives tiles and bundles that were full when the tree followed their files. What
   * they were made of is durable by now; of others that may not be so. Saves go on where a file holds something else: nothing is proven or signed.
   */
  async writeFiles(): Promise<void> {
    this.#conflict = null;
    for (let at = 0; at < this.#due.length; at += FILES) {
      const paths = this.#due.slice(at, at + FILES);
      for (const path of paths) {
        const bytes = fileBytes(this.#rows, path);
        if (bytes && !await this.#writeFile(path, bytes)) return;
      }
      crashPoint("tiles written");
      await this.#rows.change(() => dropFiles(this.#rows, paths));
    }
    this.#due = [];
  }

  async #writeFile(name: string, bytes: Uint8Array): Promise<boolean> {
    const path = join(tlogPath(this.#base), name);
    const there = await readRegular(path).catch(() => null);
    if (there && isEqual(there, bytes)) return true;
    if (there) {
      this.#conflict = new PohStorageError(
        "TLOG_CONFLICT",
        `${path} holds something else than the log has there: the database is older than the log, or the file was altered`,
      );
      return false;
    }
    await this.putTile(name, bytes);
    return true;
  }

  /** Writes the file of a full tile, over what is there. */
  async putTile(name: string, bytes: Uint8Array): Promise<void> {
    const path = join(tlogPath(this.#base), name);
    await makeDir(dirname(path), this.#sync);
    const tmp = join(tmpPath(this.#base), `tlog-${crypto.randomUUID()}`);
    await replaceFile(path, bytes, tmp, this.#sync);
  }

  /** What of the tree is not full. */
  edge(): TileEdge {
    return readEdge(this.#rows);
  }

  /** How many entries the log has. */
  size(): number {
    return this.edge().size;
  }

  /** The tree over the first entries, or over all. */
  tree(size?: number): TiledTree {
    const edge = readEdge(this.#rows);
    return new TiledTree(size ?? edge.size, async (level, index) => {
      const path = tilePath(level, index);
      return await this.full(path) ?? edge.tiles[level] ?? new Uint8Array();
    });
  }

  /** The bundles of all entries, in their order. */
  async *bundles(): AsyncGenerator<Uint8Array> {
    const { size } = readEdge(this.#rows);
    for (let index = 0; index * 256 < size; index++) {
      yield await this.bundle(index);
    }
  }

  /** A bundle; the last one as far as it is full. */
  async bundle(index: number): Promise<Uint8Array> {
    const { size, bundle } = readEdge(this.#rows);
    if ((index + 1) * 256 > size) return bundle;
    const path = tilePath("entries", index);
    const bytes = await this.full(path);
    if (bytes) return bytes;
    throw damaged(`${path} is missing`);
  }

  /** A tile or bundle, full or as far as it is; null where there is none. */
  async tile(
    level: number | "entries",
    index: number,
  ): Promise<Uint8Array | null> {
    const { size, tiles, bundle } = readEdge(this.#rows);
    const width = tileWidth(level, index, size);
    if (width === 0) return null;
    if (width < 256) return level === "entries" ? bundle : tiles[level]!;
    const path = tilePath(level, index);
    const bytes = await this.full(path);
    if (bytes) return bytes;
    throw damaged(`${path} is missing`);
  }

  /** A bundle that a log of this size does not have yet, and a file has; or null. */
  async pathBeyond(size: number): Promise<string | null> {
    const path = tilePath("entries", Math.floor(size / 256));
    const there = await readRegular(join(tlogPath(this.#base), path));
    return there && path;
  }

  /** A full tile or bundle, by its path; null where it is missing. */
  async full(path: string): Promise<Uint8Array | null> {
    return fileBytes(this.#rows, path) ??
      await readRegular(join(tlogPath(this.#base), path));
  }

  /** Name of the log; null where the store keeps none. */
  origin(): string | null {
    return originOf(this.#rows);
  }
}

/** What is wrong with a log's own files. */
export function damaged(what: string): PohStorageError {
  return new PohStorageError("TLOG_DAMAGED", `The log is damaged: ${what}`);
}

/** Bytes of the first entry. */
export function beginning(
  storeId: string,
  origin: string,
  predecessor: string | null,
): Uint8Array {
  return encodeEntry({ kind: "begin", storeId, origin, predecessor });
}

/** Appends what a record has done. Within a transaction. */
function takeIn(rows: Database, growth: Growth, record: LogRecord): void {
  const row = rowOf(record);
  const why = whyOf(record);
  if (!row) {
    appendRemoval(rows, growth, record.txId, removalReason(record.kind, why));
    return;
  }
  // Its holder and time come from the row, which may have been edited by hand.
  if (record.isMoved) return;
  const reason = why === "restored" ? "restored" : "saved";
  appendPut(rows, growth, row, reason, chunkRootOf(record));
}

/** Why a record takes a transaction away. */
function removalReason(kind: RecordKind, why: Why | null): RemoveReason {
  if (kind === "quarantine" || why === "damaged") return "damaged";
  return why === "pruned" ? "pruned" : "deleted";
}

/** The chunk root that a record tells, or that its payload has. */
function chunkRootOf({ extensions, payload }: LogRecord): Uint8Array | null {
  const told = extensions?.find(({ type }) => type === CHUNK_ROOT)?.bytes;
  if (told) return told;
  return payload ? hashPayload(payload).chunkRoot : null;
}
