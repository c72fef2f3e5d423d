import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { backupStore, StorageManager } from "../../mod.ts";
import { StoreLocks } from "../../src/files/locks.ts";
import { LogDir } from "../../src/log/log_dir.ts";
import { LogReader } from "../../src/log/log_reader.ts";
import { openDatabase } from "../../src/sqlite/open_database.ts";
import { initDatabase } from "../../src/sqlite/open_database.ts";
import { setLogState } from "../../src/sqlite/log_state.ts";
import { deleteRow, putRow } from "../../src/sqlite/row_changes.ts";
import { sampleTx, tempDir, tempStore, testDrivers } from "../helpers.ts";

testDrivers(
  "a reader sees all that a crash has left while a writer has rows follow",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const ids = ["a", "b", "c"];
    for (const txId of ids) await temp.store.saveTx(sampleTx({ txId }));
    await using crash = await temp.snapshot();
    const { base, db } = crash;
    await using rows = await openDatabase(db, { driver });
    await initDatabase(rows);
    const dir = new LogDir(base, { sync: false, write: false });
    const log = new LogReader(dir, rows);
    const [first, second] = ids.map((id) => log.find(id)!.position);
    log.close();
    // What a power cut may leave: rows have not followed, nobody tells of more.
    const infos = await Array.fromAsync(temp.store.iterateTxs());
    rows.transaction(() => {
      for (const txId of ids) deleteRow(rows, txId);
      setLogState(rows, { applied: first! });
    });
    await Deno.remove(join(base, ".poh", "log", "state"));
    // The writer is there, and has not come to it yet.
    const locks = await StoreLocks.acquire(base);
    try {
      const options = { driver, readOnly: true };
      await using store = await StorageManager.open(base, db, options);
      assertEquals(await store.listTxs(), ids);
      rows.transaction(() => {
        putRow(rows, infos[0]!);
        setLogState(rows, { applied: second! });
      });
      assertEquals(await store.listTxs(), ids);
      await using to = await tempDir();
      assertEquals((await backupStore(base, db, to.path, { driver })).txs, 3);
    } finally {
      locks.release();
    }
  },
);
