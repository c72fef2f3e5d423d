import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { StorageManager } from "../../mod.ts";
import { StoreLocks } from "../../src/files/locks.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { Follower } from "../../src/log/follower.ts";
import { WalCheckpoints } from "../../src/log/wal_checkpoints.ts";
import { sampleInfo } from "../contract/metadata_store.ts";
import {
  type Driver,
  sampleTx,
  type TempDir,
  tempDir,
  testDrivers,
} from "../helpers.ts";
import { LOG_PAGES } from "../../src/sqlite/wal_mode.ts";
import { openDatabase } from "../../src/sqlite/open_database.ts";
import { initDatabase } from "../../src/sqlite/open_database.ts";
import { putRow } from "../../src/sqlite/row_changes.ts";

/** An open database with rows that only its log has yet. */
async function logged(dir: TempDir, driver: Driver, count: number) {
  await using opened = new AsyncDisposableStack();
  const locks = await StoreLocks.acquire(dir.path);
  opened.defer(() => locks.release());
  const rows = opened.use(
    await openDatabase(dir.join("poh.db"), { driver }),
  );
  await initDatabase(rows);
  rows.transaction(() => {
    for (let n = 0; n < count; n++) putRow(rows, sampleInfo({ txId: `${n}` }));
  });
  const thread = await Follower.start({
    base: dir.path,
    path: rows.path,
    driver,
    sync: true,
  });
  opened.use(thread!);
  const wal = new WalCheckpoints(rows, locks, () => Promise.resolve(thread));
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
  made.wal.onCommit(LOG_PAGES);
  await made.wal.close();
  assertEquals(await rowsInFile(dir, driver), 100);
});

testDrivers("a short log waits", async (driver) => {
  await using dir = await tempDir();
  await using made = await logged(dir, driver, 100);
  made.wal.onCommit(1);
  await made.wal.close();
  assertEquals(await rowsInFile(dir, driver), 0);
});

testDrivers("saves go on while the log is taken over", async (driver) => {
  await using dir = await tempDir();
  const db = dir.join("poh.db");
  await using store = await StorageManager.create(dir.path, db, { driver });
  // Several times what the log holds before it goes into the database.
  const count = 24_000;
  for (let at = 0; at < count; at += 200) {
    await store.saveTxs(
      Array.from({ length: 200 }, (_, n) => sampleTx({ txId: `${at + n}` })),
    );
  }
  const log = (await Deno.stat(`${db}-wal`)).size;
  assert(log < 8 * LOG_PAGES * 4096, `the log has ${log} bytes`);
  const { sound, findings } = await store.verify();
  assertEquals([sound, findings], [count, []]);
});
