/**
 * The start of a service: recover the store, say what was found, then serve.
 *
 *     deno run --allow-read=data --allow-write=data examples/startup.ts data
 */
import { performRecovery, StorageManager } from "@poh/storage";

const [base = "data"] = Deno.args;
const report = await performRecovery(base, `${base}/poh.db`, { create: true });
for (const { kind, txId, action, detail } of report.findings) {
  console.error(
    `${kind}${txId === null ? "" : ` of ${txId}`}: ${detail}: ${action}`,
  );
}
console.error(`${report.sound} sound`);

await using store = await StorageManager.open(base, `${base}/poh.db`);
console.log(await store.countTxs()); // the service would begin here
