import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import {
  describeStore,
  type LogUse,
  sha256Hex,
  StorageManager,
  type Tx,
  verifyStore,
} from "../../mod.ts";
import { openStore, saving } from "../../src/local/open_store.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import {
  assertBytes,
  bytes,
  checkpointDue,
  namesIn,
  overwriteInLog,
  randomBytes,
  sampleTx,
  type TempStore,
  tempStore,
  test,
} from "../helpers.ts";
import { logUse } from "../../src/log/compaction.ts";
import { type LogRecord, rowOf } from "../../src/log/record.ts";
import { positionOf } from "../../src/log/segment.ts";
import { setLogState } from "../../src/sqlite/log_state.ts";
import { putRow } from "../../src/sqlite/row_changes.ts";
import { putEntry, scanned, tempParts, writeSegment } from "./helpers.ts";

const MIB = 1024 * 1024;
const FAST = { durability: "relaxed", packBelow: 65_536 } as const;

/** Bytes of a segment before its first record. */
const HEADER = 160;

function segments(base: string): string[] {
  return namesIn(base, ".poh", "log").filter((name) => name.endsWith(".seg"));
}

function logBytes(base: string): number {
  return segments(base).reduce((sum, name) => {
    const path = join(base, ".poh", "log", name);
    try {
      return sum + Deno.statSync(path).size;
    } catch {
      return sum; // it was dropped meanwhile
    }
  }, 0);
}

async function useOf({ base, db }: TempStore): Promise<LogUse> {
  return (await describeStore(base, db)).log!;
}

/** Changes that a closed store has seen, those of compaction among them. */
async function changesOf({ db }: TempStore): Promise<number> {
  const rows = await openSqlite(db, "builtin", true);
  const [value] = rows.prepare(
    "SELECT value FROM settings WHERE name = 'changes'",
  ).get()!;
  rows.close();
  return Number(value);
}

function version(txId: string, n: number, size: number): Tx {
  return sampleTx({ txId, timestamp: n, payload: randomBytes(size, n) });
}

test("100,000 replacements of 100 ids keep the log bounded", async () => {
  await using temp = await tempStore(FAST);
  const { store, base, db } = temp;
  const old = version("old", 1, 1_000);
  await store.saveTx(old);
  const payload = randomBytes(400);
  let largest = 0;
  for (let n = 0; n < 100_000; n += 1_000) {
    const saves = Array.from(
      { length: 1_000 },
      (_, i) => sampleTx({ txId: `hot-${i % 100}`, timestamp: n + i, payload }),
    );
    await store.saveTxs(saves);
    largest = Math.max(largest, logBytes(base));
  }
  assert(largest < 40 * MIB, `${largest} bytes`);
  await temp.close();
  assert(logBytes(base) < MIB, `${logBytes(base)} bytes at rest`);
  await using again = await StorageManager.open(base, db);
  assertEquals(await again.loadTx("old"), old);
  assertEquals((await again.infoTx("hot-99"))?.timestamp, 99_999);
  assertEquals((await again.verify()).sound, 101);
}, { timeout: 120_000 });

test("sessions that save a little leave nothing but records", async () => {
  await using temp = await tempStore({ packBelow: 65_536 });
  await temp.close();
  const { base, db } = temp;
  for (let n = 0; n < 30; n++) {
    await using store = await StorageManager.open(base, db);
    await store.saveTx(version(`tx-${n}`, n, 100));
  }
  assertEquals(segments(base).length, 1);
  const { bytes, alive, dead } = await useOf(temp);
  assertEquals([bytes, dead], [HEADER + alive, 0]);
});

test("segments that a checkpoint, cut off at its end, has left go with the next", async () => {
  const changes: ((store: StorageManager) => Promise<unknown>)[] = [
    (store) => store.compact(),
    (store) => store.recover(),
  ];
  for (const change of changes) {
    await using temp = await tempStore({ packBelow: 65_536 });
    const { base, db, store } = temp;
    await store.saveTx(version("a", 1, 100));
    await temp.close();
    const [first] = segments(base);
    const path = join(base, ".poh", "log", first!);
    const left = Deno.readFileSync(path);
    {
      await using store = await StorageManager.open(base, db);
      await store.saveTx(version("a", 2, 100));
      await store.compact();
    }
    assert(!segments(base).includes(first!));
    Deno.writeFileSync(path, left);
    {
      await using store = await StorageManager.open(base, db);
      await change(store);
    }
    assert(!segments(base).includes(first!));
    assertEquals((await useOf(temp)).dead, 0);
    assertEquals((await verifyStore(base, db)).sound, 1);
  }
});

