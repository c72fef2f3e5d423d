/**
 * Deno KV on a local file: digest and payload in one value of at most 64 KiB;
 * many at once as atomic operations of up to 500.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { main, Skipped } from "./harness.mjs";

const digest = (bytes) => createHash("sha256").update(bytes).digest();

/** An atomic operation holds at most 1,000 mutations and 800 KiB. */
const AT_ONCE = 500;

async function open(job) {
  if (job.size > 65_000) throw new Skipped("values end at 64 KiB");
  const kv = await Deno.openKv(join(job.dir, "kv.db"));
  const valueOf = (payload) =>
    new Uint8Array(Buffer.concat([digest(payload), payload]));
  return {
    save: ({ txId, payload }) => kv.set([txId], valueOf(payload)),
    saveMany: async (txs) => {
      for (let at = 0; at < txs.length; at += AT_ONCE) {
        const atomic = kv.atomic();
        for (const { txId, payload } of txs.slice(at, at + AT_ONCE)) {
          atomic.set([txId], valueOf(payload));
        }
        await atomic.commit();
      }
    },
    load: async (txId) => {
      const { value } = await kv.get([txId]);
      const payload = value.subarray(32);
      if (!digest(payload).equals(value.subarray(0, 32))) {
        throw new Error("damaged");
      }
      return payload;
    },
    close: () => kv.close(),
  };
}

await main({ batches: true, open });
