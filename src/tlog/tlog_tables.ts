/**
 * What a database has of the transparency log: its edge, what is behind the seals
 * of live entries, and full tiles that have no file yet. All of it changes in the
 * transaction that moves on the position up to which the tree has followed the
 * record log, so that SQLite loses both or none in a power cut.
 *
 * @module
 */

import { CHUNK_SIZE, type TxRecord } from "../proofs/entry.ts";
import { TileBuilder, type TileEdge } from "../proofs/tiles.ts";
import type { Database } from "../sqlite/database.ts";
import { readSetting, writeSetting } from "../sqlite/log_state.ts";
import { TREE_POSITION } from "../log/tree.ts";

/** Name of the setting that has the origin. */
const ORIGIN = "tlog_origin";

const TABLES = {
  tlog_edge: "(name TEXT PRIMARY KEY, value BLOB NOT NULL)",
  tlog_live:
    "(tx_id TEXT PRIMARY KEY, entry INTEGER NOT NULL, salt BLOB NOT NULL, chunk_root BLOB, seal BLOB NOT NULL)",
  tlog_files: "(path TEXT PRIMARY KEY, bytes BLOB NOT NULL)",
};

/** What is known of a live entry, beside the row of its transaction. */
export interface LiveEntry {
  /** Its transaction. */
  txId: string;
  /** Index of the entry. */
  entry: number;
  /** The salt of its record. */
  salt: Uint8Array;
  /** The chunk root of its record. */
  chunkRoot: Uint8Array;
  /** Its seal. */
  seal: Uint8Array;
}

/** Makes the tables anew, empty. Within a transaction. */
export function makeTables(rows: Database): void {
  forgetTlog(rows);
  for (const [name, columns] of Object.entries(TABLES)) {
    rows.run(`CREATE TABLE ${name} ${columns}`);
  }
}

/** Drops all that a database has of a log. Within a transaction. */
export function forgetTlog(rows: Database): void {
  for (const name of Object.keys(TABLES)) {
    rows.run(`DROP TABLE IF EXISTS ${name}`);
  }
  writeSetting(rows, TREE_POSITION, null);
  writeSetting(rows, ORIGIN, null);
}

/** Name of the log; null where a store keeps none. */
export function originOf(rows: Database): string | null {
  return readSetting(rows, TREE_POSITION) === null
    ? null
    : readSetting(rows, ORIGIN);
}

/** Says that a store keeps a log. Within a transaction. */
export function setOrigin(rows: Database, origin: string): void {
  writeSetting(rows, ORIGIN, origin);
}

/** Moves on the position up to which the tree has followed. Within a transaction. */
export function setTreePosition(rows: Database, position: number): void {
  writeSetting(rows, TREE_POSITION, String(position));
}

// --- the tree ---------------------------------------------------------------

/** The edge of the tree. */
export function readEdge(rows: Database): TileEdge {
  const tiles: Uint8Array[] = [];
  let size = 0, bundle: Uint8Array = new Uint8Array();
  for (
    const [name, value] of rows.allInTable("SELECT name, value FROM tlog_edge")
  ) {
    const bytes = new Uint8Array(value as Uint8Array);
    if (name === "size") size = new DataView(bytes.buffer).getFloat64(0);
    else if (name === "bundle") bundle = bytes;
    else tiles[Number(name)] = bytes;
  }
  return { size, tiles, bundle };
}

function writeEdge(rows: Database, { size, tiles, bundle }: TileEdge): void {
  const put = (name: string, value: Uint8Array) =>
    rows.run("INSERT OR REPLACE INTO tlog_edge VALUES (?, ?)", name, value);
  const number = new DataView(new ArrayBuffer(8));
  number.setFloat64(0, size);
  put("size", new Uint8Array(number.buffer));
  put("bundle", bundle);
  for (const [level, tile] of tiles.entries()) put(String(level), tile);
}

/**
 * Appends entries to the tree. Within one transaction, in which it begins and ends.
 */
export class Growth {
  readonly #rows: Database;
  readonly #builder: TileBuilder;

