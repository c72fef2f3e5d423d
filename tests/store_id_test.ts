import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  performRecovery,
  StorageManager,
  StoreMismatchError,
  verifyStore,
} from "../mod.ts";
import { openSqlite } from "../src/sqlite_driver.ts";
import {
  filesBelow,
  outline,
  sampleTx,
  type TempStore,
  tempStore,
  test,
} from "./helpers.ts";

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
      "another base",
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

test("a new database for a base that has payloads takes the base's id", async () => {
  await using temp = await filledStore("a");
  const id = await Deno.readTextFile(idOf(temp));
  await Deno.remove(temp.db);
  await temp.reopen();
  await temp.close();
  assertEquals(await Deno.readTextFile(idOf(temp)), id);
  await temp.reopen();
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
