import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { performRecovery, sha256Hex, verifyStore } from "../../mod.ts";
import { sha256HexSync } from "../../src/files/hash.ts";
import { LogDir } from "../../src/log/log_dir.ts";
import { LogReader } from "../../src/log/log_reader.ts";
import type { LogEntry } from "../../src/log/record.ts";
import { replay, type Replayed } from "../../src/log/replay.ts";
import { FIRST_RECORD, positionOf } from "../../src/log/segment.ts";
import { removal, saving } from "../../src/local/open_store.ts";
import { sampleInfo } from "../contract/metadata_store.ts";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import {
  assertBytes,
  bytes,
  filesBelow,
  namesIn,
  outline,
  randomBytes,
  sampleTx,
  type TempStore,
  tempStore,
  test,
  testDrivers,
  text,
} from "../helpers.ts";
import { type Parts, tempParts, writeSegment } from "./helpers.ts";
import { openDatabase } from "../../src/sqlite/open_database.ts";
import type { PayloadFiles } from "../../src/payloads/payload_files.ts";
import { initDatabase } from "../../src/sqlite/open_database.ts";
import { logState, setLogState } from "../../src/sqlite/log_state.ts";
import { findRow } from "../../src/sqlite/lookups.ts";
import { countTxs } from "../../src/sqlite/tx_counts.ts";
import { saveRow } from "../sqlite/rows.ts";

// --- records by themselves ------------------------------------------------------

function put(txId: string, payload: Uint8Array): LogEntry {
  const info = sampleInfo({
    txId,
    storageHash: sha256HexSync(payload),
    size: payload.length,
  });
  return saving(info, { payload, isPacked: false });
}

function putStaged(txId: string, payload: Uint8Array, staged: string) {
  const { kind: _, ...info } = put(txId, payload);
  return saving(info, { staged });
}

async function outcomesOf(parts: Parts): Promise<string[]> {
  const outcomes: Replayed[] = [];
  await replay(parts, (one) => outcomes.push(one));
  return outcomes.map((o) => `${o.kind} ${o.txId}: ${o.outcome}`);
}

async function contentOf({ files }: Parts): Promise<string[]> {
  return await Promise.all(
    (await keysOf(files)).sort().map(async (id) =>
      `${id}=${text(await files.load(id))}`
    ),
  );
}

test("replay() makes rows and files, and begins a new segment", async () => {
  await using parts = await tempParts();
  const { files, rows, dir } = parts;
  await files.place("torn", bytes("2"));
  await files.place("there", bytes("3"));
  await files.place("removed", bytes("4"));
  await files.place("aside", bytes("bad"));
  const { name } = await files.staged.add([bytes("large")]);
  const entries = [
    put("absent", bytes("1")),
    put("torn", bytes("22")),
    put("there", bytes("3")),
    removal("removed"),
    removal("gone"),
    put("twice", bytes("old")),
    put("twice", bytes("new")),
    putStaged("staged", bytes("large"), name),
    { ...removal("aside"), kind: "quarantine" as const, name: "case.bin" },
  ];
  await writeSegment(dir, 1, entries, { changes: 7 });
  const applied = positionOf(1, FIRST_RECORD);
  rows.transaction(() => setLogState(rows, { applied, changes: 7 }));
  assertEquals(await outcomesOf(parts), [
    "put absent: finished",
    "put torn: finished",
    "put there: finished", // its row had not followed
    "remove removed: finished",
    "remove gone: finished",
    "put twice: finished",
    "put-staged staged: finished",
    "quarantine aside: finished",
  ]);
  assertEquals(await contentOf(parts), [
    "absent=1",
    "staged=large",
    "there=3",
    "torn=22",
    "twice=new",
  ]);
  assertEquals(await countTxs(rows), 5);
  assertEquals(namesIn(files.basePath, ".poh", "quarantine"), ["case.bin"]);
  assertEquals(namesIn(files.staged.path), []);
  assertEquals(dir.numbers(), [2]);
  assertEquals(dir.segment(2)!.header.changes, 7 + 9);
  assertEquals(await outcomesOf(parts), []);
  assertEquals(dir.numbers(), [2]);
});

