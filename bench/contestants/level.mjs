/**
 * classic-level: digest and payload in one value. Writes are synced at
 * durability "full"; many at once go as one batch, and are read by getMany.
 */
import { createHash } from "node:crypto";
import { main } from "./harness.mjs";
import { peer } from "./peers.mjs";

const { ClassicLevel } = peer("classic-level");

const digest = (bytes) => createHash("sha256").update(bytes).digest();

async function openDb(job) {
  const db = new ClassicLevel(job.dir, { valueEncoding: "buffer" });
  await db.open();
  return db;
}

function isSound(value) {
  return digest(value.subarray(32)).equals(value.subarray(0, 32));
}

function verified(value) {
  if (!isSound(value)) throw new Error("damaged");
  return value.subarray(32);
}

async function open(job) {
  const db = await openDb(job);
  const sync = job.durability === "full";
  const valueOf = (payload) => Buffer.concat([digest(payload), payload]);
  return {
    save: ({ txId, payload }) => db.put(txId, valueOf(payload), { sync }),
    saveMany: async (txs) => {
      // As many to a batch as our saveTxs keeps in flight.
      for (let at = 0; at < txs.length; at += 1_024) {
        const puts = txs.slice(at, at + 1_024).map(({ txId, payload }) => (
          { type: "put", key: txId, value: valueOf(payload) }
        ));
        await db.batch(puts, { sync });
      }
    },
    load: async (txId) => verified(await db.get(txId)),
    loadMany: async (txIds) => (await db.getMany(txIds)).map(verified),
    close: () => db.close(),
  };
}

async function damage(job, txIds) {
  const db = await openDb(job);
  for (const txId of txIds) await db.put(txId, Buffer.alloc(1056, 1));
  await db.close();
}

async function recover(job) {
  const db = await openDb(job);
  const values = db.values();
  let sound = 0;
  for (let part; (part = await values.nextv(1_024)).length > 0;) {
    for (const value of part) if (isSound(value)) sound++;
  }
  await values.close();
  await db.close();
  return { sound };
}

await main({ batches: true, open, damage, recover });
