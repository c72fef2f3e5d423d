// The vectors of the specification: bytes that must never change.

import { assert, assertEquals } from "@std/assert";
import {
  checkInclusion,
  drawChunks,
  drawEntries,
  encodeRecord,
  hashPayload,
  leafHash,
  LogAudit,
  openCheckpoint,
  possessionDigest,
  signerOf,
  verifierOf,
} from "../../proofs.ts";
import { sha256 } from "../../src/proofs/sha256_short.ts";
import {
  hasMlDsa,
  hello,
  hex,
  large,
  NONCE,
  ORIGIN,
  policy,
  PRIVATE_KEY,
  vectorLog,
  VKEY,
} from "./sample.ts";

const LEAVES = [
  "3b718a6a6edc9e42a3da8db7f7c44eba3b68b2a61fb04c489ba120c627aa6ce6",
  "922d914147f11e9d24debaa8471528b8e129acb2ae2c082b73ce7600d3e34a43",
  "c82b0fd2bfab7354aa0ccf7013d90f2d5bb8cedf46f7f3b3f202009be44860e8",
  "60760da80a83e5ed3115f3dc06fb167f0431f57dbe407b534400ebeacf46b4eb",
];
const ROOTS = [
  LEAVES[0],
  "220a949051fb85b8582d5f9a7ba2992f4880f3fa4fbe0d1b2e872353703c5d92",
  "38a7e3d6cce4607a6060891ac986bc346437abc8761e9ed8462e0d9b2e3192b5",
  "c395f7b0eb3576b100d540a9ad7fe9a4771bee3797547722b4845296c6de7b78",
];

Deno.test("the entries of the vectors have their bytes, leaves and roots", async () => {
  const log = await vectorLog();
  assertEquals(log.leaves.map(hex), LEAVES);
  assertEquals([1, 2, 3, 4].map((size) => hex(log.tree.root(size))), ROOTS);
  const [, first, second, removed] = log.items.map(({ entry }) => hex(entry));
  assertEquals(
    first,
    "010100ffffffffffffffffee600e9087b64057b68ad1dca03cd8af9c4f559d4904842543c4703f276ffce3",
  );
  assertEquals(
    second,
    "010100ffffffffffffffffbbb92ed84cbc640e298b83d69e6b46703fba3a773186c08fdfe17ee336133d28",
  );
  assertEquals(removed, "0102010000000000000001");
});

Deno.test("the record of the vectors has its bytes", async () => {
  const log = await vectorLog();
  assertEquals(
    hex(encodeRecord(log.items[1]!.record!)),
    "706f682d73746f726167652f7265636f72642f76310a000102030405060708090a0b0c0d0e0f" +
      "000000016100000005616c69636541d5d1e36cc0000000000000000000052cf24dba5fb0a3" +
      "0e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" + "00".repeat(32),
  );
});

Deno.test("the large payload of the vectors has its digest and chunk root", () => {
  const { digest, chunkRoot, size } = hashPayload(large);
  assertEquals(size, 100_001);
  assertEquals(
    hex(digest),
    "6acb2f5e60c68fef4d7e69d9fed5bb31e4a14cdad48097d428539f289817ef56",
  );
  assertEquals(
    hex(chunkRoot),
    "8ea9c3fa01fa3fb3c5b956fab1db6521b615cc9aa93fec17be5192d312964828",
  );
});

Deno.test("the paths of the vectors are made of their leaves and roots", async () => {
  const { tree } = await vectorLog();
  assertEquals(tree.inclusion(2).map(hex), [LEAVES[3], ROOTS[1]]);
  assertEquals(tree.consistency(3).map(hex), [LEAVES[2], LEAVES[3], ROOTS[1]]);
});

Deno.test("of the log of the vectors one entry is live", async () => {
  const log = await vectorLog();
  const audit = new LogAudit();
  for (const { entry } of log.items) audit.add(entry);
  assertEquals([[...audit.live()], audit.liveCount], [[2], 1]);
  audit.demand({ origin: ORIGIN, size: 4, root: log.tree.root() });
});

Deno.test("the private key of the vectors has their verifier key", async () => {
  const { verifier } = await signerOf(PRIVATE_KEY);
  assertEquals(verifier.vkey, VKEY);
  assertEquals(verifierOf(VKEY).id, "b8deb6a6");
});

Deno.test({
  name: "the ML-DSA-87 key of the vectors has their id and text",
  ignore: !hasMlDsa, // Deno before 2.9
  async fn() {
    const material = new Uint8Array([
      0xff,
      ...new TextEncoder().encode("poh-storage/ml-dsa-87/v1\n"),
      ...NONCE,
    ]);
    const text = `PRIVATE+KEY+${ORIGIN}+9cb267f0+${material.toBase64()}`;
    const { verifier } = await signerOf(text);
    assertEquals(verifier.id, "9cb267f0");
    assertEquals(
      hex(sha256(new TextEncoder().encode(verifier.vkey))),
      "25bd6fe574c2ce30f5cec9cb797ac6c8faed2cda9dfa55e69b44f6cfca41f405",
    );
  },
});

Deno.test("the checkpoint of the vectors is signed to the byte", async () => {
  const note = await (await vectorLog()).checkpoint();
  assertEquals(
    note,
    `node7.example/poh
4
w5X3sOs1drEA1UCprX/ppHcb7jeXVHcitIRSlsbee3g=

— node7.example/poh uN62prd4TUICfU9rnBmBMBh9jfEUuow5Nnjrmky9Y6gVhVbsQvGt+KkWq2fif064HllDKjKe64jEd4gd9C4p+Aahmgs=
`,
  );
  const { signedBy } = await openCheckpoint(note, policy);
  assertEquals(signedBy.map(({ vkey }) => vkey), [VKEY]);
});

Deno.test("the challenge of the vectors draws its entries and chunks", async () => {
  const { tree } = await vectorLog();
  const challenge = {
    ...{ origin: ORIGIN, size: 4, root: tree.root(), nonce: NONCE },
    ...{ entries: 3, chunks: 4 },
  };
  assertEquals(drawEntries(challenge), [1, 2, 2]);
  assertEquals(drawChunks(challenge, 2, 13), [2, 4, 11, 12]);
});

Deno.test("the possession of the vectors has its digest", async () => {
  assertEquals(
    hex(await possessionDigest(VKEY, 1, NONCE, hello)),
    "95287585c31cdf4893365ced9b886187893c2a930d6a775564beb0c8a098ffa9",
  );
});

Deno.test("an inclusion proof over the vectors is checked", async () => {
  const file = await (await vectorLog()).inclusionProof(2);
  const { record, index, checkpoint } = await checkInclusion(
    file,
    policy,
    large,
  );
  assertEquals([record.txId, record.size, index], ["b", 100_001, 2]);
  assert(Object.is(record.timestamp, 0), "-0 is written as 0");
  assertEquals(checkpoint.size, 4);
  assertEquals(hex(leafHash(new Uint8Array())).length, 64);
});
