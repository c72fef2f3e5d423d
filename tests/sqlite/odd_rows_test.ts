import { assert, assertEquals, assertMatch } from "@std/assert";
import { migrateStore, StorageManager } from "../../mod.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { call } from "../cli_helpers.ts";
import {
  type Driver,
  sampleTx,
  type TempStore,
  tempStore,
  testDrivers,
} from "../helpers.ts";

const SOUND = ["a", "b", "ｚ"];

/** What each row is changed to, by its id before. */
const ODD: Readonly<Record<string, string>> = {
  "odd-infinite": "timestamp = 9e999",
  "odd-minus": "timestamp = -9e999",
  "odd-text": "timestamp = 'noon'",
  "odd-empty": "tx_id = ''",
  "odd-long": "tx_id = printf('%.300c', 'x')",
  "odd-blob": "tx_id = x'6162'",
  "odd-null": "tx_id = NULL",
  "odd-bytes": "tx_id = CAST(x'61ff' AS TEXT)",
  "odd-last": "tx_id = CAST(x'ff' AS TEXT)",
};

/** A store at rest whose odd rows other programs have left. */
async function oddStore(driver: Driver): Promise<TempStore> {
  const temp = await tempStore({ driver });
  for (const txId of [...SOUND, ...Object.keys(ODD)]) {
    await temp.store.saveTx(sampleTx({ txId }));
  }
  await temp.close();
  const db = await openSqlite(temp.db, "builtin", false);
  for (const [txId, change] of Object.entries(ODD)) {
    db.exec(`UPDATE txs SET ${change} WHERE tx_id = '${txId}'`);
  }
  db.close();
  return temp;
}

const options = (temp: TempStore, driver: Driver) => [
  "--base",
  temp.base,
  "--driver",
  driver,
];

/** The ids of lines of JSON, each of which has to be valid. */
function idsOf(lines: string): string[] {
  return lines.trimEnd().split("\n").map((line) => JSON.parse(line).tx_id);
}

testDrivers(
  "list goes on past odd rows, names them and ends with 1",
  async (driver) => {
    await using temp = await oddStore(driver);
    const json = await call(["list", "--json", ...options(temp, driver)]);
    const ids = idsOf(json.stdout);
    assertEquals(ids.filter((id) => SOUND.includes(id)), SOUND);
    assertEquals(new Set(ids).size, ids.length);
    assertEquals(
      JSON.parse(
        json.stdout.split("\n").find((line) => line.includes("odd-infinite"))!,
      ).timestamp,
      null,
    );
    for (const name of ["odd-infinite", "odd-text", "X'6162'", "NULL"]) {
      assert(json.stderr.includes(name), name);
    }
    assert(json.stderr.includes("7 rows are no transactions"));
    assertEquals(json.code, 1);
    for (const more of [[], ["--long"], ["--sort", "time"], ["--reverse"]]) {
      const { code, stdout } = await call(
        ["list", ...more, ...options(temp, driver)],
      );
      assertEquals(code, 1);
      for (const txId of SOUND) assert(stdout.includes(txId), txId);
    }
  },
);

testDrivers(
  "verify and recover tell rows that are no transactions, and leave them",
  async (driver) => {
    await using temp = await oddStore(driver);
    for (let round = 0; round < 2; round++) {
      const recovered = await call(["recover", ...options(temp, driver)]);
      assertEquals(recovered.code, 0);
      assertMatch(recovered.stderr, /\b4 odd-row \(left as found\)/);
    }
    const { code, stderr } = await call(["verify", ...options(temp, driver)]);
    assertEquals(code, 1);
    assertMatch(stderr, /^odd-row: file "poh.db": row X'6162': its id is no /m);
    assertMatch(stderr, /^odd-row: file "poh.db": row NULL: its id is no /m);
    assertMatch(stderr, /: 4 rows are no transactions\n$/);
  },
);

testDrivers("a list of odd rows alone comes to its end", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.store.saveTx(sampleTx({ txId: "a" }));
  await temp.close();
  const db = await openSqlite(temp.db, "builtin", false);
  db.exec(`WITH RECURSIVE n(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n
      LIMIT 3000)
    INSERT INTO txs SELECT CAST(x'ff' || CAST(i AS BLOB) AS TEXT),
      storage_hash, timestamp, holder_id, size, NULL FROM txs, n WHERE tx_id = 'a'`);
  db.exec(`WITH RECURSIVE n(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n
      LIMIT 3000)
    INSERT INTO txs SELECT CAST(i AS BLOB), storage_hash, 9e999, holder_id, size, NULL
    FROM txs, n WHERE tx_id = 'a'`);
  db.close();
  const store = await temp.open();
  for (const query of [{}, { reverse: true }, { sort: "time" }] as const) {
    assertEquals(await store.listTxs(query), ["a"]);
  }
  const pages = await Array.fromAsync(store.iterateByHolder());
  assertEquals(pages.filter(({ txId }) => txId === "a").length, 1);
  assertEquals((await store.oddRows()).length, 2_000); // no more are told
});

