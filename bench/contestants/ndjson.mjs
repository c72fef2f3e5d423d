/** ndjson.mjs <count> <size> <file>: the input of an import. */
import { closeSync, openSync, writeSync } from "node:fs";
import process from "node:process";
import { transactions } from "./generator.mjs";

const [count, size, path] = process.argv.slice(2);
const file = openSync(path, "w");
let part = "";
for (const tx of transactions({ count: Number(count), size: Number(size) })) {
  part += JSON.stringify({
    tx_id: tx.txId,
    holder_id: tx.holderId,
    timestamp: tx.timestamp,
    payload: Buffer.from(tx.payload.buffer).toString("base64"),
  }) + "\n";
  if (part.length < 1 << 20) continue;
  writeSync(file, part);
  part = "";
}
writeSync(file, part);
closeSync(file);
