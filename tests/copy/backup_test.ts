import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { join } from "@std/path";
import {
  BackupPathError,
  BackupReadOnlyError,
  backupStore,
  MetadataDamagedError,
  performRecovery,
  type PohStorageError,
  restoreStore,
  sha256Hex,
  StorageManager,
  StoreBusyError,
  StoreMismatchError,
  StoreNotFoundError,
  type StoreReport,
  verifyStore,
} from "../../mod.ts";
import { StoreLocks } from "../../src/files/locks.ts";
import { LogDir } from "../../src/log/log_dir.ts";
import { LogReader } from "../../src/log/log_reader.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import {
  assertBytes,
  bytes,
  type Driver,
  filesBelow,
  flipBit,
  namesIn,
  outline,
  randomBytes,
  sampleTx,
  seededRandom,
  startScript,
  tempDir,
  type TempStore,
  tempStore,
  test,
  testDrivers,
  text,
} from "../helpers.ts";
import { Database } from "../../src/sqlite/database.ts";
import { saveAsOlder } from "../local/older_store.ts";
import { openDatabase } from "../../src/sqlite/open_database.ts";
import { PayloadFiles } from "../../src/payloads/payload_files.ts";
import { waitingName } from "../../src/payloads/staged_files.ts";
import { initDatabase } from "../../src/sqlite/open_database.ts";
import { logState, setLogState } from "../../src/sqlite/log_state.ts";
import { deleteRow, putRow } from "../../src/sqlite/row_changes.ts";
import { findInfo } from "../../src/sqlite/lookups.ts";
import { hasPlaces } from "../../src/sqlite/places.ts";

/** A store with some transactions, at rest unless it is opened again. */
async function filled(driver: Driver, ids = ["a", "b", "c"]) {
  const temp = await tempStore({ driver });
  for (const txId of ids) await temp.store.saveTx(sampleTx({ txId }));
  await temp.close();
  return temp;
}

/** The payload of every transaction of a store, which must be sound. */
async function contentsOf(base: string, db = join(base, "poh.db")) {
  const report = await verifyStore(base, db);
  assertEquals(outline(report), []);
  await using store = await StorageManager.create(base, db, { readOnly: true });
  const contents: Record<string, string> = {};
  for (const txId of await store.listTxs()) {
    const { payload } = (await store.loadTx(txId))!;
    contents[txId] = payload.length > 100
      ? await sha256Hex(payload)
      : text(payload);
  }
  return contents;
}

function inodeOf(path: string): number | null {
  return Deno.statSync(path).ino;
}

testDrivers("a backup is a sound store of its own, at rest", async (driver) => {
  await using temp = await tempStore({ driver });
  await using dir = await tempDir();
  const large = randomBytes(300_000);
  await temp.store.saveTx(sampleTx({ txId: "a/b", holderId: "bob" }));
  await temp.store.saveTx(sampleTx({ txId: "large", payload: large }));
  await temp.store.saveTx(sampleTx({ txId: "empty", payload: bytes("") }));
  const report = await backupStore(temp.base, temp.db, dir.join("x", "y"), {
    driver,
  });
  assertEquals(
    { ...report, linked: 0 },
    {
      txs: 3,
      written: 3,
      linked: 0,
      bytes: 300_000 + "payload of a/b".length,
      kept: 0,
      removed: 0,
      damaged: 0,
      unreadable: 0,
      findings: [],
      interrupted: false,
    },
  );
  assertEquals(namesIn(dir.join("x", "y")), [
    ".poh",
    "a%2Fb.bin",
    "empty.bin",
    "large.bin",
    "poh.db",
  ]);
  assertEquals(namesIn(dir.join("x", "y", ".poh", "tmp")), []);
  assertEquals(await contentsOf(dir.join("x", "y")), {
    "a/b": "payload of a/b",
    empty: "",
    large: await sha256Hex(large),
  });
  await using rows = await openDatabase(dir.join("x", "y", "poh.db"), {
    driver,
    readOnly: true,
  });
  await initDatabase(rows);
  assertEquals([logState(rows).applied, hasPlaces(rows)], [0, false]);
  assertEquals(findInfo(rows, "a/b"), await temp.store.infoTx("a/b"));
});