test("sessions that replace keep the log bounded", async () => {
  await using temp = await tempStore(FAST);
  const { base, db, store } = temp;
  const old = version("old", 1, 1_000);
  await store.saveTx(old);
  await temp.close();
  const payload = randomBytes(60_000);
  let largest = 0;
  for (let n = 0; n < 60; n++) {
    await using store = await StorageManager.open(base, db, FAST);
    const txs = Array.from(
      { length: 20 },
      (_, i) => sampleTx({ txId: `hot-${i}`, timestamp: n, payload }),
    );
    await store.saveTxs(txs);
    largest = Math.max(largest, logBytes(base));
  }
  // 72 MB were written, of which 1.2 are alive.
  assert(largest < 12 * MIB, `${largest} bytes`);
  assert(segments(base).length <= 2);
  await using again = await StorageManager.open(base, db);
  assertEquals(await again.loadTx("old"), old);
  assertEquals((await again.verify()).sound, 21);
});

test("processes that are killed again and again leave few segments", async () => {
  await using temp = await tempStore(FAST);
  await temp.close();
  const { base, db } = temp;
  for (let n = 0; n < 60; n++) {
    const { writer, rows, ...parts } = await openStore(base, db, FAST);
    const { queue, locks } = writer!;
    const { entry } = await changeOf(version(`tx-${n}`, n, 100));
    await queue.submit({ entry });
    await new Promise((resolve) => setTimeout(resolve, 100));
    // What a kill leaves to the next one.
    queue.abandon();
    rows.abandon();
    locks.release();
    parts.log.close();
  }
  await using store = await StorageManager.open(base, db, FAST);
  assertEquals((await store.verify()).sound, 60);
  assert(segments(base).length < 30, `${segments(base).length} segments`);
});

async function changeOf({ payload, ...head }: Tx) {
  const storageHash = await sha256Hex(payload);
  const info = { ...head, storageHash, size: payload.length };
  return { entry: saving(info, { payload, isPacked: true }) };
}

test("a log of tiny payloads that are all alive is left alone", async () => {
  using _ = checkpointDue(4_096);
  await using temp = await tempStore(FAST);
  const { store } = temp;
  const count = 60_000;
  const txs = Array.from({ length: count }, (_, n) => ({
    txId: `${n}`.padStart(64, "0"),
    holderId: "alice",
    timestamp: n,
    payload: bytes("five!"),
  }));
  await store.saveTxs(txs);
  await temp.close();
  assert(logBytes(temp.base) > 4 * MIB);
  assertEquals(await changesOf(temp), count);
}, { timeout: 60_000 });

test("compact() gives back every dead byte", async () => {
  await using temp = await tempStore(FAST);
  const { store, base } = temp;
  const txs = Array.from({ length: 100 }, (_, n) => version(`${n}`, n, 5_000));
  await store.saveTxs(txs);
  for (let n = 0; n < 100; n += 4) await store.deleteTx(`${n}`);
  for (let n = 1; n < 100; n += 4) await store.saveTx(version(`${n}`, n, 90));
  await temp.reopen();
  const before = await useOf(temp);
  assert(before.dead > 50 * 5_000, `${before.dead} dead`);
  const progress: number[] = [];
  const report = await temp.store.compact({
    onProgress: ({ step, done, total }) => {
      assertEquals([step, total], ["log", 75]);
      progress.push(done);
    },
  });
  assertEquals(report, {
    moved: 75,
    freed: before.dead,
    dead: 0,
    interrupted: false,
  });
  assertEquals(progress.at(-1), 75);
  assertEquals((await temp.store.compact()).moved, 0);
  await temp.close();
  const { bytes, alive, dead } = await useOf(temp);
  assertEquals([bytes, dead, alive], [alive + HEADER, 0, before.alive]);
  await using again = await StorageManager.open(base, temp.db);
  assertEquals((await again.verify()).sound, 75);
  assertEquals((await again.loadTx("1"))?.payload.length, 90);
});

test("what all is deleted of is given back at once", async () => {
  for (const how of ["compact", "close"] as const) {
    await using temp = await tempStore(FAST);
    const { store, base } = temp;
    for (let n = 0; n < 50; n++) await store.saveTx(version(`${n}`, n, 9_000));
    for (let n = 0; n < 50; n++) await store.deleteTx(`${n}`);
    if (how === "compact") {
      assertEquals((await store.compact()).dead, 0);
      assertEquals(logBytes(base), HEADER);
    }
    await temp.close();
    assertEquals([segments(base).length, logBytes(base)], [1, HEADER]);
  }
});