test("a replay that is cut off anywhere is done again", async () => {
  await using parts = await tempParts();
  const { files, rows, dir } = parts;
  const ids = Array.from({ length: 1_100 }, (_, n) => `id-${n + 1_000}`);
  const entries = ids.flatMap((
    id,
  ) => [put(id, bytes("old")), put(id, bytes(id))]);
  await writeSegment(dir, 1, entries);
  let looks = 0;
  for (const stop of [1, 30, 700, 1_099]) {
    looks = 0;
    const cut = replay(parts, () => {
      if (++looks === stop) throw new Error("cut off");
    });
    await cut.then(() => assertEquals("cut off", ""), () => {});
    assertEquals(dir.numbers(), [1]);
  }
  await replay(parts);
  assertEquals((await keysOf(files)).sort(), ids);
  assertEquals(text(await files.load("id-1500")), "id-1500");
  assertEquals(await countTxs(rows), 1_100);
  assertEquals(dir.numbers(), [2]);
});

test("a row that was changed since by a repair is not undone", async () => {
  await using parts = await tempParts();
  const { files, rows, dir } = parts;
  const end = await writeSegment(dir, 1, [
    put("overtaken", bytes("old")),
    removal("adopted"),
  ]);
  rows.transaction(() => setLogState(rows, { applied: end, changes: 2 }));
  for (const [txId, payload] of [["overtaken", "new"], ["adopted", "5"]]) {
    await files.place(txId!, bytes(payload!));
    const storageHash = await sha256Hex(bytes(payload!));
    await saveRow(rows, sampleInfo({ txId: txId!, storageHash }));
  }
  assertEquals(await outcomesOf(parts), [
    "put overtaken: void",
    "remove adopted: void",
  ]);
  assertEquals(await contentOf(parts), ["adopted=5", "overtaken=new"]);
});

test("what recover has adopted stays when all of the log is followed anew", async () => {
  await using parts = await tempParts();
  const { files, rows, dir } = parts;
  const entries = [
    put("adopted", bytes("old")),
    removal("adopted"),
    put("again", bytes("old")),
    removal("again"),
    put("again", bytes("new")),
    put("deleted", bytes("old")),
    removal("deleted"),
  ];
  const end = await writeSegment(dir, 1, entries);
  rows.transaction(() => setLogState(rows, { applied: end, changes: 7 }));
  for (const [txId, payload] of [["adopted", "by hand"], ["again", "new"]]) {
    await files.place(txId!, bytes(payload!));
    const storageHash = sha256HexSync(bytes(payload!));
    const size = payload!.length;
    await saveRow(rows, sampleInfo({ txId: txId!, storageHash, size }));
  }
  const outcomes: string[] = [];
  await replay(parts, (o) => outcomes.push(`${o.txId}: ${o.outcome}`), true);
  assertEquals(outcomes, [
    "adopted: void",
    "again: finished",
    "deleted: finished",
  ]);
  assertEquals(await contentOf(parts), ["adopted=by hand", "again=new"]);
  assertEquals(await countTxs(rows), 2);
  assertEquals(logState(rows).changes, 7);
});

test("what rows have not followed is not skipped, whatever is said of files", async () => {
  await using parts = await tempParts();
  const { rows, dir } = parts;
  await writeSegment(dir, 1, [put("a", bytes("1")), put("b", bytes("2"))]);
  const applied = positionOf(1, FIRST_RECORD);
  const filesSynced = positionOf(9, FIRST_RECORD); // a digit was flipped
  rows.transaction(() => setLogState(rows, { applied, filesSynced }));
  assertEquals(await outcomesOf(parts), ["put a: finished", "put b: finished"]);
  assertEquals(await contentOf(parts), ["a=1", "b=2"]);
  assertEquals(await countTxs(rows), 2);
});

test("a row that was changed since keeps its file when the disk refuses it", async () => {
  await using parts = await tempParts();
  const { files, rows, dir } = parts;
  const end = await writeSegment(dir, 1, [removal("a")]);
  rows.transaction(() => setLogState(rows, { applied: end, changes: 1 }));
  await files.place("a", bytes("adopted"));
  const storageHash = sha256HexSync(bytes("adopted"));
  await saveRow(rows, sampleInfo({ txId: "a", storageHash, size: 7 }));
  const { sync } = files;
  let refused = 0;
  files.sync = async (txIds, onRefused) => {
    if (refused++ > 0) return await sync.call(files, txIds, onRefused);
    txIds.forEach((txId) => onRefused!(txId, new Error("refused")));
  };
  assertEquals(await outcomesOf(parts), ["remove a: void"]);
  assertEquals(await contentOf(parts), ["a=adopted"]);
});

