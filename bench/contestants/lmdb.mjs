/**
 * lmdb (lmdb-js): digest and payload in one value. A put resolves once its
 * transaction is on the disk; puts that are in flight together share one.
 */
import { createHash } from "node:crypto";
import { main } from "./harness.mjs";
import { peer } from "./peers.mjs";

const { open: openLmdb } = peer("lmdb");

const digest = (bytes) => createHash("sha256").update(bytes).digest();

function openDb(job) {
  return openLmdb({
    path: job.dir,
    encoding: "binary",
    overlappingSync: false, // with it a put resolves before it is synced
  });
}

function isSound(value) {
  return digest(value.subarray(32)).equals(value.subarray(0, 32));
}

function verified(value) {
  if (!isSound(value)) throw new Error("damaged");
  return value.subarray(32);
}

function open(job) {
  const db = openDb(job);
  return {
    save: ({ txId, payload }) =>
      db.put(txId, Buffer.concat([digest(payload), payload])),
    load: (txId) => verified(db.getBinaryFast(txId)),
    close: () => db.close(),
  };
}

async function damage(job, txIds) {
  const db = openDb(job);
  await Promise.all(txIds.map((txId) => db.put(txId, Buffer.alloc(1056, 1))));
  await db.close();
}

async function recover(job) {
  const db = openDb(job);
  let sound = 0;
  for (const { value } of db.getRange()) if (isSound(value)) sound++;
  await db.close();
  return { sound };
}

await main({ open, damage, recover });
