import { assertEquals, assertThrows } from "@std/assert";
import { MetadataDamagedError, PohStorageError } from "../../mod.ts";
import { type Connection, openSqlite } from "../../src/sqlite/driver.ts";
import {
  columnList,
  columnsOf,
  damagedColumns,
  INDEXES,
  isVersionDamaged,
  migrateSchema,
  requireColumns,
  requireKnownVersion,
  SCHEMA_VERSION,
  schemaVersion,
  setSchemaVersion,
} from "../../src/sqlite/schema.ts";
import { tempDir, testDrivers } from "../helpers.ts";

/** The newest columns. */
const COLUMNS = [
  "tx_id",
  "storage_hash",
  "timestamp",
  "holder_id",
  "size",
  "place",
];

async function tempDatabase(driver: "ffi" | "builtin", ...sql: string[]) {
  const dir = await tempDir();
  const db = await openSqlite(dir.join("poh.db"), driver, false);
  for (const text of sql) db.exec(text);
  return {
    db,
    async [Symbol.asyncDispose]() {
      db.close();
      await dir[Symbol.asyncDispose]();
    },
  };
}

function indexesOf(db: Connection): unknown[][] {
  return db.prepare(
    `SELECT name, sql FROM sqlite_schema
    WHERE type = 'index' AND sql IS NOT NULL ORDER BY name`,
  ).all();
}

const WANTED = Object.entries(INDEXES).filter(([, sql]) => sql !== null)
  .sort(([a], [b]) => a < b ? -1 : 1);

testDrivers(
  "nothing becomes the newest version, once or twice",
  async (driver) => {
    await using temp = await tempDatabase(driver);
    const { db } = temp;
    assertEquals([schemaVersion(db), columnsOf(db, "txs").size], [0, 0]);
    for (let n = 0; n < 2; n++) {
      migrateSchema(db);
      assertEquals(schemaVersion(db), SCHEMA_VERSION);
      assertEquals([...columnsOf(db, "txs")], COLUMNS);
      assertEquals(indexesOf(db), WANTED);
      requireColumns(db, "x");
      requireKnownVersion(db, "x");
    }
    const settings = "SELECT name, value FROM settings";
    assertEquals(db.prepare(settings).all(), [["schema", `${SCHEMA_VERSION}`]]);
  },
);

testDrivers(
  "a migration goes by what is there, whatever the version",
  async (driver) => {
    await using temp = await tempDatabase(
      driver,
      "CREATE TABLE txs (tx_id TEXT PRIMARY KEY, storage_hash TEXT NOT NULL, timestamp REAL NOT NULL, size INTEGER NOT NULL DEFAULT -1)",
      "INSERT INTO txs VALUES ('a', 'aa', 1.5, 7)",
      "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
      "INSERT INTO settings VALUES ('inline_below', '100'), ('id', 'x')",
      "CREATE INDEX txs_by_time ON txs (timestamp)",
      "CREATE INDEX txs_by_holder_and_id ON txs (size)",
      "CREATE TABLE redo (x)",
      "CREATE TABLE redo_batches (x)",
      "CREATE TABLE inline_payloads (x)",
      "CREATE TABLE other (x)",
    );
    const { db } = temp;
    migrateSchema(db);
    assertEquals(indexesOf(db), WANTED);
    assertEquals(
      db.prepare("SELECT tx_id, holder_id, size, place FROM txs").all(),
      [["a", "", 7, null]],
    );
    assertEquals(
      db.prepare("SELECT name, value FROM settings ORDER BY name").all(),
      [["id", "x"], ["pack_below", "100"], ["schema", `${SCHEMA_VERSION}`]],
    );
    const tables = "SELECT name FROM sqlite_schema WHERE type = 'table'";
    assertEquals(
      db.prepare(`${tables} ORDER BY name`).all().flat(),
      ["other", "settings", "txs"],
    );
  },
);

