// SQLite's own check, beside which the event loop goes on.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import {
  performRecovery,
  restoreStore,
  StorageManager,
  verifyStore,
} from "../../mod.ts";
import { checkIntegrity } from "../../src/sqlite/integrity.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { run } from "../cli_helpers.ts";
import {
  type Driver,
  namesIn,
  sampleTx,
  type TempDir,
  tempDir,
  testDrivers,
} from "../helpers.ts";
import { openDatabase } from "../../src/sqlite/open_database.ts";
import { countTxs } from "../../src/sqlite/tx_counts.ts";

/** Rows enough for a check of half a second. */
const MANY = 50_000;

/** A database whose check takes a while. */
async function largeDatabase(dir: TempDir, driver: Driver): Promise<string> {
  const path = dir.join("poh.db");
  const options = { driver, durability: "relaxed" } as const;
  await using store = await StorageManager.create(dir.path, path, options);
  await store.saveTx(sampleTx());
  const db = await openSqlite(path, driver, false);
  try {
    // In no order, as ids and times of a network are.
    db.exec(`INSERT INTO txs (tx_id, storage_hash, timestamp, holder_id, size)
      WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${MANY})
      SELECT hex(randomblob(16)), '', abs(random() % 1000000), 'h' || (i % 100), i FROM n`);
  } finally {
    db.close();
  }
  return path;
}

/** Runs `work` while a timer counts. */
async function ticking<T>(
  work: () => Promise<T>,
): Promise<{ result: T; ticks: number; ms: number }> {
  let ticks = 0;
  const timer = setInterval(() => ticks++, 5);
  const start = performance.now();
  try {
    const result = await work();
    return { result, ticks, ms: performance.now() - start };
  } finally {
    clearInterval(timer);
  }
}

testDrivers(
  "checkIntegrity() leaves the event loop free, and stops when told",
  async (driver) => {
    await using dir = await tempDir();
    const path = await largeDatabase(dir, driver);
    await using rows = await openDatabase(path, { driver });

    const part = await ticking(() =>
      checkIntegrity(rows, AbortSignal.timeout(50))
    );
    assertEquals(part.result, null);
    const whole = await ticking(() => checkIntegrity(rows));
    assertEquals(whole.result, []);
    assert(whole.ms > 2 * part.ms, `${part.ms} of ${whole.ms} ms`);
    assert(whole.ticks > whole.ms / 50, `${whole.ticks} in ${whole.ms} ms`);
    assertEquals(await checkIntegrity(rows, AbortSignal.abort()), null);
  },
);

testDrivers(
  "verify and recover are interrupted while SQLite checks, and change nothing",
  async (driver) => {
    await using dir = await tempDir();
    const path = await largeDatabase(dir, driver);
    // Not the other way round: where the thread is within SQLite it holds a lock
    // until SQLite returns, which only a database in WAL mode takes no notice of.
    for (const check of [performRecovery, verifyStore]) {
      const report = await check(dir.path, path, {
        driver,
        signal: AbortSignal.timeout(50),
      });
      assertEquals(report.interrupted, true);
      assertEquals(report.steps.map(({ name }) => name), ["database"]);
      assertEquals(report.findings, []);
    }
    await using rows = await openDatabase(path, { driver });
    assertEquals(await checkIntegrity(rows), []);
    assertEquals(await countTxs(rows), MANY + 1);
  },
);

testDrivers(
  "a restoration is interrupted while SQLite checks, and leaves nothing",
  async (driver) => {
    await using dir = await tempDir();
    await largeDatabase(dir, driver);
    await using target = await tempDir();
    const base = target.join("new");
    const start = performance.now();
    const { interrupted } = await restoreStore(
      dir.path,
      base,
      join(base, "poh.db"),
      { driver, signal: AbortSignal.timeout(50) },
    );
    assertEquals(interrupted, true);
    assert(performance.now() - start < 400, "it waited for the check to end");
    assertEquals(namesIn(target.path), []);
  },
);

testDrivers("damage to a large database is found", async (driver) => {
  await using dir = await tempDir();
  const path = await largeDatabase(dir, driver);
  await damage(path);
  const { findings } = await verifyStore(dir.path, path, { driver });
  assert(findings.length > 0);
  for (const { kind } of findings) assertEquals(kind, "metadata-damaged");
});

Deno.test("where no other thread may be started, this one checks", async () => {
  await using dir = await tempDir();
  await damage(await largeDatabase(dir, "builtin"));
  // By default the program may read nothing but the store here.
  const { code, stderr } = await run(["verify", "--base=.", "--db=poh.db"], {
    cwd: dir.path,
  });
  assertEquals(code, 4, stderr);
  assertMatch(stderr, /^poh-storage: Damage found: \d+ metadata-damaged; /m);
  assertEquals(stderr.includes("allow-read"), false, stderr);
});

/** Loses a stretch in the middle of a file. */
async function damage(path: string): Promise<void> {
  using file = await Deno.open(path, { read: true, write: true });
  const { size } = await file.stat();
  await file.seek(Math.floor(size / 2), Deno.SeekMode.Start);
  await file.write(new Uint8Array(64 * 1024));
}
