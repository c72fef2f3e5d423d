/**
 * The thinnest server that does the work of the service: SQLite as Deno has it
 * built in, a payload in its row, a commit of its own for each save, SHA-256 when
 * it saves and when it loads. `deno run -A bench/thin_server.ts <database>`.
 *
 * @module
 */

import { hash } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { Hono } from "../src/http/packages.ts";

interface Row {
  holder_id: string;
  timestamp: number;
  storage_hash: string;
  payload: Uint8Array<ArrayBuffer>;
}

const db = new DatabaseSync(Deno.args[0]!);
db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
  CREATE TABLE IF NOT EXISTS txs (
    tx_id TEXT PRIMARY KEY, holder_id TEXT NOT NULL, timestamp REAL NOT NULL,
    storage_hash TEXT NOT NULL, payload BLOB NOT NULL
  ) WITHOUT ROWID`);
const insert = db.prepare("INSERT OR REPLACE INTO txs VALUES (?, ?, ?, ?, ?)");
const select = db.prepare("SELECT * FROM txs WHERE tx_id = ?");
const list = db.prepare(
  "SELECT tx_id, holder_id, timestamp, storage_hash, length(payload) AS size FROM txs ORDER BY tx_id LIMIT 100",
);

function save(text: string): string {
  const tx = JSON.parse(text);
  const payload = Uint8Array.fromBase64(tx.payload);
  const digest = hash("sha256", payload, "hex");
  insert.run(tx.tx_id, tx.holder_id, tx.timestamp, digest, payload);
  return digest;
}

const app = new Hono();
app.get("/txs/:id", (c) => {
  const row = select.get(c.req.param("id")) as unknown as Row | undefined;
  if (!row) return c.body(null, 404);
  if (hash("sha256", row.payload, "hex") !== row.storage_hash) {
    return c.body(null, 500);
  }
  return new Response(row.payload, {
    headers: {
      "content-type": "application/octet-stream",
      "etag": `"${row.storage_hash}"`,
    },
  });
});
app.get("/txs", (c) => c.json({ txs: list.all() }));
app.post("/txs", async (c) => {
  const text = await c.req.text();
  if (c.req.header("content-type") === "application/json") {
    return c.json({ storage_hash: save(text) }, 201);
  }
  db.exec("BEGIN");
  let count = 0;
  for (const line of text.split("\n")) {
    if (line === "") continue;
    save(line);
    count++;
  }
  db.exec("COMMIT");
  return c.json({ txs: count });
});

Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) => console.log(`http://127.0.0.1:${port}/`),
}, app.fetch);
