// `tlog keygen` and `check`: what a counterparty needs, without a store.

import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  answerChallenge,
  formatChallenge,
  formatConsistencyProof,
  openNote,
  provePossession,
  signerOf,
  signNote,
  verifierOf,
} from "../../proofs.ts";
import { openDatabase } from "../../src/sqlite/open_database.ts";
import { call } from "../cli_helpers.ts";
import { IS_WINDOWS, type TempDir, tempDir } from "../helpers.ts";
import { copyDir } from "../tlog/log_helpers.ts";
import {
  hasMlDsa,
  hello,
  large,
  NONCE,
  ORIGIN,
  textOf,
  vectorLog,
  VKEY,
} from "../proofs/sample.ts";

async function write(dir: TempDir, name: string, data: string | Uint8Array) {
  const path = dir.join(name);
  if (typeof data === "string") await Deno.writeTextFile(path, data);
  else await Deno.writeFile(path, data);
  return path;
}

Deno.test("tlog keygen makes a key that only its owner reads, and never overwrites one", async () => {
  await using dir = await tempDir();
  const path = dir.join("key");
  const args = ["tlog", "keygen", path, "--origin", ORIGIN];
  const { code, stdout } = await call(args);
  assertEquals(code, 0);
  const text = await Deno.readTextFile(path);
  const signer = await signerOf(text.trimEnd());
  const note = await signNote("hello\n", [signer]);
  await openNote(note, [verifierOf(stdout.trimEnd())]);
  if (!IS_WINDOWS) assertEquals((await Deno.stat(path)).mode! & 0o777, 0o600);
  const again = await call(args);
  assertEquals([again.code, again.stdout], [2, ""]);
  assertMatch(again.stderr, /is there already: a key is never overwritten/);
  assertEquals(await Deno.readTextFile(path), text);
});

Deno.test({
  name: "tlog keygen --pq makes two keys",
  ignore: !hasMlDsa, // Deno before 2.9
  async fn() {
    await using dir = await tempDir();
    const path = dir.join("key");
    const { code, stdout } = await call([
      ...["tlog", "keygen", path, "--origin", ORIGIN, "--pq", "--json"],
    ]);
    assertEquals(code, 0);
    const { file, keys } = JSON.parse(stdout);
    assertEquals(file, path);
    const kinds = keys.map((key: string) => verifierOf(key).kind);
    assertEquals(kinds, ["ed25519", "ml-dsa-87"]);
    const lines = (await Deno.readTextFile(path)).trimEnd().split("\n");
    const signers = await Promise.all(lines.map(signerOf));
    assertEquals(signers.map(({ verifier }) => verifier.vkey), keys);
  },
});

Deno.test("check says of each proof what it proves", async () => {
  await using dir = await tempDir();
  const log = await vectorLog();
  const challenge = {
    ...{ origin: ORIGIN, size: 3, root: log.tree.root(3), nonce: NONCE },
    ...{ entries: 3, chunks: 2 },
  };
  const answer = answerChallenge(
    challenge,
    await log.source(challenge),
    log.signer,
  );
  const step = formatConsistencyProof({
    ...{ oldSize: 3, oldRoot: log.tree.root(3) },
    path: log.tree.consistency(3),
    checkpoint: await log.checkpoint(),
  });
  const files = {
    inclusion: await write(dir, "b.tlog-proof", await log.inclusionProof(2)),
    checkpoint: await write(dir, "checkpoint", await log.checkpoint()),
    consistency: await write(dir, "step", step),
    answer: await write(dir, "answer", await textOf(answer)),
    possession: await write(
      dir,
      "possession",
      await provePossession(2, NONCE, large, log.signer),
    ),
  };
  const { code, stdout, stderr } = await call([
    ...["check", ...Object.values(files), "--key", VKEY],
    ...["--payload", await write(dir, "payload", large)],
    ...["--kept", await write(dir, "kept", await log.checkpoint(3))],
    ...["--challenge", await write(dir, "c", formatChallenge(challenge))],
    ...["--nonce", NONCE.toBase64()],
  ]);
  assertEquals([code, stderr], [0, ""]);
  const root = "w5X3sOs1drEA1UCprX/ppHcb7jeXVHcitIRSlsbee3g=";
  const old = log.tree.root(3).toBase64();
  const lines = stdout.trimEnd().split("\n");
  assertMatch(lines.splice(3, 1)[0]!, /^holding ok: .*; 4 entries in node7/);
  assertEquals(lines, [
    `inclusion ok: tx b of nobody, 0, 100001 bytes, which are those given, entry 2 of 4 in ${ORIGIN}`,
    `checkpoint ok: 4 entries with root ${root} in ${ORIGIN}`,
    `consistency ok: the first 3 of 4 entries are those under root ${old} in ${ORIGIN}`,
    `possession ok: all bytes of the payload of entry 2 in ${ORIGIN}`,
  ]);
});

