/** better-sqlite3: payload as BLOB beside its row; WAL, synchronous FULL. */
import { createHash } from "node:crypto";
import { writeSync } from "node:fs";
import { join } from "node:path";
import { main } from "./harness.mjs";
import { peer } from "./peers.mjs";

const Database = peer("better-sqlite3");

const digest = (bytes) => createHash("sha256").update(bytes).digest();

function openDb(job) {
  const db = new Database(join(job.dir, "store.db"));
  db.pragma("journal_mode = WAL");
  db.pragma("synchronous = FULL");
  db.exec(
    `CREATE TABLE IF NOT EXISTS txs (
       tx_id TEXT PRIMARY KEY, storage_hash BLOB NOT NULL,
       timestamp REAL NOT NULL, holder_id TEXT NOT NULL, payload BLOB NOT NULL)`,
  );
  return db;
}

function verified(row) {
  if (!digest(row.payload).equals(row.storage_hash)) throw new Error("damaged");
  return row.payload;
}

function open(job) {
  const db = openDb(job);
  const insert = db.prepare(
    "INSERT OR REPLACE INTO txs VALUES (?, ?, ?, ?, ?)",
  );
  const select = db.prepare(
    "SELECT storage_hash, payload FROM txs WHERE tx_id = ?",
  );
  const save = (tx) => {
    const { payload } = tx;
    insert.run(tx.txId, digest(payload), tx.timestamp, tx.holderId, payload);
  };
  const saveMany = db.transaction((txs) => txs.forEach(save));
  return {
    save,
    saveMany: job.many
      // As many to a transaction as our saveTxs keeps in flight.
      ? (txs) => {
        for (let at = 0; at < txs.length; at += 1_024) {
          saveMany(txs.slice(at, at + 1_024));
        }
      }
      : saveMany,
    load: (txId) => verified(select.get(txId)),
    close: () => void db.close(),
  };
}

function damage(job, txIds) {
  const db = openDb(job);
  const spoil = db.prepare("UPDATE txs SET payload = ? WHERE tx_id = ?");
  for (const txId of txIds) spoil.run(Buffer.alloc(1024), txId);
  db.close();
}

function recover(job) {
  const db = openDb(job);
  let sound = 0;
  for (
    const row of db.prepare("SELECT storage_hash, payload FROM txs").iterate()
  ) {
    if (digest(row.payload).equals(row.storage_hash)) sound++;
  }
  db.close();
  return { sound };
}

/** Prints all ids, in order. */
function list(_, job) {
  const db = openDb(job);
  let text = "";
  const ids = db.prepare("SELECT tx_id FROM txs ORDER BY tx_id").pluck();
  for (const txId of ids.iterate()) {
    text += `${txId}\n`;
    if (text.length < 1 << 16) continue;
    writeSync(1, text);
    text = "";
  }
  writeSync(1, text);
  db.close();
}

await main({ batches: true, open, damage, recover, jobs: { list } });
