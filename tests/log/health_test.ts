import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { PohStorageError, StoreMovedError } from "../../mod.ts";
import { Place } from "../../src/files/place.ts";
import { LogHealth } from "../../src/log/health.ts";
import { IS_WINDOWS, test } from "../helpers.ts";
import { tempParts } from "./helpers.ts";

async function tempHealth() {
  const parts = await tempParts();
  const { basePath } = parts.files;
  const health = new LogHealth(parts, new Place(basePath));
  return { ...parts, basePath, health };
}

test("after a failure nobody goes on, and others are told", async () => {
  await using temp = await tempHealth();
  const { health, dir } = temp;
  health.requireTrust();
  health.requireInPlace();
  assertEquals([health.hasFailed, dir.state().hasFailed], [false, false]);
  const told = health.fail(new Error("Input/output error"));
  assertEquals((told as PohStorageError).code, "DISK_FAILED");
  assertEquals(told.message.includes("Input/output error"), true);
  assertEquals([health.hasFailed, dir.state().hasFailed], [true, true]);
  assertThrows(() => health.requireTrust(), PohStorageError, "Input/output");
  assertEquals(health.fail(new Error("another")), told); // the first counts
  assertEquals(health.moved(), null);
});

test("a base that is another one by now is told, for good", async () => {
  await using temp = await tempHealth();
  const { health, basePath } = temp;
  await Deno.rename(basePath, `${basePath}-away`);
  assertEquals(health.moved() instanceof StoreMovedError, true);
  health.requireTrust(); // it was only asked
  assertThrows(() => health.requireInPlace(), StoreMovedError);
  await Deno.rename(`${basePath}-away`, basePath);
  assertThrows(() => health.requireTrust(), StoreMovedError);
  assertThrows(() => health.requireInPlace(), StoreMovedError);
  assertEquals(health.hasFailed, true);
}, { ignore: IS_WINDOWS });

test("only what SQLite's log was refused ends the trust", async () => {
  await using temp = await tempHealth();
  const { health, rows } = temp;
  assertEquals(await health.orFail(() => Promise.resolve(7)), 7);
  const broken = () => Promise.reject(new RangeError("other"));
  await assertRejects(() => health.orFail(broken), RangeError);
  assertEquals(health.hasFailed, false);
  rows.wal.failure = new Error("Input/output error");
  await assertRejects(() => health.orFail(broken), PohStorageError);
  assertEquals(health.hasFailed, true);
  rows.wal.failure = null;
});