test("compact() can be interrupted, and goes on", async () => {
  await using temp = await tempStore(FAST);
  const { store } = temp;
  await store.saveTx(version("dead", 0, 100));
  const txs = Array.from({ length: 1_000 }, (_, n) => version(`${n}`, n, 100));
  await store.saveTxs(txs);
  await store.deleteTx("dead");
  const stop = new AbortController();
  const report = await store.compact({
    signal: stop.signal,
    onProgress: () => stop.abort(),
  });
  assertEquals(report.interrupted, true);
  assert(report.moved > 0 && report.moved < 1_000, `${report.moved} moved`);
  assertEquals((await store.verify()).sound, 1_000);
  const rest = await store.compact();
  assertEquals([rest.interrupted, rest.dead], [false, 0]);
  assertEquals((await store.verify()).sound, 1_000);
});

test("a damaged payload keeps its segment, and compact() tells", async () => {
  await using temp = await tempStore(FAST);
  const { base, db } = temp;
  await temp.store.saveTxs([
    sampleTx({ txId: "bad", payload: bytes("a payload that will be damaged") }),
    ...Array.from({ length: 20 }, (_, n) => version(`${n}`, n, 2_000)),
  ]);
  await temp.store.deleteTx("0");
  await temp.close();
  await overwriteInLog(base, "a payload that will be damaged", "DAMAGED");
  {
    await using store = await StorageManager.open(base, db, FAST);
    const { dead } = await store.compact();
    assert(dead > 2_000, `${dead} dead`);
    assertEquals((await store.verify()).sound, 19);
    await store.recover();
    assertEquals((await store.compact()).dead, 0);
    assertEquals((await store.verify()).sound, 19);
  }
  assertEquals((await verifyStore(base, db)).findings, []);
});

test("compaction beside changes and a move to files undoes neither", async () => {
  await using temp = await tempStore(FAST);
  const { store, base } = temp;
  const txs = Array.from({ length: 400 }, (_, n) => version(`${n}`, n, 200));
  await store.saveTxs(txs);
  await store.deleteTx("0");
  const [, compacted] = await Promise.all([
    store.movePacked({ packBelow: 0 }),
    store.compact(),
    store.deleteTx("399"),
    store.saveTx(version("398", 9_000, 300)),
  ]);
  assertEquals(compacted.interrupted, false);
  const files = namesIn(base).filter((name) => name.endsWith(".bin"));
  assertEquals(files.length, 398);
  assertEquals((await store.verify()).findings, []);
  assertBytes((await store.loadTx("398"))!.payload, randomBytes(300, 9_000));
  assertEquals(await store.loadTx("399"), null);
  await temp.close();
  assertEquals(logBytes(base), HEADER);
});

test("a store in files has no dead bytes at rest", async () => {
  await using temp = await tempStore();
  await temp.store.saveTxs([version("a", 1, 100), version("b", 2, 100)]);
  assertEquals((await useOf(temp)).alive, 0);
  await temp.close();
  assertEquals(await useOf(temp), { bytes: HEADER, alive: 0, dead: 0 });
});

test("dead are bytes that a checkpoint covers and where no payload lives", async () => {
  await using parts = await tempParts();
  const { dir, rows } = parts;
  const entries = ["a", "b", "c"].map((txId) => putEntry({ txId }));
  const end = await writeSegment(dir, 1, entries);
  const { records } = scanned(dir, positionOf(1, 0));
  const [a, b, c] = records as [LogRecord, LogRecord, LogRecord];
  const bytes = dir.segment(1)!.size();
  const use = async (filesSynced: number) => {
    await rows.change(() => setLogState(rows, { applied: end, filesSynced }));
    return await logUse(parts);
  };
  const dead = b.length + c.length;
  await rows.change(() => putRow(rows, rowOf(a)!, a.position));
  assertEquals(await use(0), { bytes, alive: a.length, dead: 0 });
  assertEquals(await use(a.position), { bytes, alive: a.length, dead: 0 });
  assertEquals(await use(c.position), {
    bytes,
    alive: a.length,
    dead: b.length,
  });
  assertEquals(await use(end), { bytes, alive: a.length, dead });
  await rows.change(() => putRow(rows, rowOf(c)!, c.position));
  const alive = a.length + c.length;
  assertEquals(await use(c.position), { bytes, alive, dead: b.length });
});

test("compact() that is told to stop says so only if something is left", async () => {
  await using temp = await tempStore(FAST);
  const { store } = temp;
  const signal = AbortSignal.abort();
  await store.saveTx(version("a", 1, 100));
  assertEquals((await store.compact({ signal })).interrupted, false);
  for (const n of [2, 3]) await store.saveTx(version("a", n, 100));
  await store.saveTx(version("b", 1, 100));
  assertEquals((await store.compact({ signal })).interrupted, true);
  assertEquals((await store.compact()).interrupted, false);
});