testDrivers("an empty store has an empty backup", async (driver) => {
  await using temp = await filled(driver, []);
  await using dir = await tempDir();
  const { txs } = await backupStore(temp.base, temp.db, dir.path, { driver });
  assertEquals(txs, 0);
  assertEquals(await contentsOf(dir.path), {});
});

testDrivers("a second backup takes only what is new", async (driver) => {
  await using temp = await filled(driver);
  await using dir = await tempDir();
  await backupStore(temp.base, temp.db, dir.path, { driver });
  const inode = inodeOf(dir.join("a.bin"));
  const store = await temp.reopen();
  await store.saveTx(sampleTx({ txId: "b", payload: bytes("other") }));
  await store.saveTx(sampleTx({ txId: "d" }));
  await store.deleteTx("c");
  const report = await backupStore(temp.base, temp.db, dir.path, { driver });
  const { txs, written, kept, removed } = report;
  assertEquals({ txs, written, kept, removed }, {
    txs: 3,
    written: 2,
    kept: 1,
    removed: 1,
  });
  assertEquals(inodeOf(dir.join("a.bin")), inode);
  assertEquals(await contentsOf(dir.path), {
    a: "payload of a",
    b: "other",
    d: "payload of d",
  });
  assertEquals(namesIn(dir.join(".poh", "staged")), []);
});

testDrivers(
  "hard links are made where they can be, copies if asked",
  async (driver) => {
    await using temp = await filled(driver);
    await using dir = await tempDir();
    const [links, copies] = [dir.join("links"), dir.join("copies")];
    const linking = await backupStore(temp.base, temp.db, links, { driver });
    const copying = await backupStore(temp.base, temp.db, copies, {
      driver,
      copy: true,
    });
    assertEquals(copying.linked, 0);
    const live = inodeOf(temp.file("a"));
    assert(live === null || inodeOf(join(copies, placeOf("a"))) !== live);
    if (linking.linked === 0) return; // a file system without links
    assertEquals(inodeOf(join(links, placeOf("a"))), live);
    // What happens to the store does not happen to the backup.
    const store = await temp.reopen();
    await store.saveTx(sampleTx({ txId: "a", payload: bytes("new") }));
    await store.deleteTx("b");
    await temp.close();
    assertEquals(Object.keys(await contentsOf(links)), ["a", "b", "c"]);
    // Links give way to copies without a moment in which neither is there.
    const { written, kept } = await backupStore(temp.base, temp.db, links, {
      driver,
      copy: true,
    });
    assertEquals({ written, kept }, { written: 2, kept: 0 });
    assert(inodeOf(join(links, placeOf("c"))) !== inodeOf(temp.file("c")));
    assertEquals(await contentsOf(links), { a: "new", c: "payload of c" });
  },
);

testDrivers(
  "verify finds a backup's damage, and mends it from the store",
  async (driver) => {
    await using temp = await filled(driver);
    await using dir = await tempDir();
    const options = { driver, copy: true };
    await backupStore(temp.base, temp.db, dir.path, options);
    await flipBit(dir.join("b.bin"));
    const trusting = await backupStore(temp.base, temp.db, dir.path, options);
    assertEquals(trusting.kept, 3);
    const reading = await backupStore(temp.base, temp.db, dir.path, {
      ...options,
      verify: true,
    });
    assertEquals([reading.written, reading.kept], [1, 2]);
    await Deno.truncate(dir.join("c.bin"), 3);
    const sized = await backupStore(temp.base, temp.db, dir.path, options);
    assertEquals([sized.written, sized.kept], [1, 2]);
    assertEquals(Object.keys(await contentsOf(dir.path)), ["a", "b", "c"]);
  },
);

