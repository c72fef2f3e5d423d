/**
 * Stores that earlier versions of this program left when they were killed:
 * `tests/fixtures/README.md` tells what is in them.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { StorageManager, type StorageOptions, verifyStore } from "../../mod.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { payloadOf, REPLACED, TIME } from "../fixtures/contents.ts";
import { unpackStore } from "../fixtures/packed_store.ts";
import { assertBytes, namesIn } from "../helpers.ts";

/** Killed while they saved. */
export const KILLED_SAVING = [
  "version_1_first",
  "version_1",
  "version_2_indexes",
  "version_2_inline",
  "version_2",
  "version_3",
  "version_4",
  "version_5",
  "version_6",
] as const;

/** Killed while they moved a damaged payload to quarantine. */
export const KILLED_RECOVERING = [
  "version_1_first_recover",
  "version_4_recover",
  "version_5_recover",
] as const;

/** A store of an earlier version. */
export type OlderVersion =
  | typeof KILLED_SAVING[number]
  | typeof KILLED_RECOVERING[number];

/** Where a store is. */
export interface Place {
  base: string;
  db: string;
}

/** Makes the store in a folder. */
export async function unpackOlder(
  name: OlderVersion,
  dir: string,
): Promise<Place> {
  const url = new URL(`../fixtures/${name}.json`, import.meta.url);
  await unpackStore(await Deno.readTextFile(url), dir);
  return { base: join(dir, "base"), db: join(dir, "base", "poh.db") };
}

/** What the store has to have, by id. */
export function contentsOf(
  name: OlderVersion,
): Map<string, Uint8Array<ArrayBuffer>> {
  const ids = ["file", "a:b", "Tx", "large", "in-1", "in-2"];
  const isSaving = KILLED_SAVING.some((saving) => saving === name);
  if (isSaving) ids.push(...REPLACED, "new-1", "new-2", "staged");
  const contents = new Map(ids.map((txId) => [txId, payloadOf(txId)]));
  if (isSaving) return contents;
  const replaced = new TextEncoder().encode("before it was replaced");
  for (const txId of REPLACED) contents.set(txId, replaced);
  return contents;
}

/** Asserts that an open store has all of it, and nothing else. */
export async function assertContents(
  store: StorageManager,
  name: OlderVersion,
): Promise<void> {
  const contents = contentsOf(name);
  assertEquals(await store.listTxs(), [...contents.keys()].sort());
  for (const [txId, payload] of contents) {
    const tx = await store.loadTx(txId);
    assertBytes(tx?.payload, payload, txId);
    const isFirst = REPLACED.includes(txId) && payload.length < 30;
    assertEquals(
      [tx?.timestamp, tx?.holderId],
      isFirst ? [1, ""] : [TIME, "alice"],
      txId,
    );
  }
}

/** Asserts that a closed store is whole, and of today's form. */
export async function assertUpgraded(
  { base, db }: Place,
  name: OlderVersion,
  options: StorageOptions = {},
): Promise<void> {
  {
    const how = { ...options, readOnly: true };
    await using store = await StorageManager.open(base, db, how);
    await assertContents(store, name);
  }
  assertEquals((await verifyStore(base, db, options)).findings, []);
  assertEquals(namesIn(base, ".poh", "staged"), []);
  assertEquals(namesIn(base, ".poh").includes("newest"), false);
  assertEquals(await schemaOf(db), await newSchema(base));
}

/** Version, tables and indexes; columns in any order. */
async function schemaOf(path: string): Promise<unknown> {
  const db = await openSqlite(path, "builtin", true);
  try {
    const named = db.prepare(
      `SELECT type, name, iif(type = 'index', sql, NULL) FROM sqlite_schema
      WHERE name NOT LIKE 'sqlite%' ORDER BY name`,
    ).all();
    const columns = db.prepare(
      `SELECT t.name, c.name, c.type, c."notnull", c.dflt_value, c.pk
      FROM sqlite_schema t, pragma_table_info(t.name) c
      WHERE t.name IN ('txs', 'settings') ORDER BY 1, 2`,
    ).all();
    return [db.prepare("PRAGMA user_version").get(), named, columns];
  } finally {
    db.close();
  }
}

async function newSchema(base: string): Promise<unknown> {
  const dir = `${base}-new`;
  await (await StorageManager.create(dir, `${dir}/poh.db`)).close();
  try {
    return await schemaOf(`${dir}/poh.db`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}
