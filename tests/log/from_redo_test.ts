import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  describeStore,
  performRecovery,
  StorageManager,
  StoreBusyError,
  verifyStore,
} from "../../mod.ts";
import { LockFile } from "../../src/locks.ts";
import { NAMING_HERE, writeNaming } from "../../src/naming.ts";
import { openSqlite } from "../../src/sqlite_driver.ts";
import { runWriter } from "../crash/process.ts";
import {
  assertBytes,
  bytes,
  type Driver,
  namesIn,
  outline,
  tempDir,
  test,
  testDrivers,
  text,
} from "../helpers.ts";

const LARGE = Uint8Array.from({ length: 70_000 }, (_, n) => n % 251);
const SQL = await Deno.readTextFile(
  new URL("../fixtures/schema_4.sql", import.meta.url),
);

/** What the store has to have in the end. */
const PAYLOADS: Record<string, Uint8Array> = {
  "in-1": bytes("inline one"),
  "in-2": bytes("inline two again"),
  "file-1": bytes("a payload that was replaced, in a file"),
  "large": LARGE,
  "batch-1": bytes("one of a batch, in the redo log"),
  "batch-2": bytes("two of a batch, in the redo log"),
  "staged": LARGE.map((n) => n ^ 1),
};

/** A store of version 4 whose writer was killed: few files have followed. */
async function oldStore(dir: string, driver: Driver = "builtin") {
  const base = join(dir, "base"), db = join(base, "poh.db");
  const poh = join(base, ".poh"), staged = join(poh, "staged");
  await Deno.mkdir(staged, { recursive: true });
  const rows = await openSqlite(db, driver, false);
  rows.exec(SQL);
  const [id] = rows.prepare("SELECT value FROM settings WHERE name = 'id'")
    .get()!;
  const [name] = rows.prepare("SELECT staged FROM redo WHERE action = 'put'")
    .get()!;
  rows.close();
  const write = (path: string, content: string | Uint8Array) =>
    Deno.writeFile(
      path,
      typeof content === "string" ? bytes(content) : content,
    );
  await write(join(poh, "id"), `${id}\n`);
  await write(join(poh, "newest"), "0000000000000009");
  await write(join(staged, `${name}`), PAYLOADS.staged!);
  await write(join(base, "large.bin"), LARGE);
  await write(join(base, "file-1.bin"), "a payload that is in a file");
  await write(join(base, "batch-2.bin"), "two of a");
  await write(join(base, "gone.bin"), "a payload that is to be deleted");
  return { base, db };
}

/** Asserts that all is there, and in its place. */
async function assertMoved(base: string, db: string, driver?: Driver) {
  const options = driver ? { driver } : {};
  {
    await using store = await StorageManager.create(base, db, options);
    assertEquals(await store.listTxs(), Object.keys(PAYLOADS).sort());
    for (const [txId, payload] of Object.entries(PAYLOADS)) {
      assertBytes((await store.loadTx(txId))?.payload, payload, txId);
    }
    const { holderId, timestamp } = (await store.infoTx("in-2"))!;
    assertEquals([holderId, timestamp], ["bob", 1464307123.25]);
  }
  assertEquals(namesIn(base).filter((name) => name.endsWith(".bin")), [
    "batch-1.bin",
    "batch-2.bin",
    "file-1.bin",
    "large.bin",
    "staged.bin",
  ]);
  assertEquals(namesIn(base, ".poh", "staged"), []);
  assertEquals(namesIn(base, ".poh").includes("newest"), false);
  assertEquals((await verifyStore(base, db, options)).findings, []);
  const rows = await openSqlite(db, "builtin", true);
  const tables = rows.prepare(
    `SELECT name FROM sqlite_schema WHERE type = 'table'
      AND name NOT LIKE 'sqlite%' ORDER BY name`,
  ).all().flat();
  assertEquals(tables, ["settings", "txs"]);
  rows.close();
}

