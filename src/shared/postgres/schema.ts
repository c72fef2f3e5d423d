/**
 * The tables, and how they came about.
 *
 * @module
 */

import { PohStorageError, StoreNotFoundError } from "../../errors.ts";
import type { Connections, Run } from "./connections.ts";
import { isMadeByAnother } from "./failures.ts";
import type { Target } from "./target.ts";

/** The tables' names, with their schema, as SQL has them. */
export interface Tables {
  /** Rows about transactions. */
  txs: string;
  /** Keys that no row names any more. */
  retired: string;
  /** Rights that one has at a time. */
  leases: string;
  /** What came of the latest commit of each who commits. */
  commits: string;
  /** The version of all this. */
  meta: string;
}

/** The tables of a schema. */
export function tablesOf(schema: string): Tables {
  const name = (table: string) => `"${schema}".${table}`;
  return {
    txs: name("txs"),
    retired: name("retired"),
    leases: name("leases"),
    commits: name("commits"),
    meta: name("meta"),
  };
}

/**
 * Steps from one version to the next, each in a transaction. Text is compared
 * by its bytes, by `collate` where the server does not do so anyway. Times are UNIX seconds, those of the server's clock but for
 * `txs.timestamp`.
 */
const MIGRATIONS: ((tables: Tables, collate: string) => string)[] = [
  ({ txs, retired, leases, commits }, collate) => `
    CREATE TABLE ${txs} (
      tx_id TEXT ${collate} PRIMARY KEY,
      storage_hash TEXT ${collate} NOT NULL,
      timestamp DOUBLE PRECISION NOT NULL,
      holder_id TEXT ${collate} NOT NULL,
      size BIGINT NOT NULL,
      -- null: the plain key of the id
      object_key TEXT ${collate}
    );
    CREATE INDEX txs_by_time ON ${txs} (timestamp, tx_id);
    CREATE INDEX txs_by_holder ON ${txs} (holder_id, timestamp, tx_id);
    CREATE INDEX txs_by_holder_and_id ON ${txs} (holder_id, tx_id);
    CREATE INDEX txs_by_size ON ${txs} (size);
    CREATE INDEX txs_by_key ON ${txs} (object_key) WHERE object_key IS NOT NULL;

    CREATE TABLE ${retired} (
      key TEXT ${collate} PRIMARY KEY,
      deleted BOOLEAN NOT NULL,
      -- when it was retired, or its object deleted
      at DOUBLE PRECISION NOT NULL
    );
    CREATE INDEX retired_by_age ON ${retired} (deleted, at, key);

    CREATE TABLE ${leases} (
      name TEXT ${collate} PRIMARY KEY,
      token BIGINT NOT NULL,
      owner TEXT NOT NULL,
      pid BIGINT NOT NULL,
      host TEXT NOT NULL,
      since DOUBLE PRECISION NOT NULL,
      expires DOUBLE PRECISION NOT NULL
    );

    CREATE TABLE ${commits} (
      slot TEXT ${collate} PRIMARY KEY,
      seq BIGINT NOT NULL,
      outcomes TEXT NOT NULL,
      at DOUBLE PRECISION NOT NULL
    );
  `,
];

/** What `meta` has a row of where the store is write-once. */
export const WRITE_ONCE = "write_once";

/** Nodes that make the tables at once are in each other's way less often. */
const ATTEMPTS = 10;

/** The version to which {@linkcode migrate} brings a schema. */
const NEWEST_VERSION = MIGRATIONS.length;

/**
 * Makes the tables, or brings them to the newest version; harmless when they
 * are, and when others do it at the same time.
 *
 * @param writeOnce Whether a store that is made here is write-once.
 * @throws {PohStorageError} `SCHEMA_TOO_NEW`, or `ENCODING` if the database
 * cannot hold all text.
 */
export async function migrate(
  db: Connections,
  target: Target,
  writeOnce = false,
): Promise<void> {
  for (let attempt = 1;; attempt++) {
    try {
      if (await schemaVersion(db, target) === NEWEST_VERSION) return;
      await requireUtf8(db, target);
      await makeMeta(db, target);
      await db.transaction((run) =>
        step(run, tablesOf(target.schema), writeOnce)
      );
    } catch (error) {
      const cause = error instanceof Error ? error.cause : undefined;
      if (!isMadeByAnother(cause) || attempt === ATTEMPTS) throw error;
    }
  }
}

/**
 * The version of the tables; null when there are none.
 *
 * @throws {PohStorageError} `SCHEMA_TOO_NEW`.
 */
export async function schemaVersion(
  db: Connections,
  { schema, url }: Target,
): Promise<number | null> {
  const { meta } = tablesOf(schema);
  let version: number;
  try {
    const [row] = await db.query(
      `SELECT value FROM ${meta} WHERE name = 'version'`,
    );
    if (!row) return null;
    version = Number(row.value);
  } catch (error) {
    if (error instanceof StoreNotFoundError) return null;
    throw error;
  }
  if (version <= NEWEST_VERSION) return version;
  throw new PohStorageError(
    "SCHEMA_TOO_NEW",
    `${url} has schema version ${version}, this program knows ${NEWEST_VERSION}: use a newer one`,
  );
}

/** Carries out the next step, if there is one, while no other node does. */
async function step(
  run: Run,
  tables: Tables,
  writeOnce: boolean,
): Promise<void> {
  const [row] = await run(
    `SELECT value FROM ${tables.meta} WHERE name = 'version' FOR UPDATE`,
  );
  const version = Number(row!.value);
  const migration = MIGRATIONS[version];
  if (!migration) return;
  // CockroachDB has no column of the collation that is its only one.
  const [server] = await run("SELECT version()");
  const isByBytes = (server!.version as string).startsWith("CockroachDB");
  await run(migration(tables, isByBytes ? "" : 'COLLATE "C"'));
  if (version === 0 && writeOnce) {
    await run(
      `INSERT INTO ${tables.meta} (name, value) VALUES ('${WRITE_ONCE}', '1')`,
    );
  }
  await run(
    `UPDATE ${tables.meta} SET value = $1 WHERE name = 'version'`,
    [String(version + 1)],
  );
}

async function makeMeta(db: Connections, { schema }: Target): Promise<void> {
  const { meta } = tablesOf(schema);
  // Whoever may not make schemas may have been given this one.
  const [found] = await db.query(
    "SELECT 1 FROM information_schema.schemata WHERE schema_name = $1",
    [schema],
  );
  if (!found) await db.query(`CREATE SCHEMA IF NOT EXISTS "${schema}"`);
  await db.query(
    `CREATE TABLE IF NOT EXISTS ${meta} (name TEXT PRIMARY KEY, value TEXT NOT NULL)`,
  );
  await db.query(
    `INSERT INTO ${meta} (name, value) VALUES ('version', '0'), ('id', $1)
    ON CONFLICT DO NOTHING`,
    [crypto.randomUUID()],
  );
}

async function requireUtf8(db: Connections, { url }: Target): Promise<void> {
  const [row] = await db.query(
    "SELECT current_setting('server_encoding') AS encoding",
  );
  if (row!.encoding === "UTF8") return;
  throw new PohStorageError(
    "ENCODING",
    `${url} is a database of encoding ${row!.encoding}; it must be UTF8`,
  );
}
