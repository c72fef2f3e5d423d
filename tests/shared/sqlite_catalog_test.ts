// A catalog in SQLite passes what every catalog does.

import { assertEquals, assertRejects } from "@std/assert";
import { StorageManager } from "../../mod.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { SqliteCatalog } from "../../src/shared/sqlite_catalog.ts";
import { testCatalog } from "../contract/catalog.ts";
import { testMetadataStore } from "../contract/metadata_store.ts";
import { testTxQueries } from "../contract/tx_queries.ts";
import { sampleTx, tempDir, test } from "../helpers.ts";

async function open(path: string): Promise<SqliteCatalog> {
  const catalog = await SqliteCatalog.open(path, {
    driver: "builtin",
    sync: false,
  });
  try {
    await catalog.init();
    return catalog;
  } catch (error) {
    await catalog.close();
    throw error;
  }
}

async function emptyCatalog() {
  const dir = await tempDir();
  const opened = [await open(dir.join("a.db"))];
  return {
    store: opened[0]!,
    reopen: async () => {
      await opened.at(-1)!.close();
      opened.push(await open(dir.join("a.db")));
      return opened.at(-1)!;
    },
    [Symbol.asyncDispose]: async () => {
      await opened.at(-1)!.close();
      await dir[Symbol.asyncDispose]();
    },
  };
}

testMetadataStore("SqliteCatalog", emptyCatalog);

testTxQueries("SqliteCatalog", emptyCatalog);

testCatalog("SqliteCatalog", async () => {
  const dir = await tempDir();
  const opened = [await open(dir.join("a.db"))];
  return {
    catalog: opened[0]!,
    again: async () => {
      opened.push(await open(dir.join("a.db")));
      return opened.at(-1)!;
    },
    age: (seconds) => age(dir.join("a.db"), seconds),
    [Symbol.asyncDispose]: async () => {
      for (const catalog of opened) await catalog.close();
      await dir[Symbol.asyncDispose]();
    },
  };
}, { leasesStay: true });

async function age(path: string, seconds: number): Promise<void> {
  const db = await openSqlite(path, "builtin", false);
  db.exec(`UPDATE retired SET at = at - ${seconds}`);
  db.close();
}

test("a catalog that is made write-once stays so", async () => {
  await using dir = await tempDir();
  for (const writeOnce of [true, false]) {
    const path = dir.join(`${writeOnce}.db`);
    for (const asked of [writeOnce, !writeOnce]) {
      const catalog = await SqliteCatalog.open(path, {
        driver: "builtin",
        writeOnce: asked,
      });
      await catalog.init();
      assertEquals(await catalog.isWriteOnce(), writeOnce);
      await catalog.close();
    }
  }
});

test("the database of a local store is not taken for a catalog", async () => {
  await using dir = await tempDir();
  const db = dir.join("base", "poh.db");
  {
    await using store = await StorageManager.create(dir.join("base"), db);
    await store.saveTx(sampleTx());
  }
  await assertRejects(() => open(db), Error, "migrate");
  await using store = await StorageManager.create(dir.join("base"), db);
  assertEquals(await store.listTxs(), ["a"]);
});
