/**
 * corpus.mjs <block> <count> <signed> <file>: the first payloads of an NDJSON
 * file of transactions, in the form that generator.mjs reads; with "signed",
 * each with its ML-DSA-87 signature behind it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";

const [block, count, signed, path] = process.argv.slice(2);
let payloads = readFileSync(block, "utf8").split("\n").filter(Boolean)
  .slice(0, Number(count))
  .map((line) => Buffer.from(JSON.parse(line).payload, "base64"));
if (signed === "signed") payloads = await withSignatures(payloads);
writeFileSync(
  path,
  Buffer.concat(payloads.flatMap((payload) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(payload.length);
    return [length, payload];
  })),
);

async function withSignatures(payloads) {
  const peers = `file://${process.env.BENCH_PEERS}/node_modules`;
  const { ml_dsa87 } = await import(
    `${peers}/@noble/post-quantum/ml-dsa.js`
  );
  const { secretKey } = ml_dsa87.keygen(new Uint8Array(32));
  return payloads.map((payload) =>
    Buffer.concat([payload, ml_dsa87.sign(new Uint8Array(payload), secretKey)])
  );
}
