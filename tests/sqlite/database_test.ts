import {
  assert,
  assertEquals,
  assertExists,
  assertRejects,
  assertThrows,
} from "@std/assert";
import {
  InvalidTxError,
  MetadataDamagedError,
  PohStorageError,
  StoreClosedError,
  StoreNotFoundError,
} from "../../mod.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { sampleInfo } from "../contract/metadata_store.ts";
import {
  assertBytes,
  type Driver,
  drivers,
  filesBelow,
  namesIn,
  randomBytes,
  type TempDir,
  tempDir,
  testDrivers,
} from "../helpers.ts";
import type { Database } from "../../src/sqlite/database.ts";
import {
  type DatabaseOptions,
  openDatabase,
} from "../../src/sqlite/open_database.ts";
import { deleteRow } from "../../src/sqlite/row_changes.ts";
import { findInfo } from "../../src/sqlite/lookups.ts";
import { idsOf, openRows, saveRow } from "./rows.ts";
import { hasLog, initDatabase } from "../../src/sqlite/open_database.ts";
import {
  logState,
  readSetting,
  setLogState,
  writeSetting,
} from "../../src/sqlite/log_state.ts";
import { putRow } from "../../src/sqlite/row_changes.ts";
import { findRow, idsInFiles } from "../../src/sqlite/lookups.ts";
import { iterateByRowid, iterateTxs } from "../../src/sqlite/tx_pages.ts";
import { countHolders, countTxs, sumTxs } from "../../src/sqlite/tx_counts.ts";
import { hasPlaces } from "../../src/sqlite/places.ts";
import { integrityErrors } from "../../src/sqlite/integrity_errors.ts";
import { schemaVersion } from "../../src/sqlite/schema.ts";

function openStore(dir: TempDir, options: DatabaseOptions): Promise<Database> {
  return openRows(dir.join("poh.db"), options);
}

/** Runs SQL on the database file, past the store. */
async function sql(dir: TempDir, driver: Driver, ...statements: string[]) {
  const db = await openSqlite(dir.join("poh.db"), driver, false);
  try {
    for (const statement of statements) db.exec(statement);
  } finally {
    db.close();
  }
}

async function query(dir: TempDir, driver: Driver, statement: string) {
  const db = await openSqlite(dir.join("poh.db"), driver, true);
  try {
    return db.prepare(statement).all();
  } finally {
    db.close();
  }
}

/** The older package's table, with two rows. */
const OLD_SCHEMA = [
  `CREATE TABLE txs (
    tx_id TEXT PRIMARY KEY, storage_hash TEXT NOT NULL, timestamp REAL NOT NULL)`,
  `INSERT INTO txs VALUES ('old1', '${"0a".repeat(32)}', 1.5)`,
  `INSERT INTO txs VALUES ('old2', '${"0b".repeat(32)}', -2)`,
];

const OLD_ROW = sampleInfo({
  txId: "old1",
  holderId: "",
  timestamp: 1.5,
  storageHash: "0a".repeat(32),
  size: -1,
});

testDrivers("the table of a new store is the contract's", async (driver) => {
  await using dir = await tempDir();
  await (await openStore(dir, { driver })).close();
  assertEquals(
    await query(
      dir,
      driver,
      `SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info('txs')`,
    ),
    [
      ["tx_id", "TEXT", 0, null, 1],
      ["storage_hash", "TEXT", 1, null, 0],
      ["timestamp", "REAL", 1, null, 0],
      ["holder_id", "TEXT", 1, "''", 0],
      ["size", "INTEGER", 1, "-1", 0],
      ["place", "INTEGER", 0, null, 0],
    ],
  );
  assertEquals(await query(dir, driver, "PRAGMA user_version"), [[7]]);
});

