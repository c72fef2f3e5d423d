/**
 * The tables of a store's database, and how older ones become these.
 *
 * Version 0 is the older Python package's: `txs` with its first three columns.
 * Opening a store for writing brings it to the newest version in one
 * transaction, once `upgrade.ts` has given its files their names.
 *
 * @module
 */

import type { Connection } from "./sqlite_driver.ts";

/**
 * One step of a migration; `PRAGMA user_version` counts those done.
 *
 * 1: what the Python package's table lacks, and settings. Also a table `redo`.
 * 2: indexes. Also a table of payloads, `inline_payloads`.
 * 3: one index less: ids are in no order that a save could follow, so that each
 *    index of them costs it a page.
 * 4: a table `redo_batches`.
 * 5: the log in files took its place, and that of payloads in the database: a
 *    row has a place in the log where its payload is kept there. What is left in
 *    the tables of older versions goes into the log first, see
 *    `log/from_redo.ts`.
 *
 * Nothing here minds being done already: a flipped bit can make a store's
 * version a lower one.
 */
const MIGRATIONS: ((db: Connection) => void)[] = [
  (db) => {
    db.exec(`CREATE TABLE IF NOT EXISTS txs (
      tx_id TEXT PRIMARY KEY, storage_hash TEXT NOT NULL, timestamp REAL NOT NULL)`);
    const columns = columnsOf(db, "txs");
    if (!columns.has("holder_id")) {
      db.exec("ALTER TABLE txs ADD COLUMN holder_id TEXT NOT NULL DEFAULT ''");
    }
    if (!columns.has("size")) {
      db.exec("ALTER TABLE txs ADD COLUMN size INTEGER NOT NULL DEFAULT -1");
    }
    db.exec(
      "CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    );
  },
  (db) => {
    for (const [name, columns] of Object.entries(INDEXES)) {
      db.exec(`DROP INDEX IF EXISTS ${name}`);
      db.exec(`CREATE INDEX ${name} ON txs (${columns})`);
    }
  },
  (db) => db.exec("DROP INDEX IF EXISTS txs_by_holder_and_id"),
  () => {},
  (db) => {
    if (!columnsOf(db, "txs").has("place")) {
      db.exec("ALTER TABLE txs ADD COLUMN place INTEGER");
    }
    db.exec("DROP INDEX IF EXISTS txs_by_place");
    db.exec(PLACE_INDEX);
    db.exec(
      "UPDATE OR IGNORE settings SET name = 'pack_below' WHERE name = 'inline_below'",
    );
    db.exec("DELETE FROM settings WHERE name = 'inline_below'");
    for (const table of ["redo", "redo_batches", "inline_payloads"]) {
      db.exec(`DROP TABLE IF EXISTS ${table}`);
    }
  },
];

/** Tells what lives in a part of the log; it has no entries of other payloads. */
export const PLACE_INDEX =
  "CREATE INDEX txs_by_place ON txs (place, size) WHERE place IS NOT NULL";

/** The first version whose payloads and changes are in the log alone. */
export const FIRST_WITH_LOG = 5;

/**
 * The first columns find and order rows; with the others a condition on them
 * is settled without a look at the row. `tx_id` has an index as the key.
 */
const INDEXES = {
  txs_by_time: "timestamp, tx_id, size",
  txs_by_size: "size, timestamp, tx_id",
  txs_by_holder: "holder_id, timestamp, tx_id, size",
};

/** The newest version. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/** The version of a database. */
export function schemaVersion(db: Connection): number {
  return db.prepare("PRAGMA user_version").get()![0] as number;
}

/** Brings a database to the newest version. Within a transaction. */
export function migrateSchema(db: Connection): void {
  for (const step of MIGRATIONS.slice(schemaVersion(db))) step(db);
  db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
}

/**
 * The columns of a row. The casts give a row that was edited by hand the types
 * that the rest of the program relies on.
 */
export function columnList(
  hasHolder: boolean,
  hasSize: boolean,
  hasPlace: boolean,
) {
  const holder = hasHolder ? "holder_id" : "''";
  const size = hasSize ? "min(max(size, -1), 9007199254740991)" : "-1";
  return {
    size,
    place: hasPlace ? "place" : "NULL",
    names: {
      tx_id: "tx_id",
      timestamp: "timestamp",
      holder_id: holder,
      size: hasSize ? "size" : "-1",
    },
    all:
      `CAST(tx_id AS TEXT), CAST(storage_hash AS TEXT), CAST(timestamp AS REAL), CAST(${holder} AS TEXT), ${size}`,
  };
}

/** The names of a table's columns; none where there is no such table. */
export function columnsOf(db: Connection, table: string): Set<string> {
  const rows = db.prepare(`SELECT name FROM pragma_table_info('${table}')`)
    .all();
  return new Set(rows.map(([name]) => name as string));
}
