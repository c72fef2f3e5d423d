/**
 * The tables of a store's database, and how older ones become these.
 *
 * Version 0 is the older Python package's: `txs` with its first three columns.
 * Opening a store for writing brings it to the newest version in one
 * transaction, once `upgrade.ts` has given its files their names.
 *
 * @module
 */

import { MetadataDamagedError, PohStorageError } from "../errors.ts";
import type { Connection } from "./driver.ts";
import type { ColumnNames } from "./selection.ts";

/**
 * The version of the tables below, as `PRAGMA user_version` has it.
 *
 * 5 had an index of `place` with a condition, which the check of version 4's
 * program takes for a foreign one: it would have said so, and told to drop it,
 * where it has to say that the schema is too new for it. 6 had these tables; its
 * first programs know nothing of a tree over the log, and would drop segments
 * that the tree has not followed.
 */
export const SCHEMA_VERSION = 7;

/** The first version whose payloads and changes are in the log alone. */
export const FIRST_WITH_LOG = 5;

/**
 * The first columns find and order rows; with the others a condition on them
 * is settled without a look at the row. `tx_id` has an index as the key.
 */
export const INDEXES: Readonly<Record<string, string | null>> = {
  txs_by_time: "CREATE INDEX txs_by_time ON txs (timestamp, tx_id, size)",
  txs_by_size: "CREATE INDEX txs_by_size ON txs (size, timestamp, tx_id)",
  txs_by_holder:
    "CREATE INDEX txs_by_holder ON txs (holder_id, timestamp, tx_id, size)",
  // Rows without a place are added at one end of it, where with the size each
  // would go to a page of its own. SQLite takes it for one that finds few rows by
  // `place IS NULL`: write `+place IS NULL`.
  txs_by_place: "CREATE INDEX txs_by_place ON txs (place)",
  // Of version 2: ids are in no order that saves follow, so it cost each a page.
  txs_by_holder_and_id: null,
};

/** Columns that the older package's table lacks, and earlier versions' tables. */
const LATER_COLUMNS = {
  holder_id: "TEXT NOT NULL DEFAULT ''",
  size: "INTEGER NOT NULL DEFAULT -1",
  place: "INTEGER",
};

/** What versions 1 to 4 kept payloads and changes in, see `log/from_redo.ts`. */
const REPLACED_BY_LOG = ["redo", "redo_batches", "inline_payloads"];

/** Makes the table of what a store remembers of itself. */
export const SETTINGS_TABLE =
  "CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)";

/** The version of a database. */
export function schemaVersion(db: Connection): number {
  return db.prepare("PRAGMA user_version").get()![0] as number;
}

/**
 * Refuses a database of a later version, whose tables this program does not
 * understand.
 *
 * @throws {PohStorageError} `SCHEMA_TOO_NEW`.
 */
export function requireKnownVersion(db: Connection, path: string): void {
  const version = schemaVersion(db);
  if (version <= SCHEMA_VERSION || isVersionDamaged(db)) return;
  throw new PohStorageError(
    "SCHEMA_TOO_NEW",
    `The database ${path} has schema version ${version}, this program knows ${SCHEMA_VERSION}: use a newer one`,
  );
}

/**
 * Brings a database of any version to the newest. Within a transaction.
 *
 * Goes by what the database has, not by its version: two forms were called 1,
 * three were called 2, and a flipped bit makes a version a lower one.
 */
export function migrateSchema(db: Connection): void {
  db.exec(`CREATE TABLE IF NOT EXISTS txs (
    tx_id TEXT PRIMARY KEY, storage_hash TEXT NOT NULL, timestamp REAL NOT NULL)`);
  const columns = columnsOf(db, "txs");
  for (const [name, type] of Object.entries(LATER_COLUMNS)) {
    if (columns.has(name)) continue;
    db.exec(`ALTER TABLE txs ADD COLUMN ${name} ${type}`);
  }
  db.exec(SETTINGS_TABLE);
  db.exec(
    "UPDATE OR IGNORE settings SET name = 'pack_below' WHERE name = 'inline_below'",
  );
  db.exec("DELETE FROM settings WHERE name = 'inline_below'");
  for (const [name, sql] of Object.entries(INDEXES)) {
    const found = db.prepare("SELECT sql FROM sqlite_schema WHERE name = ?")
      .get(name);
    if (found && found[0] === sql) continue;
    db.exec(`DROP INDEX IF EXISTS ${name}`);
    if (sql !== null) db.exec(sql);
  }
  for (const table of REPLACED_BY_LOG) db.exec(`DROP TABLE IF EXISTS ${table}`);
  rememberVersion(db);
  setSchemaVersion(db);
}

