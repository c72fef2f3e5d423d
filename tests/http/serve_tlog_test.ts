// The transparency log over HTTP: auditors read it, whoever may load gets proofs.

import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  Auditor,
  type Challenge,
  checkConsistency,
  checkHolding,
  checkInclusion,
  formatChallenge,
  openCheckpoint,
  policyOf,
  type PublicLog,
  TiledTree,
  tilePath,
} from "../../proofs.ts";
import { join } from "@std/path";
import { call } from "../cli_helpers.ts";
import { bytes, type TempDir, tempDir, test } from "../helpers.ts";
import { keys, large, ORIGIN, tx } from "../tlog/log_helpers.ts";
import {
  type ServeOptions,
  startService,
  type TestService,
} from "./serve_helpers.ts";

const TOKEN = "a token of 24 characters";
const auth = { authorization: `Bearer ${TOKEN.replaceAll(" ", "-")}` };

/** A service with a log of 300 transactions, which is signed. */
async function served(dir: TempDir, options: ServeOptions = {}) {
  const { path, vkey, signers } = await keys(dir);
  const service = await startService({
    ...options,
    txs: [
      ...Array.from({ length: 299 }, (_, i) => tx(`${i}`)),
      tx("large", large(1)),
    ],
  });
  const { tlog } = service.service.store;
  await tlog.init(ORIGIN);
  const note = await tlog.sign(signers, path);
  return { service, vkey, note, tlog, signers, path, policy: policyOf(vkey) };
}

/** The log as auditors read it over HTTP. */
function httpLog(service: TestService): PublicLog {
  const read = async (path: string) => {
    const { status, body } = await service.ask(`/tlog/${path}`);
    assertEquals(status, 200, path);
    return body;
  };
  return {
    checkpoint: async () => new TextDecoder().decode(await read("checkpoint")),
    bundle: (index, width) => read(tilePath("entries", index, width)),
  };
}

test("a log is served in tiles, as far as it is signed", async () => {
  await using dir = await tempDir();
  const { service, note, policy, tlog } = await served(dir);
  await using _ = service;
  const found = await service.ask("/tlog/checkpoint");
  assertEquals([found.status, found.text], [200, note]);
  assertEquals(found.headers.get("content-type"), "text/plain; charset=utf-8");
  const checkpoint = await openCheckpoint(note, policy);
  assertEquals(checkpoint.size, 301);
  const tree = new TiledTree(checkpoint.size, async (level, index, width) => {
    const answer = await service.ask(`/tlog/${tilePath(level, index, width)}`);
    assertEquals(answer.status, 200);
    assertMatch(answer.headers.get("cache-control")!, /immutable/);
    assertEquals(answer.body.length, width * 32);
    return answer.body;
  });
  assertEquals(await tree.root(), checkpoint.root);
  await service.service.store.saveTxs([tx("x"), tx("y")]);
  await tlog.status();
  // Part of a partial tile, for whoever has an older checkpoint.
  const part = await service.ask("/tlog/tile/entries/001.p/7");
  assertEquals([part.status, part.body.length], [200, 7 * 45]);
  for (
    const none of [
      ...["tile/0/001.p/46", "tile/0/001", "tile/0/002", "tile/1/000"],
      ...["tile/0/000.p/256", "tile/0/000.p/0", "tile/0/1", "tile/0/x000/000"],
      ...["tile/entries/001.p/46", "tile/64/000", "tile/0/000/", "tile/x"],
      ...["tile/entries/..%2f..", "tile"],
    ]
  ) {
    const { problem } = await service.ask(`/tlog/${none}`);
    assertEquals(problem, "404 NO_ROUTE", none);
  }
  assertEquals((await service.ask("/tlog/tile/0/000.p/3")).body.length, 96);
});

test("an auditor follows a served log", async () => {
  await using dir = await tempDir();
  const { service, policy, tlog, signers, path, vkey } = await served(dir);
  await using _ = service;
  const auditor = new Auditor(policy);
  assertEquals((await auditor.update(httpLog(service))).live, 300);
  await service.service.store.deleteTx("7");
  await tlog.sign(signers, path);
  const report = await auditor.update(httpLog(service));
  assertEquals([report.old?.size, report.live], [301, 299]);
  const args = ["--state", dir.join("state"), "--key", vkey];
  const { code, stdout } = await call(["audit", `${service.url}tlog`, ...args]);
  assertEquals(code, 0);
  assertMatch(stdout, /^audit ok: 302 entries .* 299 of them live/);
  const elsewhere = await call(["audit", `${service.url}none`, ...args]);
  assertEquals(elsewhere.code, 1);
});

