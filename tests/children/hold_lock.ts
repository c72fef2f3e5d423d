/**
 * Opens a store, takes a lock and says "ready"; then it lets go of nothing until
 * stdin ends, as a process that hangs: `hold_lock.ts BASE DB commit|database`.
 *
 * @module
 */

import { DatabaseSync } from "node:sqlite";
import { StorageManager } from "../../mod.ts";
import { LockFile } from "../../src/files/locks.ts";

const [base, db, what] = Deno.args as [string, string, string];
await using _store = await StorageManager.create(base, db);
if (what === "commit") {
  const lock = new LockFile(`${base}/.poh/commit.lock`);
  if (!lock.tryLock(true)) throw new Error("the lock is taken");
} else {
  const connection = new DatabaseSync(db);
  connection.exec("BEGIN IMMEDIATE");
}
console.log("ready");
for await (const _ of Deno.stdin.readable);
Deno.exit(0);