Deno.test("check ends with 4 for what is refuted, and goes on with the others", async () => {
  await using dir = await tempDir();
  const log = await vectorLog();
  const proof = await log.inclusionProof(1);
  const right = await write(dir, "right", proof);
  const forged = await write(
    dir,
    "forged",
    proof.replace("index 1", "index 2"),
  );
  const { code, stdout, stderr } = await call([
    ...["check", forged, right, "--key", VKEY],
  ]);
  assertEquals(code, 4);
  assertMatch(
    stdout,
    /^inclusion ok: tx a of alice, 1464307123, 5 bytes, entry 1/,
  );
  assertMatch(stderr, /forged: .*\(PROOF_INVALID at root\)/);
  const asJson = await call(["check", forged, right, "--key", VKEY, "--json"]);
  const [first, second] = asJson.stdout.trimEnd().split("\n")
    .map((line) => JSON.parse(line));
  assertEquals([first.ok, first.code, first.at], [
    false,
    "PROOF_INVALID",
    "root",
  ]);
  assertEquals([second.ok, second.tx_id, second.index], [true, "a", 1]);
  const other = await write(dir, "other", hello.map((byte) => byte ^ 1));
  const wrong = await call(["check", right, "--key", VKEY, "--payload", other]);
  assertEquals(wrong.code, 4);
});

Deno.test("check ends with 4 when a node says itself what it lacks", async () => {
  await using dir = await tempDir();
  const log = await vectorLog();
  const challenge = {
    ...{ origin: ORIGIN, size: 4, root: log.tree.root(), nonce: NONCE },
    ...{ entries: [1, 2], chunks: 2 },
  };
  const source = await log.source(challenge, new Set([2]));
  const answer = await textOf(answerChallenge(challenge, source, log.signer));
  const { code, stdout } = await call([
    ...["check", await write(dir, "answer", answer), "--key", VKEY],
    ...["--challenge", await write(dir, "c", formatChallenge(challenge))],
  ]);
  assertEquals(code, 4);
  assertMatch(
    stdout,
    /^holding FAILED: 0 held, 1 ended, 1 not held: entry 2 missing/,
  );
});

Deno.test("check believes no key that it was not told", async () => {
  await using dir = await tempDir();
  const proof = await write(
    dir,
    "p",
    await (await vectorLog()).inclusionProof(1),
  );
  const without = await call(["check", proof]);
  assertEquals(without.code, 2);
  assertMatch(without.stderr, /--key or --policy/);
  const key =
    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
  const unknown = await call(["check", proof, "--key", key]);
  assertEquals([unknown.code, unknown.stdout], [4, ""]);
  assertMatch(unknown.stderr, /KEY_UNKNOWN/);
  const policy = await write(dir, "policy", `log ${VKEY}\nquorum none\n`);
  assertEquals((await call(["check", proof, "--policy", policy])).code, 0);
});

