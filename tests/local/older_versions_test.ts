import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  describeStore,
  performRecovery,
  PohStorageError,
  StorageManager,
  StoreBusyError,
} from "../../mod.ts";
import { FOLDS_CASE } from "../../src/files/file_name.ts";
import { LockFile } from "../../src/files/locks.ts";
import type { CrashPoint } from "../../src/async/crash_points.ts";
import { LogDir } from "../../src/log/log_dir.ts";
import { storeTag } from "../../src/log/segment.ts";
import { salvage } from "../../src/local/salvage.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { readId } from "../../src/local/store_id.ts";
import {
  acknowledgements,
  checkCrashStates,
  type Cut,
  record,
} from "../crash/crash_model.ts";
import { CHOICES } from "../crash/crash_states.ts";
import { PACKED_BELOW } from "../fixtures/contents.ts";
import { placeBelow, runWriter, several } from "../crash/process.ts";
import { newSeed, withSeed } from "../crash/random.ts";
import { type Recorder, recorderOrReason } from "../crash/recording.ts";
import { damageOneIndex } from "../crash/sqlite_pages.ts";
import {
  bytes,
  filesBelow,
  namesIn,
  outline,
  randomBytes,
  sampleTx,
  tempDir,
  tempStore,
  test,
  testDrivers,
} from "../helpers.ts";
import {
  assertContents,
  assertUpgraded,
  contentsOf,
  KILLED_RECOVERING,
  KILLED_SAVING,
  type OlderVersion,
  type Place,
  unpackOlder,
} from "./older_versions.ts";
import { openDatabase } from "../../src/sqlite/open_database.ts";
import { PayloadFiles } from "../../src/payloads/payload_files.ts";
import { initDatabase } from "../../src/sqlite/open_database.ts";

const built = await recorderOrReason();
const ignore = typeof built === "string";
const skipped = ignore ? ` (skipped: ${built})` : "";
const recorder = built as Recorder;

/** Killed at every step; others pass all but the upgrade's as these do. */
const DIFFERENT: OlderVersion[] = [
  "version_1_first",
  "version_4",
  "version_5",
  "version_6",
  "version_4_recover",
  "version_5_recover",
];

/** What only an upgrade passes. */
const UPGRADE: ReadonlySet<CrashPoint> = new Set([
  "log begun",
  "older tables logged",
  "older tables dropped",
]);

const ALL: readonly OlderVersion[] = [...KILLED_SAVING, ...KILLED_RECOVERING];

for (const name of ALL) {
  testDrivers(`${name}: opened, it has all that it had`, async (driver) => {
    await using dir = await tempDir();
    const { base, db } = await unpackOlder(name, dir.path);
    {
      await using store = await StorageManager.open(base, db, { driver });
      await assertContents(store, name);
    }
    await assertUpgraded({ base, db }, name, { driver });
    // A second opening has nothing left to upgrade.
    const before = await restOf({ base, db });
    await (await StorageManager.open(base, db, { driver })).close();
    assertEquals(await restOf({ base, db }), before);
  });

  testDrivers(`${name}: read-only, it is read as it is`, async (driver) => {
    await using dir = await tempDir();
    const { base, db } = await unpackOlder(name, dir.path);
    const before = await filesBelow(base);
    {
      const how = { driver, readOnly: true };
      await using store = await StorageManager.open(base, db, how);
      await assertContents(store, name);
      for (const [txId, payload] of contentsOf(name)) {
        const stream = await store.loadTxStream(txId);
        const found = await new Response(stream!.payload).bytes();
        assertEquals(found, payload, txId);
      }
      const { sound, damaged } = await store.verify();
      assertEquals([sound, damaged], [contentsOf(name).size, false]);
    }
    assertEquals(await filesBelow(base), before);
  });

  test(
    `${name}: an upgrade that is killed anywhere is begun again`,
    async () => {
      await using census = await tempDir();
      const { passed } = await openAndDie(
        await unpackOlder(name, census.path),
      );
      const points = Object.entries(passed) as [CrashPoint, number][];
      const kills = points
        .filter(([point]) => DIFFERENT.includes(name) || UPGRADE.has(point))
        .flatMap(([point, count]) =>
          [...new Set([1, count])].map((n) => ({ point, n }))
        );
      assert(kills.length > 0);
      await several(kills, 2, async (kill) => {
        await using dir = await tempDir();
        const place = await unpackOlder(name, dir.path);
        assert((await openAndDie(place, kill)).killed);
        // Once more where it went on, unless it was past that step.
        await openAndDie(place, { ...kill, n: 1 });
        await (await StorageManager.open(place.base, place.db)).close();
        await assertUpgraded(place, name);
      });
    },
    { timeout: 180_000 },
  );
}

