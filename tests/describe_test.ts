import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  describeStore,
  type Hint,
  performRecovery,
  type StoreDescription,
  StoreNotFoundError,
} from "../mod.ts";
import { isBelow } from "../src/local/hints.ts";
import { openSqlite } from "../src/sqlite/driver.ts";
import {
  type Driver,
  filesBelow,
  flipBit,
  IS_WINDOWS,
  sampleTx,
  type TempStore,
  tempStore,
  test,
  testDrivers,
} from "./helpers.ts";

function describe(
  { base, db }: TempStore,
  driver?: Driver,
): Promise<StoreDescription> {
  return describeStore(base, db, driver ? { driver } : {});
}

function hints({ hints }: StoreDescription, code: Hint["code"]): string[] {
  return hints.filter((hint) => hint.code === code).map((h) => h.message);
}

/** So many days without a transaction, then one with some. */
function days(empty: number, last: string, txs: number) {
  const end = Date.parse(last);
  return Array.from({ length: empty + 1 }, (_, n) => ({
    day: new Date(end - (empty - n) * 86_400_000).toISOString().slice(0, 10),
    txs: n === empty ? txs : 0,
  }));
}

Deno.test("describeStore() counts by size and by day, and stops where nothing is", async () => {
  await using temp = await tempStore();
  const sizes = [0, 64, 65, 5000];
  await temp.store.saveTxs(
    sizes.map((size, n) =>
      sampleTx({
        txId: `tx-${n}`,
        timestamp: n * 43_200,
        payload: new Uint8Array(size),
      })
    ),
  );
  const told = await describe(temp);
  assertEquals(told.sizes, [
    { upTo: 64, txs: 2 },
    { upTo: 256, txs: 1 },
    { upTo: 1024, txs: 0 },
    { upTo: 4096, txs: 0 },
    { upTo: 16_384, txs: 1 },
  ]);
  assertEquals(told.days, [
    { day: "1970-01-01", txs: 2 },
    { day: "1970-01-02", txs: 2 },
  ]);
  await temp.store.saveTx(sampleTx({ txId: "far", timestamp: 1e300 }));
  assertEquals((await describe(temp)).days, []);
});

testDrivers(
  "describeStore() tells what is there and changes nothing",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const payload = new Uint8Array(10);
    await temp.store.saveTxs([
      sampleTx({ txId: "a", timestamp: 5, payload }),
      sampleTx({ txId: "b", timestamp: -1.5, payload, holderId: "bob" }),
      sampleTx({ txId: "c", payload }),
    ]);
    await temp.close();
    await flipBit(temp.file("a"));
    await performRecovery(temp.base, temp.db, { driver });
    const before = await filesBelow(temp.base);
    const { hints, log, ...facts } = await describe(temp, driver);
    assertEquals(log, { bytes: 160, alive: 0, dead: 0 });
    assertEquals(facts, {
      base: temp.base,
      db: temp.db,
      driver: temp.store.driver,
      schemaVersion: 7,
      packBelow: 0,
      writeOnce: false,
      txs: 2,
      bytes: 20,
      unknownSizes: 0,
      oldest: -1.5,
      newest: 1464307123.25,
      sizes: [{ upTo: 64, txs: 2 }],
      days: days(13, "2016-05-26", 1),
      holders: {
        count: 2,
        top: [{ holderId: "alice", txs: 1 }, { holderId: "bob", txs: 1 }],
      },
      writers: [],
      pending: 0,
      quarantined: 1,
    });
    // What is named here depends on the system alone.
    for (const { code } of hints) assert(code === "sqlite-wal-reset", code);
    assertEquals(await filesBelow(temp.base), before);
  },
);

test("describeStore() makes nothing where there is no store", async () => {
  await using temp = await tempStore();
  await temp.close();
  await Deno.remove(temp.base, { recursive: true });
  await assertRejects(() => describe(temp), StoreNotFoundError);
  await assertRejects(() => Deno.stat(temp.base), Deno.errors.NotFound);
});

testDrivers(
  "an open writer is named, and what it has under way is no hint",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(sampleTx());
    const beside = await describe(temp, driver);
    assertEquals(beside.writers.map(({ pid }) => pid), [Deno.pid]);
    assertEquals(beside.pending, 1);
    assertEquals(hints(beside, "unfinished"), []);
  },
);