test("what cannot follow keeps its record, and its row says where", async () => {
  await using parts = await tempParts();
  const { files, rows, dir } = parts;
  const inTheWay = join(files.basePath, "b.bin", "within");
  await Deno.mkdir(inTheWay, { recursive: true });
  await writeSegment(dir, 1, [put("a", bytes("1")), put("b", bytes("2"))]);
  const stuck = ["put a: finished", "put b: stuck"];
  assertEquals(await outcomesOf(parts), stuck);
  const log = new LogReader(dir, rows);
  assertEquals(log.at(findRow(rows, "b")!.place!)?.payload, bytes("2"));
  assertEquals(await outcomesOf(parts), ["put b: stuck"]);
  await Deno.remove(join(files.basePath, placeOf("b")), { recursive: true });
  assertEquals(await outcomesOf(parts), ["put b: finished"]);
  assertEquals([findRow(rows, "b")!.place, text(await files.load("b"))], [
    null,
    "2",
  ]);
  assertEquals(dir.numbers().length, 1);
});

test("packed payloads stay in the log, whose segment stays", async () => {
  await using parts = await tempParts();
  const { files, rows, dir } = parts;
  const packed = { ...put("a", bytes("1")), isPacked: true };
  await files.place("a", bytes("older"));
  await writeSegment(dir, 1, [packed, put("b", bytes("2"))]);
  await outcomesOf(parts);
  assertEquals(dir.numbers(), [1, 2]);
  assertEquals(await contentOf(parts), ["b=2"]);
  const log = new LogReader(dir, rows);
  assertEquals(log.at(findRow(rows, "a")!.place!)?.payload, bytes("1"));
  assertEquals(await outcomesOf(parts), []);
});

// --- what a crash leaves --------------------------------------------------------

/** The store as a crash leaves it, and what was lost with it. */
async function crashed(
  temp: TempStore,
  lose: (crash: TempStore) => Promise<unknown>,
): Promise<TempStore> {
  const crash = await temp.snapshot();
  await lose(crash);
  return crash;
}

testDrivers(
  "a save whose file was lost comes back from the log",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(sampleTx());
    await using crash = await crashed(
      temp,
      (crash) => Deno.remove(crash.file("a")),
    );
    const store = await crash.open();
    assertEquals(await store.loadTx("a"), sampleTx());
    assertEquals(await Deno.readFile(crash.file("a")), sampleTx().payload);
  },
);

testDrivers(
  "a save whose file is empty or torn comes back from the log",
  async (driver) => {
    await using temp = await tempStore({ driver });
    for (const txId of ["a", "b"]) await temp.store.saveTx(sampleTx({ txId }));
    await using crash = await crashed(temp, async (crash) => {
      await Deno.truncate(crash.file("a"), 0);
      await Deno.truncate(crash.file("b"), 3);
    });
    const store = await crash.open();
    assertEquals(await store.loadTx("a"), sampleTx());
    assertEquals(await store.loadTx("b"), sampleTx({ txId: "b" }));
  },
);

testDrivers(
  "a replacement whose file is still the old one is new",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(sampleTx({ payload: bytes("old") }));
    const replacement = sampleTx({ holderId: "bob", payload: bytes("new") });
    await temp.store.saveTx(replacement);
    await using crash = await crashed(
      temp,
      (crash) => Deno.writeTextFile(crash.file("a"), "old"),
    );
    const store = await crash.open();
    assertEquals(await store.loadTx("a"), replacement);
    assertEquals(await Deno.readTextFile(crash.file("a")), "new");
  },
);

testDrivers(
  "a deletion whose file is still there is finished",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(sampleTx());
    await temp.store.deleteTx("a");
    await using crash = await crashed(
      temp,
      (crash) => Deno.writeFile(crash.file("a"), sampleTx().payload),
    );
    const store = await crash.open();
    assertEquals(await store.loadTx("a"), null);
    assertEquals(namesIn(crash.base).includes(placeOf("a")), false);
  },
);

/** Moves a large payload back to where it was before its file followed. */
async function unplace(crash: TempStore, txId: string) {
  const rows = await openDatabase(crash.db, { readOnly: true });
  await initDatabase(rows);
  const options = { sync: false, write: false };
  const log = new LogReader(new LogDir(crash.base, options), rows);
  const { name } = log.find(txId)!;
  log.close();
  await rows.close();
  await Deno.rename(
    crash.file(txId),
    join(crash.base, ".poh", "staged", name),
  );
}

testDrivers(
  "a large payload that was logged, not renamed, is put in its place",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const payload = randomBytes(200_000);
    await temp.store.saveTx(sampleTx({ payload }));
    await using crash = await crashed(
      temp,
      (crash) => unplace(crash, "a"),
    );
    const store = await crash.open();
    assertBytes((await store.loadTx("a"))?.payload, payload);
    assertEquals(namesIn(crash.base, ".poh", "staged"), []);
  },
);

