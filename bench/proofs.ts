/**
 * What proofs cost: `deno run bench/proofs.ts`. CPU time, so that it hardly matters
 * what else the machine does.
 *
 * @module
 */

import process from "node:process";
import {
  checkInclusion,
  encodeEntry,
  encodeRecord,
  formatCheckpoint,
  formatInclusionProof,
  generateKey,
  hashPayload,
  isConsistent,
  leafHash,
  nodeHash,
  policyOf,
  type PutEntry,
  rootOfInclusion,
  sealOf,
  signerOf,
  signNote,
  TileBuilder,
  TiledTree,
  tilePath,
} from "../proofs.ts";

const SIZE = 1_000_000;

function say(what: string, value: number, unit: string): void {
  console.log(
    `${what.padEnd(44)} ${value.toFixed(value < 10 ? 2 : 0)} ${unit}`,
  );
}

/** CPU time so far, in µs. */
function cpu(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** CPU time of one of many calls, in µs: the median of five rounds. */
async function time(count: number, work: () => unknown): Promise<number> {
  const rounds = [];
  for (let round = 0; round < 5; round++) {
    const start = cpu();
    for (let i = 0; i < count; i++) await work();
    rounds.push((cpu() - start) / count);
  }
  return rounds.sort((a, b) => a - b)[2]!;
}

/** As {@linkcode time}, for what is done at once. */
function timeSync(count: number, work: () => unknown): number {
  const rounds = [];
  for (let round = 0; round < 5; round++) {
    const start = cpu();
    for (let i = 0; i < count; i++) work();
    rounds.push((cpu() - start) / count);
  }
  return rounds.sort((a, b) => a - b)[2]!;
}

const origin = "node7.example/poh";
const { privateKey, vkey } = await generateKey(origin);
const signer = await signerOf(privateKey);
const policy = policyOf(vkey);
const payload = new TextEncoder().encode("hello");
const { size, digest, chunkRoot } = hashPayload(payload);
const record = {
  ...{ salt: new Uint8Array(16), txId: "a", holderId: "alice" },
  ...{ timestamp: 1464307123, size, digest, chunkRoot },
};
const seal = sealOf(encodeRecord(record));
const put: PutEntry = { kind: "put", reason: "saved", prev: null, seal };
const entry = encodeEntry(put);
const leaf = leafHash(entry);

say("hash of a leaf", timeSync(100_000, () => leafHash(entry)), "µs");
say("hash of a node", timeSync(100_000, () => nodeHash(leaf, leaf)), "µs");
say(
  "seal of a record",
  timeSync(100_000, () => sealOf(encodeRecord(record))),
  "µs",
);

const tiles = new Map<string, Uint8Array>();
const builder = new TileBuilder((path, bytes) => tiles.set(path, bytes));
const start = cpu();
for (let i = 0; i < SIZE; i++) builder.append(entry);
say(
  `an entry into the tree, of ${SIZE}`,
  (cpu() - start) / SIZE,
  "µs",
);
say("root over them", timeSync(100, () => builder.root()), "µs");

const edge = builder.edge();
const tree = () =>
  new TiledTree(
    SIZE,
    (level, index) => tiles.get(tilePath(level, index)) ?? edge.tiles[level]!,
  );
const index = 666_666, oldSize = 654_321;
say(
  "inclusion proof, tiles in memory",
  await time(50, () => tree().inclusion(index)),
  "µs",
);
say(
  "consistency proof, tiles in memory",
  await time(50, () => tree().consistency(oldSize)),
  "µs",
);

const root = builder.root();
const path = await tree().inclusion(index);
const step = await tree().consistency(oldSize);
const oldRoot = await tree().root(oldSize);
say(
  `check of ${path.length} hashes of inclusion`,
  timeSync(2_000, () => rootOfInclusion(leaf, index, SIZE, path)),
  "µs",
);
say(
  `check of ${step.length} hashes of consistency`,
  timeSync(2_000, () => isConsistent(oldSize, oldRoot, SIZE, root, step)),
  "µs",
);
const text = formatCheckpoint({ origin, size: SIZE, root });
const checkpoint = await signNote(text, [signer]);
const file = formatInclusionProof({
  entry: put,
  record,
  index,
  path,
  checkpoint,
});
say(
  `check of a .tlog-proof of ${file.length} bytes`,
  await time(500, () => checkInclusion(file, policy)),
  "µs",
);
say(
  "signature by Ed25519",
  await time(500, () => signNote(text, [signer])),
  "µs",
);

const large = new Uint8Array(64 * 1024 * 1024);
const took = timeSync(1, () => hashPayload(large)) / 1e6;
say("digest and chunk tree of a payload", 64 / took, "MiB/s");
