/**
 * Tries to save beside a process that holds the commit lock, and prints what it
 * is told of that one: `save_beside.ts BASE DB`.
 *
 * @module
 */

import { StorageManager, StoreBusyError } from "../../mod.ts";

const [base, db] = Deno.args as [string, string];
try {
  await using _ = await StorageManager.create(base, db, { lockTimeout: 100 });
} catch (error) {
  if (!(error instanceof StoreBusyError)) throw error;
  console.log(JSON.stringify({ ...error, message: error.message }));
}
