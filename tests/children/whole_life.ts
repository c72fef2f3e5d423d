/**
 * Saves many transactions in a new store, replaces, deletes, loads, checks and
 * recovers them; prints what came of it, and how many threads were started.
 *
 * Arguments: the base.
 */

let threads = 0;
const { Worker: Own } = globalThis;
globalThis.Worker = class extends Own {
  constructor(...args: ConstructorParameters<typeof Own>) {
    super(...args);
    threads++;
  }
};

const { StorageManager } = await import("../../mod.ts");

/** So many make a database that another thread checks. */
const COUNT = 12_000;

const [base] = Deno.args as [string];
const tx = (n: number, version: number) => ({
  txId: `tx-${n}`,
  holderId: `holder-${n % 7}`,
  timestamp: n,
  payload: new Uint8Array(100 + n % 500).fill(version),
});

await using store = await StorageManager.create(base, `${base}/poh.db`, {
  driver: "builtin",
  packBelow: 4_096,
});
const numbers = Array.from({ length: COUNT }, (_, n) => n);
await store.saveTxs(numbers.map((n) => tx(n, 1)));
await Promise.all(numbers.slice(0, 50).map((n) => store.saveTx(tx(n, 2))));
await Promise.all(numbers.slice(-50).map((n) => store.deleteTx(`tx-${n}`)));
const loaded = await Promise.all(numbers.map((n) => store.loadTx(`tx-${n}`)));
const right = loaded.filter((found, n) =>
  found ? found.payload[0] === (n < 50 ? 2 : 1) : n >= COUNT - 50
);
const { sound } = await store.verify();
const recovered = await store.recover();
console.log(
  JSON.stringify({
    right: right.length,
    sound,
    recovered: recovered.sound,
    threads,
  }),
);