testDrivers(
  "an order of time goes on behind an infinite time",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const ids = Array.from({ length: 2_000 }, (_, n) => `${n + 1_000}`);
    await temp.store.saveTx(sampleTx({ txId: "1000" }));
    await temp.close();
    const db = await openSqlite(temp.db, "builtin", false);
    db.exec(`WITH RECURSIVE n(i) AS (VALUES (1001) UNION ALL SELECT i + 1 FROM n
        WHERE i < 2999)
      INSERT INTO txs SELECT i, storage_hash, timestamp, holder_id, size, NULL
      FROM txs, n WHERE tx_id = '1000'`);
    db.exec("UPDATE txs SET timestamp = 9e999 WHERE tx_id >= '1500'");
    db.exec("UPDATE txs SET timestamp = -9e999 WHERE tx_id < '1200'");
    db.close();
    const store = await temp.open();
    assertEquals(await store.listTxs({ sort: "time" }), ids);
    const infos = await Array.fromAsync(store.iterateTxs({ sort: "time" }));
    assertEquals(infos.map(({ txId }) => txId), ids);
    assertEquals(
      await store.listTxs({ sort: "time", reverse: true }),
      ids.toReversed(),
    );
  },
);

testDrivers(
  "export prints what can be saved, names the rest and ends with 1",
  async (driver) => {
    await using temp = await oddStore(driver);
    const { code, stdout, stderr } = await call(
      ["export", ...options(temp, driver)],
    );
    assertEquals(code, 1);
    const ids = idsOf(stdout);
    assertEquals(ids.filter((id) => id !== "odd-text"), SOUND);
    for (
      const name of ["odd-infinite", "odd-minus", 'tx ""', "xxx", "X'6162'"]
    ) assert(stderr.includes(name), name);
    assertMatch(stderr, /: 9 that no store may save left out\n$/);
  },
);

testDrivers(
  "migrate copies what can be saved, names the rest and ends with 1",
  async (driver) => {
    await using temp = await oddStore(driver);
    const target = `${temp.base}-copy`;
    await call(["init", "--base", target, "--driver", driver]);
    const { code, stdout, stderr } = await call(
      ["migrate", "--json", "--to-base", target, ...options(temp, driver)],
    );
    assertEquals(code, 1);
    const { copied, odd, damaged } = JSON.parse(stdout);
    assertEquals({ copied, odd, damaged }, { copied: 4, odd: 9, damaged: 0 });
    assert(stderr.includes("odd-infinite") && stderr.includes("NULL"));
    await using from = await StorageManager.create(temp.base, temp.db);
    await using to = await StorageManager.create(target, `${target}/poh.db`);
    const told: string[] = [];
    const again = await migrateStore(from, to, {
      onLeftOut: (_, id) => told.push(id),
    });
    assertEquals([again.copied, again.present], [0, 4]);
    assert(told.includes("odd-minus") && told.includes("X'6162'"));
  },
);

testDrivers(
  "a backup of a store with odd rows ends, with 4, and restores",
  async (driver) => {
    await using temp = await oddStore(driver);
    const folder = `${temp.base}-backup`;
    const { code, stderr } = await call(
      ["backup", folder, ...options(temp, driver)],
    );
    assertEquals(code, 4);
    for (const name of ["xxx", "X'6162'", "NULL"]) {
      assert(stderr.includes(name), name);
    }
    const restored = `${temp.base}-restored`;
    const done = await call(
      ["restore", folder, "--base", restored, "--driver", driver],
    );
    assertEquals(done.code, 0, done.stderr);
    const { stdout } = await call(
      ["list", "--json", "--base", restored, "--driver", driver],
    );
    // An infinite time is no reason to lose a payload.
    assertEquals(
      idsOf(stdout).filter((id) => id !== "odd-text"),
      ["a", "b", "odd-infinite", "odd-minus", "ｚ"],
    );
  },
);
