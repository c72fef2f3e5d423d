/**
 * Refuses a database whose schema would make a statement do other work than it
 * says: its file may come from anywhere, as that of a backup does.
 *
 * @module
 */

import { MetadataDamagedError, PohStorageError } from "../errors.ts";
import { INDEXES } from "./schema.ts";
import type { Connection, SqlValue } from "./driver.ts";

/** The tables that a store reads and writes; others are left alone. */
const TABLES = [
  "txs",
  "settings",
  "inline_payloads",
  "redo",
  "redo_batches",
  "object_keys",
  "retired",
];

/** The one index with a condition that a store may have: one of version 5. */
const INDEX_OF_VERSION_5 =
  "CREATE INDEX txs_by_place ON txs (place, size) WHERE place IS NOT NULL";

const OURS = `IN (${TABLES.map((name) => `'${name}'`).join(", ")})`;

/**
 * What has no place in a store's database, with the name of its kind: all that
 * is neither a table nor an index, and of the store's own tables generated
 * columns, indexes on an expression or a condition, and indexes that compare
 * otherwise than by bytes.
 */
const FOREIGN = `
  SELECT type, name FROM sqlite_schema WHERE type NOT IN ('table', 'index')
  UNION ALL
  SELECT 'virtual table', name FROM sqlite_schema
    WHERE type = 'table' AND rootpage = 0
  UNION ALL
  SELECT 'generated column', c.name
    FROM sqlite_schema t, pragma_table_xinfo(t.name) c
    WHERE t.type = 'table' AND t.rootpage > 0 AND lower(t.name) ${OURS}
      AND c.hidden > 1
  UNION ALL
  SELECT 'partial index', i.name
    FROM sqlite_schema t, pragma_index_list(t.name) i
    WHERE t.type = 'table' AND t.rootpage > 0 AND lower(t.name) ${OURS}
      AND i.partial AND i.name NOT IN (
        SELECT name FROM sqlite_schema WHERE sql = '${INDEX_OF_VERSION_5}')
  UNION ALL
  SELECT CASE c.cid WHEN -2 THEN 'index on an expression'
      ELSE 'index with a collation' END, i.name
    FROM sqlite_schema i, pragma_index_xinfo(i.name) c
    WHERE i.type = 'index' AND lower(i.tbl_name) ${OURS} AND c.key
      AND (c.cid = -2 OR upper(c.coll) <> 'BINARY')
  LIMIT 1`;

/**
 * What no program puts into a schema: things of no kind, tables without pages
 * that are not virtual, and the store's indexes as others than they are.
 */
const DAMAGED = `
  SELECT name FROM sqlite_schema
    WHERE type NOT IN ('table', 'index', 'view', 'trigger')
      OR (type = 'table' AND rootpage = 0 AND sql NOT LIKE 'CREATE VIRTUAL %')
      OR (${
  Object.entries(INDEXES).filter(([, sql]) => sql !== null)
    .map(([name, sql]) => `(name = '${name}' AND sql <> '${sql}')`)
    .join(" OR ")
}) LIMIT 1`;

/** What keeps the rows of a database from being those of a plain table. */
const ODD_ROWS = `
  SELECT type, name FROM sqlite_schema
    WHERE lower(name) IN ('txs', 'settings')
      AND (type <> 'table' OR rootpage = 0)
  UNION ALL
  SELECT 'generated column', name FROM pragma_table_xinfo('txs')
    WHERE hidden > 1
  LIMIT 1`;

/**
 * Checks that a database has nothing but tables and plain indexes of them.
 *
 * @throws {PohStorageError} `FOREIGN_SCHEMA` if it has.
 * @throws {MetadataDamagedError} If it has because damage has hit its schema.
 */
export function requirePlainSchema(db: Connection, path: string): void {
  const found = db.prepare(FOREIGN).get();
  if (!found) return;
  const damaged = db.prepare(DAMAGED).get();
  if (!damaged) throw foreign(path, found);
  const reason = `its schema is, at ${JSON.stringify(damaged[0])}`;
  throw new MetadataDamagedError(path, reason);
}

/**
 * Checks that the rows of a database are in a table, so that to read them is to
 * do nothing else.
 *
 * @throws {PohStorageError} `FOREIGN_SCHEMA` if they are not.
 */
export function requirePlainRows(db: Connection, path: string): void {
  const found = db.prepare(ODD_ROWS).get();
  if (found) throw foreign(path, found);
}

function foreign(path: string, [kind, name]: SqlValue[]): PohStorageError {
  return new PohStorageError(
    "FOREIGN_SCHEMA",
    `The database ${path} has what no store has, and what could change what is saved (${kind} ${
      JSON.stringify(name)
    }): drop it with another SQLite program`,
  );
}
