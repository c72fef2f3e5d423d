import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  emptyQuarantine,
  IntegrityError,
  listQuarantine,
  performRecovery,
  PohStorageError,
  type QuarantineEntry,
  type RecoverOptions,
  restoreQuarantined,
  sha256Hex,
} from "../mod.ts";
import { writeNote } from "../src/quarantine.ts";
import {
  assertBytes,
  bytes,
  filesBelow,
  flipBit,
  namesIn,
  randomBytes,
  sampleTx,
  tempDir,
  type TempStore,
  tempStore,
  test,
} from "./helpers.ts";

/** A store from which recover took something out, open. */
async function quarantined(
  damage: (temp: TempStore) => unknown,
  options: RecoverOptions = {},
): Promise<TempStore> {
  const temp = await tempStore();
  await temp.store.saveTxs([
    sampleTx({ txId: "a", holderId: "bob", timestamp: 0.5 }),
    sampleTx({ txId: "large", payload: randomBytes(200_000) }),
  ]);
  await temp.close();
  await damage(temp);
  await performRecovery(temp.base, temp.db, options);
  await temp.open();
  return temp;
}

async function cases({ base }: TempStore): Promise<QuarantineEntry[]> {
  const entries = await Array.fromAsync(listQuarantine(base));
  return entries.sort((a, b) => a.name < b.name ? -1 : 1);
}

/** The only case there is. */
async function theCase(temp: TempStore): Promise<QuarantineEntry> {
  const [entry, ...others] = await cases(temp);
  assertEquals(others, []);
  return entry!;
}

function fileOf(temp: TempStore, { name }: QuarantineEntry, end = "bin") {
  return join(temp.base, ".poh", "quarantine", `${name}.${end}`);
}

async function assertCode(work: () => Promise<unknown>, code: string) {
  const error = await assertRejects(work, PohStorageError);
  assertEquals(error.code, code);
}

test("listQuarantine() of a store without quarantine is empty", async () => {
  await using temp = await quarantined(() => {});
  assertEquals(await cases(temp), []);
  await using dir = await tempDir();
  assertEquals(await Array.fromAsync(listQuarantine(dir.join("none"))), []);
});

test("listQuarantine() tells what each case is about", async () => {
  await using temp = await quarantined(async (temp) => {
    await flipBit(temp.file("large"));
    await Deno.remove(temp.file("a"));
    await Deno.writeTextFile(temp.file("o/phan"), "orphan");
  }, { orphans: "quarantine" });
  const [missing, corrupt, orphan, ...others] = await cases(temp);
  assertEquals(others, []);
  assertEquals(
    [missing, corrupt, orphan].map((e) => [e!.txId, e!.reason, e!.size]),
    [
      ["a", "payload-missing", null],
      ["large", "payload-corrupt", 200_000],
      ["o/phan", "orphan-payload", 6],
    ],
  );
  assertEquals(missing!.row?.holderId, "bob");
  assertEquals(missing!.found, null);
  assertEquals(corrupt!.expected, corrupt!.row?.storageHash);
  assertEquals(
    corrupt!.found,
    await sha256Hex(await Deno.readFile(fileOf(temp, corrupt!))),
  );
  assertEquals([orphan!.row, orphan!.expected], [null, null]);
  assertEquals(orphan!.found, await sha256Hex(bytes("orphan")));
});

test("quarantine is no part of the store", async () => {
  await using temp = await quarantined((temp) => flipBit(temp.file("a")));
  const { store } = temp;
  assertEquals(await store.loadTx("a"), null);
  assertEquals(await store.listTxs(), ["large"]);
  assertEquals((await store.verify()).findings, []);
});

test("restoreQuarantined() puts back what has its digest again", async () => {
  for (const txId of ["a", "large"]) {
    await using temp = await quarantined((temp) => flipBit(temp.file(txId), 1));
    const entry = await theCase(temp);
    await flipBit(fileOf(temp, entry), 1); // the disk reads well again
    assertEquals(
      await restoreQuarantined(temp.store, entry.name),
      entry.row,
    );
    const tx = (await temp.store.loadTx(txId))!;
    assertEquals([tx.holderId, tx.timestamp], [
      entry.row!.holderId,
      entry.row!.timestamp,
    ]);
    assertBytes(
      tx.payload,
      txId === "a" ? bytes("payload of a") : randomBytes(200_000),
    );
    assertEquals(await cases(temp), []);
    assertEquals(namesIn(temp.base, ".poh", "quarantine"), []);
  }
});

