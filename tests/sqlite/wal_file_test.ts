import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { StoreBusyError } from "../../mod.ts";
import type { Database } from "../../src/sqlite/database.ts";
import { WalFile } from "../../src/sqlite/wal_file.ts";
import { shrinkWal } from "../../src/sqlite/wal_mode.ts";
import { sampleInfo } from "../contract/metadata_store.ts";
import {
  randomBytes,
  refusingDisk,
  tempDir,
  test,
  testDrivers,
} from "../helpers.ts";
import { idsOf, openRows, saveRow } from "./rows.ts";

const NOT_LOCKED = <T>(work: () => T) => Promise.resolve(work());

test("a database without a log has nothing to be waited for", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.join("poh.db"), "");
  for (const wal of [WalFile.none(), WalFile.open(dir.join("poh.db"))]) {
    assertEquals(wal.isThere, false);
    using _ = refusingDisk(() => true);
    await wal.flush();
    await wal.writeAgain(() => Promise.reject(new Error("not asked")));
    wal.close();
  }
});

test("a flush that failed is final", async () => {
  await using dir = await tempDir();
  await Deno.writeFile(dir.join("poh.db-wal"), randomBytes(100));
  await Deno.writeTextFile(dir.join("poh.db"), "");
  const wal = WalFile.open(dir.join("poh.db"));
  assertEquals([wal.isThere, wal.failure], [true, null]);
  {
    using _ = refusingDisk((sync) => sync === 0);
    await assertRejects(() => wal.flush(), Error, "os error 5");
  }
  const { failure } = wal;
  assert(failure !== null);
  assertEquals(await wal.flush().catch((error) => error), failure);
  wal.close();
});

test("a log is written again as it looks, in pieces", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.join("poh.db"), "");
  for (const size of [0, 1, 2 ** 20, 2 ** 20 + 1, 3 * 2 ** 20 - 1]) {
    const bytes = randomBytes(size);
    await Deno.writeFile(dir.join("poh.db-wal"), bytes);
    const wal = WalFile.open(dir.join("poh.db"));
    let pieces = 0;
    await wal.writeAgain((work) => {
      pieces++;
      return NOT_LOCKED(work);
    });
    wal.close();
    assertEquals(pieces, Math.floor(size / 2 ** 20) + 1);
    const found = await Deno.readFile(dir.join("poh.db-wal"));
    assert(found.every((byte, at) => byte === bytes[at]));
    assertEquals(found.length, size);
  }
});

testDrivers(
  "a log that is written again, or shortened, changes no row",
  async (driver) => {
    await using dir = await tempDir();
    const path = dir.join("poh.db");
    await using rows = await openRows(path, { driver });
    assertEquals(rows.wal.isThere, true);
    for (const txId of ["a", "b"]) await saveRow(rows, sampleInfo({ txId }));
    await rows.wal.writeAgain((work) => rows.change(work));
    await rows.wal.flush();
    assertEquals(await idsOf(rows), ["a", "b"]);
    assert(Deno.statSync(`${path}-wal`).size > 0);
    await using reader = await openRows(path, { driver, readOnly: true });
    assertEquals(reader.wal.isThere, false);
    reader.connection.exec("BEGIN");
    reader.connection.prepare("SELECT count(*) FROM txs").get();
    await saveRow(rows, sampleInfo({ txId: "c" }));
    assertEquals(shrinkWal(rows), false); // a reader needs it
    reader.connection.exec("COMMIT");
    assertEquals(shrinkWal(rows), true);
    assertEquals(Deno.statSync(`${path}-wal`).size, 0);
    assertEquals(await idsOf(rows), ["a", "b", "c"]);
  },
);

testDrivers("without sync nobody waits for the disk", async (driver) => {
  await using dir = await tempDir();
  const path = dir.join("poh.db");
  await using rows = await openRows(path, { driver, sync: false });
  assertEquals(rows.wal.isThere, false);
  const pragma = (name: string) =>
    rows.connection.prepare(`PRAGMA ${name}`).get()![0];
  assertEquals([pragma("journal_mode"), pragma("synchronous")], ["wal", 1]);
});

test("what is in the place of a log is told", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.join("poh.db"), "");
  await Deno.mkdir(dir.join("poh.db-wal"));
  assertThrows(() => WalFile.open(dir.join("poh.db")));
});

test("a log that cannot be shortened for want of room, or is locked, stays", async () => {
  const failing = (error: Error) =>
    ({
      firstInTable() {
        throw error;
      },
    }) as unknown as Database;
  const full = new Error("database or disk is full");
  assertEquals(shrinkWal(failing(full)), false);
  assertEquals(shrinkWal(failing(new StoreBusyError("locked", []))), false);
  assertThrows(() => shrinkWal(failing(new RangeError("x"))), RangeError);
  await Promise.resolve();
});