for (const name of KILLED_RECOVERING) {
  test(`${name}: the damaged payload comes into quarantine`, async () => {
    await using dir = await tempDir();
    const { base, db } = await unpackOlder(name, dir.path);
    const report = await performRecovery(base, db);
    assertEquals(
      outline(report).filter((line) => !line.startsWith("unfinished")),
      [],
    );
    const quarantine = join(base, ".poh", "quarantine");
    const [rotten, note] = namesIn(quarantine);
    assert(rotten && note === rotten.replace(/bin$/, "json"), note);
    const found = await Deno.readTextFile(join(quarantine, rotten));
    assertEquals(found, "rotten");
    await assertUpgraded({ base, db }, name);
  });
}

for (const name of KILLED_SAVING) {
  test(`${name}: recover tells what it finished`, async () => {
    await using dir = await tempDir();
    const { base, db } = await unpackOlder(name, dir.path);
    const report = await performRecovery(base, db);
    const finished = outline(report);
    assertEquals(finished.filter((line) => !line.startsWith("unfinished")), []);
    assert(finished.some((line) => line.startsWith("unfinished staged")));
    assertEquals(report.sound, contentsOf(name).size);
    await assertUpgraded({ base, db }, name);
  });
}

test(
  `an upgrade is durable before anything is saved after it${skipped}`,
  async () => {
    await using dir = await tempDir();
    const folder = dir.join("store");
    await emptyVersion4(placeBelow(folder));
    const works = [{ options: {}, work: { kind: "few" } as const }];
    const recording = await record(recorder, folder, { works });
    const moments = acknowledgements(recording.operations);
    const cuts: Cut[] = [
      ...CHOICES.map((choice) => ({ moment: moments[0]!, choice })),
      { moment: moments.at(-1)!, choice: "only what was synced" },
    ];
    await withSeed(
      newSeed(),
      (random) => checkCrashStates(recording, cuts, random),
    );
  },
  { ignore, timeout: 120_000 },
);

for (const name of ["version_2_inline", "version_4", "version_5"] as const) {
  test(`${name}: small payloads go on to be kept in the log`, async () => {
    await using dir = await tempDir();
    const { base, db } = await unpackOlder(name, dir.path);
    await using store = await StorageManager.open(base, db);
    await store.saveTx(sampleTx({ txId: "in-3", payload: bytes("small") }));
    await store.saveTx(sampleTx({ txId: "b", payload: randomBytes(100) }));
    const isFile = ["in-3.bin", "b.bin"].map((name) =>
      namesIn(base).includes(name)
    );
    assertEquals(isFile, [false, true]);
    const { packBelow } = await describeStore(base, db);
    assertEquals(packBelow, PACKED_BELOW);
    const rows = await openSqlite(db, "builtin", true);
    const settings = rows.prepare("SELECT name FROM settings").all().flat();
    rows.close();
    assertEquals(settings.includes("inline_below"), false);
  });
}

testDrivers(
  "a reader goes on while a writer upgrades its store",
  async (driver) => {
    await using dir = await tempDir();
    const { base, db } = await unpackOlder("version_4", dir.path);
    await using reader = await StorageManager.open(base, db, {
      driver,
      readOnly: true,
    });
    await assertContents(reader, "version_4");
    {
      await using writer = await StorageManager.open(base, db, { driver });
      await assertContents(writer, "version_4");
      await assertContents(reader, "version_4");
    }
    await assertContents(reader, "version_4");
  },
);

