import { assertEquals, assertRejects } from "@std/assert";
import {
  MetadataDamagedError,
  PohStorageError,
  StoreNotFoundError,
} from "../../mod.ts";
import { isOpenHere } from "../../src/sqlite/database.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { findRow } from "../../src/sqlite/lookups.ts";
import { readSetting } from "../../src/sqlite/log_state.ts";
import {
  hasLog,
  initDatabase,
  openDamaged,
  openDatabase,
} from "../../src/sqlite/open_database.ts";
import { putRow } from "../../src/sqlite/row_changes.ts";
import type { Database } from "../../src/sqlite/database.ts";
import { sampleInfo } from "../contract/metadata_store.ts";
import {
  type Driver,
  IS_WINDOWS,
  namesIn,
  refusingDisk,
  tempDir,
  testDrivers,
} from "../helpers.ts";
import { idsOf, openRows, saveRow } from "./rows.ts";

function pragma({ connection }: Database, name: string): unknown {
  return connection.prepare(`PRAGMA ${name}`).get()![0];
}

async function sql(path: string, driver: Driver, text: string): Promise<void> {
  const db = await openSqlite(path, driver, false);
  db.exec(text);
  db.close();
}

/** Sets bytes of a file. */
async function setBytes(path: string, at: number, ...bytes: number[]) {
  const content = await Deno.readFile(path);
  content.set(bytes, at);
  await Deno.writeFile(path, content);
}

testDrivers(
  "a database waits for others and for the disk as it is open",
  async (driver) => {
    await using dir = await tempDir();
    const path = dir.join("poh.db");
    for (
      const [options, timeout, synchronous, mode] of [
        [{}, 5, 1, "wal"],
        [{ sync: false }, 5, 1, "wal"],
        [{ readOnly: true }, 250, 2, "delete"],
      ] as const
    ) {
      await using rows = await openRows(path, { driver, ...options });
      assertEquals(pragma(rows, "busy_timeout"), timeout);
      assertEquals(pragma(rows, "synchronous"), synchronous);
      assertEquals(pragma(rows, "journal_mode"), mode);
      assertEquals(pragma(rows, "trusted_schema"), 0);
      assertEquals(pragma(rows, "foreign_keys"), 1);
      assertEquals(rows.isReadOnly, "readOnly" in options);
    }
  },
);

testDrivers(
  "the name of a new database is waited for, where it is to be",
  async (driver) => {
    await using dir = await tempDir();
    const path = dir.join("poh.db");
    using _ = refusingDisk(() => true);
    await assertRejects(
      () => openDatabase(path, { driver }),
      Error,
      "os error 5",
    );
    assertEquals(isOpenHere(path), false);
    const unsynced = await openDatabase(path, { driver, sync: false });
    await initDatabase(unsynced);
    await unsynced.close();
    await (await openDatabase(path, { driver, readOnly: true })).close();
  },
  { ignore: IS_WINDOWS },
);

testDrivers(
  "a database is open here until the last one is closed",
  async (driver) => {
    await using dir = await tempDir();
    const path = dir.join("poh.db");
    const one = await openRows(path, { driver });
    const other = await openRows(path, { driver });
    const third = await openRows(path, { driver });
    assertEquals(isOpenHere(path), true);
    await one.close();
    await one.close(); // once more counts for nothing
    await third.close();
    assertEquals(isOpenHere(path), true);
    await other.close();
    assertEquals(isOpenHere(path), false);
  },
);

testDrivers("whoever is not admitted changes nothing", async (driver) => {
  await using dir = await tempDir();
  const path = dir.join("poh.db");
  await sql(path, driver, "CREATE TABLE other (x)");
  const before = await Deno.readFile(path);
  await assertRejects(
    () =>
      openDatabase(path, { driver }, (db) => {
        assertEquals(db.prepare("SELECT name FROM sqlite_schema").all(), [
          ["other"],
        ]);
        return Promise.reject(new RangeError("another store's"));
      }),
    RangeError,
  );
  assertEquals(await Deno.readFile(path), before);
  assertEquals([namesIn(dir.path), isOpenHere(path)], [["poh.db"], false]);
});