testDrivers(
  "a newer setting is not replaced by its former name's",
  async (driver) => {
    await using temp = await tempDatabase(
      driver,
      "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
      "INSERT INTO settings VALUES ('inline_below', '1'), ('pack_below', '2')",
    );
    migrateSchema(temp.db);
    const [found] = temp.db.prepare(
      "SELECT group_concat(value) FROM settings WHERE name LIKE '%_below'",
    ).all();
    assertEquals(found, ["2"]);
  },
);

testDrivers(
  "a later version is refused, a damaged one is not taken for it",
  async (driver) => {
    await using temp = await tempDatabase(driver);
    const { db } = temp;
    migrateSchema(db);
    assertEquals(isVersionDamaged(db), false);
    db.exec(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
    assertEquals(isVersionDamaged(db), true); // the settings say otherwise
    requireKnownVersion(db, "x");
    db.exec("UPDATE settings SET value = '99' WHERE name = 'schema'");
    assertEquals(isVersionDamaged(db), false);
    const tooNew = () => requireKnownVersion(db, "poh.db");
    const error = assertThrows(tooNew, PohStorageError, "poh.db");
    assertEquals(error.code, "SCHEMA_TOO_NEW");
    db.exec("DELETE FROM settings");
    assertThrows(tooNew, PohStorageError);
    db.exec("DROP TABLE settings");
    assertThrows(tooNew, PohStorageError);
    setSchemaVersion(db);
    requireKnownVersion(db, "x");
  },
);

testDrivers(
  "a column that a database of this version lacks is damage",
  async (driver) => {
    for (
      const [table, column] of [["txs", "holder_id"], ["settings", "value"]]
    ) {
      await using temp = await tempDatabase(driver);
      const { db } = temp;
      migrateSchema(db);
      for (const name of Object.keys(INDEXES)) {
        db.exec(`DROP INDEX IF EXISTS ${name}`);
      }
      db.exec(`ALTER TABLE ${table} RENAME COLUMN ${column} TO x`);
      assertThrows(
        () => requireColumns(db, "poh.db"),
        MetadataDamagedError,
        `its table ${table} has lost the column ${column}`,
      );
      db.exec("PRAGMA user_version = 4"); // whose database may lack it
      requireColumns(db, "poh.db");
    }
  },
);

testDrivers(
  "columns of a damaged schema are known by their order",
  async (driver) => {
    await using temp = await tempDatabase(
      driver,
      `CREATE TABLE txs (tx_id TEXT, storage_hash TEXT, timestamp REAL, "h""x" TEXT, siz INTEGER, place INTEGER)`,
      "INSERT INTO txs VALUES ('a', 'aa', 1.5, 'alice', 7, 99)",
    );
    const { all, place, hasPlace } = damagedColumns(temp.db);
    assertEquals(
      temp.db.prepare(`SELECT ${all}, ${place} FROM txs`).all(),
      [["a", "aa", 1.5, "alice", 7, 99]],
    );
    assertEquals(hasPlace, true);
    temp.db.exec("ALTER TABLE txs DROP COLUMN place");
    assertEquals(damagedColumns(temp.db).hasPlace, false);
    temp.db.exec("ALTER TABLE txs DROP COLUMN siz");
    const fewer = damagedColumns(temp.db);
    assertEquals(
      temp.db.prepare(`SELECT ${fewer.all}, ${fewer.place} FROM txs`).all(),
      [["a", "aa", 1.5, "alice", -1, null]],
    );
  },
);

testDrivers(
  "what an older table lacks has a value all the same",
  async (driver) => {
    await using temp = await tempDatabase(
      driver,
      "CREATE TABLE txs (tx_id TEXT, storage_hash TEXT, timestamp REAL)",
      "INSERT INTO txs VALUES ('a', 'aa', 1.5)",
    );
    const { get, lookup, size, names, hasPlace } = columnList(null, null, null);
    assertEquals(temp.db.prepare(get).get("a"), ["a", "aa", 1.5, "", -1]);
    assertEquals(
      temp.db.prepare(lookup).get("a"),
      ["a", "aa", 1.5, "", -1, null],
    );
    assertEquals([size, hasPlace], ["-1", false]);
    assertEquals(names, {
      tx_id: "tx_id",
      timestamp: "timestamp",
      holder_id: "''",
      size: "-1",
    });
  },
);