  /** Goes on from the edge. */
  constructor(rows: Database) {
    this.#rows = rows;
    this.#builder = new TileBuilder(
      (path, bytes) =>
        rows.run(
          "INSERT OR REPLACE INTO tlog_files VALUES (?, ?)",
          path,
          bytes,
        ),
      readEdge(rows),
    );
  }

  /** Appends an entry; its index. */
  append(entry: Uint8Array): number {
    return this.#builder.append(entry);
  }

  /** Keeps the edge. */
  end(): void {
    writeEdge(this.#rows, this.#builder.edge());
  }
}

// --- live entries -----------------------------------------------------------

const LIVE = "SELECT tx_id, entry, salt, chunk_root, seal FROM tlog_live";

/** What is known of the live entry of a transaction; null: it has none. */
export function liveEntry(rows: Database, txId: string): LiveEntry | null {
  const row = rows.firstInTable(`${LIVE} WHERE tx_id = ?`, txId);
  return row ? liveFrom(row) : null;
}

/** Live entries in the order of their ids, page by page. */
export function* liveEntries(rows: Database): Generator<LiveEntry[]> {
  for (let after = "";;) {
    const page = rows.allInTable(
      `${LIVE} WHERE tx_id > ? ORDER BY tx_id LIMIT 512`,
      after,
    ).map(liveFrom);
    if (page.length === 0) return;
    yield page;
    after = page.at(-1)!.txId;
  }
}

function liveFrom(row: unknown[]): LiveEntry {
  const [txId, entry, salt, chunkRoot, seal] = row as [
    string,
    number,
    Uint8Array,
    Uint8Array | null,
    Uint8Array,
  ];
  return {
    txId,
    entry: Number(entry),
    salt: new Uint8Array(salt),
    chunkRoot: chunkRoot ? new Uint8Array(chunkRoot) : new Uint8Array(32),
    seal: new Uint8Array(seal),
  };
}

/** Remembers a live entry in the place of the one before. Within a transaction. */
export function putLive(
  rows: Database,
  entry: number,
  { txId, salt, chunkRoot, size }: TxRecord,
  seal: Uint8Array,
): void {
  rows.run(
    "INSERT OR REPLACE INTO tlog_live VALUES (?, ?, ?, ?, ?)",
    txId,
    entry,
    salt,
    size > CHUNK_SIZE ? chunkRoot : null,
    seal,
  );
}

/** Forgets a live entry, and with it what its seal stood for. Within a transaction. */
export function dropLive(rows: Database, txId: string): void {
  rows.run("DELETE FROM tlog_live WHERE tx_id = ?", txId);
}

/** How many entries are live. */
export function countLive(rows: Database): number {
  return rows.firstInTable("SELECT count(*) FROM tlog_live")![0] as number;
}

/** Ids of live entries without a row, and of rows without a live entry. */
export function strayIds(rows: Database) {
  const ids = (sql: string) => rows.all(sql).map(([txId]) => txId as string);
  return {
    vanished: ids(
      "SELECT tx_id FROM tlog_live WHERE tx_id NOT IN (SELECT tx_id FROM txs)",
    ),
    unlogged: ids(
      "SELECT tx_id FROM txs WHERE tx_id NOT IN (SELECT tx_id FROM tlog_live)",
    ),
  };
}

// --- files ------------------------------------------------------------------

/** A full tile or bundle that has no file yet; null: it has one. */
export function fileBytes(rows: Database, path: string): Uint8Array | null {
  const row = rows.firstInTable(
    "SELECT bytes FROM tlog_files WHERE path = ?",
    path,
  );
  return row ? new Uint8Array(row[0] as Uint8Array) : null;
}

/** Paths of those that have none. */
export function pendingPaths(rows: Database): string[] {
  return rows.allInTable("SELECT path FROM tlog_files")
    .map(([path]) => path as string);
}

/** Forgets those that have become files. Within a transaction. */
export function dropFiles(rows: Database, paths: string[]): void {
  for (const path of paths) {
    rows.run("DELETE FROM tlog_files WHERE path = ?", path);
  }
}
