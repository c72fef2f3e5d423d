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

/** Name of the setting that has the last checkpoint of a copied store's log. */
const PREDECESSOR = "tlog_predecessor";

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

/** What was behind the live seals of the predecessor. */
const BEFORE = "tlog_before";

/** Makes the tables anew, empty. Within a transaction. */
export function makeTables(rows: Database): void {
  dropTables(rows);
  for (const [name, columns] of Object.entries(TABLES)) {
    rows.run(`CREATE TABLE ${name} ${columns}`);
  }
}

function dropTables(rows: Database): void {
  for (const name of Object.keys(TABLES)) {
    rows.run(`DROP TABLE IF EXISTS ${name}`);
  }
  writeSetting(rows, TREE_POSITION, null);
  writeSetting(rows, ORIGIN, null);
}

// --- the predecessor --------------------------------------------------------

/**
 * Turns the log of a copied database into the predecessor of one that is begun
 * there: two copies must not go on with the same. Within a transaction.
 *
 * @param checkpoint What it published last; null: nobody knows of it.
 */
export function leaveTlog(rows: Database, checkpoint: string | null): void {
  if (originOf(rows) === null) return;
  forgetPredecessor(rows);
  if (checkpoint !== null) {
    rows.run(`ALTER TABLE tlog_live RENAME TO ${BEFORE}`);
    writeSetting(rows, PREDECESSOR, checkpoint);
  }
  dropTables(rows);
}

/** The last checkpoint of the log that a new one succeeds; null for none. */
export function predecessorOf(rows: Database): string | null {
  return readSetting(rows, PREDECESSOR);
}

/** What the predecessor had of a live transaction; null: nothing. */
export function liveBefore(rows: Database, txId: string): LiveEntry | null {
  if (predecessorOf(rows) === null) return null;
  return liveIn(rows, BEFORE, txId);
}

/**
 * Remembers the checkpoint of a log that the database itself knows nothing of.
 * Within a transaction.
 */
export function setPredecessor(rows: Database, checkpoint: string): void {
  rows.run(`CREATE TABLE IF NOT EXISTS ${BEFORE} ${TABLES.tlog_live}`);
  writeSetting(rows, PREDECESSOR, checkpoint);
}

/** Forgets the predecessor: the first entry names it. Within a transaction. */
export function forgetPredecessor(rows: Database): void {
  rows.run(`DROP TABLE IF EXISTS ${BEFORE}`);
  writeSetting(rows, PREDECESSOR, null);
}

/**
 * Has another database know the predecessor.
 *
 * @param isSound Whether its checkpoint is one: the database may be anybody's.
 */
export async function copyPredecessor(
  from: Database,
  to: Database,
  isSound: (checkpoint: string) => boolean,
): Promise<void> {
  const checkpoint = predecessorOf(from);
  if (checkpoint === null || !isSound(checkpoint)) return;
  await to.change(() => setPredecessor(to, checkpoint));
  for (const page of liveEntries(from, { from: 0, end: 2 ** 53 }, BEFORE)) {
    await to.change(() => {
      for (const live of page) putLiveInto(to, BEFORE, live);
    });
  }
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

const LIVE = "SELECT tx_id, entry, salt, chunk_root, seal FROM";

/** What is known of the live entry of a transaction; null: it has none. */
export function liveEntry(rows: Database, txId: string): LiveEntry | null {
  return liveIn(rows, "tlog_live", txId);
}

function liveIn(rows: Database, table: string, txId: string): LiveEntry | null {
  const row = rows.firstInTable(`${LIVE} ${table} WHERE tx_id = ?`, txId);
  return row ? liveFrom(row) : null;
}

/**
 * Live entries in the order of their ids, page by page.
 *
 * @param range Only those of entries from one index to before another.
 */
export function* liveEntries(
  rows: Database,
  { from, end }: { from: number; end: number },
  table: "tlog_live" | typeof BEFORE = "tlog_live",
): Generator<LiveEntry[]> {
  for (let after = "", than = ">=";; than = ">") {
    const page: LiveEntry[] = rows.allInTable(
      `${LIVE} ${table} WHERE tx_id ${than} ? AND entry >= ? AND entry < ? ORDER BY tx_id LIMIT 512`,
      ...[after, from, end],
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
    salt: bytesOf(salt, 16),
    chunkRoot: bytesOf(chunkRoot, 32),
    seal: bytesOf(seal, 32),
  };
}

/** Bytes of a column; zeros where it has something else, put there by hand. */
function bytesOf(value: Uint8Array | null, length: number): Uint8Array {
  const isSound = value instanceof Uint8Array && value.length === length;
  return isSound ? new Uint8Array(value) : new Uint8Array(length);
}

/** What is known of the live ones of some entries, in one pass over the table. */
export function liveAt(
  rows: Database,
  entries: readonly number[],
): Map<number, LiveEntry> {
  const found = rows.allInTable(
    `${LIVE} tlog_live WHERE entry IN (SELECT value FROM json_each(?))`,
    JSON.stringify(entries),
  ).map(liveFrom);
  return new Map(found.map((live) => [live.entry, live]));
}

/** Remembers a live entry in the place of the one before. Within a transaction. */
export function putLive(
  rows: Database,
  entry: number,
  { txId, salt, chunkRoot, size }: TxRecord,
  seal: Uint8Array,
): void {
  const root = size > CHUNK_SIZE ? chunkRoot : new Uint8Array(32);
  const live = { txId, entry, salt, chunkRoot: root, seal };
  putLiveInto(rows, "tlog_live", live);
}

function putLiveInto(
  rows: Database,
  table: string,
  { txId, entry, salt, chunkRoot, seal }: LiveEntry,
): void {
  const hasRoot = chunkRoot.some((byte) => byte !== 0);
  rows.run(
    `INSERT OR REPLACE INTO ${table} VALUES (?, ?, ?, ?, ?)`,
    txId,
    entry,
    salt,
    hasRoot ? chunkRoot : null,
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

/** Ids of live entries without a row, or of rows without a live entry. */
export function* strayIds(
  rows: Database,
  kind: "vanished" | "unlogged",
): Generator<string> {
  const [here, there] = kind === "vanished"
    ? ["tlog_live", "txs"]
    : ["txs", "tlog_live"];
  for (let after = "", than = ">=";; than = ">") {
    const page: string[] = rows.all(
      `SELECT tx_id FROM ${here} h WHERE tx_id ${than} ? AND typeof(tx_id) = 'text'
      AND NOT EXISTS (SELECT 1 FROM ${there} t WHERE t.tx_id = h.tx_id)
      ORDER BY tx_id LIMIT 512`,
      after,
    ).map(([txId]) => txId as string);
    yield* page;
    if (page.length < 512) return;
    after = page.at(-1)!;
  }
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