Deno.test("check ends with 2 for what is no proof, or lacks what it needs", async () => {
  await using dir = await tempDir();
  const log = await vectorLog();
  const note = await provePossession(2, NONCE, large, log.signer);
  const files = {
    text: await write(dir, "text", "hello\n"),
    empty: await write(dir, "empty", ""),
    long: await write(
      dir,
      "long",
      `c2sp.org/tlog-proof@v1\n${"x".repeat(70_000)}`,
    ),
    possession: await write(dir, "possession", note),
    answer: await write(dir, "answer", "{}\n"),
  };
  for (const file of Object.values(files)) {
    const { code, stdout } = await call(["check", file, "--key", VKEY]);
    assertEquals([code, stdout], [2, ""], file);
  }
  for (const args of [["check"], ["check", dir.join("none"), "--key", VKEY]]) {
    assertEquals((await call(args)).code, 2);
  }
  assert((await call(["check", files.text, "--key", "a"])).code === 2);
});

async function save(dir: TempDir, at: string[], id: string, payload: string) {
  const file = await write(dir, `${id}.payload`, payload);
  const { code, stderr } = await call([
    ...["save", "--tx-id", id, "--holder-id", "alice", "--payload-file", file],
    ...["--timestamp", "1464307123", ...at],
  ]);
  assertEquals([code, stderr], [0, ""]);
}

/** A store with a log, and the key that signs for it. */
async function loggedStore(dir: TempDir) {
  const base = dir.join("base"), key = dir.join("key");
  const at = ["--base", base];
  const made = await call(["tlog", "keygen", key, "--origin", ORIGIN]);
  await call(["init", ...at]);
  for (const id of ["a", "b"]) {
    await save(dir, at, id, `payload of ${id}`);
  }
  const begun = await call(["tlog", "init", "--origin", ORIGIN, ...at]);
  assertEquals([begun.code, begun.stderr], [0, ""]);
  assertMatch(
    begun.stdout,
    /^node7\.example\/poh: 3 entries, 2 of them live, /,
  );
  return { base, at, key, vkey: made.stdout.trimEnd() };
}

Deno.test("a node proves what it signed, and whoever has its key checks it", async () => {
  await using dir = await tempDir();
  const { at, key, vkey } = await loggedStore(dir);
  const signing = ["checkpoint", "--tlog-key", key, ...at];
  const early = await call(["prove", "inclusion", "a", ...at]);
  assertEquals([early.code, early.stdout], [3, ""]);
  const first = await call(signing);
  assertEquals(first.code, 0);
  const kept = await write(dir, "kept", first.stdout);
  await save(dir, at, "c", "more");
  assertEquals((await call(["prove", "inclusion", "c", ...at])).code, 3);
  assertEquals((await call(["prove", "inclusion", "none", ...at])).code, 3);
  await call(["delete", "b", ...at]);
  assertEquals((await call(signing)).code, 0);
  const proof = await call(["prove", "inclusion", "a", ...at]);
  const step = await call(["prove", "consistency", "--from", kept, ...at]);
  const bySize = await call(["prove", "consistency", "--from", "3", ...at]);
  assertEquals(bySize.stdout, step.stdout);
  const { code, stdout } = await call([
    ...["check", "--key", vkey, "--kept", kept],
    await write(dir, "a.tlog-proof", proof.stdout),
    await write(dir, "step", step.stdout),
    ...["--payload", await write(dir, "payload", "payload of a")],
  ]);
  assertEquals(code, 0);
  const [inclusion, consistency] = stdout.split("\n");
  assertMatch(
    inclusion!,
    /^inclusion ok: tx a .* which are those given, entry 1 of 5/,
  );
  assertMatch(consistency!, /^consistency ok: the first 3 of 5 entries/);
  const root = await call(["root", ...at]);
  assertMatch(root.stdout, /^5 [A-Za-z0-9+/]{43}=\n$/);
  const status = JSON.parse(
    (await call(["tlog", "status", "--json", ...at])).stdout,
  );
  assertEquals([status.size, status.live, status.published], [5, 2, 5]);
});

