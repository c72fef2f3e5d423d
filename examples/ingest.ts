/**
 * Saves what comes as NDJSON on stdin, durably and in flat memory, and prints the
 * totals. A line is `{"tx_id":…,"holder_id":…,"timestamp":…,"payload":"<base64>"}`.
 *
 *     deno run --allow-read=data --allow-write=data examples/ingest.ts data < txs.ndjson
 */
import { StorageManager, type Tx, txFromJson } from "@poh/storage";

/** Parses a line when `saveTxs` asks for the next transaction. */
async function* transactions(): AsyncGenerator<Tx> {
  let rest = "";
  const text = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
  for await (const piece of text) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop()!;
    for (const line of lines) yield txFromJson(JSON.parse(line));
  }
  if (rest) yield txFromJson(JSON.parse(rest));
}

const [base = "data"] = Deno.args;
await using store = await StorageManager.create(base, `${base}/poh.db`);
console.log(await store.saveTxs(transactions(), { ifExists: "keep" }));