testDrivers("a store of version 4 keeps its packBelow", async (driver) => {
  await using dir = await tempDir();
  const { base, db } = await oldStore(dir.path, driver);
  assertEquals((await describeStore(base, db, { driver })).packBelow, 20);
  await (await StorageManager.open(base, db, { driver })).close();
  assertEquals((await describeStore(base, db, { driver })).packBelow, 20);
  const rows = await openSqlite(db, driver, true);
  const names = rows.prepare("SELECT name FROM settings").all().flat();
  rows.close();
  assertEquals(names.includes("pack_below"), true);
  assertEquals(names.includes("inline_below"), false);
});

testDrivers("a store of version 4 is brought into the log", async (driver) => {
  await using dir = await tempDir();
  const { base, db } = await oldStore(dir.path, driver);
  await assertMoved(base, db, driver);
  // And remembers which payloads are to be there.
  await using store = await StorageManager.create(base, db, { driver });
  await store.saveTx({
    txId: "in-3",
    holderId: "",
    timestamp: 0,
    payload: bytes("three"),
  });
  assertEquals(namesIn(base).includes("in-3.bin"), false);
});

testDrivers("recover tells what it finished of one", async (driver) => {
  await using dir = await tempDir();
  const { base, db } = await oldStore(dir.path, driver);
  const report = await performRecovery(base, db, { driver });
  assertEquals(
    outline(report).filter((line) => !line.startsWith("unfinished")),
    [],
  );
  assertEquals(report.sound, Object.keys(PAYLOADS).length);
  await assertMoved(base, db, driver);
});

test("a move that is killed anywhere is begun again", async () => {
  await using dir = await tempDir();
  const work = { kind: "open" } as const;
  const task = async (name: string) => {
    const path = dir.join(name);
    const { base, db } = await oldStore(path);
    return { base, db, journal: join(path, "journal"), options: {}, work };
  };
  const { passed } = await runWriter(await task("census"));
  for (const [point, count] of Object.entries(passed)) {
    for (const n of new Set([1, Math.ceil(count / 2), count])) {
      const killed = await task(`${point} ${n}`);
      const kill = { point: point as "file written", n };
      assert((await runWriter({ ...killed, kill })).killed);
      await assertMoved(killed.base, killed.db);
    }
  }
}, { timeout: 120_000 });

test("beside an older program that has it open, it waits", async () => {
  await using dir = await tempDir();
  const { base, db } = await oldStore(dir.path);
  await writeNaming(base, { naming: NAMING_HERE, phase: null });
  const lock = new LockFile(join(base, ".poh", "lock"));
  assert(lock.tryLock(false));
  await assertRejects(
    () => StorageManager.create(base, db),
    StoreBusyError,
    "older version",
  );
  lock.close();
  await assertMoved(base, db);
});

testDrivers("read-only it is read as it is", async (driver) => {
  await using dir = await tempDir();
  const { base, db } = await oldStore(dir.path, driver);
  const before = await Deno.readFile(db);
  {
    const options = { driver, readOnly: true };
    await using store = await StorageManager.create(base, db, options);
    assertEquals(await store.countTxs(), 7);
    assertBytes((await store.loadTx("large"))?.payload, LARGE);
    const one = await store.loadTx("in-1");
    assertEquals(text(one?.payload), "inline one");
    const two = await store.loadTxStream("in-2");
    assertEquals(await new Response(two!.payload).text(), "inline two again");
    const batch = await store.loadTx("batch-1");
    assertEquals(batch?.payload, PAYLOADS["batch-1"]);
    const staged = await store.loadTx("staged");
    assertBytes(staged?.payload, PAYLOADS.staged!);
  }
  assertEquals(await Deno.readFile(db), before);
});

test("a database of version 4 that had gone back is told", async () => {
  await using dir = await tempDir();
  const { base, db } = await oldStore(dir.path);
  await Deno.writeTextFile(join(base, ".poh", "newest"), "0000000000000012");
  const report = await performRecovery(base, db);
  const [finding] = report.findings.filter(({ kind }) =>
    kind === "metadata-outdated"
  );
  assert(finding?.detail.includes("its last 3 changes"), finding?.detail);
});
