/**
 * What the main operations cost, at both durabilities, on a store in the
 * temporary folder: `deno task bench`. Compare runs on one machine only; the
 * disk decides.
 *
 * @module
 */

import { join } from "@std/path";
import { StorageManager, type Tx } from "../mod.ts";

const SIZE = 1024;
const IN_FLIGHT = 64;
const STORED = 1_000;

const dir = await Deno.makeTempDir({ prefix: "poh-bench-" });
globalThis.addEventListener("unload", () => {
  Deno.removeSync(dir, { recursive: true });
});

let made = 0;

/** A transaction that no store has yet. */
function newTx(): Tx {
  return {
    txId: `tx-${made++}`,
    holderId: `holder-${made % 10}`,
    timestamp: 1_464_307_123 + made,
    payload: crypto.getRandomValues(new Uint8Array(SIZE)),
  };
}

for (const durability of ["full", "relaxed"] as const) {
  const base = join(dir, durability);
  const store = await StorageManager.create(base, join(base, "poh.db"), {
    durability,
  });
  const stored = Array.from({ length: STORED }, newTx);
  await store.saveTxs(stored);
  let at = 0;
  const nextId = () => stored[at++ % STORED]!.txId;

  Deno.bench(`save 1 KiB, awaited, ${durability}`, async () => {
    await store.saveTx(newTx());
  });
  Deno.bench(`save ${IN_FLIGHT} of 1 KiB at once, ${durability}`, async () => {
    await Promise.all(
      Array.from({ length: IN_FLIGHT }, () => store.saveTx(newTx())),
    );
  });
  Deno.bench(`load 1 KiB, verified, ${durability}`, async () => {
    await store.loadTx(nextId());
  });
  Deno.bench(`list a page of 100, ${durability}`, async () => {
    await store.listTxs({ limit: 100 });
  });
}