Deno.test("verify --tlog ends with 4 when a row was edited behind the store's back", async () => {
  await using dir = await tempDir();
  const { base, at } = await loggedStore(dir);
  const sound = await call(["verify", "--tlog", ...at]);
  assertEquals(sound.code, 0);
  assertMatch(sound.stdout, /Log sound: 3 entries, 2 of them live/);
  {
    await using rows = await openDatabase(`${base}/poh.db`);
    const sql = "UPDATE txs SET holder_id = 'mallory' WHERE tx_id = 'a'";
    await rows.change(() => rows.run(sql));
  }
  assertEquals((await call(["verify", ...at])).code, 0, "its payload is sound");
  const found = await call(["verify", "--tlog", ...at]);
  assertEquals(found.code, 4);
  assertMatch(
    found.stdout,
    /tlog-altered: tx "a": its row is not what entry 1 has/,
  );
});

Deno.test("a node answers a challenge, and is caught without a payload", async () => {
  await using dir = await tempDir();
  const { base, at, key, vkey } = await loggedStore(dir);
  await save(dir, at, "large", "x".repeat(100_000));
  const signed = await call(["checkpoint", "--tlog-key", key, ...at]);
  const checkpoint = await write(dir, "checkpoint", signed.stdout);
  const drawn = await call([
    ...["challenge", checkpoint, "--key", vkey],
    ...["--entries", "50", "--chunks", "2"],
  ]);
  assertEquals([drawn.code, drawn.stderr], [0, ""]);
  const challenge = await write(dir, "challenge", drawn.stdout);
  await call(["delete", "b", ...at]);
  const holding = ["prove", "holding", "--challenge", challenge, ...at];
  assertEquals((await call(holding)).code, 2, "no key");
  const answered = await call([...holding, "--tlog-key", key]);
  assertEquals([answered.code, answered.stderr], [0, ""]);
  const checking = ["check", "--key", vkey, "--challenge", challenge];
  const answer = await write(dir, "answer", answered.stdout);
  const { code, stdout } = await call([...checking, answer]);
  assertEquals(code, 0);
  assertMatch(stdout, /^holding ok: .*2 held, 1 ended/);
  await Deno.remove(`${base}/large.bin`);
  const lacking = await call([...holding, "--tlog-key", key]);
  assertEquals(lacking.code, 0);
  const caught = await call([
    ...checking,
    await write(dir, "l", lacking.stdout),
  ]);
  assertEquals(caught.code, 4);
  assertMatch(caught.stdout, /holding FAILED: .* 1 not held: entry 3 missing/);
  const other = await call(["challenge", checkpoint, "--key", vkey]);
  const another = await write(dir, "another", other.stdout);
  const replayed = await call([
    ...["check", "--key", vkey, "--challenge", another, answer],
  ]);
  assertEquals(replayed.code, 4);
});

Deno.test("audit goes on from what it has seen, and keeps what shows a fork", async () => {
  await using dir = await tempDir();
  const { base, at, key, vkey } = await loggedStore(dir);
  const state = dir.join("state");
  const audit = ["audit", "--state", state, "--key", vkey];
  assertEquals((await call([...audit, ...at])).code, 3, "nothing is published");
  const signing = ["checkpoint", "--tlog-key", key];
  await call([...signing, ...at]);
  const older = dir.join("older");
  await copyDir(base, older);
  const first = await call([...audit, ...at]);
  assertEquals([first.code, first.stderr], [0, ""]);
  assertMatch(
    first.stdout,
    /^audit ok: 3 entries in .* first audit, 2 of them live/,
  );
  await save(dir, at, "c", "more");
  await call([...signing, ...at]);
  const second = await call([...audit, "--json", ...at]);
  const { ok, size, old_size } = JSON.parse(second.stdout);
  assertEquals([ok, size, old_size], [true, 4, 3]);
  const before = await Deno.readTextFile(state);
  const rolled = await call([...audit, "--base", older]);
  assertEquals([rolled.code, rolled.stdout], [4, ""]);
  assertMatch(rolled.stderr, /has 3 entries, and has signed 4 before/);
  const after = JSON.parse(await Deno.readTextFile(state));
  const [found] = after.misbehaviour;
  assertEquals(found.code, "TLOG_ROLLED_BACK");
  assertEquals(found.checkpoints.length, 2);
  assertEquals(after.checkpoint, JSON.parse(before).checkpoint);
  const told = await call([...audit, ...at]);
  assertEquals(told.code, 0);
  assertMatch(told.stderr, /has kept 1 finding of this log/);
  for (
    const odd of [
      ["audit", "--key", vkey, ...at],
      ["audit", "--state", state, ...at],
      ["audit", "--state", key, "--key", vkey, ...at],
      ["audit", "ftp://x", "--state", state, "--key", vkey],
      [...audit, "--token-file", key, ...at],
    ]
  ) assertEquals((await call(odd)).code, 2, odd.join(" "));
});

