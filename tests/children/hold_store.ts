/**
 * Opens a store, saves the transaction "held", says "ready", and holds the
 * store until stdin ends: `hold_store.ts BASE DB`.
 *
 * @module
 */

import { StorageManager } from "../../mod.ts";

const [base, db] = Deno.args as [string, string];
await using store = await StorageManager.create(base, db);
await store.saveTx({
  txId: "held",
  holderId: "child",
  timestamp: 1,
  payload: new TextEncoder().encode("held"),
});
console.log("ready");
for await (const _ of Deno.stdin.readable);
