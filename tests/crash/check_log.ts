/**
 * What must hold of a transparency log after a crash.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { PohStorageError, StorageManager } from "../../mod.ts";
import { signerOf } from "../../src/proofs/keys.ts";
import type { Place } from "./check.ts";

/** The log agrees with the rows, and continues what was signed. */
export async function checkLog(
  { base, db }: Place,
  key: string,
): Promise<void> {
  await using store = await StorageManager.open(base, db);
  try {
    await store.tlog.status();
  } catch (error) {
    const isNone = error instanceof PohStorageError &&
      error.code === "TLOG_NONE";
    if (!isNone) throw error;
    await store.tlog.init("node7.example/poh");
  }
  assertEquals(await store.tlog.check(), []);
  const signers = [await signerOf(await Deno.readTextFile(key))];
  await store.tlog.sign(signers, key);
  const { size, published } = await store.tlog.status();
  assertEquals(published, size);
}
