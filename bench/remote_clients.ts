/**
 * What takes part in the benchmark of stores in a bucket and on a server. Each
 * run has a bucket and tables of its own.
 *
 * @module
 */

import { StorageManager } from "../mod.ts";
import { sha256HexSync } from "../src/files/hash.ts";
import { pg } from "../src/shared/postgres/packages.ts";
import { AwsV4Signer } from "../src/shared/s3/packages.ts";
import type { Servers } from "./remote.ts";

/** SHA-256 of nothing: the body of what has none. */
const EMPTY =
  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/** Saves and loads. */
export interface RemoteClient extends AsyncDisposable {
  /** Saves a payload, and a row about it. */
  save(txId: string, payload: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Loads it; its size. */
  load(txId: string): Promise<number>;
  /** Deletes all, so that a server that keeps them in memory has room. */
  clean(txIds: string[]): Promise<void>;
  /** Saves a large one, in pieces. */
  saveStream?(pieces: AsyncIterable<Uint8Array>): Promise<void>;
  /** Loads that; its size. */
  loadStream?(): Promise<number>;
}

/** The thinnest client: what it does, it could not do with less. */
export async function thin({ endpoint, db }: Servers): Promise<RemoteClient> {
  const name = crypto.randomUUID();
  const pool = new pg.Pool({ connectionString: db, max: 32 });
  await send(`${endpoint}/${name}`, { method: "PUT" });
  await pool.query(`CREATE TABLE "${name}" (
    tx_id TEXT PRIMARY KEY, storage_hash TEXT NOT NULL, timestamp FLOAT8 NOT NULL,
    holder_id TEXT NOT NULL, size BIGINT NOT NULL)`);
  const urlOf = (txId: string) => `${endpoint}/${name}/${txId}.bin`;
  return {
    async save(txId, payload) {
      const digest = new Uint8Array(
        await crypto.subtle.digest("SHA-256", payload),
      ).toHex();
      await send(urlOf(txId), {
        method: "PUT",
        body: payload,
        headers: { "x-amz-content-sha256": digest },
      });
      await pool.query(
        `INSERT INTO "${name}" VALUES ($1, $2, $3, $4, $5)`,
        [txId, digest, 0, "alice", payload.length],
      );
    },
    async load(txId) {
      const { rows: [row] } = await pool.query(
        `SELECT * FROM "${name}" WHERE tx_id = $1`,
        [txId],
      );
      const bytes = await (await request(urlOf(txId), {})).bytes();
      if (sha256HexSync(bytes) !== row.storage_hash) throw new Error(txId);
      return bytes.length;
    },
    async clean(txIds) {
      for (const txId of txIds) await send(urlOf(txId), { method: "DELETE" });
    },
    [Symbol.asyncDispose]: () => pool.end(),
  };
}

/** This package. */
export async function ours({ endpoint, db }: Servers): Promise<RemoteClient> {
  const name = crypto.randomUUID();
  await send(`${endpoint}/${name}`, { method: "PUT" });
  const store = await StorageManager.create(
    `s3://${name}/`,
    `${db}?schema=${name}`,
  );
  const head = { holderId: "alice", timestamp: 0 };
  return {
    async save(txId, payload) {
      await store.saveTx({ txId, payload, ...head });
    },
    load: async (txId) => (await store.loadTx(txId))!.payload.length,
    async saveStream(pieces) {
      await store.saveTxStream({ txId: "large", ...head }, pieces);
    },
    async loadStream() {
      let size = 0;
      const { payload } = (await store.loadTxStream("large"))!;
      for await (const piece of payload) size += piece.length;
      return size;
    },
    async clean() {
      await store.prune({ before: 1 });
    },
    [Symbol.asyncDispose]: () => store.close(),
  };
}

async function request(url: string, init: RequestInit): Promise<Response> {
  const signer = new AwsV4Signer({
    accessKeyId: Deno.env.get("AWS_ACCESS_KEY_ID")!,
    secretAccessKey: Deno.env.get("AWS_SECRET_ACCESS_KEY")!,
    region: "us-east-1",
    service: "s3",
    url,
    method: init.method ?? "GET",
    headers: {
      "x-amz-content-sha256": EMPTY,
      ...init.headers as Record<string, string> | undefined,
    },
  });
  const { headers } = await signer.sign();
  return await fetch(url, { ...init, headers });
}

async function send(url: string, init: RequestInit): Promise<void> {
  const response = await request(url, init);
  await response.body?.cancel();
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
}