testDrivers(
  "damaged and unreadable transactions are told and left out",
  async (driver) => {
    await using temp = await filled(driver, ["a", "b", "c", "d"]);
    await using dir = await tempDir();
    await flipBit(temp.file("a"));
    await Deno.remove(temp.file("b"));
    await Deno.remove(temp.file("c"));
    await Deno.mkdir(temp.file("c"));
    const told: string[] = [];
    const report = await backupStore(temp.base, temp.db, dir.join("folder"), {
      driver,
      onFinding: ({ kind, txId }) => told.push(`${kind} ${txId}`),
    });
    const expected = [
      "payload-corrupt a: none",
      "payload-missing b: none",
      "unreadable c: none",
    ];
    assertEquals(outline(report.findings), expected);
    assertEquals(told.length, 3);
    const { txs, damaged, unreadable } = report;
    assertEquals({ txs, damaged, unreadable }, {
      txs: 1,
      damaged: 2,
      unreadable: 1,
    });
    assertEquals(await contentsOf(dir.join("folder")), { d: "payload of d" });
    const archive = new TransformStream<Uint8Array, Uint8Array>();
    const [ofTar] = await Promise.all([
      backupStore(temp.base, temp.db, archive.writable, { driver }),
      restoreStore(archive.readable, dir.join("r"), dir.join("r", "poh.db")),
    ]);
    assertEquals(outline(ofTar.findings), expected);
    assertEquals(await contentsOf(dir.join("r")), { d: "payload of d" });
  },
);

testDrivers(
  "a payload that is sound in the backup stays when the store's is not",
  async (driver) => {
    await using temp = await filled(driver);
    await using dir = await tempDir();
    await backupStore(temp.base, temp.db, dir.path, { driver, copy: true });
    await flipBit(temp.file("b"));
    const report = await backupStore(temp.base, temp.db, dir.path, {
      driver,
      copy: true,
      verify: true,
    });
    assertEquals([report.kept, report.damaged], [3, 0]);
    assertEquals((await contentsOf(dir.path)).b, "payload of b");
  },
);

testDrivers("what only the log has is backed up", async (driver) => {
  await using temp = await filled(driver);
  await using dir = await tempDir();
  const large = randomBytes(100_000);
  const store = await temp.open();
  await store.saveTx(sampleTx({ txId: "d", payload: bytes("logged") }));
  await store.saveTx(sampleTx({ txId: "e", payload: large }));
  await store.saveTx(sampleTx({ txId: "f" }));
  // A crash: neither files nor, of the last ones, rows have followed.
  await using crash = await temp.snapshot();
  const [staged] = await unfollow(crash, driver, ["d", "e"]);
  await Deno.rename(crash.file("e"), join(crash.base, ".poh/staged", staged!));
  await Deno.remove(crash.file("d"));

  const before = await filesBelow(crash.base);
  await backupStore(crash.base, crash.db, dir.path, { driver });
  assertEquals(await filesBelow(crash.base), before);
  const { d, e, f } = await contentsOf(dir.path);
  assertEquals([d, e, f], ["logged", await sha256Hex(large), "payload of f"]);
});

testDrivers(
  "what a writer drops from the log meanwhile is backed up",
  async (driver) => {
    await using temp = await filled(driver);
    await using dir = await tempDir();
    const store = await temp.open();
    for (const txId of ["d", "e"]) await store.saveTx(sampleTx({ txId }));
    await using crash = await temp.snapshot();
    await unfollow(crash, driver, ["d", "e"]);
    const { backup } = Database.prototype;
    let writes = 0;
    Database.prototype.backup = async function (path) {
      await backup.call(this, path);
      if (writes++ > 0) return;
      await (await StorageManager.open(crash.base, crash.db, { driver }))
        .close();
    };
    try {
      await backupStore(crash.base, crash.db, dir.path, { driver });
    } finally {
      Database.prototype.backup = backup;
    }
    const ids = Object.keys(await contentsOf(dir.path));
    assertEquals(ids, ["a", "b", "c", "d", "e"]);
    assertEquals(writes, 2);
  },
);

/** Takes back the rows of a crashed store; the staged names of its records. */
async function unfollow(crash: TempStore, driver: Driver, ids: string[]) {
  await using rows = await openDatabase(crash.db, { driver });
  await initDatabase(rows);
  const dir = new LogDir(crash.base, { sync: false, write: false });
  const log = new LogReader(dir, rows);
  const records = ids.map((id) => log.find(id)!);
  rows.transaction(() => {
    for (const { txId } of records) deleteRow(rows, txId);
    setLogState(rows, { applied: records[0]!.position });
  });
  log.close();
  return records.map(({ name }) => name).filter((name) => name !== "");
}

