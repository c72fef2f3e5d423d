/**
 * Deletes transactions older than some days, as a nightly job does. Others may
 * use the store meanwhile; Ctrl-C stops between two batches.
 *
 *     deno run --allow-read=data --allow-write=data examples/expire.ts data 30
 */
import { StorageManager } from "@poh/storage";

const [base = "data", days = "30"] = Deno.args;
const before = Date.now() / 1000 - Number(days) * 86_400;

const stop = new AbortController();
Deno.addSignalListener("SIGINT", () => stop.abort());

await using store = await StorageManager.open(base, `${base}/poh.db`);
const { deleted, bytes } = await store.prune({ before }, {
  signal: stop.signal,
});
console.log(`${deleted} deleted, ${bytes} bytes`);
Deno.exit(); // a listener for signals keeps a program running
