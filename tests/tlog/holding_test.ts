// A store answers challenges from what it holds, and says what it lacks.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  type Challenge,
  checkHolding,
  checkPossession,
  type HoldingReport,
  openCheckpoint,
  type Policy,
  policyOf,
  ProofError,
} from "../../proofs.ts";
import type { StorageManager } from "../../mod.ts";
import { openDatabase } from "../../src/sqlite/open_database.ts";
import {
  bytes,
  type TempDir,
  tempDir,
  type TempStore,
  tempStore,
  test,
} from "../helpers.ts";
import { codeOf, keys, large, ORIGIN, tamper, tx } from "./log_helpers.ts";

/** A store whose log is signed, and what a challenger knows of it. */
async function node(dir: TempDir, temp: TempStore) {
  const key = await keys(dir);
  await temp.store.tlog.init(ORIGIN);
  return {
    key: { signers: key.signers, keyPath: key.path },
    policy: policyOf(key.vkey),
  };
}

type Key = Awaited<ReturnType<typeof node>>["key"];

async function challengeOf(
  store: StorageManager,
  key: Key,
  policy: Policy,
  asked: Pick<Challenge, "entries" | "chunks">,
): Promise<Challenge> {
  const note = await store.tlog.sign(key.signers, key.keyPath);
  const { origin, size, root } = await openCheckpoint(note, policy);
  const nonce = crypto.getRandomValues(new Uint8Array(32));
  return { origin, size, root, nonce, ...asked };
}

async function answered(
  store: StorageManager,
  challenge: Challenge,
  key: Key,
  policy: Policy,
): Promise<HoldingReport> {
  const answer = store.tlog.proveHolding(challenge, key);
  return await checkHolding(answer, challenge, policy);
}

test("an answer shows what is live, and tells what ended", async () => {
  for (const packBelow of [0, 4096]) {
    await using dir = await tempDir();
    await using temp = await tempStore({ packBelow });
    const { key, policy } = await node(dir, temp);
    const { store } = temp;
    await store.saveTx(tx("small"));
    await store.saveTx(tx("empty", ""));
    await store.saveTx(tx("large", large(1)));
    await store.saveTx(tx("gone"));
    await store.saveTx(tx("small", "replaced"));
    await store.deleteTx("gone");
    const entries = [0, 1, 2, 3, 4, 5, 6];
    const challenge = await challengeOf(store, key, policy, {
      ...{ entries, chunks: 5 },
    });
    const report = await answered(store, challenge, key, policy);
    assertEquals(report.held, [2, 3, 5]);
    assertEquals(report.ended, [1, 4]);
    assertEquals(report.nothing, [0, 6]);
    assertEquals([report.notHeld, report.chunks], [[], 1 + 5 + 1]);
  }
});

test("what ends after the challenge is under a newer checkpoint", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  const { key, policy } = await node(dir, temp);
  const { store } = temp;
  for (const id of ["a", "b", "c"]) await store.saveTx(tx(id));
  const challenge = await challengeOf(store, key, policy, {
    ...{ entries: [1, 2, 3], chunks: 1 },
  });
  await store.deleteTx("b");
  await store.saveTx(tx("c", "again"));
  const report = await answered(store, challenge, key, policy);
  assertEquals([report.held, report.ended], [[1], [2, 3]]);
  assertEquals(report.checkpoint.size, 6);
});

test("a node says itself what it lacks", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  const { key, policy } = await node(dir, temp);
  for (const id of ["sound", "missing", "damaged", "row", "deleted"]) {
    await temp.store.saveTx(tx(id, large(id.length)));
  }
  const challenge = await challengeOf(temp.store, key, policy, {
    ...{ entries: [1, 2, 3, 4, 5], chunks: 3 },
  });
  const path = (id: string) => join(temp.base, `${id}.bin`);
  await Deno.remove(path("missing"));
  await Deno.writeFile(path("damaged"), large(99));
  await temp.close();
  await tamper(temp, "UPDATE txs SET timestamp = 1 WHERE tx_id = 'row'");
  const store = await tamper(temp, "DELETE FROM txs WHERE tx_id = 'deleted'");
  const report = await answered(store, challenge, key, policy);
  assertEquals(report.held, [1]);
  assertEquals(report.notHeld, [
    { index: 2, fault: "missing" },
    { index: 3, fault: "damaged" },
    { index: 4, fault: "damaged" },
    { index: 5, fault: "missing" },
  ]);
});