testDrivers(
  "what is replaced or deleted meanwhile is settled as it is then",
  async (driver) => {
    const ids = Array.from({ length: 600 }, (_, n) => `t${1000 + n}`);
    for (const kind of ["folder", "tar"]) {
      await using temp = await filled(driver, ids);
      await using dir = await tempDir();
      await using rows = await openDatabase(temp.db, { driver });
      await initDatabase(rows);
      const payload = bytes("newer");
      const storageHash = await sha256Hex(payload);
      let isChanged = false;
      const onProgress = () => {
        if (isChanged) return; // the rows are copied, few payloads are
        isChanged = true;
        rows.transaction(() => {
          deleteRow(rows, "t1590");
          putRow(rows, {
            ...sampleTx({ txId: "t1591" }),
            storageHash,
            size: 5,
          });
        });
        Deno.removeSync(temp.file("t1590"));
        Deno.removeSync(temp.file("t1591")); // perhaps it is a hard link by now
        Deno.writeFileSync(temp.file("t1591"), payload);
      };
      const archive = new TransformStream<Uint8Array, Uint8Array>();
      const isFolder = kind === "folder";
      const [report] = await Promise.all([
        backupStore(
          temp.base,
          temp.db,
          isFolder ? dir.path : archive.writable,
          { driver, onProgress },
        ),
        isFolder ||
        restoreStore(archive.readable, dir.join("r"), dir.join("db")),
      ]);
      assertEquals([report.txs, report.damaged], [599, 0], kind);
      const contents = await (isFolder
        ? contentsOf(dir.path)
        : contentsOf(dir.join("r"), dir.join("db")));
      assertEquals(contents.t1591, "newer");
      assertEquals(Object.keys(contents).length, 599);
      assertEquals("t1590" in contents, false);
    }
  },
);

/** What is known of an id: no digest when it was deleted. */
type Known = { digest: string | null };

/** Saves, replaces and deletes until it is told to stop. */
async function writeConstantly(
  store: StorageManager,
  acknowledged: Map<string, Known>,
  signal: AbortSignal,
  seed: number,
): Promise<void> {
  const random = seededRandom(seed);
  while (!signal.aborted) {
    const txId = `w${seed % 10}-${Math.floor(random() * 400)}`;
    acknowledged.delete(txId); // it may be either, from now on
    let digest: string | null = null;
    if (random() < 0.2) {
      await store.deleteTx(txId);
    } else {
      const size = random() < 0.1 ? 70_000 : Math.floor(random() * 300);
      const payload = randomBytes(size, Math.floor(random() * 2 ** 31));
      digest = (await store.saveTx(sampleTx({ txId, payload }))).storageHash;
    }
    acknowledged.set(txId, { digest });
  }
}

testDrivers(
  "a backup under constant writes holds all that was acknowledged before",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await using dir = await tempDir();
    const maps = [1, 2].map(() => new Map<string, Known>());
    for (const [round, kind] of ["folder", "tar", "folder"].entries()) {
      const stop = new AbortController();
      const writers = maps.map((map, n) =>
        writeConstantly(temp.store, map, stop.signal, 10 * round + n)
      );
      await new Promise((resolve) => setTimeout(resolve, 300));
      const before = maps.map((map) => new Map(map));
      const path = dir.join(kind);
      try {
        const to = kind === "folder" ? path : (await Deno.open(path, {
          write: true,
          create: true,
          truncate: true,
        }))
          .writable;
        await backupStore(temp.base, temp.db, to, { driver });
      } finally {
        stop.abort();
        await Promise.all(writers);
      }
      const base = dir.join(`restored${round}`);
      await restoreStore(path, base, join(base, "poh.db"), { driver });
      const contents = await contentsOf(base);
      await using rows = await openDatabase(join(base, "poh.db"), {
        driver,
        readOnly: true,
      });
      let compared = 0;
      for (const [n, map] of before.entries()) {
        for (const [txId, known] of map) {
          if (maps[n]!.get(txId) !== known) continue; // changed since
          assertEquals(
            findInfo(rows, txId)?.storageHash ?? null,
            known.digest,
            txId,
          );
          assertEquals(txId in contents, known.digest !== null);
          compared++;
        }
      }
      assert(compared > 20, `only ${compared} compared`);
    }
  },
);

/** As for any store, SQLite may have to finish what a crash left. */
async function verifyAfterCrash(folder: string) {
  const db = join(folder, "poh.db");
  try {
    return await verifyStore(folder, db);
  } catch (error) {
    if ((error as PohStorageError).code !== "UNFINISHED") throw error;
    await performRecovery(folder, db);
    return await verifyStore(folder, db);
  }
}

