import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import {
  BackupDamagedError,
  backupStore,
  performRecovery,
  PohStorageError,
  restoreStore,
  StorageManager,
  verifyStore,
} from "../../mod.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { cliStore, txText } from "../cli_helpers.ts";
import {
  type Driver,
  filesBelow,
  namesIn,
  outline,
  sampleTx,
  tempDir,
  tempStore,
  testDrivers,
} from "../helpers.ts";

async function sql(db: string, driver: Driver, text: string): Promise<void> {
  const rows = await openSqlite(db, driver, false);
  rows.exec(text);
  rows.close();
}

/** What has no place in a database, by the name it is refused under. */
const FOREIGN: Record<string, string> = {
  trigger: "CREATE TRIGGER evil AFTER INSERT ON txs BEGIN DELETE FROM txs; END",
  view: "CREATE VIEW evil AS SELECT * FROM txs",
  "virtual table": "CREATE VIRTUAL TABLE evil USING fts5(text)",
  "generated column":
    "ALTER TABLE txs ADD COLUMN evil AS (upper(tx_id)) VIRTUAL",
  "index on an expression": "CREATE INDEX evil ON txs (abs(timestamp))",
  "partial index": "CREATE INDEX evil ON txs (timestamp) WHERE size > 0",
  "index with a collation": "CREATE INDEX evil ON txs (tx_id COLLATE NOCASE)",
};

testDrivers(
  "a database with triggers, views and the like is refused in one line",
  async (driver) => {
    for (const [kind, text] of Object.entries(FOREIGN)) {
      await using temp = await tempStore({ driver });
      await temp.store.saveTx(sampleTx());
      await temp.close();
      await sql(temp.db, driver, text);
      const before = await filesBelow(temp.base);
      const { base, db } = temp;
      for (
        const attempt of [
          () => StorageManager.open(base, db, { driver }),
          () => StorageManager.open(base, db, { driver, readOnly: true }),
          () => performRecovery(base, db, { driver, rebuild: true }),
          () => verifyStore(base, db, { driver }),
          () => backupStore(base, db, `${base}-backup`, { driver }),
        ]
      ) {
        const error = await assertRejects(attempt, PohStorageError, kind, kind);
        assertEquals(error.code, "FOREIGN_SCHEMA");
        assertStringIncludes(error.message, db);
        assertEquals(await filesBelow(base), before, kind);
      }
      assertEquals(namesIn(base, ".poh", "holders"), []);
    }
  },
);

testDrivers("other tables and plain indexes do no harm", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.store.saveTx(sampleTx());
  await temp.close();
  await sql(
    temp.db,
    driver,
    `CREATE TABLE mine (a TEXT COLLATE NOCASE, b AS (upper(a)));
    CREATE INDEX mine_by_b ON mine (lower(a)) WHERE a > '';
    CREATE INDEX txs_mine ON txs (storage_hash, timestamp DESC)`,
  );
  const store = await temp.reopen();
  await store.saveTx(sampleTx({ txId: "b" }));
  assertEquals(await store.listTxs(), ["a", "b"]);
  assertEquals((await store.verify()).findings, []);
});

const BLOB = `INSERT INTO txs (tx_id, storage_hash, timestamp)
  VALUES (CAST('blob' AS BLOB), '${"00".repeat(32)}', 1)`;

testDrivers(
  "a row whose tx_id is a BLOB does not take another's place in a rebuild",
  async (driver) => {
    await using temp = await tempStore({ driver });
    for (const txId of ["a", "blob"]) {
      await temp.store.saveTx(sampleTx({ txId, holderId: "alice" }));
    }
    await temp.close();
    await sql(temp.db, driver, BLOB);
    const content = await Deno.readFile(temp.db);
    await Deno.writeFile(temp.db, content.fill(0, 20, 24)); // of the header
    const { base, db } = temp;
    const report = await performRecovery(base, db, { driver, rebuild: true });
    // The second one tells that files know no holder.
    const rebuilt = "metadata-damaged null: rebuilt";
    assertEquals(outline(report), [rebuilt, rebuilt]);
    const store = await temp.reopen();
    assertEquals(await store.listTxs(), ["a", "blob"]);
    assertEquals((await store.verify()).findings, []);
  },
);