test("restoreQuarantined() refuses what is still damaged, and keeps it", async () => {
  await using temp = await quarantined((temp) => flipBit(temp.file("a")));
  const entry = await theCase(temp);
  const before = await filesBelow(join(temp.base, ".poh", "quarantine"));
  const error = await assertRejects(
    () => restoreQuarantined(temp.store, entry.name),
    IntegrityError,
  );
  assertEquals([error.expected, error.found], [entry.expected, entry.found]);
  assertEquals(await temp.store.listTxs(), ["large"]);
  assertEquals(
    await filesBelow(join(temp.base, ".poh", "quarantine")),
    before,
  );
});

test("restoreQuarantined() cannot bring back bytes that are gone", async () => {
  await using temp = await quarantined((temp) => Deno.remove(temp.file("a")));
  const entry = await theCase(temp);
  const error = await assertRejects(
    () => restoreQuarantined(temp.store, entry.name),
    IntegrityError,
  );
  assertEquals(error.found, null);
  // Somebody has a copy: then it can.
  await Deno.writeTextFile(fileOf(temp, entry), "payload of a");
  await restoreQuarantined(temp.store, entry.name);
  assertEquals((await temp.store.loadTx("a"))?.holderId, "bob");
});

test("restoreQuarantined() does not replace what was saved since", async () => {
  await using temp = await quarantined((temp) => flipBit(temp.file("a")));
  const entry = await theCase(temp);
  await flipBit(fileOf(temp, entry));
  await temp.store.saveTx(sampleTx({ holderId: "newer" }));
  await assertCode(() => restoreQuarantined(temp.store, entry.name), "EXISTS");
  assertEquals((await temp.store.loadTx("a"))?.holderId, "newer");
  assertEquals((await cases(temp)).length, 1);
});

test("restoreQuarantined() has no row for an orphan", async () => {
  await using temp = await quarantined(
    (temp) => Deno.writeTextFile(temp.file("orphan"), "x"),
    { orphans: "quarantine" },
  );
  const entry = await theCase(temp);
  await assertCode(() => restoreQuarantined(temp.store, entry.name), "NO_ROW");
  assertEquals((await cases(temp)).length, 1);
});

for (
  const name of [
    "nothing",
    "",
    ".",
    "..",
    "../id",
    "..\\id",
    "/etc/passwd",
    "x/y",
  ]
) {
  test(`restoreQuarantined() finds no case ${JSON.stringify(name)}`, async () => {
    await using temp = await quarantined((temp) => flipBit(temp.file("a")));
    // What would be found if the name were taken for a path.
    await Deno.writeTextFile(join(temp.base, ".poh", "id.json"), "{}");
    await assertCode(
      () => restoreQuarantined(temp.store, name),
      "NOT_IN_QUARANTINE",
    );
  });
}

test("emptyQuarantine() deletes every case and says how many", async () => {
  await using temp = await quarantined(async (temp) => {
    await flipBit(temp.file("large"));
    await Deno.remove(temp.file("a"));
  });
  assertEquals(await emptyQuarantine(temp.base), 2);
  assertEquals(await emptyQuarantine(temp.base), 0);
  assertEquals(namesIn(temp.base, ".poh", "quarantine"), []);
});

test("the same case has the same name, others have others", async () => {
  await using dir = await tempDir();
  const note = {
    txId: "a",
    reason: "payload-corrupt" as const,
    at: new Date(0).toISOString(),
    expected: "00".repeat(32),
    found: "11".repeat(32),
    row: null,
  };
  const name = await writeNote(dir.path, "a.bin", note);
  assertEquals(await writeNote(dir.path, "a.bin", note), name);
  const others = await Promise.all([
    writeNote(dir.path, "b.bin", { ...note, txId: "b" }),
    writeNote(dir.path, "a.bin", { ...note, found: "22".repeat(32) }),
    writeNote(dir.path, null, note),
  ]);
  assertEquals(new Set([name, ...others]).size, 4);
  assertEquals(namesIn(dir.path, ".poh", "quarantine").length, 4);
});

test("a case of a long id has a name that fits", async () => {
  const txId = "取".repeat(80);
  await using temp = await quarantined(async (temp) => {
    await temp.open();
    await temp.store.saveTx(sampleTx({ txId }));
    await temp.close();
    await flipBit(temp.file(txId));
  });
  const entry = await theCase(temp);
  assertEquals([entry.txId, entry.size], [
    txId,
    bytes(`payload of ${txId}`).length,
  ]);
  assert(bytes(`${entry.name}.json`).length <= 255);
  await flipBit(fileOf(temp, entry));
  await restoreQuarantined(temp.store, entry.name);
  assertEquals(await temp.store.hasTx(txId), true);
});
