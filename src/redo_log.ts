/**
 * The tables of the redo log. What its entries are for is in `redo.ts`.
 *
 * Small payloads that are put in their place by one commit are one record,
 * which costs SQLite a fraction of what an entry with an index each would. So
 * an id may have older entries, which the newest has overtaken, and to look one
 * up means going through the log: that is for when a file is not as its row
 * says. All other entries have a row each, found by their id.
 *
 * @module
 */

import { sha256HexSync } from "./hash.ts";
import type { Connection, SqlValue } from "./sqlite_driver.ts";

/**
 * A change to a payload file that follows from a committed row but may not be
 * on the disk yet. The entry is committed with the row and goes once the file
 * is durable; until then it can be carried out again.
 */
export interface RedoEntry {
  /** Which file follows. */
  txId: string;
  /** Place the payload, remove the file, or move it into quarantine. */
  action: "put" | "remove" | "quarantine";
  /** The digest that the row has, or had. */
  storageHash: string;
  /** `put` of a small payload: its bytes. */
  payload: Uint8Array | null;
  /** `put`: a staged file's name; `quarantine`: the name the file is to get. */
  staged: string | null;
}

/** What was logged together, under one number. */
export interface RedoRecord {
  /** Position in the log. */
  seq: number;
  /** Its entries: several only of small payloads. */
  entries: RedoEntry[];
}

/** How the log speaks to its database. */
export interface RedoTables {
  /** Whether there is such a table: an older store, open read-only, may lack one. */
  has(table: string): boolean;
  /** All rows that a statement gives. */
  all(sql: string, ...params: SqlValue[]): SqlValue[][];
}

/** Makes the table of the entries that have a row each. */
export function createRedo(db: Connection): void {
  // AUTOINCREMENT: a number is never given twice, so that "all up to here"
  // cannot come to mean a younger entry. A payload is one of an older version.
  db.exec(`CREATE TABLE IF NOT EXISTS redo (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    tx_id TEXT NOT NULL UNIQUE,
    writer TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('put', 'remove', 'quarantine')),
    storage_hash TEXT NOT NULL,
    payload BLOB,
    staged TEXT)`);
}

/** Makes the table of the small payloads; they are numbered with the others. */
export function createRedoBatches(db: Connection): void {
  db.exec(`CREATE TABLE IF NOT EXISTS redo_batches (
    seq INTEGER PRIMARY KEY,
    writer TEXT NOT NULL,
    tx_ids TEXT NOT NULL,
    sizes TEXT NOT NULL,
    payloads BLOB)`);
}

/** SQLite makes it with the first entry; commits without one count too. */
export function createRedoNumber(db: Connection): void {
  db.exec(`INSERT INTO sqlite_sequence (name, seq) SELECT 'redo', 0
    WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'redo')`);
}

/** The redo log of an open database. All that changes it, in a transaction. */
export class RedoLog {
  readonly #tables: RedoTables;

  /** The log in these tables. */
  constructor(tables: RedoTables) {
    this.#tables = tables;
  }

  /** Logs what follows from the rows of one commit; at most one entry an id. */
  append(entries: Iterable<RedoEntry>, writer: string): void {
    const puts: RedoEntry[] = [];
    for (const entry of entries) {
      if (entry.payload) puts.push(entry);
      else this.#appendOne(entry, writer);
    }
    if (puts.length > 0) this.#appendBatch(puts, writer);
  }