test("proofs are served to whoever may read", async () => {
  await using dir = await tempDir();
  const { service, policy, note, tlog, signers, path } = await served(dir);
  await using _ = service;
  const proof = await service.ask("/txs/7/proof");
  const { record } = await checkInclusion(proof.body, policy, bytes("7"));
  assertEquals([record.txId, record.holderId], ["7", "alice"]);
  await service.service.store.saveTx(tx("later"));
  assertEquals(
    (await service.ask("/txs/later/proof")).problem,
    "404 NOT_LOGGED",
  );
  assertEquals(
    (await service.ask("/txs/none/proof")).problem,
    "404 NOT_LOGGED",
  );
  await tlog.sign(signers, path);
  const step = await service.ask("/tlog/consistency?from=301");
  assertEquals(
    (await checkConsistency(step.body, policy, note)).checkpoint.size,
    302,
  );
  for (const from of ["", "?from=0", "?from=x", "?form=301"]) {
    const { problem } = await service.ask(`/tlog/consistency${from}`);
    assertEquals(problem, "400 INVALID_REQUEST", from);
  }
  const beyond = await service.ask("/tlog/consistency?from=303");
  assertEquals(beyond.problem, "404 NOT_LOGGED");
});

test("a challenge is answered, within limits", async () => {
  await using dir = await tempDir();
  const { path, vkey, signers } = await keys(dir);
  const policy = policyOf(vkey);
  const logKey = { signers, keyPath: path };
  await using service = await startService({
    logKey,
    txs: [tx("a"), tx("large", large(1))],
  });
  const { tlog } = service.service.store;
  await tlog.init(ORIGIN);
  const note = await tlog.sign(signers, path);
  const { origin, size, root } = await openCheckpoint(note, policy);
  const nonce = crypto.getRandomValues(new Uint8Array(32));
  const challenge: Challenge = {
    ...{ origin, size, root, nonce, entries: [0, 1, 2], chunks: 3 },
  };
  const ask = (asked: Challenge) =>
    service.post("/tlog/holding", formatChallenge(asked));
  const answer = await ask(challenge);
  assertEquals(answer.status, 200);
  const { held, chunks } = await checkHolding(answer.body, challenge, policy);
  assertEquals([held, chunks], [[1, 2], 1 + 3]);
  const asking = ["challenge", `${service.url}tlog`, "--key", vkey];
  const told = await call([...asking, "--entries", "30"]);
  assertEquals([told.code, told.stderr], [0, ""]);
  assertMatch(told.stdout, /^holding ok: 2 held, 1 without a payload/);
  await Deno.remove(join(service.files.base, "a.bin"));
  const caught = await call([...asking, "--entries", "30", "--json"]);
  assertEquals(caught.code, 4);
  assertEquals(JSON.parse(caught.stdout).not_held, [{
    index: 1,
    fault: "missing",
  }]);
  const late = await call([...asking, "--deadline", "0s"]);
  assertEquals([late.code, late.stdout], [1, ""]);
  const other = { ...challenge, root: new Uint8Array(32) };
  assertEquals((await ask(other)).problem, "409 TLOG_MISMATCH");
  const many = { ...challenge, entries: 65, chunks: 64 };
  assertEquals((await ask(many)).problem, "400 INVALID_REQUEST");
  assertEquals(
    (await service.post("/tlog/holding", "{}")).problem,
    "400 INVALID_REQUEST",
  );
  const long = " ".repeat(70_000);
  assertEquals(
    (await service.post("/tlog/holding", long)).problem,
    "413 TOO_LARGE",
  );
  while (service.service.holdings.used > 0) { // whoever was late has left
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
});

test("without a key no challenge is answered, without a log nothing is there", async () => {
  await using dir = await tempDir();
  const { service } = await served(dir);
  await using _ = service;
  const nonce = new Uint8Array(32);
  const challenge = formatChallenge({
    ...{ origin: ORIGIN, size: 301, root: nonce, nonce, entries: 1, chunks: 1 },
  });
  const { problem } = await service.post("/tlog/holding", challenge);
  assertEquals(problem, "409 KEY_UNKNOWN");
  await using none = await startService();
  for (const path of ["/tlog/checkpoint", "/tlog/tile/0/000", "/txs/a/proof"]) {
    assertEquals((await none.ask(path)).problem, "404 TLOG_NONE", path);
  }
});

test("checkpoints and tiles are for anybody where they are to be", async () => {
  await using dir = await tempDir();
  const token = auth.authorization.slice("Bearer ".length);
  const open = [
    "/tlog/checkpoint",
    "/tlog/tile/0/000",
    "/tlog/tile/entries/000",
  ];
  const closed = ["/txs/7/proof", "/tlog/consistency?from=1", "/txs/7"];
  for (const isLogPublic of [true, false]) {
    const { service } = await served(dir, {
      tokens: `read ${token}`,
      isLogPublic,
    });
    await using _ = service;
    for (const path of [...open, ...closed]) {
      const isOpen = isLogPublic && open.includes(path);
      assertEquals((await service.ask(path)).status, isOpen ? 200 : 401, path);
      const asked = await service.ask(path, { headers: auth });
      assertEquals(asked.status, 200, path);
    }
    assert(
      (await service.ask("/tlog/holding", { method: "POST" })).status === 401,
    );
    await Deno.remove(dir.join("key.state"));
  }
});
