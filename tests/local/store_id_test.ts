import {
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { join } from "@std/path";
import {
  describeStore,
  MetadataDamagedError,
  performRecovery,
  PohStorageError,
  sha256Hex,
  StorageManager,
  StoreMismatchError,
  StoreNotFoundError,
  verifyStore,
} from "../../mod.ts";
import { requireOwnDatabase } from "../../src/local/store_id.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import {
  bytes,
  filesBelow,
  namesIn,
  outline,
  sampleTx,
  tempDir,
  type TempStore,
  tempStore,
  test,
} from "../helpers.ts";
import { PayloadFiles } from "../../src/payloads/payload_files.ts";

/** A store that holds some transactions, closed. */
async function filledStore(...txIds: string[]): Promise<TempStore> {
  const temp = await tempStore();
  for (const txId of txIds) await temp.store.saveTx(sampleTx({ txId }));
  await temp.close();
  return temp;
}

function idOf(temp: TempStore): string {
  return join(temp.base, ".poh", "id");
}

/** Makes a byte of a file zero. */
async function clearByte(path: string, at: number): Promise<void> {
  using file = await Deno.open(path, { write: true });
  await file.seek(at, Deno.SeekMode.Start);
  await file.write(new Uint8Array(1));
}

function logOf(temp: TempStore): string {
  return join(temp.base, ".poh", "log");
}

test("base and database share an id that stays the same", async () => {
  await using temp = await filledStore("a");
  const id = await Deno.readTextFile(idOf(temp));
  assertMatch(id, /^[0-9a-f-]{36}\n$/);
  const db = await openSqlite(temp.db, "builtin", true);
  const rows = db.prepare("SELECT value FROM settings WHERE name = 'id'").all();
  db.close();
  assertEquals(rows, [[id.trim()]]);
  await temp.reopen();
  assertEquals(await Deno.readTextFile(idOf(temp)), id);
});

test("two stores have two ids", async () => {
  await using one = await filledStore();
  await using other = await filledStore();
  const ids = [idOf(one), idOf(other)].map((path) =>
    Deno.readTextFileSync(path)
  );
  assertEquals(new Set(ids).size, 2);
});

test("a database with another store's base is refused, nothing is changed", async () => {
  await using one = await filledStore("a");
  await using other = await filledStore("b");
  const before = [await filesBelow(one.base), await filesBelow(other.base)];
  for (const readOnly of [true, false]) {
    await assertRejects(
      () => StorageManager.create(one.base, other.db, { readOnly }),
      StoreMismatchError,
      `is not the database of ${one.base}: that is ${one.db}`,
    );
  }
  await assertRejects(
    () => performRecovery(one.base, other.db),
    StoreMismatchError,
  );
  await assertRejects(
    () => verifyStore(one.base, other.db),
    StoreMismatchError,
  );
  const after = [await filesBelow(one.base), await filesBelow(other.base)];
  for (const files of [...before, ...after]) delete files["poh.db"];
  assertEquals(after, before);
});

test("recover does not take a base that is not mounted for damage", async () => {
  await using temp = await filledStore("a", "b");
  await using elsewhere = await tempStore();
  await elsewhere.close();
  const empty = join(elsewhere.base, "mount-point");
  await Deno.mkdir(empty);
  await assertRejects(
    () => performRecovery(empty, temp.db),
    StoreMismatchError,
    "not mounted",
  );
  const report = await performRecovery(temp.base, temp.db);
  assertEquals([report.sound, report.findings], [2, []]);
});

test("a base whose database is gone is refused, not given a new one", async () => {
  await using temp = await filledStore("a");
  await Deno.remove(temp.db);
  const before = await filesBelow(temp.base);
  for (
    const attempt of [
      () => StorageManager.create(temp.base, temp.db),
      () => StorageManager.open(temp.base, temp.db),
      () => StorageManager.open(temp.base, temp.db, { readOnly: true }),
      () => performRecovery(temp.base, temp.db),
      () => performRecovery(temp.base, temp.db, { create: true }),
      () => performRecovery(temp.base, temp.db, { orphans: "adopt" }),
      () => verifyStore(temp.base, temp.db),
      () => describeStore(temp.base, temp.db),
    ]
  ) {
    const error = await assertRejects(attempt, StoreMismatchError);
    assertStringIncludes(error.message, temp.db);
    assertStringIncludes(error.message, temp.base);
    assertStringIncludes(error.message, "recover --rebuild");
    assertEquals(await filesBelow(temp.base), before);
  }
  const id = await Deno.readTextFile(idOf(temp));
  const report = await performRecovery(temp.base, temp.db, { rebuild: true });
  // The second one tells that files know no holder.
  const rebuilt = "metadata-damaged null: rebuilt";
  assertEquals(outline(report), [rebuilt, rebuilt]);
  assertEquals(await Deno.readTextFile(idOf(temp)), id);
  assertEquals(await (await temp.reopen()).listTxs(), ["a"]);
});