testDrivers(
  "a new database remembers settings, one that is there does not",
  async (driver) => {
    await using dir = await tempDir();
    const path = dir.join("poh.db");
    {
      await using rows = await openDatabase(path, { driver });
      let alongside = 0;
      await initDatabase(rows, { x: "1" }, () => alongside++);
      assertEquals([readSetting(rows, "x"), alongside], ["1", 1]);
      await initDatabase(rows, { x: "2" }, () => alongside++);
      assertEquals([readSetting(rows, "x"), alongside], ["1", 1]);
    }
    await sql(path, driver, "PRAGMA user_version = 4");
    await using rows = await openDatabase(path, { driver });
    await initDatabase(rows, { x: "3", y: "3" });
    assertEquals([readSetting(rows, "x"), readSetting(rows, "y")], ["1", null]);
  },
);

testDrivers(
  "a version that damage has raised is put right by a writer",
  async (driver) => {
    await using dir = await tempDir();
    const path = dir.join("poh.db");
    await (await openRows(path, { driver })).close();
    await sql(path, driver, "PRAGMA user_version = 70");
    {
      await using reader = await openRows(path, { driver, readOnly: true });
      assertEquals(pragma(reader, "user_version"), 70);
    }
    await using rows = await openRows(path, { driver });
    assertEquals(pragma(rows, "user_version"), 7);
  },
);

testDrivers("a header that names no format is damage", async (driver) => {
  await using dir = await tempDir();
  const path = dir.join("poh.db");
  {
    await using rows = await openRows(path, { driver });
    await saveRow(rows, sampleInfo());
  }
  for (const at of [18, 19]) {
    await setBytes(path, 18, 1, 1);
    await setBytes(path, at, 77);
    const error = await assertRejects(
      async () => {
        await using rows = await openRows(path, { driver });
        await saveRow(rows, sampleInfo({ txId: "b" }));
      },
      Error,
    );
    assertEquals(error instanceof MetadataDamagedError, true, `${at} ${error}`);
  }
  await setBytes(path, 18, 2, 2); // write-ahead logging
  await using rows = await openRows(path, { driver });
  assertEquals(await idsOf(rows), ["a"]);
});

testDrivers(
  "what a crash left unfinished must be written before it is read",
  async (driver) => {
    await using dir = await tempDir();
    const path = dir.join("poh.db");
    await using rows = await openRows(path, { driver });
    await saveRow(rows, sampleInfo());
    await Deno.mkdir(dir.join("copy"));
    const copy = dir.join("copy", "poh.db");
    await Deno.copyFile(path, copy);
    await setBytes(copy, 18, 1, 1);
    // A hot journal: its header's magic and one page to be rolled back.
    const journal = new Uint8Array(512 + 4_096 + 8);
    journal.set([0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7, 0, 0, 0, 1]);
    new DataView(journal.buffer).setUint32(16, 1);
    new DataView(journal.buffer).setUint32(20, 512);
    new DataView(journal.buffer).setUint32(24, 4_096);
    await Deno.writeFile(`${copy}-journal`, journal);
    const error = await assertRejects(
      () => openDatabase(copy, { driver, readOnly: true }),
      PohStorageError,
    );
    assertEquals(error.code, "UNFINISHED");
  },
);

testDrivers(
  "what is left of a damaged database is read, and not changed",
  async (driver) => {
    await using dir = await tempDir();
    const path = dir.join("poh.db");
    await assertRejects(() => openDamaged(path, driver), StoreNotFoundError);
    {
      await using rows = await openRows(path, { driver });
      await rows.change(() => putRow(rows, sampleInfo(), 160));
    }
    await sql(
      path,
      driver,
      "ALTER TABLE txs RENAME COLUMN holder_id TO holder_ie; CREATE VIEW v AS SELECT 1",
    );
    await assertRejects(() => openDatabase(path, { driver }), PohStorageError);
    await using old = await openDamaged(path, driver);
    assertEquals(findRow(old, "a"), { info: sampleInfo(), place: 160 });
    await assertRejects(() => saveRow(old, sampleInfo()));
    assertEquals(old.isReadOnly, true);
  },
);

testDrivers(
  "a reader sees that a writer has upgraded the database",
  async (driver) => {
    await using dir = await tempDir();
    const path = dir.join("poh.db");
    await sql(
      path,
      driver,
      `CREATE TABLE txs (tx_id TEXT PRIMARY KEY, storage_hash TEXT NOT NULL, timestamp REAL NOT NULL);
    PRAGMA journal_mode = WAL`,
    );
    await using reader = await openRows(path, { driver, readOnly: true });
    assertEquals(hasLog(reader), false);
    await using writer = await openRows(path, { driver });
    assertEquals([hasLog(writer), hasLog(reader)], [true, true]);
    await saveRow(writer, sampleInfo());
    assertEquals(findRow(reader, "a")?.info, sampleInfo());
  },
);
