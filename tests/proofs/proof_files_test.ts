// Proofs in files: what they prove, and that no altered one passes.

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  checkConsistency,
  checkInclusion,
  checkPossession,
  formatConsistencyProof,
  formatInclusionProof,
  generateKey,
  parseInclusionProof,
  policyOf,
  ProofError,
  proofKind,
  provePossession,
  signerOf,
} from "../../proofs.ts";
import {
  hello,
  large,
  NONCE,
  ORIGIN,
  policy,
  SampleLog,
  vectorLog,
  VKEY,
} from "./sample.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** The step that refused. */
async function atOf(call: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => call, ProofError)).at;
}

/** Flips bits of every byte of a file; each must be refused, at one of the steps. */
async function mutate(
  file: string,
  check: (file: Uint8Array) => Promise<unknown>,
  steps: string[],
): Promise<void> {
  const bytes = new TextEncoder().encode(file);
  const met = new Set<string>();
  for (const at of bytes.keys()) {
    for (const bit of [1, 4, 32, 128]) {
      const other = bytes.slice();
      other[at]! ^= bit;
      const step = await atOf(check(other)).catch((error) => {
        throw new Error(
          `byte ${at}, bit ${bit}: ${text(other.slice(0, at + 1))}`,
          {
            cause: error,
          },
        );
      });
      met.add(step);
    }
  }
  assertEquals([...met].sort(), [...steps].sort());
}

async function logOf(size: number): Promise<SampleLog> {
  const log = await SampleLog.begin();
  for (let i = 1; i < size; i++) {
    const head = { txId: `tx ${i}`, holderId: "alice", timestamp: i };
    log.put(head, new TextEncoder().encode(`payload ${i}`));
  }
  return log;
}

Deno.test("an inclusion proof proves a transaction, with and without its payload", async () => {
  const log = await vectorLog();
  const file = await log.inclusionProof(1);
  assertEquals(proofKind(file), "inclusion");
  for (const given of [file, new TextEncoder().encode(file)]) {
    const { record, index, entry } = await checkInclusion(given, policy, hello);
    assertEquals([record.txId, record.holderId], ["a", "alice"]);
    assertEquals([index, entry.reason, entry.prev], [1, "saved", null]);
  }
  await checkInclusion(file, policy);
  assertEquals(await atOf(checkInclusion(file, policy, large)), "payload");
  const altered = hello.slice();
  altered[0]! ^= 1;
  assertEquals(await atOf(checkInclusion(file, policy, altered)), "payload");
});

Deno.test("no byte of an inclusion proof can be flipped", async () => {
  const file = await (await logOf(5)).inclusionProof(3);
  await mutate(file, (bytes) => checkInclusion(bytes, policy), [
    ...["proof", "extra", "entry", "record", "seal", "index", "path", "root"],
    ...["note", "signature"],
  ]);
});

Deno.test("an inclusion proof with another path, index or entry is refused", async () => {
  const log = await logOf(7);
  const right = parseInclusionProof(await log.inclusionProof(3));
  const other = parseInclusionProof(await log.inclusionProof(4));
  const at = (proof: Partial<typeof right>) =>
    atOf(checkInclusion(formatInclusionProof({ ...right, ...proof }), policy));
  const { path } = right;
  assertEquals(await at({ path: [] }), "path");
  assertEquals(await at({ path: path.slice(1) }), "path");
  assertEquals(await at({ path: [...path, ...path] }), "path");
  assertEquals(
    await at({ path: [path[1]!, path[0]!, ...path.slice(2)] }),
    "root",
  );
  assertEquals(await at({ index: 2 }), "root");
  assertEquals(await at({ index: 7 }), "index");
  assertEquals(await at({ record: other.record }), "seal");
  assertEquals(await at({ entry: other.entry }), "seal");
  assertEquals(await at({ entry: other.entry, record: other.record }), "root");
  assertEquals(await at({ entry: { ...right.entry, prev: 1 } }), "root");
  assertEquals(
    await at({ entry: { ...right.entry, reason: "adopted" } }),
    "root",
  );
  const older = await log.checkpoint(6);
  assertEquals(await at({ checkpoint: older }), "root");
  assertEquals(await at({ checkpoint: "" }), "note");
});

Deno.test("a proof is believed by the keys that are pinned, not by those that it brings", async () => {
  const file = await (await vectorLog()).inclusionProof(1);
  const { vkey } = await generateKey(ORIGIN);
  assertEquals(await atOf(checkInclusion(file, policyOf(vkey))), "signature");
});