testDrivers(
  "a large payload that was never logged is no transaction",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await using crash = await crashed(
      temp,
      (crash) =>
        Deno.writeFile(join(crash.base, ".poh", "staged", "x"), randomBytes(9)),
    );
    const report = await performRecovery(crash.base, crash.db, { driver });
    assertEquals(outline(report), ["leftover-temp null: removed"]);
    assertEquals(namesIn(crash.base, ".poh", "staged"), []);
  },
);

testDrivers("read-only, the log is read and left as it is", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.store.saveTx(sampleTx());
  await using crash = await crashed(
    temp,
    (crash) => Deno.remove(crash.file("a")),
  );
  const store = await crash.open({ readOnly: true });
  assertEquals(await store.loadTx("a"), sampleTx());
  const stream = (await store.loadTxStream("a"))!;
  assertEquals(await new Response(stream.payload).text(), "payload of a");
  assertEquals(namesIn(crash.base).includes(placeOf("a")), false);
});

testDrivers(
  "recover tells what it finished, and finds nothing the second time",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const replaced = sampleTx({ txId: "b", payload: bytes("new") });
    await temp.store.saveTx(sampleTx());
    await temp.store.saveTx(sampleTx({ txId: "b", payload: bytes("old") }));
    await temp.store.saveTx(replaced);
    await temp.store.saveTx(sampleTx({ txId: "c" }));
    await temp.store.countTxs(); // the rows have followed
    await using crash = await crashed(temp, async (crash) => {
      await Deno.remove(crash.file("a"));
      await Deno.writeTextFile(crash.file("b"), "old");
    });
    const findings = ["unfinished a: finished", "unfinished b: finished"];
    const before = await filesBelow(crash.base);
    const { base, db } = crash;
    assertEquals(
      outline(await performRecovery(base, db, { driver, dryRun: true })),
      findings,
    );
    assertEquals(
      outline(await verifyStore(base, db, { driver })),
      ["unfinished a: none", "unfinished b: none"],
    );
    const after = await filesBelow(crash.base);
    for (const files of [before, after]) delete files["poh.db-wal"];
    assertEquals(after, before);

    const first = await performRecovery(base, db, { driver });
    assertEquals([outline(first), first.sound], [findings, 3]);
    const second = await performRecovery(base, db, { driver });
    assertEquals([second.sound, second.findings], [3, []]);
    const store = await crash.open();
    assertEquals(await store.loadTx("b"), replaced);
  },
);

testDrivers(
  "a large payload that cannot be put in its place yet is kept",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const payload = randomBytes(100_000);
    await temp.store.saveTx(sampleTx({ payload }));
    await using crash = await crashed(temp, async (crash) => {
      await unplace(crash, "a");
      await Deno.mkdir(join(crash.file("a"), "within"), { recursive: true });
    });
    for (let n = 0; n < 2; n++) {
      const report = await performRecovery(crash.base, crash.db, { driver });
      // Its payload is where the log says.
      assertEquals([outline(report), report.sound], [
        ["unfinished a: none"],
        1,
      ]);
    }
    assertEquals(namesIn(crash.base, ".poh", "staged").length, 1);
    await Deno.remove(crash.file("a"), { recursive: true });
    const store = await crash.open();
    assertBytes((await store.loadTx("a"))?.payload, payload);
    assertEquals(namesIn(crash.base, ".poh", "staged"), []);
  },
);

testDrivers(
  "one file in the way does not keep the rest of the store shut",
  async (driver) => {
    await using temp = await tempStore({ driver });
    for (const txId of ["a", "b"]) await temp.store.saveTx(sampleTx({ txId }));
    await using crash = await crashed(temp, async (crash) => {
      for (const txId of ["a", "b"]) await Deno.remove(crash.file(txId));
      await Deno.mkdir(join(crash.file("a"), "within"), { recursive: true });
    });
    {
      const store = await crash.open();
      assertEquals(await store.loadTx("b"), sampleTx({ txId: "b" }));
      await store.saveTx(sampleTx({ txId: "c" }));
      await crash.close();
    }
    const report = await performRecovery(crash.base, crash.db, { driver });
    assertEquals([outline(report), report.sound], [["unfinished a: none"], 3]);
    assertEquals(report.damaged, false);
    assertEquals(namesIn(crash.file("a")), ["within"]);

    await Deno.remove(crash.file("a"), { recursive: true });
    assertEquals(
      outline(await performRecovery(crash.base, crash.db, { driver })),
      ["unfinished a: finished"],
    );
    const store = await crash.open();
    assertEquals(await store.loadTx("a"), sampleTx());
  },
);

async function keysOf(files: PayloadFiles): Promise<string[]> {
  return await Array.fromAsync(files.files(), ({ txId }) => txId!);
}
