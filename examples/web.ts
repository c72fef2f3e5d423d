/**
 * A handler of one's own for HTTP: payloads by id, streamed and verified. A
 * damaged one breaks off, so that no client takes it for whole.
 *
 *     deno run --allow-read=data --allow-write=data --allow-net=127.0.0.1:8000 examples/web.ts data
 */
import { StorageManager } from "@poh/storage";

const [base = "data", port = "8000"] = Deno.args;
const store = await StorageManager.open(base, `${base}/poh.db`);

async function handle({ url }: Request): Promise<Response> {
  const id = decodeURIComponent(new URL(url).pathname.slice(1));
  const tx = await store.loadTxStream(id);
  if (!tx) return new Response("No such transaction\n", { status: 404 });
  const headers = { etag: `"${tx.info.storageHash}"` };
  return new Response(tx.payload, { headers });
}

const server = Deno.serve(
  { hostname: "127.0.0.1", port: Number(port) },
  handle,
);
Deno.addSignalListener("SIGINT", () => server.shutdown());
await server.finished;
await store.close();
Deno.exit(); // a listener for signals keeps a program running
