/**
 * Prints one page of what a holder has, newest first, and how to get the next.
 *
 *     deno run --allow-read=data examples/by_holder.ts data alice
 */
import { StorageManager } from "@poh/storage";

const [base = "data", holderId = "alice", after] = Deno.args;
await using store = await StorageManager.open(base, `${base}/poh.db`, {
  readOnly: true,
});
let last: string | undefined;
for await (
  const { txId, timestamp, size } of store.iterateTxs({
    holderId,
    sort: "time",
    reverse: true,
    limit: 20,
    ...(after === undefined ? {} : { after }),
  })
) {
  console.log(txId, new Date(timestamp * 1000).toISOString(), size);
  last = txId;
}
if (last !== undefined) console.error(`next page: after ${last}`);