  /** Counts changes that log nothing as if they did. */
  advance(changes: number): void {
    this.#tables.all(
      "UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'redo'",
      changes,
    );
  }

  /** The newest entry of an id, if it has one. */
  of(txId: string): RedoEntry | null {
    if (!this.#tables.has("redo")) return null;
    const [row] = this.#tables.all(
      `SELECT seq, ${ENTRY} FROM redo WHERE tx_id = ?`,
      txId,
    );
    const batch = this.#batchOf(txId);
    const isNewest = batch && batch.seq > Number(row?.[0] ?? 0);
    if (isNewest) return batch.entry;
    return row ? toEntry(row.slice(1)) : null;
  }

  /** The oldest record after a number. */
  next(after: number): RedoRecord | null {
    const place = this.#place(after);
    if (!place) return null;
    const { seq } = place;
    const [row] = this.#tables.all(
      `SELECT ${ENTRY} FROM redo WHERE seq = ?`,
      seq,
    );
    if (row) return { seq, entries: [toEntry(row)] };
    const [batch] = this.#tables.all(
      "SELECT tx_ids, sizes, payloads FROM redo_batches WHERE seq = ?",
      seq,
    );
    const [txIds, sizes, payloads] = batch as [string, string, Uint8Array];
    return { seq, entries: toEntries(txIds, sizes, payloads) };
  }

  /**
   * The ids of the entries after a number, oldest first: of whole records, and
   * of so many that there are about `limit`; of one writer, if given.
   */
  idsAfter(
    after: number,
    limit: number,
    writer?: string,
  ): { seq: number; txId: string }[] {
    const ids: { seq: number; txId: string }[] = [];
    while (ids.length < limit) {
      const place = this.#place(after, writer);
      if (!place) break;
      after = place.seq;
      ids.push(...place.txIds.map((txId) => ({ seq: after, txId })));
    }
    return ids;
  }

  /** How many entries there are. */
  count(): number {
    if (!this.#tables.has("redo")) return 0;
    const [row] = this.#tables.all("SELECT count(*) FROM redo");
    const entries = row![0] as number;
    if (!this.#hasBatches()) return entries;
    const [batches] = this.#tables.all(
      "SELECT total(json_array_length(tx_ids)) FROM redo_batches",
    );
    return entries + (batches![0] as number);
  }

  /** Whether there is no entry. */
  isEmpty(): boolean {
    return this.#place(0) === null;
  }

  /** The number of the newest entry that there ever was. */
  newest(): number {
    if (!this.#tables.has("redo")) return 0;
    const [row] = this.#tables.all(
      "SELECT seq FROM sqlite_sequence WHERE name = 'redo'",
    );
    return row ? row[0] as number : 0;
  }

  /** The names of all staged files that entries refer to. */
  stagedNames(): Set<string> {
    if (!this.#tables.has("redo")) return new Set();
    const rows = this.#tables.all(
      "SELECT staged FROM redo WHERE action = 'put' AND staged IS NOT NULL",
    );
    return new Set(rows.map(([name]) => name as string));
  }

  /** The staged file in which an id's payload waits for its place, or null. */
  stagedOf(txId: string): string | null {
    if (!this.#tables.has("redo")) return null;
    const [row] = this.#tables.all(
      `SELECT ${ENTRY} FROM redo WHERE tx_id = ? AND action = 'put'`,
      txId,
    );
    return row ? toEntry(row).staged : null;
  }

  /** Drops a writer's records up to `seq`, but for those of some ids. */
  trim(writer: string, seq: number, except: string[] = []): void {
    const ids = JSON.stringify(except);
    this.#tables.all(
      `DELETE FROM redo WHERE seq <= ? AND writer = ?
        AND tx_id NOT IN (SELECT value FROM json_each(?))`,
      seq,
      writer,
      ids,
    );
    const spared = except.length > 0
      ? `AND NOT EXISTS (SELECT 1 FROM json_each(tx_ids) AS id
          WHERE id.value IN (SELECT value FROM json_each(?)))`
      : "";
    this.#tables.all(
      `DELETE FROM redo_batches WHERE seq <= ? AND writer = ? ${spared}`,
      seq,
      writer,
      ...(except.length > 0 ? [ids] : []),
    );
  }

  /** Drops one record, carried out or void. */
  drop(seq: number): void {
    for (const table of ["redo", "redo_batches"]) {
      this.#tables.all(`DELETE FROM ${table} WHERE seq = ?`, seq);
    }
  }

  /** Drops all. */
  clear(): void {
    for (const table of ["redo", "redo_batches"]) {
      this.#tables.all(`DELETE FROM ${table}`);
    }
  }

  #appendOne(entry: RedoEntry, writer: string): void {
    this.#tables.all(
      `INSERT OR REPLACE INTO redo (tx_id, writer, action, storage_hash, staged)
      VALUES (?, ?, ?, ?, ?)`,
      entry.txId,
      writer,
      entry.action,
      entry.storageHash,
      entry.staged,
    );
  }

  #appendBatch(puts: RedoEntry[], writer: string): void {
    const sizes = puts.map(({ payload }) => payload!.length);
    const payloads = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
    let at = 0;
    for (const { payload } of puts) {
      payloads.set(payload!, at);
      at += payload!.length;
    }
    this.advance(puts.length);
    this.#tables.all(
      "INSERT INTO redo_batches (seq, writer, tx_ids, sizes, payloads) VALUES (?, ?, ?, ?, ?)",
      this.newest(),
      writer,
      JSON.stringify(puts.map(({ txId }) => txId)),
      JSON.stringify(sizes),
      payloads,
    );
  }

  #hasBatches(): boolean {
    return this.#tables.has("redo_batches");
  }

  /** Which ids the oldest record after a number is about. */
  #place(
    after: number,
    writer?: string,
  ): { seq: number; txIds: string[] } | null {
    if (!this.#tables.has("redo")) return null;
    const of = writer === undefined ? [after] : [after, writer];
    const wanted = `seq > ? ${writer === undefined ? "" : "AND writer = ?"}`;
    const single = `SELECT seq, json_array(tx_id) FROM redo WHERE ${wanted}`;
    const order = "ORDER BY seq LIMIT 1";
    const [row] = this.#hasBatches()
      ? this.#tables.all(
        `${single} UNION ALL
        SELECT seq, tx_ids FROM redo_batches WHERE ${wanted} ${order}`,
        ...of,
        ...of,
      )
      : this.#tables.all(`${single} ${order}`, ...of);
    if (!row) return null;
    const [seq, txIds] = row as [number, string];
    return { seq, txIds: JSON.parse(txIds) };
  }

  #batchOf(txId: string): { seq: number; entry: RedoEntry } | null {
    if (!this.#hasBatches()) return null;
    const rows = this.#tables.all(
      `SELECT seq, tx_ids, sizes FROM redo_batches
      WHERE instr(tx_ids, ?) > 0 ORDER BY seq DESC`,
      JSON.stringify(txId),
    );
    for (const [seq, txIds, sizes] of rows as [number, string, string][]) {
      const i = JSON.parse(txIds).indexOf(txId);
      if (i < 0) continue; // the text of another id holds this one's
      const lengths: number[] = JSON.parse(sizes);
      const before = lengths.slice(0, i).reduce((sum, size) => sum + size, 0);
      const [row] = this.#tables.all(
        "SELECT substr(payloads, ?, ?) FROM redo_batches WHERE seq = ?",
        before + 1,
        lengths[i]!,
        seq,
      );
      return { seq, entry: toPut(txId, row![0] as Uint8Array | null) };
    }
    return null;
  }
}

const ENTRY = "tx_id, action, storage_hash, payload, staged";

function toEntry(row: SqlValue[]): RedoEntry {
  const [txId, action, storageHash, payload, staged] = row as [
    string,
    RedoEntry["action"],
    string,
    Uint8Array | null,
    string | null,
  ];
  return {
    txId,
    action,
    storageHash,
    payload,
    // A database edited by hand is not to name files elsewhere.
    staged: staged !== null && /[/\\]/.test(staged) ? null : staged,
  };
}

function toEntries(
  txIds: string,
  sizes: string,
  payloads: Uint8Array | null,
): RedoEntry[] {
  const lengths: number[] = JSON.parse(sizes);
  let at = 0;
  return (JSON.parse(txIds) as string[]).map((txId, i) =>
    toPut(txId, payloads && payloads.subarray(at, at += lengths[i]!))
  );
}

/** An empty payload may come as none. */
function toPut(txId: string, bytes: Uint8Array | null): RedoEntry {
  const payload = bytes ?? new Uint8Array();
  const storageHash = sha256HexSync(payload);
  return { txId, action: "put", storageHash, payload, staged: null };
}