testDrivers(
  "init() migrates the older package's table and keeps its rows",
  async (driver) => {
    await using dir = await tempDir();
    await sql(dir, driver, ...OLD_SCHEMA);
    await using store = await openStore(dir, { driver });
    assertEquals(findInfo(store, "old1"), OLD_ROW);
    assertEquals(await idsOf(store), ["old1", "old2"]);
    await saveRow(store, sampleInfo());
    assertEquals(findInfo(store, "a"), sampleInfo());
  },
);

testDrivers(
  "a table that has some of the newer columns is migrated",
  async (driver) => {
    await using dir = await tempDir();
    await sql(
      dir,
      driver,
      ...OLD_SCHEMA,
      "ALTER TABLE txs ADD COLUMN holder_id TEXT NOT NULL DEFAULT ''",
      "UPDATE txs SET holder_id = 'alice'",
    );
    await using store = await openStore(dir, { driver });
    assertEquals(findInfo(store, "old1"), { ...OLD_ROW, holderId: "alice" });
  },
);

testDrivers("a migration that fails changes nothing", async (driver) => {
  await using dir = await tempDir();
  // A table is in the way of an index, the last thing to be made.
  await sql(dir, driver, ...OLD_SCHEMA, "CREATE TABLE txs_by_place (x)");
  const store = await openDatabase(dir.join("poh.db"), { driver });
  try {
    await assertRejects(() => initDatabase(store));
  } finally {
    await store.close();
  }
  assertEquals(
    await query(dir, driver, "SELECT count(*) FROM pragma_table_info('txs')"),
    [[3]],
  );
  assertEquals(await query(dir, driver, "PRAGMA user_version"), [[0]]);
});

testDrivers(
  "a migration that was done already does no harm",
  async (driver) => {
    await using dir = await tempDir();
    {
      await using store = await openStore(dir, { driver });
      await saveRow(store, sampleInfo());
      store.transaction(() => setLogState(store, { applied: 2 ** 50 }));
    }
    await sql(dir, driver, "PRAGMA user_version = 0");
    await using store = await openStore(dir, { driver });
    assertEquals(findInfo(store, "a"), sampleInfo());
    assertEquals(logState(store).applied, 2 ** 50);
  },
);

testDrivers(
  "a newer program's database is refused and keeps its schema",
  async (driver) => {
    await using dir = await tempDir();
    await (await openStore(dir, { driver })).close();
    await sql(dir, driver, "PRAGMA user_version = 99");
    await sql(
      dir,
      driver,
      "UPDATE settings SET value = '99' WHERE name = 'schema'",
    );
    for (const readOnly of [true, false]) {
      const options = { driver, readOnly };
      const error = await assertRejects(
        async () => {
          await using store = await openDatabase(
            dir.join("poh.db"),
            options,
          );
          await initDatabase(store);
        },
        PohStorageError,
        "99",
      );
      assertEquals(error.code, "SCHEMA_TOO_NEW");
    }
    assertEquals(await query(dir, driver, "PRAGMA user_version"), [[99]]);
  },
);

testDrivers(
  "read-only, the older package's store is read and not migrated",
  async (driver) => {
    await using dir = await tempDir();
    await sql(dir, driver, ...OLD_SCHEMA);
    const before = await filesBelow(dir.path);
    {
      await using store = await openStore(dir, { driver, readOnly: true });
      assertEquals(findInfo(store, "old1"), OLD_ROW);
      assertEquals(await idsOf(store), ["old1", "old2"]);
      assertEquals(await countTxs(store, { since: 0 }), 1);
      assertEquals([hasLog(store), hasPlaces(store)], [false, false]);
      assertEquals(findRow(store, "old1")?.place, null);
      assertEquals(logState(store), {
        applied: 0,
        changes: 0,
        filesSynced: 0,
      });
      assertEquals(sumTxs(store), {
        bytes: 0,
        unknownSizes: 2,
        oldest: -2,
        newest: 1.5,
      });
      assertEquals(readSetting(store, "id"), null);
    }
    assertEquals(await filesBelow(dir.path), before);
  },
);