testDrivers(
  "a backup with such a row, or a trigger, is not restored",
  async (driver) => {
    await using dir = await tempDir();
    const base = dir.join("base"), db = join(base, "poh.db");
    {
      await using store = await StorageManager.create(base, db, { driver });
      await store.saveTx(sampleTx());
    }
    for (const text of [BLOB, FOREIGN.trigger!]) {
      const backup = dir.join("backup");
      await backupStore(base, db, backup, { driver });
      await sql(join(backup, "poh.db"), driver, text);
      await assertRejects(
        () =>
          restoreStore(backup, dir.join("new"), dir.join("new", "poh.db"), {
            driver,
          }),
        BackupDamagedError,
        "nothing was restored",
      );
      assertEquals(namesIn(dir.path), ["backup", "base"]);
      await Deno.remove(backup, { recursive: true });
    }
  },
);

testDrivers("commands end in one line on such databases", async (driver) => {
  for (const text of Object.values(FOREIGN)) {
    await using store = await cliStore();
    await store.ok(["save", "--tx", txText("a")]);
    await sql(join(store.base, "poh.db"), driver, text);
    for (
      const args of [
        ["save", "--tx", txText("b")],
        ["list"],
        ["export"],
        ["backup", store.dir.join("backup")],
        ["recover"],
        ["serve", "--port", "0", "--quiet"],
      ]
    ) {
      const outcome = await store.call(args);
      assertEquals(outcome.code, 1, `${args[0]}: ${outcome.stderr}`);
      const lines = outcome.stderr.match(/^poh-storage: .*$/gm);
      assertEquals(lines?.length, 1, outcome.stderr);
    }
  }
});

testDrivers(
  "a bit flipped in the version of a schema does not make it a later one",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(sampleTx());
    await temp.close();
    const { base, db } = temp;
    const version = async () => {
      const connection = await openSqlite(db, driver, true);
      const [found] = connection.prepare("PRAGMA user_version").get()!;
      connection.close();
      return found as number;
    };
    const sound = await version();
    for (let bit = 3; bit < 31; bit += 9) {
      await sql(db, driver, `PRAGMA user_version = ${sound + 2 ** bit}`);
      const told = await verifyStore(base, db, { driver });
      assertEquals([told.sound, told.findings], [1, []]);
      const report = await performRecovery(base, db, { driver });
      assertEquals([report.sound, report.findings], [1, []]);
      assertEquals(await version(), sound);
    }
    // What a later program says twice is so.
    const later = sound + 1;
    await sql(db, driver, `PRAGMA user_version = ${later}`);
    await sql(
      db,
      driver,
      `UPDATE settings SET value = '${later}' WHERE name = 'schema'`,
    );
    const error = await assertRejects(
      () => performRecovery(base, db, { driver, rebuild: true }),
      PohStorageError,
    );
    assertEquals(error.code, "SCHEMA_TOO_NEW");
  },
);

testDrivers(
  "a schema that damage has hit is rebuilt, with holders or without and told",
  async (driver) => {
    // SQLite reads nothing at all of some: then it is told what is lost.
    const hits: [string, string, string][] = [
      ["holder_id TEXT", "holdar_id TEXT", ""],
      [
        "txs_by_time ON txs (timestamp,",
        "txs_by_time ON txs (timestamp-",
        "alice",
      ],
      ["indextxs_by_size", "indehtxs_by_size", ""],
      ["tabletxstxs", "tabletxstxr", ""],
    ];
    for (const [there, by, holderId] of hits) {
      await using temp = await tempStore({ driver });
      await temp.store.saveTx(sampleTx());
      await temp.close();
      const { base, db } = temp;
      const content = await Deno.readFile(db);
      const at = new TextDecoder("latin1").decode(content).indexOf(there);
      assertEquals(at > 0, true, there);
      content.set(new TextEncoder().encode(by), at);
      await Deno.writeFile(db, content);
      const told = await performRecovery(base, db, { driver });
      assertEquals(
        new Set(outline(told)),
        new Set(["metadata-damaged null: none"]),
        there,
      );
      const report = await performRecovery(base, db, { driver, rebuild: true });
      assertEquals(report.sound, 1);
      const store = await temp.reopen();
      const tx = (await store.loadTx("a"))!;
      assertEquals([tx.holderId, tx.payload], [holderId, sampleTx().payload]);
      const isTold = report.findings.some(({ detail }) =>
        detail.startsWith("holder and time of 1 transactions are lost")
      );
      assertEquals(isTold, holderId === "", there);
    }
  },
);
