/** cacache: content by its SHA-256, an index beside it. It never syncs. */
import { writeFile } from "node:fs/promises";
import { main } from "./harness.mjs";
import { peer } from "./peers.mjs";

const cacache = peer("cacache");

function open({ dir }) {
  return {
    save: ({ txId, payload }) =>
      cacache.put(dir, txId, Buffer.from(payload.buffer), {
        algorithms: ["sha256"],
      }),
    load: async (txId) => (await cacache.get(dir, txId)).data,
  };
}

async function damage({ dir }, txIds) {
  for (const txId of txIds) {
    const { path } = await cacache.get.info(dir, txId);
    await writeFile(path, Buffer.alloc(1024));
  }
}

async function recover({ dir }) {
  const { verifiedContent } = await cacache.verify(dir);
  return { sound: verifiedContent };
}

await main({ open, damage, recover });