testDrivers(
  "read-only, the older package's rows have the empty holder",
  async (driver) => {
    await using dir = await tempDir();
    await sql(dir, driver, ...OLD_SCHEMA);
    await using store = await openStore(dir, { driver, readOnly: true });
    assertEquals(await countTxs(store, { holderId: "" }), 2);
    assertEquals(await countTxs(store, { holderId: "alice" }), 0);
  },
);

testDrivers("a read-only store refuses every change", async (driver) => {
  await using dir = await tempDir();
  {
    await using store = await openStore(dir, { driver });
    await saveRow(store, sampleInfo());
  }
  const before = await filesBelow(dir.path);
  {
    await using store = await openStore(dir, { driver, readOnly: true });
    await assertRejects(() => saveRow(store, sampleInfo()));
    await assertRejects(() => store.change(() => deleteRow(store, "a")));
    assertEquals(findInfo(store, "a"), sampleInfo());
  }
  assertEquals(await filesBelow(dir.path), before);
});

testDrivers(
  "read-only, nothing is created where there is no database",
  async (driver) => {
    await using dir = await tempDir();
    await assertRejects(
      () => openDatabase(dir.join("poh.db"), { driver, readOnly: true }),
      StoreNotFoundError,
      "poh.db",
    );
    assertEquals(namesIn(dir.path), []);
  },
);

testDrivers("read-only, a database without a store is none", async (driver) => {
  await using dir = await tempDir();
  await sql(dir, driver, "CREATE TABLE other (x)");
  await assertRejects(
    async () => {
      await using store = await openDatabase(dir.join("poh.db"), {
        driver,
        readOnly: true,
      });
      await initDatabase(store);
    },
    StoreNotFoundError,
  );
});

testDrivers("a file that is no database is told as damage", async (driver) => {
  await using dir = await tempDir();
  await Deno.writeFile(dir.join("poh.db"), randomBytes(10_000));
  for (const readOnly of [true, false]) {
    const error = await assertRejects(
      async () => {
        const store = await openDatabase(dir.join("poh.db"), {
          driver,
          readOnly,
        });
        await store.close();
      },
      MetadataDamagedError,
      "poh.db",
    );
    assertExists(error.cause);
  }
  assertBytes(await Deno.readFile(dir.join("poh.db")), randomBytes(10_000));
});

testDrivers("a database that cannot be made is no damage", async (driver) => {
  await using dir = await tempDir();
  const error = await assertRejects(() =>
    openDatabase(dir.join("no", "such", "poh.db"), { driver })
  );
  assert(!(error instanceof MetadataDamagedError), String(error));
});

testDrivers(
  "checkIntegrity() finds nothing in a sound database",
  async (driver) => {
    await using dir = await tempDir();
    await using store = await openStore(dir, { driver });
    await saveRow(store, sampleInfo());
    assertEquals(integrityErrors(store), []);
  },
);

testDrivers(
  "checkIntegrity() finds an index that lacks a row",
  async (driver) => {
    await using dir = await tempDir();
    {
      await using store = await openStore(dir, { driver });
      for (let n = 0; n < 300; n++) {
        await saveRow(store, sampleInfo({ txId: `id-${n}` }));
      }
    }
    await zeroPageOf(dir, driver, "txs_by_time");
    await using store = await openStore(dir, { driver });
    const lines = integrityErrors(store);
    assert(lines.length > 0 && lines.length <= 20, lines.join("\n"));
  },
);

/** Destroys the root page of a table or index. */
async function zeroPageOf(dir: TempDir, driver: Driver, name: string) {
  const [row] = await query(
    dir,
    driver,
    `SELECT rootpage, (SELECT page_size FROM pragma_page_size)
      FROM sqlite_schema WHERE name = '${name}'`,
  );
  const [page, size] = row as [number, number];
  const content = await Deno.readFile(dir.join("poh.db"));
  content.fill(0, (page - 1) * size, page * size);
  await Deno.writeFile(dir.join("poh.db"), content);
}

