import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { StorageManager } from "../mod.ts";
import { StoreLocks } from "../src/locks.ts";
import { openSqlite } from "../src/sqlite_driver.ts";
import { LOG_PAGES, SqliteStore } from "../src/sqlite_store.ts";
import { WalCheckpoints } from "../src/wal_checkpoints.ts";
import { sampleInfo } from "./contract/metadata_store.ts";
import {
  type Driver,
  randomBytes,
  sampleTx,
  type TempDir,
  tempDir,
  testDrivers,
} from "./helpers.ts";

/** An open database with rows that only its log has yet. */
async function logged(dir: TempDir, driver: Driver, count: number) {
  await using opened = new AsyncDisposableStack();
  const locks = await StoreLocks.acquire(dir.path);
  opened.defer(() => locks.release());
  const rows = opened.use(
    await SqliteStore.open(dir.join("poh.db"), { driver }),
  );
  await rows.init();
  rows.transaction(() => {
    for (let n = 0; n < count; n++) rows.put(sampleInfo({ txId: `${n}` }));
  });
  const wal = new WalCheckpoints(rows, locks);
  const closing = opened.move();
  return {
    rows,
    wal,
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

/** How many rows a database has without its log; 0 where it has no table. */
async function rowsInFile(dir: TempDir, driver: Driver): Promise<number> {
  const copy = join(await Deno.makeTempDir({ dir: dir.path }), "copy.db");
  await Deno.copyFile(dir.join("poh.db"), copy);
  const db = await openSqlite(copy, driver, false);
  try {
    return db.prepare("SELECT count(*) FROM txs").get()![0] as number;
  } catch {
    return 0;
  } finally {
    db.close();
  }
}

testDrivers("a long log goes into the database", async (driver) => {
  await using dir = await tempDir();
  await using made = await logged(dir, driver, 100);
  made.wal.onCommit(LOG_PAGES, 0);
  await made.wal.close();
  assertEquals(await rowsInFile(dir, driver), 100);
});

testDrivers("a short log waits", async (driver) => {
  await using dir = await tempDir();
  await using made = await logged(dir, driver, 100);
  made.wal.onCommit(1, 4096);
  await made.wal.close();
  assertEquals(await rowsInFile(dir, driver), 0);
});

testDrivers("payloads in the database make the log long", async (driver) => {
  await using dir = await tempDir();
  await using made = await logged(dir, driver, 100);
  made.wal.onCommit(1, LOG_PAGES * 4096);
  await made.wal.close();
  assertEquals(await rowsInFile(dir, driver), 100);
});

testDrivers("saves go on while the log is taken over", async (driver) => {
  await using dir = await tempDir();
  const db = dir.join("poh.db");
  const options = { driver, inlineBelow: 65_536 } as const;
  await using store = await StorageManager.create(dir.path, db, options);
  const payload = randomBytes(65_536);
  // Four times what the log holds before it goes into the database.
  const count = 4 * LOG_PAGES / 16;
  for (let at = 0; at < count; at += 64) {
    await store.saveTxs(
      Array.from(
        { length: 64 },
        (_, n) => sampleTx({ txId: `${at + n}`, payload }),
      ),
    );
  }
  const log = (await Deno.stat(`${db}-wal`)).size;
  assert(log < 3 * LOG_PAGES * 4096, `the log has ${log} bytes`);
  const { sound, findings } = await store.verify();
  assertEquals([sound, findings], [count, []]);
});