test("so is an empty store whose database is gone", async () => {
  await using temp = await filledStore();
  await Deno.remove(temp.db);
  await assertRejects(() => temp.open(), StoreMismatchError);
  await performRecovery(temp.base, temp.db, { rebuild: true });
  assertEquals(await (await temp.reopen()).listTxs(), []);
});

test("the base's own database is named where another path is given", async () => {
  await using temp = await filledStore("a");
  await using other = await filledStore("b");
  const elsewhere = await tempDir();
  await using _ = elsewhere;
  const [moved, typo] = [elsewhere.join("meta.db"), elsewhere.join("mete.db")];
  await Deno.rename(temp.db, moved);
  for (const rebuild of [false, true]) {
    await assertRejects(
      () => performRecovery(temp.base, typo, { rebuild }),
      StoreMismatchError,
      `that is ${moved}`,
    );
  }
  await Deno.copyFile(other.db, typo);
  await assertRejects(
    () => StorageManager.open(temp.base, typo),
    StoreMismatchError,
    `that is ${moved}`,
  );
  await using store = await StorageManager.open(temp.base, moved);
  assertEquals(await store.listTxs(), ["a"]);
});

/** What damage makes of an id in a file. */
const DAMAGED_IDS: Record<string, (id: string) => string | null> = {
  "a digit flipped": (id) => (id[0] === "0" ? "1" : "0") + id.slice(1),
  "a character that no id has": (id) => "~" + id.slice(1),
  "cut": (id) => id.slice(0, 20),
  "empty": () => "",
  "zeros": (id) => "\0".repeat(id.length),
  "gone": () => null,
};

for (const [what, damage] of Object.entries(DAMAGED_IDS)) {
  for (const packBelow of [0, 1_000]) {
    const layout = packBelow > 0 ? "packed" : "files";
    test(`a base's id that is damaged is mended by its log: ${what}, ${layout}`, async () => {
      await using temp = await tempStore({ packBelow });
      await temp.store.saveTx(sampleTx({ txId: "a" }));
      await temp.close();
      const id = await Deno.readTextFile(idOf(temp));
      const damaged = damage(id);
      if (damaged === null) await Deno.remove(idOf(temp));
      else await Deno.writeTextFile(idOf(temp), damaged);
      const verified = await verifyStore(temp.base, temp.db);
      assertEquals([verified.sound, verified.findings], [1, []]);
      const report = await performRecovery(temp.base, temp.db);
      assertEquals([report.sound, report.findings], [1, []]);
      assertEquals(await Deno.readTextFile(idOf(temp)), id);
      // And where the database is gone as well.
      if (damaged !== null) await Deno.writeTextFile(idOf(temp), damaged);
      await Deno.remove(temp.db);
      const rebuilt = await performRecovery(temp.base, temp.db, {
        rebuild: true,
      });
      assertEquals(rebuilt.sound, 1);
      assertEquals(await Deno.readTextFile(idOf(temp)), id);
    });

    if (what === "gone") continue;
    test(`an id in the database that is damaged is mended: ${what}, ${layout}`, async () => {
      await using temp = await tempStore({ packBelow });
      await temp.store.saveTx(sampleTx({ txId: "a" }));
      await temp.close();
      const id = (await Deno.readTextFile(idOf(temp))).trim();
      const edit = async (sql: string, ...params: string[]) => {
        const db = await openSqlite(temp.db, "builtin", false);
        const rows = db.prepare(sql).all(...params);
        db.close();
        return rows;
      };
      const damaged = damage(id)!.replaceAll("\0", "?");
      await edit("UPDATE settings SET value = ? WHERE name = 'id'", damaged);
      const verified = await verifyStore(temp.base, temp.db);
      assertEquals([verified.sound, verified.findings], [1, []]);
      const report = await performRecovery(temp.base, temp.db);
      assertEquals([report.sound, report.findings], [1, []]);
      assertEquals(
        await edit("SELECT value FROM settings WHERE name = 'id'"),
        [[id]],
      );
    });
  }
}

test("a base's id that is whole and another store's is no damage", async () => {
  await using temp = await filledStore("a");
  await using other = await filledStore("b");
  await Deno.copyFile(idOf(other), idOf(temp));
  for (
    const attempt of [
      () => StorageManager.open(temp.base, temp.db),
      () => performRecovery(temp.base, temp.db),
      () => verifyStore(temp.base, temp.db),
    ]
  ) {
    const error = await assertRejects(attempt, StoreMismatchError);
    assertMatch(error.message, /^The database .* belongs to another base/);
  }
});