Deno.test("a node proves that it has a payload to whoever has it", async () => {
  await using dir = await tempDir();
  const { base, at, key, vkey } = await loggedStore(dir);
  const nonce = NONCE.toBase64();
  const prove = ["prove", "possession", "a", "--tlog-key", key, ...at];
  const proof = await call([...prove, "--nonce", nonce]);
  assertEquals([proof.code, proof.stderr], [0, ""]);
  const { code, stdout } = await call([
    ...["check", await write(dir, "possession", proof.stdout), "--key", vkey],
    ...["--nonce", nonce],
    ...["--payload", await write(dir, "payload", "payload of a")],
  ]);
  assertEquals(code, 0);
  assertMatch(stdout, /^possession ok: all bytes of the payload of entry 1/);
  assertEquals((await call(prove)).code, 2);
  assertEquals((await call([...prove, "--nonce", "AAAA"])).code, 2);
  await Deno.writeTextFile(`${base}/a.bin`, "other");
  assertEquals((await call([...prove, "--nonce", nonce])).code, 4);
});

Deno.test("verify --tlog --kept ends with 4 for an older copy of the store", async () => {
  await using dir = await tempDir();
  const { base, at, key } = await loggedStore(dir);
  const older = dir.join("older");
  await copyDir(base, older);
  await save(dir, at, "c", "more");
  await call(["checkpoint", "--tlog-key", key, ...at]);
  const kept = ["verify", "--tlog", "--kept", `${key}.state`];
  assertEquals((await call([...kept, ...at])).code, 0);
  const { code, stdout } = await call([...kept, "--base", older]);
  assertEquals(code, 4);
  assertMatch(
    stdout,
    /tlog-damaged: .* has 4 entries, the log 3: it was rolled/,
  );
  const alone = await call(["verify", "--kept", `${key}.state`, ...at]);
  assertEquals([alone.code, alone.stdout], [2, ""]);
});

Deno.test("the log's commands say what is missing", async () => {
  await using dir = await tempDir();
  const { base, at, key } = await loggedStore(dir);
  const codeOf = async (...args: string[]) =>
    (await call([...args, ...at])).code;
  assertEquals(await codeOf("tlog", "init"), 2, "there is one");
  assertEquals(await codeOf("checkpoint"), 2, "no key");
  assertEquals(await codeOf("prove"), 2);
  assertEquals(await codeOf("prove", "consistency"), 2);
  assertEquals(await codeOf("prove", "inclusion"), 2);
  const inside = `${base}/key`;
  await Deno.copyFile(key, inside);
  assertEquals(await codeOf("checkpoint", "--tlog-key", inside), 2);
  await Deno.remove(inside);
  const other = dir.join("other");
  await call(["tlog", "keygen", other, "--origin", "other.example"]);
  assertEquals(await codeOf("checkpoint", "--tlog-key", other), 2);
  if (!IS_WINDOWS) {
    await Deno.chmod(key, 0o644);
    assertEquals(await codeOf("checkpoint", "--tlog-key", key), 2);
  }
  const without = ["--base", dir.join("without")];
  await call(["init", ...without]);
  assertEquals((await call(["root", ...without])).code, 2);
  assertEquals((await call(["root", "--base", dir.join("none")])).code, 6);
});