test("a backup that is killed leaves the previous one or the new one", async () => {
  await using temp = await tempStore();
  await using dir = await tempDir();
  const folder = dir.join("backup");
  const random = seededRandom(7);
  const start = performance.now();
  await backupStore(temp.base, temp.db, folder);
  const duration = performance.now() - start;
  let previous: Record<string, string> = {}, killed = 0;
  for (let round = 0; round < 16; round++) {
    const ids = Array.from({ length: 40 }, () => Math.floor(random() * 300));
    await Promise.all(ids.map((n) => {
      const payload = bytes(`${n} of round ${round}`);
      return temp.store.saveTx(sampleTx({ txId: `t${n}`, payload }));
    }));
    await temp.store.deleteTx(`t${ids[0]}`);
    const current = await contentsOf(temp.base, temp.db);
    await using child = await startScript("backup.ts", [
      temp.base,
      temp.db,
      folder,
    ]);
    const delay = random() * (100 + duration);
    await new Promise((resolve) => setTimeout(resolve, delay));
    await child.kill();
    const report = await verifyAfterCrash(folder);
    assertEquals(report.damaged, false, JSON.stringify(report.findings));
    await using store = await StorageManager.create(
      folder,
      join(folder, "poh.db"),
      { readOnly: true },
    );
    const found: Record<string, string> = {};
    for (const txId of await store.listTxs()) {
      found[txId] = text((await store.loadTx(txId))?.payload);
    }
    const isNew = JSON.stringify(found) === JSON.stringify(current);
    if (!isNew) {
      assertEquals(found, previous);
      killed++;
    }
    previous = found;
  }
  assert(killed > 0, "no backup was killed before its end");
  await backupStore(temp.base, temp.db, folder);
  assertEquals(
    await contentsOf(folder),
    await contentsOf(temp.base, temp.db),
  );
});

test("a backup cut off behind its new database is read, verified and finished", async () => {
  const ids = ["small", "large"];
  const payloads = (bit: number) =>
    [3, 300_000].map((size) => new Uint8Array(size).fill(bit));
  const saveAll = (store: StorageManager, bit: number) =>
    store.saveTxs(
      payloads(bit).map((payload, at) => ({
        ...sampleTx({ txId: ids[at]! }),
        payload,
      })),
    );
  await using temp = await tempStore();
  await using dir = await tempDir();
  const folder = dir.join("backup"), db = join(folder, "poh.db");
  await saveAll(temp.store, 1);
  await backupStore(temp.base, temp.db, folder);
  const older = ids.map((id) => Deno.readFileSync(join(folder, placeOf(id))));
  await saveAll(temp.store, 2);
  await backupStore(temp.base, temp.db, folder);
  // Both payloads as they are before the last step of a backup.
  const files = new PayloadFiles(folder);
  const storeOfBackup = () =>
    StorageManager.open(folder, db, { readOnly: true });
  {
    await using store = await storeOfBackup();
    for (const [at, id] of ids.entries()) {
      const path = join(folder, placeOf(id));
      Deno.renameSync(
        path,
        join(files.staged.path, waitingName((await store.infoTx(id))!)),
      );
      Deno.writeFileSync(path, older[at]!);
    }
  }
  const assertNew = async () => {
    await using store = await storeOfBackup();
    for (const [at, id] of ids.entries()) {
      const payload = payloads(2)[at]!;
      assertBytes((await store.loadTx(id))?.payload, payload);
      const streamed = await store.loadTxStream(id);
      const whole = await new Response(streamed!.payload).bytes();
      assertBytes(whole, payload);
    }
  };
  await assertNew();
  const unfinished = (action: string) =>
    ids.toSorted().map((id) => `unfinished ${id} ${action}`);
  const tell = ({ findings }: StoreReport) =>
    findings.map(({ kind, txId, action }) => `${kind} ${txId} ${action}`);
  assertEquals(tell(await verifyStore(folder, db)), unfinished("none"));
  assertEquals(
    tell(await performRecovery(folder, db)),
    unfinished("finished"),
  );
  assertEquals(tell(await verifyStore(folder, db)), []);
  assertEquals(namesIn(files.staged.path), []);
  await assertNew();
});

