/**
 * What a careful Node program does: write-file-atomic (which syncs the file,
 * not its name), then a row by better-sqlite3 (WAL, synchronous FULL).
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { main } from "./harness.mjs";
import { peer } from "./peers.mjs";

const Database = peer("better-sqlite3");
const writeFileAtomic = peer("write-file-atomic");

const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

function open({ dir }) {
  const db = new Database(join(dir, "store.db"));
  db.pragma("journal_mode = WAL");
  db.pragma("synchronous = FULL");
  db.exec(
    `CREATE TABLE IF NOT EXISTS txs (
       tx_id TEXT PRIMARY KEY, storage_hash TEXT NOT NULL,
       timestamp REAL NOT NULL, holder_id TEXT NOT NULL)`,
  );
  const insert = db.prepare("INSERT OR REPLACE INTO txs VALUES (?, ?, ?, ?)");
  const select = db.prepare("SELECT storage_hash FROM txs WHERE tx_id = ?");
  const pathOf = (txId) => join(dir, `${txId}.bin`);
  return {
    save: async ({ txId, holderId, timestamp, payload }) => {
      const hash = digest(payload);
      await writeFileAtomic(pathOf(txId), Buffer.from(payload.buffer));
      insert.run(txId, hash, timestamp, holderId);
    },
    load: async (txId) => {
      const { storage_hash } = select.get(txId);
      const payload = await readFile(pathOf(txId));
      if (digest(payload) !== storage_hash) throw new Error("damaged");
      return payload;
    },
    close: () => void db.close(),
  };
}

await main({ open });