testDrivers("what a crash left half-done is a hint", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.store.saveTx(sampleTx());
  await using crashed = await temp.snapshot();
  // A log is only read once its index is there, which a reader may not make.
  const db = await openSqlite(crashed.db, driver, false);
  db.exec("PRAGMA journal_mode = DELETE");
  db.close();
  const described = await describe(crashed, driver);
  assertEquals(described.pending, 1);
  assertEquals(hints(described, "unfinished").length, 1);
  await crashed.open();
  await crashed.close();
  assertEquals(hints(await describe(crashed, driver), "unfinished"), []);
});

test("timestamps in the future are a hint", async () => {
  await using temp = await tempStore();
  const now = Date.now() / 1000;
  const save = (txId: string, timestamp: number) =>
    temp.store.saveTx(sampleTx({ txId, timestamp }));
  await save("a", now + 60);
  assertEquals(hints(await describe(temp), "clock"), []);
  await save("b", now + 3600);
  const [skewed = ""] = hints(await describe(temp), "clock");
  assert(skewed.startsWith("1 transaction has a timestamp in the future: a"));
  await save("c", now * 1000);
  const [milliseconds = ""] = hints(await describe(temp), "clock");
  assert(milliseconds.startsWith("2 transactions have"), milliseconds);
  assert(milliseconds.includes("milliseconds"));
});

test(
  "modes that let others write, or the owner not, are a hint",
  async () => {
    await using temp = await tempStore();
    await temp.close();
    assertEquals(hints(await describe(temp), "permissions"), []);
    await Deno.chmod(temp.base, 0o777);
    await Deno.chmod(temp.db, 0o444);
    const [first = "", second = "", ...rest] = hints(
      await describe(temp),
      "permissions",
    );
    assert(
      first.startsWith(`Everybody on this system may change ${temp.base}`),
    );
    assert(second.startsWith(`The owner of ${temp.db} may not change it`));
    assertEquals(rest, []);
    await Deno.chmod(temp.db, 0o644);
  },
  { ignore: IS_WINDOWS },
);

testDrivers(
  "a store of the older package is described as it is",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.close();
    await Deno.remove(temp.base, { recursive: true });
    await Deno.mkdir(temp.base);
    await Deno.writeFile(temp.file("a"), new Uint8Array(3));
    const db = await openSqlite(temp.db, driver, false);
    db.exec(`CREATE TABLE txs (
    tx_id TEXT PRIMARY KEY, storage_hash TEXT NOT NULL, timestamp REAL NOT NULL)`);
    db.exec(`INSERT INTO txs VALUES ('a', '${"0a".repeat(32)}', 1.5)`);
    db.close();
    const described = await describe(temp, driver);
    assertEquals(described.schemaVersion, 0);
    assertEquals([described.txs, described.unknownSizes], [1, 1]);
    assertEquals(described.holders.top, [{ holderId: "", txs: 1 }]);
    assertEquals(hints(described, "schema").length, 1);
  },
);

test("why the FFI binding is not used is a hint for whoever names a library", async () => {
  await using temp = await tempStore();
  const before = Deno.env.get("DENO_SQLITE_PATH");
  Deno.env.delete("DENO_SQLITE_PATH");
  assertEquals(hints(await describe(temp), "ffi"), []);
  try {
    Deno.env.set("DENO_SQLITE_PATH", temp.file("none"));
    const { driver, ...told } = await describe(temp);
    const [hint = ""] = hints({ driver, ...told }, "ffi");
    assert(hint.endsWith(driver.fallbackReason ?? ""), hint);
    assertEquals(hint === "", driver.fallbackReason === undefined);
  } finally {
    if (before === undefined) Deno.env.delete("DENO_SQLITE_PATH");
    else Deno.env.set("DENO_SQLITE_PATH", before);
  }
  assertEquals(hints(await describe(temp, "builtin"), "ffi"), []);
});

Deno.test("isBelow() compares versions as numbers", () => {
  const mended = [3, 51, 3];
  for (const version of ["3.46.0", "3.9.9", "3.51.2", "2.99.99", "3.51"]) {
    assert(isBelow(version, mended), version);
  }
  for (const version of ["3.51.3", "3.51.10", "3.53.2", "4.0.0", "3.51.3.1"]) {
    assert(!isBelow(version, mended), version);
  }
});