test("what waits for a place but is not the payload does not take it", async () => {
  await using temp = await filled("builtin", ["a"]);
  const files = new PayloadFiles(temp.base);
  const before = await contentsOf(temp.base, temp.db);
  {
    const options = { readOnly: true };
    await using store = await StorageManager.open(temp.base, temp.db, options);
    const waiting = join(
      files.staged.path,
      waitingName((await store.infoTx("a"))!),
    );
    Deno.writeFileSync(waiting, bytes("rotten"));
  }
  await performRecovery(temp.base, temp.db);
  assertEquals((await verifyStore(temp.base, temp.db)).damaged, false);
  await using store = await temp.reopen();
  assertEquals(text((await store.loadTx("a"))?.payload), before.a);
});

testDrivers(
  "an interrupted backup leaves the previous one, and goes on",
  async (driver) => {
    const ids = Array.from({ length: 600 }, (_, n) => `t${1000 + n}`);
    await using temp = await filled(driver, ids);
    await using dir = await tempDir();
    const folder = dir.path;
    const interruptAt = async (n: number) => {
      const stop = new AbortController();
      const report = await backupStore(temp.base, temp.db, folder, {
        driver,
        signal: stop.signal,
        onProgress: ({ done }) => done === n && stop.abort(),
      });
      assertEquals(report.interrupted, true);
    };
    await interruptAt(300);
    assertEquals(namesIn(folder).includes("poh.db"), false);
    const first = await backupStore(temp.base, temp.db, folder, { driver });
    assert(first.kept >= 256, `${first.kept} were not taken again`);
    assertEquals(first.kept + first.written, 600);
    const before = await contentsOf(folder);
    const store = await temp.reopen();
    await store.saveTx(sampleTx({ txId: "t1000", payload: bytes("new") }));
    await store.saveTx(sampleTx({ txId: "a" }));
    await store.deleteTx("t1599");
    await interruptAt(500);
    const { counts, damaged } = await verifyStore(
      folder,
      join(folder, "poh.db"),
    );
    assertEquals([damaged, counts["orphan-payload"]], [false, 1]);
    await restoreStore(folder, dir.join("r"), dir.join("r", "poh.db"));
    assertEquals(await contentsOf(dir.join("r")), before);
    const last = await backupStore(temp.base, temp.db, folder, { driver });
    assertEquals([last.kept, last.written, last.removed], [599, 1, 1]);
    assertEquals((await contentsOf(folder)).t1000, "new");
  },
);

testDrivers(
  "a store of the older package is backed up as it is",
  async (driver) => {
    await using dir = await tempDir();
    const base = dir.join("base"), path = dir.join("old.db");
    await Deno.mkdir(base);
    await Deno.writeTextFile(join(base, "Tx%1.bin"), "hello");
    const db = await openSqlite(path, driver, false);
    db.exec(
      "CREATE TABLE txs (tx_id TEXT PRIMARY KEY, storage_hash TEXT NOT NULL, timestamp REAL NOT NULL)",
    );
    db.prepare("INSERT INTO txs VALUES ('Tx%1', ?, 12.5)").run(
      await sha256Hex(bytes("hello")),
    );
    db.close();
    const before = await filesBelow(dir.path);
    await backupStore(base, path, dir.join("backup"), { driver });
    const after = await filesBelow(dir.path);
    for (const [name, digest] of Object.entries(before)) {
      assertEquals(after[name], digest, name);
    }
    assertEquals(await contentsOf(dir.join("backup")), { "Tx%1": "hello" });
    await using rows = await openDatabase(dir.join("backup", "poh.db"), {
      driver,
      readOnly: true,
    });
    assertEquals(findInfo(rows, "Tx%1")?.size, 5);
  },
);