testDrivers("reading from a damaged page is told as damage", async (driver) => {
  await using dir = await tempDir();
  {
    await using store = await openStore(dir, { driver });
    for (let n = 0; n < 300; n++) {
      await saveRow(store, sampleInfo({ txId: `id-${n}` }));
    }
  }
  await zeroPageOf(dir, driver, "txs");
  await using store = await openStore(dir, { driver });
  await assertRejects(() => idsOf(store), MetadataDamagedError);
});

testDrivers("transaction() commits all of it, or nothing", async (driver) => {
  await using dir = await tempDir();
  await using store = await openStore(dir, { driver });
  const result = store.transaction(() => {
    putRow(store, sampleInfo({ txId: "a" }));
    putRow(store, sampleInfo({ txId: "b" }));
    return 42;
  });
  assertEquals(result, 42);
  assertThrows(
    () =>
      store.transaction(() => {
        deleteRow(store, "a");
        putRow(store, sampleInfo({ txId: "c" }));
        throw new RangeError("stop");
      }),
    RangeError,
  );
  assertThrows(
    () =>
      store.transaction(() => {
        putRow(store, sampleInfo({ txId: "c" }));
        putRow(store, sampleInfo({ txId: "d\0" }));
      }),
    InvalidTxError,
  );
  assertEquals(await idsOf(store), ["a", "b"]);
  await saveRow(store, sampleInfo({ txId: "e" }));
  assertEquals(await countTxs(store), 3);
});

testDrivers(
  "iterateByRowid() gives all rows, the newest first",
  async (driver) => {
    await using dir = await tempDir();
    await using store = await openStore(dir, { driver });
    const ids = Array.from({ length: 600 }, (_, n) => `id-${n}`);
    store.transaction(() =>
      ids.forEach((txId) => putRow(store, sampleInfo({ txId })))
    );
    const found = await Array.fromAsync(
      iterateByRowid(store),
      ({ txId }) => txId,
    );
    assertEquals(found, ids.reverse());
  },
);

testDrivers(
  "inFiles() tells which of many ids have a payload file",
  async (driver) => {
    await using dir = await tempDir();
    await using store = await openStore(dir, { driver });
    const ids = ["a", "取引", "🪙", "'", '"', "\\", "a\n", "\u{10FFFF}"];
    for (const txId of ids) await saveRow(store, sampleInfo({ txId }));
    assertEquals(idsInFiles(store, [...ids, "b", "A", ""]), new Set(ids));
    assertEquals(idsInFiles(store, []), new Set());
  },
);

testDrivers(
  "totals() adds the known sizes and spans the times",
  async (driver) => {
    await using dir = await tempDir();
    await using store = await openStore(dir, { driver });
    assertEquals(sumTxs(store), {
      bytes: 0,
      unknownSizes: 0,
      oldest: null,
      newest: null,
    });
    await saveRow(
      store,
      sampleInfo({ txId: "a", size: 2 ** 40, timestamp: 5 }),
    );
    await saveRow(store, sampleInfo({ txId: "b", size: 3, timestamp: -1.5 }));
    await saveRow(store, sampleInfo({ txId: "c", size: -1, timestamp: 1e300 }));
    assertEquals(sumTxs(store), {
      bytes: 2 ** 40 + 3,
      unknownSizes: 1,
      oldest: -1.5,
      newest: 1e300,
    });
  },
);

testDrivers("holders() counts all and names the largest", async (driver) => {
  await using dir = await tempDir();
  {
    await using store = await openStore(dir, { driver });
    assertEquals(countHolders(store, 3), { count: 0, top: [] });
    for (const holderId of ["a", "b", "b", "", "c", "c", "c", "d"]) {
      const txId = crypto.randomUUID();
      await saveRow(store, sampleInfo({ txId, holderId }));
    }
    assertEquals(countHolders(store, 3), {
      count: 5,
      top: [
        { holderId: "c", txs: 3 },
        { holderId: "b", txs: 2 },
        { holderId: "", txs: 1 },
      ],
    });
  }
  await using old = await tempDir();
  await sql(old, driver, ...OLD_SCHEMA);
  const path = old.join("poh.db");
  await using store = await openDatabase(path, { driver, readOnly: true });
  await initDatabase(store);
  assertEquals(countHolders(store, 3), {
    count: 1,
    top: [{ holderId: "", txs: 2 }],
  });
  assertEquals([schemaVersion(store.connection), hasLog(store)], [0, false]);
});