test("an answer of many bytes waits in a file, which goes", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  const { key, policy } = await node(dir, temp);
  const { store } = temp;
  for (let i = 0; i < 3; i++) await store.saveTx(tx(`${i}`, large(i, 2 ** 21)));
  const challenge = await challengeOf(store, key, policy, {
    ...{ entries: [1, 2, 3], chunks: 256 },
  });
  const report = await answered(store, challenge, key, policy);
  assertEquals([report.held, report.bytes], [[1, 2, 3], 3 * 2 ** 21]);
  assertEquals([...Deno.readDirSync(join(temp.base, ".poh/tmp"))], []);
});

test("a challenge about another log is refused", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  const { key, policy } = await node(dir, temp);
  const { store } = temp;
  await store.saveTx(tx("a"));
  const challenge = await challengeOf(store, key, policy, {
    ...{ entries: 3, chunks: 1 },
  });
  for (
    const odd of [
      { origin: "other.example/log" },
      { root: new Uint8Array(32) },
      { size: challenge.size - 1 },
      { size: challenge.size + 1 },
    ]
  ) {
    const code = await codeOf(
      answered(store, { ...challenge, ...odd }, key, policy),
    );
    assertEquals(code, "TLOG_MISMATCH");
  }
});

test("an honest node that deletes meanwhile is never blamed", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  const { key, policy } = await node(dir, temp);
  const { store } = temp;
  const ids = Array.from({ length: 200 }, (_, i) => `${i}`);
  await store.saveTxs(ids.map((id) => tx(id)));
  let running = true;
  const changes = (async () => {
    for (let n = 0; running; n = (n + 1) % ids.length) {
      await store.deleteTx(ids[n]!);
      await store.saveTx(tx(ids[n]!, `${n} again`));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  })();
  let held = 0, ended = 0;
  try {
    for (let run = 0; run < 6; run++) {
      const challenge = await challengeOf(store, key, policy, {
        ...{ entries: 20, chunks: 1 },
      });
      const report = await answered(store, challenge, key, policy);
      assertEquals(report.notHeld, []);
      held += report.held.length;
      ended += report.ended.length;
    }
  } finally {
    running = false;
    await changes;
  }
  assert(held > 0 && ended > 0, `${held} held, ${ended} ended`);
}, { timeout: 120_000 });

test("a node without 1 % of its payloads is caught by 300 draws", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  const { key, policy } = await node(dir, temp);
  const { store } = temp;
  await store.saveTxs(Array.from({ length: 1000 }, (_, i) => tx(`${i}`)));
  const challenge = await challengeOf(store, key, policy, {
    ...{ entries: 300, chunks: 1 },
  });
  for (let i = 0; i < 1000; i += 100) {
    await Deno.remove(join(temp.base, `${i}.bin`));
  }
  let caught = 0;
  for (let run = 0; run < 10; run++) {
    const nonce = crypto.getRandomValues(new Uint8Array(32));
    const { notHeld } = await answered(
      store,
      { ...challenge, nonce },
      key,
      policy,
    );
    if (notHeld.length > 0) caught++;
  }
  // 95 % are expected; less than 6 of 10 come once in 100,000 runs.
  assert(caught >= 6, `caught ${caught} times of 10`);
}, { timeout: 120_000 });

test("possession is proven to whoever has the payload", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  const { key, policy } = await node(dir, temp);
  await temp.store.saveTx(tx("a"));
  await temp.store.saveTx(tx("b", large(1)));
  const [signer] = key.signers;
  const nonce = crypto.getRandomValues(new Uint8Array(32));
  const { tlog } = temp.store;
  for (
    const [index, id, payload] of [[1, "a", bytes("a")], [
      2,
      "b",
      large(1),
    ]] as const
  ) {
    const proof = await tlog.provePossession(id, nonce, signer!);
    await checkPossession(proof, policy, { index, nonce, payload });
    const other = { index, nonce, payload: large(2) };
    await assertRejects(
      () => checkPossession(proof, policy, other),
      ProofError,
    );
  }
  assertEquals(
    await codeOf(tlog.provePossession("none", nonce, signer!)),
    "NOT_LOGGED",
  );
  await Deno.writeFile(join(temp.base, "b.bin"), large(3));
  assertEquals(
    await codeOf(tlog.provePossession("b", nonce, signer!)),
    "NOT_HELD",
  );
  await Deno.remove(join(temp.base, "b.bin"));
  assertEquals(
    await codeOf(tlog.provePossession("b", nonce, signer!)),
    "NOT_HELD",
  );
  await temp.close();
  {
    await using rows = await openDatabase(temp.db);
    await rows.change(() => rows.run("UPDATE txs SET timestamp = 2"));
  }
  const store = await temp.open();
  assertEquals(
    await codeOf(store.tlog.provePossession("a", nonce, signer!)),
    "TLOG_MISMATCH",
  );
});