testDrivers(
  "a backup keeps the payloads that the store has in quarantine, until it has not",
  async (driver) => {
    await using temp = await filled(driver);
    await using dir = await tempDir();
    const { base, db } = temp, folder = dir.join("backup");
    const backUp = () => backupStore(base, db, folder, { driver, copy: true });
    await backUp();
    const first = await temp.open();
    const txs = [await first.loadTx("a"), await first.loadTx("b")];
    await temp.close();
    await flipBit(temp.file("a"), 1);
    await flipBit(temp.file("b"), 1);
    const report = await performRecovery(base, db, { driver });
    assertEquals(report.takenOut, ["a", "b"]);
    for (let round = 0; round < 2; round++) {
      assertEquals((await backUp()).removed, 0);
    }
    const kept = await verifyStore(folder, join(folder, "poh.db"), { driver });
    assertEquals(outline(kept), [
      "orphan-payload a: none",
      "orphan-payload b: none",
    ]);
    assertEquals(kept.damaged, false);
    await performRecovery(base, db, { driver, from: folder });
    const store = await temp.open();
    for (const tx of txs) assertEquals(await store.loadTx(tx!.txId), tx);
    await temp.close();
    assertEquals((await backUp()).removed, 0);
    await flipBit(temp.file("a"), 1);
    await performRecovery(base, db, { driver });
    await (await temp.open()).emptyQuarantine();
    await temp.close();
    assertEquals((await backUp()).removed, 1);
  },
);

testDrivers(
  "the backup of a store without an id is no other's, and stays its own",
  async (driver) => {
    await using dir = await tempDir();
    const folder = dir.join("backup");
    const backUp = async (name: string) => {
      const base = dir.join(name), db = dir.join(name, "poh.db");
      return await backupStore(base, db, folder, { driver });
    };
    for (const txId of ["one", "other"]) {
      const base = dir.join(txId), db = dir.join(txId, "poh.db");
      const tx = { txId, payload: bytes(txId), timestamp: 1 };
      await saveAsOlder(base, db, driver, [tx]);
    }
    await backUp("one");
    const before = await filesBelow(folder);
    const error = await assertRejects(() => backUp("other"), BackupPathError);
    assertStringIncludes(error.message, "backup of another store");
    assertEquals(await filesBelow(folder), before);
    assertEquals((await backUp("one")).kept, 1);
    const options = { driver, upgradeQuiet: 0 };
    const [base, db] = [dir.join("one"), dir.join("one", "poh.db")];
    await (await StorageManager.open(base, db, options)).close();
    assertEquals((await backUp("one")).kept, 1); // it has an id now
    await assertRejects(() => backUp("other"), BackupPathError);
  },
);

testDrivers(
  "a folder that is no backup of this store is left alone",
  async (driver) => {
    await using temp = await filled(driver);
    await using other = await filled(driver, ["x"]);
    await using dir = await tempDir();
    const refused = async (folder: string, message: string) => {
      const before = await filesBelow(dir.path);
      const live = await filesBelow(temp.base);
      const error = await assertRejects(
        () => backupStore(temp.base, temp.db, folder, { driver }),
        BackupPathError,
      );
      assertStringIncludes(error.message, message);
      assertEquals(await filesBelow(dir.path), before);
      assertEquals(await filesBelow(temp.base), live);
    };
    await Deno.mkdir(dir.join("full"));
    await Deno.writeTextFile(dir.join("full", "notes.txt"), "mine");
    await refused(dir.join("full"), "neither empty nor a backup");
    await refused(other.base, "neither empty nor a backup");
    await backupStore(other.base, other.db, dir.join("other"), { driver });
    await refused(dir.join("other"), "backup of another store");
    await refused(temp.base, "overlap");
    await refused(join(temp.base, "below"), "overlap");
    await refused(join(temp.base, ".."), "overlap");
    if (Deno.build.os !== "windows") {
      await Deno.symlink(temp.base, dir.join("link"));
      await refused(dir.join("link"), "overlap");
    }
  },
);

test("a symbolic link in a backup's own folder is not followed", async () => {
  await using temp = await filled("builtin");
  await using dir = await tempDir();
  await backupStore(temp.base, temp.db, dir.join("b"));
  await Deno.mkdir(dir.join("elsewhere"));
  await Deno.writeTextFile(dir.join("elsewhere", "precious"), "mine");
  await Deno.remove(dir.join("b", ".poh", "tmp"), { recursive: true });
  await Deno.symlink(dir.join("elsewhere"), dir.join("b", ".poh", "tmp"));
  await assertRejects(
    () => backupStore(temp.base, temp.db, dir.join("b")),
    Deno.errors.InvalidData,
  );
  assertEquals(namesIn(dir.join("elsewhere")), ["precious"]);
}, { ignore: Deno.build.os === "windows" });