test("beside an older program that has it open, an upgrade waits", async () => {
  await using dir = await tempDir();
  const { base, db } = await unpackOlder("version_4", dir.path);
  {
    using lock = new LockFile(join(base, ".poh", "lock"));
    assert(lock.tryLock(false));
    // Where names of files change as well, that is told first.
    await assertRejects(
      () => StorageManager.open(base, db),
      StoreBusyError,
      FOLDS_CASE ? "to be upgraded first" : "older version",
    );
  }
  await (await StorageManager.open(base, db)).close();
  await assertUpgraded({ base, db }, "version_4");
});

test("a database of version 4 that had gone back is told", async () => {
  await using dir = await tempDir();
  const { base, db } = await unpackOlder("version_4", dir.path);
  await Deno.writeTextFile(join(base, ".poh", "newest"), "0000000000000017");
  // Also where the upgrade was cut off.
  assert((await openAndDie({ base, db }, { point: "log begun", n: 1 })).killed);
  const report = await performRecovery(base, db);
  const [finding] = report.findings.filter(({ kind }) =>
    kind === "metadata-outdated"
  );
  assert(finding?.detail.includes("its last 3 changes"), finding?.detail);
});

testDrivers("a store of a later version is left as it is", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.store.saveTx(sampleTx());
  await temp.close();
  const { base, db } = temp;
  const rows = await openSqlite(db, driver, false);
  rows.exec("PRAGMA user_version = 8");
  rows.exec("UPDATE settings SET value = '8' WHERE name = 'schema'");
  rows.close();
  // Whatever rules that version names its files by.
  await Deno.remove(join(base, ".poh", "names"));
  const before = await filesBelow(base);
  for (const readOnly of [true, false]) {
    const error = await assertRejects(
      () => StorageManager.open(base, db, { driver, readOnly }),
      PohStorageError,
      "has schema version 8, this program knows 7: use a newer one",
    );
    assertEquals(error.code, "SCHEMA_TOO_NEW");
  }
  assertEquals(await filesBelow(base), before);
});

test("a store of today is too new for the program of version 4", async () => {
  await using temp = await tempStore({ packBelow: 10 });
  await temp.close();
  const rows = await openSqlite(temp.db, "builtin", true);
  const [version] = rows.prepare("PRAGMA user_version").get()!;
  // It takes an index with a condition for a foreign one, and says so first.
  const partial = rows.prepare(
    `SELECT i.name FROM sqlite_schema t, pragma_index_list(t.name) i
    WHERE t.type = 'table' AND i.partial`,
  ).all();
  rows.close();
  assert(version as number > 4);
  assertEquals(partial, []);
});

test("a program that knows no transparency log refuses a store with one", async () => {
  await using temp = await tempStore();
  await temp.store.tlog.init("node7.example/poh");
  await temp.store.saveTx(sampleTx());
  await temp.close();
  const versionOf = async () => {
    const rows = await openSqlite(temp.db, "builtin", false);
    const [version] = rows.prepare("PRAGMA user_version").get()!;
    rows.close();
    return version as number;
  };
  assert(await versionOf() > 6, "the last one that some of these write");
  const rows = await openSqlite(temp.db, "builtin", false);
  rows.exec("PRAGMA user_version = 6");
  rows.exec("UPDATE settings SET value = '6' WHERE name = 'schema'");
  rows.close();
  await temp.open();
  assertEquals(await temp.store.tlog.check(), []);
  assertEquals((await temp.store.tlog.status()).size, 2);
  await temp.close();
  assert(await versionOf() > 6, "an upgrade keeps the log, and says so");
});

/** A store with a log, and beside it a database of version 4 from before. */
async function withOlderDatabase(
  dir: string,
): Promise<{ base: string; db: string }> {
  const { base, db } = await unpackOlder("version_4", dir);
  await (await StorageManager.open(base, db)).close();
  {
    await using store = await StorageManager.open(base, db);
    await store.saveTx(sampleTx({ txId: "later", payload: bytes("short") }));
  }
  await using again = await tempDir();
  await unpackOlder("version_4", again.path);
  await Deno.copyFile(again.join("base", "poh.db"), db);
  await Deno.copyFile(again.join("base", "poh.db-wal"), `${db}-wal`);
  await Deno.writeTextFile(
    join(base, ".poh", "id"),
    await Deno.readTextFile(again.join("base", ".poh", "id")),
  );
  return { base, db };
}

