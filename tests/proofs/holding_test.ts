// Challenges and their answers.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  answerChallenge,
  type Challenge,
  checkHolding,
  drawChunks,
  drawEntries,
  formatChallenge,
  generateKey,
  type HoldingSource,
  parseChallenge,
  ProofError,
  signerOf,
} from "../../proofs.ts";
import { sha256 } from "../../src/proofs/sha256_short.ts";
import {
  hello,
  large,
  NONCE,
  ORIGIN,
  policy,
  SampleLog,
  textOf,
  vectorLog,
} from "./sample.ts";

async function atOf(call: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => call, ProofError)).at;
}

function challengeTo(log: SampleLog, size = log.size): Challenge {
  const root = log.tree.root(size);
  return { origin: ORIGIN, size, root, nonce: NONCE, entries: 3, chunks: 4 };
}

async function answerOf(
  log: SampleLog,
  challenge: Challenge,
  source?: HoldingSource,
) {
  source ??= await log.source(challenge);
  return await textOf(answerChallenge(challenge, source, log.signer));
}

Deno.test("an answer shows what was drawn, and what has ended", async () => {
  const log = await vectorLog();
  const challenge = challengeTo(log);
  const answer = await answerOf(log, challenge);
  const report = await checkHolding(answer, challenge, policy);
  const { held, ended, nothing, notHeld, chunks, bytes } = report;
  assertEquals([held, ended, nothing, notHeld], [[2], [1], [], []]);
  assertEquals([chunks, bytes], [4, 3 * 8192 + 100_001 % 8192]);
  assertEquals(report.checkpoint.size, 4);
});

Deno.test("an answer comes in pieces, and under a newer checkpoint", async () => {
  const log = await vectorLog();
  const challenge = challengeTo(log);
  log.put({ txId: "c", holderId: "", timestamp: 1 }, hello);
  log.remove(2, "deleted");
  const answer = new TextEncoder().encode(await answerOf(log, challenge));
  for (const size of [1, 7, 4096, answer.length]) {
    const pieces = async function* () {
      await Promise.resolve();
      for (let at = 0; at < answer.length; at += size) {
        yield answer.subarray(at, at + size);
      }
    };
    const report = await checkHolding(pieces(), challenge, policy);
    assertEquals(
      [report.held, report.ended],
      [[], [1, 2]],
      "a tx that went since",
    );
    assertEquals(report.checkpoint.size, 6);
  }
});

Deno.test("entries that are no puts have nothing to hold, and small payloads one chunk", async () => {
  const log = await SampleLog.begin();
  log.put({ txId: "empty", holderId: "", timestamp: 1 }, new Uint8Array());
  log.put({ txId: "one", holderId: "", timestamp: 1 }, new Uint8Array(8192));
  log.put({ txId: "two", holderId: "", timestamp: 1 }, new Uint8Array(8193));
  log.put({ txId: "gone", holderId: "", timestamp: 1 }, hello);
  log.remove(4);
  const challenge = { ...challengeTo(log), entries: [5, 0, 3, 2, 1] };
  const report = await checkHolding(
    await answerOf(log, challenge),
    challenge,
    policy,
  );
  assertEquals([report.held, report.nothing], [[3, 2, 1], [5, 0]]);
  assertEquals([report.chunks, report.bytes], [4, 8193 + 8192]);
});

Deno.test("what a node says that it has not got counts as not held", async () => {
  const log = await vectorLog();
  const challenge = challengeTo(log);
  const source = await log.source(challenge, new Set([2]));
  const answer = await answerOf(log, challenge, source);
  const { held, notHeld } = await checkHolding(answer, challenge, policy);
  assertEquals([held, notHeld], [[], [{ index: 2, fault: "missing" }]]);
});

Deno.test("no byte of an answer can be flipped", async () => {
  const log = await SampleLog.begin();
  log.put({ txId: "a", holderId: "", timestamp: 1 }, hello);
  log.put({ txId: "b", holderId: "", timestamp: 1 }, hello);
  log.remove(1);
  const challenge = { ...challengeTo(log), entries: [1, 2, 3] };
  const answer = new TextEncoder().encode(await answerOf(log, challenge));
  const met = new Set<string>();
  for (const at of answer.keys()) {
    for (const bit of [1, 32, 128]) {
      const other = answer.slice();
      other[at]! ^= bit;
      met.add(await atOf(checkHolding(other, challenge, policy)));
    }
  }
  for (
    const step of [
      ...["answer", "challenge", "signature", "note", "index", "entry", "path"],
      ...["root", "record", "seal", "chunk", "draw"],
    ]
  ) assert(met.has(step), `${step} of ${[...met]}`);
});

/** An answer that is made otherwise than it should be, rightly signed. */
async function forged(
  log: SampleLog,
  challenge: Challenge,
  change: (source: HoldingSource) => HoldingSource,
  asked: Challenge = challenge,
) {
  const source = change(await log.source(challenge));
  const answer = await answerOf(log, challenge, source);
  return await atOf(checkHolding(answer, asked, policy));
}