/** Says that a database has the newest version. */
export function setSchemaVersion(db: Connection): void {
  db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
}

/** The version once more: a bit in SQLite's header is all that tells it else. */
function rememberVersion(db: Connection): void {
  db.prepare(
    "INSERT OR REPLACE INTO settings (name, value) VALUES ('schema', ?)",
  ).run(String(SCHEMA_VERSION));
}

/**
 * Whether damage has made a database one of a later version: its settings say
 * that it is of this one. Every later version has to change both.
 */
export function isVersionDamaged(db: Connection): boolean {
  if (schemaVersion(db) <= SCHEMA_VERSION) return false;
  if (columnsOf(db, "settings").size === 0) return false;
  const row = db.prepare("SELECT value FROM settings WHERE name = 'schema'")
    .get();
  return row?.[0] === String(SCHEMA_VERSION);
}

/** The columns of `txs`, in their order in every version that has them. */
const ROW_COLUMNS = [
  "tx_id",
  "storage_hash",
  "timestamp",
  "holder_id",
  "size",
  "place",
];

/**
 * Checks that a database of the newest version has the columns that it should
 * have: one whose name is damaged would pass for one that an older version lacks.
 *
 * @throws {MetadataDamagedError} If it has not.
 */
export function requireColumns(db: Connection, path: string): void {
  if (schemaVersion(db) !== SCHEMA_VERSION) return;
  for (
    const [table, names] of [
      ["txs", ROW_COLUMNS],
      ["settings", ["name", "value"]],
    ] as const
  ) {
    const columns = columnsOf(db, table);
    const lost = names.find((name) => !columns.has(name));
    if (lost === undefined) continue;
    const reason = `its table ${table} has lost the column ${lost}`;
    throw new MetadataDamagedError(path, reason);
  }
}

/** How the columns of a row are written in SQL. */
export interface RowColumns {
  /** The size, from -1 up to the largest safe integer. */
  size: string;
  /** The place in the log. */
  place: string;
  /** Whether the database has places at all. */
  hasPlace: boolean;
  /** What the columns of filters are called. */
  names: ColumnNames;
  /** What to select for the facts. */
  all: string;
  /** The statement that gives the facts of an id. */
  get: string;
  /** As `get`, with the place. */
  lookup: string;
}

/**
 * The columns of a row in a damaged database: by their order, whatever their
 * names are by now.
 */
export function damagedColumns(db: Connection): RowColumns {
  const [, , , ...names] = Array.from(
    columnsOf(db, "txs"),
    (name) => `"${name.replaceAll('"', '""')}"`,
  );
  const [holder, size, place] = names;
  return columnList(holder ?? null, size ?? null, place ?? null);
}

/**
 * The columns of a row, by the names that three of them have; null: the database
 * has none of that. The casts give a row that was edited by hand the types
 * that the rest of the program relies on.
 */
export function columnList(
  ofHolder: string | null,
  ofSize: string | null,
  ofPlace: string | null,
): RowColumns {
  const holder = ofHolder ?? "''";
  const place = ofPlace ?? "NULL";
  const size = ofSize === null
    ? "-1"
    : `min(max(${ofSize}, -1), 9007199254740991)`;
  const all =
    `CAST(tx_id AS TEXT), CAST(storage_hash AS TEXT), CAST(timestamp AS REAL), CAST(${holder} AS TEXT), ${size}`;
  return {
    size,
    place,
    hasPlace: ofPlace !== null,
    names: {
      tx_id: "tx_id",
      timestamp: "timestamp",
      holder_id: holder,
      size: ofSize ?? "-1",
    },
    all,
    get: `SELECT ${all} FROM txs WHERE tx_id = ?`,
    lookup: `SELECT ${all}, ${place} FROM txs WHERE tx_id = ?`,
  };
}

/** The names of a table's columns; none where there is no such table. */
export function columnsOf(db: Connection, table: string): Set<string> {
  const rows = db.prepare(`SELECT name FROM pragma_table_info('${table}')`)
    .all();
  return new Set(rows.map(([name]) => name as string));
}