/** Asserts that the log is in quarantine, with what was saved last. */
function assertLogKept(base: string): void {
  const quarantine = join(base, ".poh", "quarantine");
  const kept = namesIn(quarantine).filter((name) => name.endsWith(".bin"));
  const texts = kept.map((name) =>
    new TextDecoder("latin1").decode(Deno.readFileSync(join(quarantine, name)))
  );
  assert(texts.some((text) => text.includes("short")));
}

test("a log that is newer than a database of version 4 is kept", async () => {
  await using dir = await tempDir();
  const { base, db } = await withOlderDatabase(dir.path);
  const report = await performRecovery(base, db);
  const [finding] = report.findings.filter(({ kind }) =>
    kind === "log-damaged"
  );
  assert(finding?.detail.includes("older than the log"), finding?.detail);
  assertLogKept(base);
});

test("so it is where that database is salvaged", async () => {
  await using dir = await tempDir();
  const { base, db } = await withOlderDatabase(dir.path);
  await using rows = await openDatabase(dir.join("fresh.db"));
  await initDatabase(rows);
  using log = new LogDir(base, { sync: false, write: true });
  const files = new PayloadFiles(base);
  await salvage(db, rows, { dir: log, files }, null, {});
  assertLogKept(base);
  assert(log.exists(), "what the tables had is a log by now");
});

test("an opening that finds damage lets go of the log", async () => {
  await using dir = await tempDir();
  const { base, db } = await withOlderDatabase(dir.path);
  {
    const rows = await openSqlite(db, "builtin", false);
    rows.exec("PRAGMA journal_mode = DELETE"); // all of it is in one file
    rows.close();
  }
  await Deno.writeFile(`${db}-wal`, new Uint8Array());
  damageOneIndex(db, "in-1");
  await performRecovery(base, db, { rebuild: true });
});

test("what version 1 had no id for has one in the log", async () => {
  await using dir = await tempDir();
  const { base, db } = await unpackOlder("version_1_first", dir.path);
  await (await StorageManager.open(base, db)).close();
  const id = await readId(base);
  assert(id);
  const log = new LogDir(base, { sync: false, write: false });
  const stores = log.numbers().map((n) => log.segment(n)?.header.storeId);
  log[Symbol.dispose]();
  assertEquals(stores, [storeTag(id)]);
});

/** A store of version 4 in which nothing was saved. */
async function emptyVersion4({ base, db }: Place): Promise<void> {
  await using temp = await tempDir();
  const old = await unpackOlder("version_4", temp.path);
  await Deno.mkdir(join(base, ".poh"), { recursive: true });
  for (const name of ["id", "names"]) {
    await Deno.copyFile(
      join(old.base, ".poh", name),
      join(base, ".poh", name),
    );
  }
  const rows = await openSqlite(old.db, "builtin", false);
  for (const table of ["txs", "redo", "redo_batches", "inline_payloads"]) {
    rows.exec(`DELETE FROM ${table}`);
  }
  rows.exec("PRAGMA journal_mode = DELETE");
  rows.close();
  await Deno.copyFile(old.db, db);
}

/** All files but the database, and what is in that. */
async function restOf({ base, db }: Place): Promise<unknown> {
  const { "poh.db": _, ...files } = await filesBelow(base);
  const rows = await openSqlite(db, "builtin", true);
  try {
    const tables = ["txs", "settings", "sqlite_schema"].map((name) =>
      rows.prepare(`SELECT * FROM ${name} ORDER BY 1, 2`).all()
    );
    return { files, tables };
  } finally {
    rows.close();
  }
}

/** Opens a store in a process of its own, and closes it or kills that. */
function openAndDie(
  place: Place,
  kill?: { point: CrashPoint; n: number },
) {
  return runWriter({
    ...place,
    journal: `${place.base}-journal`,
    options: { driver: "builtin" },
    work: { kind: "open" },
    ...(kill && { kill }),
  });
}