testDrivers(
  "a backup whose database is damaged gets a new one",
  async (driver) => {
    await using temp = await filled(driver);
    await using dir = await tempDir();
    await backupStore(temp.base, temp.db, dir.path, { driver });
    await Deno.writeTextFile(dir.join("poh.db"), "no database at all");
    await flipBit(dir.join("a.bin")); // and the store's, where it is a link
    await Deno.remove(temp.file("a"));
    const report = await backupStore(temp.base, temp.db, dir.path, { driver });
    assertEquals([report.kept, report.damaged], [2, 1]);
    assertEquals(Object.keys(await contentsOf(dir.path)), ["b", "c"]);
  },
);

testDrivers(
  "a store whose database is damaged has no backup made",
  async (driver) => {
    await using temp = await filled(driver);
    await using dir = await tempDir();
    await backupStore(temp.base, temp.db, dir.path, { driver });
    const before = await filesBelow(dir.path);
    await Deno.writeTextFile(temp.db, "no database at all");
    await assertRejects(
      () => backupStore(temp.base, temp.db, dir.path, { driver }),
      MetadataDamagedError,
    );
    assertEquals(await filesBelow(dir.path), before);
  },
);

test("there has to be a store", async () => {
  await using dir = await tempDir();
  await assertRejects(
    () => backupStore(dir.join("a"), dir.join("b"), dir.join("c")),
    StoreNotFoundError,
  );
  assertEquals(namesIn(dir.path), []);
});

test("base and backup database are not taken for a store", async () => {
  await using temp = await filled("builtin");
  await using dir = await tempDir();
  await backupStore(temp.base, temp.db, dir.path);
  await assertRejects(
    () => StorageManager.create(temp.base, dir.join("poh.db")),
    StoreMismatchError,
  );
});

test("a store is not repaired while it is backed up, and a backup in use is not written", async () => {
  await using temp = await filled("builtin");
  await using dir = await tempDir();
  const { promise, resolve } = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  const slow = new WritableStream<Uint8Array>({
    write: () => {
      started.resolve();
      return promise;
    },
  });
  const backup = backupStore(temp.base, temp.db, slow);
  await started.promise;
  await assertRejects(
    () => performRecovery(temp.base, temp.db),
    StoreBusyError,
  );
  resolve();
  assertEquals((await backup).txs, 3);
  await backupStore(temp.base, temp.db, dir.path);
  const locks = await StoreLocks.acquire(dir.path);
  try {
    const error = await assertRejects(
      () => backupStore(temp.base, temp.db, dir.path),
      StoreBusyError,
    );
    assertStringIncludes(error.message, "in use");
  } finally {
    locks.release();
  }
});

test("a backup is refused to writers, changes nothing, and can be read and recovered", async () => {
  await using temp = await filled("builtin");
  await using dir = await tempDir();
  await backupStore(temp.base, temp.db, dir.path);
  const before = await filesBelow(dir.path);
  const db = dir.join("poh.db");
  const error = await assertRejects(
    () => StorageManager.create(dir.path, db),
    BackupReadOnlyError,
  );
  assertEquals(error.message, `${dir.path} is a backup: restore it first`);
  assertEquals(await filesBelow(dir.path), before);
  {
    await using reader = await StorageManager.create(dir.path, db, {
      readOnly: true,
    });
    assertEquals(await reader.countTxs(), 3);
  }
  assertEquals((await performRecovery(dir.path, db)).sound, 3);
});

test("a failure of an archive's target is told, and leaves nothing behind", async () => {
  await using temp = await filledWithLarge();
  let room = 100_000;
  const full = new WritableStream<Uint8Array>({
    write: (chunk) => {
      if ((room -= chunk.length) < 0) throw new Deno.errors.BrokenPipe("gone");
    },
  });
  const before = await filesBelow(temp.base);
  await assertRejects(
    () => backupStore(temp.base, temp.db, full),
    Deno.errors.BrokenPipe,
  );
  assertEquals(await filesBelow(temp.base), before);
});

async function filledWithLarge(): Promise<TempStore> {
  const temp = await filled("builtin");
  const store = await temp.reopen();
  const payload = randomBytes(400_000);
  await store.saveTx(sampleTx({ txId: "large", payload }));
  assertBytes((await store.loadTx("large"))?.payload, payload);
  await temp.close();
  return temp;
}