Deno.test("a node that signs a false answer is found out", async () => {
  const log = await vectorLog();
  log.put({ txId: "c", holderId: "", timestamp: 1 }, large.slice(1));
  const all = [0, 1, 2, 3, 4];
  const challenge = { ...challengeTo(log), entries: all };
  const held = (
    change: (
      value: NonNullable<Awaited<ReturnType<HoldingSource["held"]>>>,
    ) => Awaited<ReturnType<HoldingSource["held"]>>,
  ) =>
    forged(log, challenge, (source) => ({
      ...source,
      held: async (index) => {
        const value = await source.held(index);
        return value && "record" in value ? change(value) : value;
      },
    }));
  const chunk = (
    change: (bytes: Uint8Array, path: readonly Uint8Array[]) => {
      bytes: Uint8Array;
      path: readonly Uint8Array[];
    },
  ) =>
    held((value) => {
      if (!("record" in value)) throw new Error("not live");
      return {
        record: value.record,
        chunk: async (n) => {
          const { bytes, path } = await value.chunk(n);
          return change(bytes, path);
        },
      };
    });
  assertEquals(
    await chunk((bytes, path) => ({ bytes: bytes.map((b) => b ^ 1), path })),
    "chunk",
  );
  assertEquals(
    await chunk((bytes, path) => ({ bytes: bytes.slice(1), path })),
    "chunk",
  );
  assertEquals(await chunk((bytes) => ({ bytes, path: [] })), "path");
  assertEquals(
    await chunk((bytes, path) => ({ bytes, path: [...path, ...path] })),
    "path",
  );
  // The root of all chunks in the place of one.
  assertEquals(
    await chunk((_, path) => ({ bytes: path[0]!.slice(), path: [] })),
    "chunk",
  );
  // Another transaction's payload.
  assertEquals(
    await forged(log, challenge, (source) => ({
      ...source,
      held: (index) => source.held(index === 2 ? 4 : index),
    })),
    "seal",
  );
  // "It has ended", by an entry that ends another, or that is a put of its own.
  for (const by of [3, 4, 0]) {
    assertEquals(
      await held(() => ({
        ended: {
          index: by,
          entry: log.items[by]!.entry,
          path: log.tree.inclusion(by),
        },
      })),
      "ended",
      `${by}`,
    );
  }
  // "It is no put."
  assertEquals(await held(() => null), "answer");
  // Another entry than the one that was drawn.
  assertEquals(
    await forged(log, challenge, (source) => ({
      ...source,
      entry: (index) => source.entry(index === 2 ? 4 : index),
      held: (index) => source.held(index === 2 ? 4 : index),
    })),
    "draw",
  );
});

Deno.test("an answer to another challenge, or of another node, is refused", async () => {
  const log = await vectorLog();
  log.put({ txId: "c", holderId: "", timestamp: 1 }, hello);
  const challenge = challengeTo(log);
  const others: Partial<Challenge>[] = [
    { nonce: new Uint8Array(32) },
    { entries: 4 },
    { entries: [1, 2] },
    { chunks: 3 },
    { size: 4, root: log.tree.root(4) },
    { root: new Uint8Array(32) },
    { origin: "node8.example/poh" },
  ];
  for (const other of others) {
    const asked = { ...challenge, ...other };
    assertEquals(
      await forged(log, challenge, (same) => same, asked),
      "challenge",
    );
  }
  // A log that does not continue what the challenger has seen.
  const unseen = { ...challenge, root: new Uint8Array(32) };
  assertEquals(await forged(log, unseen, (same) => same), "consistency");
  const twin = await signerOf((await generateKey(ORIGIN)).privateKey);
  const source = await log.source(challenge);
  const answer = await textOf(answerChallenge(challenge, source, twin));
  assertEquals(
    await atOf(checkHolding(answer, challenge, policy)),
    "signature",
  );
});

Deno.test("an answer that is cut, or goes on, is refused", async () => {
  const log = await vectorLog();
  const challenge = challengeTo(log);
  const answer = await answerOf(log, challenge);
  const lines = answer.trimEnd().split("\n");
  const at = (some: string[]) =>
    atOf(checkHolding(`${some.join("\n")}\n`, challenge, policy));
  for (let end = 0; end < lines.length; end++) {
    assertEquals(await at(lines.slice(0, end)), "answer", `${end} lines`);
  }
  assertEquals(await at([...lines, "{}"]), "answer");
  assertEquals(
    await at([...lines.slice(0, -1), lines.at(-1)!, lines.at(-1)!]),
    "answer",
  );
  assertEquals(await at([lines[0]!, lines[2]!, lines[1]!, lines[3]!]), "draw");
  assertEquals(
    await atOf(checkHolding(answer.trimEnd(), challenge, policy)),
    "answer",
  );
  const endless = async function* () {
    await Promise.resolve();
    for (;;) yield new Uint8Array(65_536).fill(32);
  };
  assertEquals(
    await atOf(checkHolding(endless(), challenge, policy)),
    "answer",
  );
});