testDrivers("settings are kept, and replaced", async (driver) => {
  await using dir = await tempDir();
  {
    await using store = await openStore(dir, { driver });
    assertEquals(readSetting(store, "x"), null);
    store.transaction(() => writeSetting(store, "x", "1"));
    store.transaction(() => writeSetting(store, "x", "2"));
  }
  await using store = await openStore(dir, { driver, readOnly: true });
  assertEquals(readSetting(store, "x"), "2");
});

testDrivers(
  "rows that were edited by hand come back with the right types",
  async (driver) => {
    await using dir = await tempDir();
    await (await openStore(dir, { driver })).close();
    await sql(
      dir,
      driver,
      "INSERT INTO txs VALUES ('int', 'aa', 7, 5, 9223372036854775807, NULL)",
      "INSERT INTO txs VALUES ('blob', x'6262', 'soon', x'63', -5, NULL)",
    );
    await using store = await openStore(dir, { driver });
    const [blob, int] = await Array.fromAsync(iterateTxs(store));
    assertEquals(
      int,
      sampleInfo({
        txId: "int",
        storageHash: "aa",
        timestamp: 7,
        holderId: "5",
        size: Number.MAX_SAFE_INTEGER,
      }),
    );
    assertEquals(
      blob,
      sampleInfo({
        txId: "blob",
        storageHash: "bb",
        timestamp: 0,
        holderId: "c",
        size: -1,
      }),
    );
  },
);

testDrivers(
  "a closed database is one file, for readers without write permission",
  async (driver) => {
    await using dir = await tempDir();
    {
      await using store = await openStore(dir, { driver });
      await saveRow(store, sampleInfo());
    }
    assertEquals(namesIn(dir.path), ["poh.db"]);
    assertEquals(await query(dir, driver, "PRAGMA journal_mode"), [["delete"]]);
  },
);

testDrivers("closing one of two leaves the other in order", async (driver) => {
  await using dir = await tempDir();
  await using one = await openStore(dir, { driver });
  const other = await openStore(dir, { driver });
  await saveRow(other, sampleInfo());
  await other.close();
  assertEquals(findInfo(one, "a"), sampleInfo());
  await saveRow(one, sampleInfo({ txId: "b" }));
  assertEquals(await idsOf(one), ["a", "b"]);
});

testDrivers("a closed store says that it is closed", async (driver) => {
  await using dir = await tempDir();
  const store = await openStore(dir, { driver });
  await store.close();
  assertThrows(() => findInfo(store, "a"), StoreClosedError);
  await assertRejects(() => countTxs(store), StoreClosedError);
  await assertRejects(() => saveRow(store, sampleInfo()));
});

for (const one of drivers()) {
  for (const other of drivers()) {
    if (one === other) continue;
    Deno.test(`what ${one} wrote ${other} reads, to the last bit`, async () => {
      await using dir = await tempDir();
      const infos = [0, 1.5, 1e308, 5e-324, 2 ** 53 + 2, -1].map((time, n) =>
        sampleInfo({ txId: `取引${n}🪙`, timestamp: time, size: 2 ** 40 + n })
      );
      {
        await using store = await openStore(dir, { driver: one });
        for (const info of infos) await saveRow(store, info);
        store.transaction(() => putRow(store, infos[0]!, 2 ** 52 + 1));
      }
      await using store = await openStore(dir, { driver: other });
      assertEquals(await Array.fromAsync(iterateTxs(store)), infos);
      assertEquals(findRow(store, infos[0]!.txId)?.place, 2 ** 52 + 1);
    });
  }
}
