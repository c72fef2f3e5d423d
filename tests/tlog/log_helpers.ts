/**
 * What tests of a store's transparency log have in common.
 *
 * @module
 */

import { assertRejects } from "@std/assert";
import { join } from "@std/path";
import { generateKey, signerOf } from "../../proofs.ts";
import { PohStorageError, type StorageManager } from "../../mod.ts";
import { openDatabase } from "../../src/sqlite/open_database.ts";
import { entriesOf } from "../../src/proofs/tiles.ts";
import { readEdge } from "../../src/tlog/tlog_tables.ts";
import { bytes, type TempStore } from "../helpers.ts";

/** Name of the log. */
export const ORIGIN = "node7.example/poh";

/** A transaction of alice. */
export function tx(txId: string, payload: Uint8Array | string = txId) {
  return {
    ...{ txId, holderId: "alice", timestamp: 1464307123 },
    payload: typeof payload === "string" ? bytes(payload) : payload,
  };
}

/** A payload of many chunks. */
export function large(seed: number, size = 200_000): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => (i * 31 + seed) & 255);
}

/** The code with which a call is refused. */
export async function codeOf(call: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => call, PohStorageError)).code;
}

/** A key of the log, in a file. */
export async function keys(dir: { join(name: string): string }) {
  const { privateKey, vkey } = await generateKey(ORIGIN);
  const path = dir.join("key");
  await Deno.writeTextFile(path, privateKey);
  return { path, vkey, signers: [await signerOf(privateKey)] };
}

/** Changes the database of a closed store behind its back. */
export async function tamper(
  temp: TempStore,
  sql: string,
  ...params: string[]
): Promise<StorageManager> {
  await temp.close();
  {
    await using rows = await openDatabase(temp.db);
    await rows.change(() => rows.run(sql, ...params));
  }
  return await temp.open();
}

/** Copies a folder with all that is in it. */
export async function copyDir(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isDirectory) await copyDir(join(from, name), join(to, name));
    else await Deno.copyFile(join(from, name), join(to, name));
  }
}

/** The entries of a closed store's log. */
export async function entriesIn(
  temp: Pick<TempStore, "db">,
): Promise<Uint8Array[]> {
  await using rows = await openDatabase(temp.db, { readOnly: true });
  return entriesOf(readEdge(rows).bundle);
}