Deno.test("a challenge is read as it was written, and nothing else is", async () => {
  const log = await vectorLog();
  const challenge = challengeTo(log);
  for (const entries of [1, 4096, [0, 3]]) {
    const other = { ...challenge, entries };
    assertEquals(parseChallenge(formatChallenge(other)), other);
  }
  const json = JSON.parse(formatChallenge(challenge));
  const wrong: unknown[] = [
    null,
    [],
    7,
    { ...json, v: 2 },
    { ...json, more: 1 },
    { ...json, origin: "" },
    { ...json, origin: "a\nb" },
    { ...json, origin: 7 },
    { ...json, size: 0 },
    { ...json, size: 2 ** 53 },
    { ...json, size: "4" },
    { ...json, root: json.root.slice(4) },
    { ...json, nonce: 7 },
    { ...json, nonce: "" },
    { ...json, entries: 0 },
    { ...json, entries: 4097 },
    { ...json, entries: undefined },
    { ...json, entries: undefined, indexes: [] },
    { ...json, entries: undefined, indexes: [1, 1] },
    { ...json, entries: undefined, indexes: [4] },
    { ...json, entries: undefined, indexes: [-1] },
    { ...json, entries: undefined, indexes: [0.5] },
    { ...json, entries: undefined, indexes: 2 },
    { ...json, indexes: [1] },
    { ...json, chunks: 0 },
    { ...json, chunks: 4097 },
  ];
  for (const value of wrong) {
    const text = JSON.stringify(value);
    const { at } = assertThrows(
      () => parseChallenge(text),
      ProofError,
      undefined,
      text,
    );
    assertEquals(at, "challenge", text);
  }
  assertThrows(() => parseChallenge("{"), ProofError);
  const long = `${" ".repeat(65_536)}${JSON.stringify(json)}`;
  assertThrows(() => parseChallenge(long), ProofError);
});

Deno.test("draws are spread evenly, chunks are distinct and ascending", () => {
  const challenge: Challenge = {
    ...{ origin: ORIGIN, size: 10, root: new Uint8Array(32), nonce: NONCE },
    ...{ entries: 4000, chunks: 5 },
  };
  const counts = new Array<number>(10).fill(0);
  for (const index of drawEntries(challenge)) counts[index]!++;
  // 400 each, with a deviation of 19.
  assert(counts.every((count) => count > 300 && count < 500), `${counts}`);
  for (let count = 1; count < 40; count++) {
    const chunks = drawChunks(challenge, count, count);
    assertEquals(chunks.length, Math.min(count, 5));
    assertEquals(chunks, [...new Set(chunks)].sort((a, b) => a - b));
    assert(chunks.every((n) => n >= 0 && n < count));
  }
  const other = { ...challenge, nonce: new Uint8Array(32) };
  assert(`${drawEntries(other)}` !== `${drawEntries(challenge)}`);
});

/** A nonce for each number. */
function nonceOf(run: number): Uint8Array {
  return sha256(new TextEncoder().encode(`nonce ${run}`));
}

Deno.test("a node that has lost 1 % of its payloads is caught in at least 90 of 100 challenges for 300", async () => {
  const log = await SampleLog.begin();
  for (let i = 1; i < 1000; i++) {
    log.put({ txId: `${i}`, holderId: "", timestamp: i }, new Uint8Array([i]));
  }
  const gone = new Set(Array.from({ length: 10 }, (_, i) => 50 + 97 * i));
  let caught = 0;
  for (let run = 0; run < 100; run++) {
    const nonce = nonceOf(run);
    const challenge = { ...challengeTo(log), nonce, entries: 300, chunks: 1 };
    const source = await log.source(challenge, gone);
    const answer = await answerOf(log, challenge, source);
    const { notHeld } = await checkHolding(answer, challenge, policy);
    if (notHeld.length > 0) caught++;
  }
  assert(caught >= 90, `${caught} of 100`);
});

Deno.test("an honest node that saves and deletes meanwhile fails none of 1,000 challenges", async () => {
  const log = await SampleLog.begin();
  const live: number[] = [];
  for (let i = 1; i < 60; i++) {
    live.push(log.put({ txId: `${i}`, holderId: "", timestamp: i }, hello));
  }
  let ended = 0;
  for (let run = 0; run < 1000; run++) {
    const nonce = nonceOf(run);
    const challenge = { ...challengeTo(log), nonce, entries: 5, chunks: 1 };
    // Between challenge and answer one goes, and one comes.
    log.remove(live.splice(nonce[0]! % live.length, 1)[0]!, "deleted");
    live.push(log.put({ txId: `${run}`, holderId: "", timestamp: run }, hello));
    const answer = await answerOf(log, challenge);
    const report = await checkHolding(answer, challenge, policy);
    assertEquals(report.notHeld, []);
    ended += report.ended.length;
  }
  assert(ended > 1000, "most of what was drawn had ended");
});
