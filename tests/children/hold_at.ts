/**
 * Opens a store, says "ready" at a step of the change that follows, and stands
 * still there until it is killed:
 * `hold_at.ts BASE DB POINT save|delete ID TEXT`.
 *
 * @module
 */

import { StorageManager } from "../../mod.ts";
import {
  type CrashPoint,
  observeCrashPoints,
} from "../../src/async/crash_points.ts";

const [base, db, where, change, txId, text] = Deno.args as [
  string,
  string,
  CrashPoint,
  "save" | "delete",
  string,
  string,
];
await using store = await StorageManager.open(base, db);
observeCrashPoints((point) => {
  if (point !== where) return;
  Deno.stdout.writeSync(new TextEncoder().encode("ready\n"));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
});
const payload = new TextEncoder().encode(text);
if (change === "delete") await store.deleteTx(txId);
else await store.saveTx({ txId, holderId: "child", timestamp: 2, payload });
