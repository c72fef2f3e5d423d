// Saves, replaces and deletes many transactions, 64 in flight.

import { StorageManager } from "../../mod.ts";

const [base, db, name, count] = Deno.args as [string, string, string, string];

await using store = await StorageManager.open(base, db);
const payload = (i: number, n: number) =>
  new TextEncoder().encode(`${name} ${i} ${n} ${"x".repeat(i % 97)}`);
const ids = Array.from({ length: Number(count) }, (_, i) => i).values();
const lanes = Array.from({ length: 64 }, async () => {
  for (const i of ids) {
    const head = { txId: `${name} ${i}`, holderId: name, timestamp: i };
    await store.saveTx({ ...head, payload: payload(i, 1) });
    if (i % 10 === 0) await store.saveTx({ ...head, payload: payload(i, 2) });
    if (i % 20 === 0) await store.deleteTx(head.txId);
  }
});
await Promise.all(lanes);