Deno.test("proofs above the limits are refused before they are read", async () => {
  const file = await (await vectorLog()).inclusionProof(1);
  const long = file.replace("\n\n", `\n${"A".repeat(65_536)}\n\n`);
  assertEquals(await atOf(checkInclusion(long, policy)), "proof");
  const hash = `${new Uint8Array(32).toBase64()}\n`;
  const many = file.replace("index 1\n", `index 1\n${hash.repeat(60)}`);
  assertEquals(await atOf(checkInclusion(many, policy)), "path");
  assertEquals(
    await atOf(checkInclusion(file.replace("\n", "\r\n"), policy)),
    "proof",
  );
  assertEquals(await atOf(checkInclusion("", policy)), "proof");
  assertEquals(
    await atOf(checkInclusion(file.replace("index 1", "index 01"), policy)),
    "index",
  );
});

async function consistencyProof(log: SampleLog, oldSize: number) {
  const tree = log.tree;
  return formatConsistencyProof({
    oldSize,
    oldRoot: tree.root(oldSize),
    path: tree.consistency(oldSize),
    checkpoint: await log.checkpoint(),
  });
}

Deno.test("a consistency proof proves that a log continues the checkpoint that was kept", async () => {
  const log = await logOf(11);
  const file = await consistencyProof(log, 6);
  assertEquals(proofKind(file), "consistency");
  const kept = await log.checkpoint(6);
  const { old, checkpoint } = await checkConsistency(file, policy, kept);
  assertEquals([old.size, checkpoint.size], [6, 11]);
  assertEquals(
    await atOf(checkConsistency(file, policy, await log.checkpoint(5))),
    "old",
  );
  const fork = await SampleLog.begin();
  for (let i = 1; i < 11; i++) {
    fork.put({ txId: `other ${i}`, holderId: "", timestamp: i }, hello);
  }
  const forked = await consistencyProof(fork, 6);
  assertEquals(await atOf(checkConsistency(forked, policy, kept)), "old");
  const path = file.replace(/\n\n[^]*/, `\n\n${await fork.checkpoint()}`);
  assertEquals(await atOf(checkConsistency(path, policy, kept)), "path");
  const whole = await consistencyProof(log, 11);
  await checkConsistency(whole, policy, await log.checkpoint());
});

Deno.test("no byte of a consistency proof can be flipped", async () => {
  const log = await logOf(11);
  const kept = await log.checkpoint(6);
  const file = await consistencyProof(log, 6);
  await mutate(file, (bytes) => checkConsistency(bytes, policy, kept), [
    ...["proof", "old", "path", "note", "signature"],
  ]);
});

Deno.test("a proof of possession needs every byte of the payload, and its nonce", async () => {
  const log = await vectorLog();
  const asked = { index: 2, nonce: NONCE, payload: large };
  const note = await provePossession(2, NONCE, large, log.signer);
  assertEquals(proofKind(note), "possession");
  const said = await checkPossession(note, policy, asked);
  assertEquals([said.index, said.origin], [2, ORIGIN]);
  const pieces = async function* () {
    await Promise.resolve();
    for (let at = 0; at < large.length; at += 999) {
      yield large.subarray(at, at + 999);
    }
  };
  await checkPossession(note, policy, { ...asked, payload: pieces() });
  const at = (other: Partial<typeof asked>) =>
    atOf(checkPossession(note, policy, { ...asked, ...other }));
  assertEquals(await at({ index: 1 }), "index");
  assertEquals(await at({ nonce: new Uint8Array(32) }), "nonce");
  for (const byte of [0, 50_000, 100_000]) {
    const altered = large.slice();
    altered[byte]! ^= 1;
    assertEquals(await at({ payload: altered }), "payload");
  }
  await mutate(note, (bytes) => checkPossession(bytes, policy, asked), [
    ...["note", "signature"],
  ]);
  const relayed = await generateKey("node8.example/poh");
  const signer = await signerOf(relayed.privateKey);
  const copied = await provePossession(2, NONCE, large, signer);
  assertEquals(
    await atOf(checkPossession(copied, policy, asked)),
    "signature",
    "an answer of another node",
  );
  assert(copied !== note);
});

Deno.test("a file tells by its beginning what it is", async () => {
  const log = await vectorLog();
  assertEquals(proofKind(await log.checkpoint()), "checkpoint");
  assertEquals(proofKind('{"challenge":{}}\n'), "holding");
  for (const other of ["", "\n", "text\n", VKEY]) {
    assertEquals(proofKind(other), null);
  }
});