/** A store as the older Python package leaves it: no `.poh`, no id. */
async function olderStore(base: string, db: string, ...txIds: string[]) {
  await Deno.mkdir(base);
  const rows = await openSqlite(db, "builtin", false);
  rows.exec(
    "CREATE TABLE txs (tx_id TEXT PRIMARY KEY, storage_hash TEXT NOT NULL, timestamp REAL NOT NULL)",
  );
  for (const txId of txIds) {
    await Deno.writeTextFile(join(base, placeOf(txId)), txId);
    rows.prepare("INSERT INTO txs VALUES (?, ?, 1)")
      .run(txId, await sha256Hex(bytes(txId)));
  }
  rows.close();
}

test("a base of the older package opens with its own database, and no other", async () => {
  await using dir = await tempDir();
  const base = dir.join("base"), db = dir.join("old.db");
  const [otherBase, otherDb] = [dir.join("other"), dir.join("other.db")];
  await olderStore(base, db, ".a", "b%2F");
  await olderStore(otherBase, otherDb, "x");
  await olderStore(dir.join("empty"), dir.join("empty.db"));
  const before = await filesBelow(dir.path);
  for (const wrong of [otherDb, dir.join("none.db"), dir.join("empty.db")]) {
    for (
      const attempt of [
        () => StorageManager.create(base, wrong),
        () => StorageManager.open(base, wrong, { readOnly: true }),
        () => performRecovery(base, wrong, { create: true, purge: true }),
      ]
    ) {
      await assertRejects(attempt, StoreMismatchError);
      assertEquals(await filesBelow(dir.path), before);
    }
  }
  {
    await using store = await StorageManager.open(base, db);
    assertEquals((await store.listTxs()).length, 2);
  }
  // From now on they know each other by an id.
  await assertRejects(
    () => StorageManager.open(base, otherDb),
    StoreMismatchError,
  );
});

test("a crash before a new store's base had its id is made good by create()", async () => {
  await using temp = await filledStore();
  await Deno.remove(idOf(temp));
  await Deno.remove(logOf(temp), { recursive: true });
  await assertRejects(
    () => StorageManager.open(temp.base, temp.db),
    StoreNotFoundError,
  );
  await temp.reopen();
  await temp.close();
  await StorageManager.open(temp.base, temp.db).then((s) => s.close());
});

test("a store that another process makes meanwhile is taken for what it is", async () => {
  await using temp = await filledStore("a");
  const files = new PayloadFiles(temp.base);
  // There was none when it was looked for; by now base and database have an id.
  for (const opening of ["create", "write", "read"] as const) {
    await requireOwnDatabase(files, temp.db, null, opening);
  }
  await Deno.remove(temp.db);
  await assertRejects(
    () => requireOwnDatabase(files, temp.db, null, "create"),
    StoreMismatchError,
  );
});

test("a file that is no database is neither damaged nor replaced", async () => {
  await using temp = await filledStore("a");
  await using dir = await tempDir();
  const file = dir.join("notes.txt");
  await Deno.writeTextFile(file, "no database at all ".repeat(100));
  for (
    const attempt of [
      () => StorageManager.create(temp.base, file),
      () => StorageManager.open(temp.base, file, { readOnly: true }),
      () => performRecovery(temp.base, file, { rebuild: true }),
      () => StorageManager.create(dir.join("new"), file),
    ]
  ) {
    const error = await assertRejects(attempt, PohStorageError);
    assertEquals(error.code, "NOT_A_DATABASE");
  }
  assertEquals(namesIn(dir.path), ["notes.txt"]);
});

test("a base's database that has lost its tables to damage is rebuilt in place", async () => {
  await using temp = await filledStore("a", "b");
  await clearByte(temp.db, 104); // cells of the schema's page, big-endian
  await assertRejects(
    () => StorageManager.open(temp.base, temp.db),
    MetadataDamagedError,
  );
  const report = await performRecovery(temp.base, temp.db, { rebuild: true });
  assertEquals(report.sound, 2);
  assertEquals((await performRecovery(temp.base, temp.db)).findings, []);
});

test("a base whose id is gone is known again by its payloads", async () => {
  await using temp = await filledStore("a");
  const id = await Deno.readTextFile(idOf(temp));
  await Deno.remove(idOf(temp));
  const store = await temp.reopen();
  assertEquals(outline(await store.verify()), []);
  assertEquals(await Deno.readTextFile(idOf(temp)), id);
});

test("a payload that is gone from a known base is damage, even the last", async () => {
  await using temp = await filledStore("a");
  await Deno.remove(temp.file("a"));
  assertEquals(
    outline(await performRecovery(temp.base, temp.db)),
    ["payload-missing a: quarantined"],
  );
});

test("opening read-only writes no id", async () => {
  await using temp = await filledStore("a");
  await Deno.remove(idOf(temp));
  const before = await filesBelow(temp.base);
  {
    await using store = await StorageManager.create(temp.base, temp.db, {
      readOnly: true,
    });
    assertEquals(await store.listTxs(), ["a"]);
  }
  assertEquals(await filesBelow(temp.base), before);
});
