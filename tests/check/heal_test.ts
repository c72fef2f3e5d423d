import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { dirname, join } from "@std/path";
import {
  backupStore,
  performRecovery,
  PohStorageError,
  type RecoverOptions,
  StorageManager,
  StoreMismatchError,
  type StoreReport,
  type Tx,
  verifyStore,
} from "../../mod.ts";
import { parseSource } from "../../src/copy/sources/open_sources.ts";
import type { HealSource } from "../../src/check/source.ts";
import { Sources } from "../../src/check/sources.ts";
import { closeStore, openStore } from "../../src/local/open_store.ts";
import { sha256HexSync } from "../../src/files/hash.ts";
import { recoverStore, verifyRows } from "../../src/local/local_check.ts";
import { listQuarantine } from "../../src/payloads/quarantine.ts";
import type { TxInfo } from "../../src/types.ts";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import {
  assertBytes,
  bytes,
  filesBelow,
  flipBit,
  namesIn,
  outline,
  overwriteInLog,
  randomBytes,
  sampleTx,
  type TempDir,
  tempDir,
  test,
} from "../helpers.ts";
import { startService } from "../http/serve_helpers.ts";
import { putRow } from "../../src/sqlite/row_changes.ts";
import { findInfo } from "../../src/sqlite/lookups.ts";

/** Small, empty, beyond what is held whole, and with ids that need encoding. */
const TXS: Tx[] = [
  sampleTx({ txId: "a" }),
  sampleTx({ txId: "b" }),
  sampleTx({ txId: "c/d", holderId: "bob", timestamp: 5.5 }),
  sampleTx({ txId: "empty", payload: new Uint8Array() }),
  sampleTx({ txId: "large", payload: randomBytes(300_000) }),
  sampleTx({ txId: "edge", payload: randomBytes(64 * 1024, 2) }),
];

const IDS = ["a", "b", "c/d", "empty", "large", "edge"];

/** A store, copies of it, and a way to damage it. */
interface Node extends AsyncDisposable {
  dir: TempDir;
  base: string;
  db: string;
  backup: string;
  tar: string;
  recover(options?: RecoverOptions): Promise<StoreReport>;
  path(txId: string): string;
}

async function makeNode(txs = TXS): Promise<Node> {
  const dir = await tempDir();
  const base = dir.join("data"), db = dir.join("data", "poh.db");
  {
    await using store = await StorageManager.create(base, db);
    await store.saveTxs(txs);
  }
  const backup = dir.join("backup"), tar = dir.join("backup.tar");
  // Hard links would share the damage.
  await backupStore(base, db, backup, { copy: true });
  const file = await Deno.create(tar);
  await backupStore(base, db, file.writable);
  return {
    dir,
    base,
    db,
    backup,
    tar,
    recover: (options) => performRecovery(base, db, options),
    path: (txId) => join(base, placeOf(txId)),
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
}

/** Two payloads missing, two damaged, of all sizes. */
async function damage(node: Node): Promise<void> {
  await Deno.remove(node.path("a"));
  await Deno.remove(node.path("large"));
  await flipBit(node.path("c/d"), 3);
  await flipBit(node.path("edge"), 60_000);
}

const DAMAGE = ["a", "c/d", "edge", "large"];

async function assertAllSound({ base, db }: Node, txs = TXS): Promise<void> {
  await using store = await StorageManager.create(base, db);
  for (const tx of txs) {
    const found = await store.loadTx(tx.txId);
    assertBytes(found?.payload, tx.payload, tx.txId);
    assertEquals(
      [found!.holderId, found!.timestamp],
      [tx.holderId, tx.timestamp],
    );
  }
  assertEquals(await store.countTxs(), txs.length);
  const report = await store.verify();
  assertEquals([report.sound, report.findings], [txs.length, []]);
}

// --- each kind of source ------------------------------------------------------

interface Kind {
  what: string;
  /** Names a source that has everything. */
  name(node: Node): Promise<string> | string;
}

const KINDS: Kind[] = [
  { what: "a backup folder", name: ({ backup }) => backup },
  { what: "a tar archive", name: ({ tar }) => tar },
  {
    what: "another store, with its database elsewhere",
    async name({ dir }) {
      const base = dir.join("other"), db = dir.join("other.db");
      await using store = await StorageManager.create(base, db);
      await store.saveTxs(TXS);
      return `${base},${db}`;
    },
  },
  {
    what: "another store that keeps small payloads in its database",
    async name({ dir }) {
      const base = dir.join("other");
      await using store = await StorageManager.create(
        base,
        join(base, "poh.db"),
        { packBelow: 1024 },
      );
      await store.saveTxs(TXS);
      return base;
    },
  },
  {
    what: "payload files alone",
    async name({ dir, backup }) {
      const files = dir.join("files");
      await Deno.mkdir(files);
      for (const txId of IDS) {
        const place = placeOf(txId);
        await Deno.mkdir(dirname(join(files, place)), { recursive: true });
        await Deno.copyFile(join(backup, place), join(files, place));
      }
      return files;
    },
  },
  {
    what: "payload files of the older package alone",
    async name({ dir, backup }) {
      const files = dir.join("files");
      for (const txId of IDS) {
        const file = join(files, `${txId}.bin`);
        await Deno.mkdir(dirname(file), { recursive: true });
        await Deno.copyFile(join(backup, placeOf(txId)), file);
      }
      return files;
    },
  },
  {
    what: "a backup whose database is damaged",
    async name({ backup }) {
      await Deno.writeFile(join(backup, "poh.db"), randomBytes(20_000));
      return backup;
    },
  },
];

for (const { what, name } of KINDS) {
  test(`recover heals from ${what}`, async () => {
    await using node = await makeNode();
    const from = await name(node);
    await damage(node);
    const report = await node.recover({ from });
    assertEquals(outline(report), [
      "payload-corrupt c/d: healed",
      "payload-corrupt edge: healed",
      "payload-missing a: healed",
      "payload-missing large: healed",
    ]);
    assertEquals(report.findings.map(({ source }) => source), [
      ...DAMAGE.map(() => from),
    ]);
    assertEquals(report.sources, [
      { source: from, healed: 4, wrong: 0, failure: null },
    ]);
    assertEquals([report.sound, report.repaired, report.takenOut], [
      TXS.length,
      4,
      [],
    ]);
    await assertAllSound(node);
    // What was damaged is kept, and nothing else is left.
    const kept = await Array.fromAsync(listQuarantine(node.base));
    assertEquals(kept.map(({ txId }) => txId).sort(), ["c/d", "edge"]);
    assertEquals(kept.every(({ size }) => size !== null), true);
    assertEquals(namesIn(node.base, ".poh", "staged"), []);
    assertEquals((await node.recover({ from })).findings, []);
  });
}

test("a web server that is no node is no source", async () => {
  await using node = await makeNode();
  await damage(node);
  const bodies = ["<html>Welcome</html>", "{}", '{"txs":3}', "null"];
  for (const body of bodies) {
    await using server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      () => new Response(body),
    );
    const from = `http://127.0.0.1:${server.addr.port}`;
    const { message } = await assertRejects(
      () => node.recover({ from }),
      PohStorageError,
    );
    assertMatch(message, /it lists no transactions/);
  }
  assertEquals(namesIn(node.base, ".poh", "quarantine"), []);
});

test("recover heals from another node's service, with its token", async () => {
  await using node = await makeNode();
  const token = "0123456789abcdef0123";
  await using service = await startService({ txs: TXS, tokens: token });
  await damage(node);
  const from = service.url;
  const refused = await assertRejects(
    () => node.recover({ from }),
    PohStorageError,
  );
  assertMatch(refused.message, /^Cannot heal from http:.* asks for a token/);
  await assertRejects(
    () => node.recover({ from, fromToken: `${token}x` }),
    PohStorageError,
    "refuses the token",
  );
  const report = await node.recover({ from, fromToken: { [from]: token } });
  assertEquals(report.sources[0], {
    source: from,
    healed: 4,
    wrong: 0,
    failure: null,
  });
  await assertAllSound(node);
});

test("recover heals from a bucket, by the names of ids", async () => {
  await using node = await makeNode();
  await damage(node);
  await using bucket = bucketOf(node.backup);
  const variables = { AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "key" };
  const before = Object.keys(variables).map((name) =>
    [name, Deno.env.get(name)] as const
  );
  for (const [name, value] of Object.entries(variables)) {
    Deno.env.set(name, value);
  }
  try {
    const from = `s3://poh/x?endpoint=http://127.0.0.1:${bucket.addr.port}`;
    await Deno.remove(join(node.backup, placeOf("large")));
    const report = await node.recover({ from: [from, node.tar] });
    assertEquals(report.sources.map(({ source, healed }) => [source, healed]), [
      [from, 3],
      [node.tar, 1],
    ]);
    await assertAllSound(node);
    const empty = from.replace("/x?", "/empty?");
    const error = await assertRejects(
      () => node.recover({ from: empty }),
      PohStorageError,
    );
    assertMatch(error.message, /^Cannot heal from s3:.*: There is no store/);
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
});

/** A bucket `poh` whose prefix `x` has the payload files of a folder. */
function bucketOf(folder: string): Deno.HttpServer<Deno.NetAddr> {
  return Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request) => {
      const { pathname, searchParams } = new URL(request.url);
      if (searchParams.has("list-type")) {
        const prefix = searchParams.get("prefix") ?? "";
        const names = prefix.startsWith("x/") ? namesIn(folder) : [];
        const items = names.map((name) =>
          `<Contents><Key>x/${name}</Key><Size>1</Size>` +
          "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
        );
        return new Response(
          `<r>${items.join("")}<IsTruncated>false</IsTruncated></r>`,
        );
      }
      const name = decodeURIComponent(pathname).replace("/poh/x/", "");
      try {
        return new Response(await Deno.readFile(join(folder, name)));
      } catch {
        return new Response(
          "<Error><Code>NoSuchKey</Code><Message>none</Message></Error>",
          { status: 404 },
        );
      }
    },
  );
}

// --- sources that need not be trusted -----------------------------------------

test("wrong bytes are not taken, and the next source is asked", async () => {
  await using node = await makeNode();
  await damage(node);
  const liar = node.dir.join("liar");
  await Deno.mkdir(liar);
  for (const [n, txId] of IDS.entries()) {
    // Other bytes of the same size, too few, and far too many.
    const size = [12, 0, 1_000_000][n % 3]!;
    const path = join(liar, placeOf(txId));
    await Deno.mkdir(dirname(path), { recursive: true });
    await Deno.writeFile(path, randomBytes(size, n));
  }
  const half = node.dir.join("half");
  await Deno.mkdir(half);
  await Deno.copyFile(
    join(node.backup, placeOf("a")),
    join(half, placeOf("a")),
  );
  const from = [liar, half, node.tar];
  const report = await node.recover({ from });
  assertEquals(
    report.findings.map(({ txId, source }) => [txId, source]),
    [["a", half], ["c/d", node.tar], ["edge", node.tar], ["large", node.tar]],
  );
  assertEquals(report.sources.map(({ healed, wrong }) => [healed, wrong]), [
    [0, 4],
    [1, 0],
    [3, 0],
  ]);
  assertEquals(namesIn(node.base, ".poh", "staged"), []);
  await assertAllSound(node);
});

test("an archive with other versions gives what is after them all the same", async () => {
  await using node = await makeNode();
  await using other = await makeNode(
    TXS.map((tx) =>
      tx.txId === "a" || tx.txId === "c/d"
        ? { ...tx, payload: randomBytes(500_000) }
        : tx
    ),
  );
  await damage(node);
  const report = await node.recover({ from: [other.tar, node.tar] });
  assertEquals(
    report.sources.map(({ healed, wrong, failure }) => [
      healed,
      wrong,
      failure,
    ]),
    [[2, 0, null], [2, 0, null]],
  );
  await assertAllSound(node);
});

test("what no source has goes to quarantine, and is named", async () => {
  await using node = await makeNode();
  await damage(node);
  await Deno.remove(join(node.backup, placeOf("large")));
  await flipBit(join(node.backup, placeOf("edge")), 1);
  const report = await node.recover({ from: node.backup });
  assertEquals(outline(report), [
    "payload-corrupt c/d: healed",
    "payload-corrupt edge: quarantined",
    "payload-missing a: healed",
    "payload-missing large: quarantined",
  ]);
  assertEquals(report.takenOut, ["edge", "large"]);
  assertEquals(report.actions, {
    "payload-missing": { healed: 1, quarantined: 1 },
    "payload-corrupt": { healed: 1, quarantined: 1 },
  });
});

test("what is in quarantine comes back once a source has it", async () => {
  await using node = await makeNode();
  await damage(node);
  assertEquals((await node.recover()).takenOut, DAMAGE);
  const options = { from: node.tar };
  const seen = await verifyStore(node.base, node.db, options);
  assertEquals(outline(seen), DAMAGE.map((id) => `out-of-service ${id}: none`));
  assertEquals([seen.damaged, seen.healable], [false, 4]);
  const report = await node.recover(options);
  assertEquals(
    outline(report),
    DAMAGE.map((id) => `out-of-service ${id}: healed`),
  );
  assertEquals(report.sound, TXS.length);
  await assertAllSound(node);
  // Cases without bytes have nothing to keep; the others are kept.
  const kept = await Array.fromAsync(listQuarantine(node.base));
  assertEquals(kept.map(({ txId }) => txId).sort(), ["c/d", "edge"]);
  assertEquals((await node.recover(options)).findings, []);
});

test("what was healed and then deleted does not come back", async () => {
  await using node = await makeNode();
  await damage(node);
  await node.recover({ from: node.backup }); // keeps damaged bytes of two
  await flipBit(node.path("b"), 1);
  await node.recover(); // takes it out of service
  await node.recover({ from: node.backup });
  await assertAllSound(node);
  {
    await using store = await StorageManager.open(node.base, node.db);
    for (const { txId } of TXS) await store.deleteTx(txId);
  }
  assertEquals((await node.recover({ from: node.backup })).findings, []);
  await using store = await StorageManager.open(node.base, node.db);
  assertEquals(await store.listTxs(), []);
  const kept = await Array.fromAsync(listQuarantine(node.base));
  assertEquals(kept.map(({ txId }) => txId).sort(), ["b", "c/d", "edge"]);
});

test("of versions in quarantine only the newest comes back", async () => {
  await using node = await makeNode();
  const [older] = TXS.filter(({ txId }) => txId === "a");
  const newer = { ...older!, payload: bytes("newer") };
  const newest = { ...older!, payload: bytes("newest") };
  const save = async (tx: Tx) => {
    await using store = await StorageManager.open(node.base, node.db);
    await store.saveTx(tx);
  };
  const backup = async (name: string) => {
    await backupStore(node.base, node.db, node.dir.join(name), { copy: true });
    return node.dir.join(name);
  };
  const lose = () => Deno.remove(node.path("a"));
  await lose();
  await node.recover();
  await save(newer);
  const ofNewer = await backup("newer");
  await lose();
  // Given up in the run that might bring the older one back.
  const report = await node.recover({ from: node.backup });
  assertEquals(outline(report), ["payload-missing a: quarantined"]);
  assertEquals((await node.recover({ from: node.backup })).findings, []);
  await save(newest);
  const ofNewest = await backup("newest");
  await lose();
  await node.recover();
  const from = [node.backup, ofNewer, ofNewest];
  assertEquals(outline(await node.recover({ from })), [
    "out-of-service a: healed",
  ]);
  await using store = await StorageManager.open(node.base, node.db);
  assertEquals(await store.loadTx("a"), newest);
});

test("recover --purge keeps nothing of what it heals", async () => {
  await using node = await makeNode();
  await damage(node);
  await node.recover({ from: node.backup, purge: true });
  await assertAllSound(node);
  assertEquals(await Array.fromAsync(listQuarantine(node.base)), []);
});

// --- showing, opening, failing ---------------------------------------------------

test("verify and a dry run show what could be healed, and change nothing", async () => {
  await using node = await makeNode();
  await damage(node);
  await Deno.remove(join(node.backup, placeOf("large")));
  const before = await filesBelow(node.base);
  const from = node.backup;
  const seen = await verifyStore(node.base, node.db, { from });
  assertEquals(
    seen.findings.map(({ txId, action, source }) => [txId, action, source]),
    [
      ["a", "none", from],
      ["c/d", "none", from],
      ["edge", "none", from],
      ["large", "none", null],
    ],
  );
  assertEquals([seen.damaged, seen.healable, seen.repaired], [true, 3, 0]);
  const dry = await node.recover({ from, dryRun: true });
  assertEquals(await filesBelow(node.base), before);
  const real = await node.recover({ from });
  assertEquals(outline(dry), outline(real));
  assertEquals([dry.sound, dry.repaired], [real.sound, real.repaired]);
});

test("a source that cannot be opened is an error before anything is done", async () => {
  await using node = await makeNode();
  await damage(node);
  const before = await filesBelow(node.base);
  const empty = node.dir.join("empty");
  await Deno.mkdir(empty);
  const text = node.dir.join("text");
  await Deno.writeTextFile(text, "no archive".repeat(100));
  const unused = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = unused.addr;
  unused.close();
  for (
    const bad of [
      empty,
      text,
      node.dir.join("nowhere"),
      `${empty},${node.dir.join("no.db")}`,
      `http://127.0.0.1:${port}`,
      node.base,
      "http://user:secret@localhost",
    ]
  ) {
    const error = await assertRejects(
      () => node.recover({ from: [node.backup, bad] }),
      PohStorageError,
      undefined,
      bad,
    );
    assertMatch(error.message, /^Cannot heal from [^\n]+$/, bad);
    assert(!error.message.includes("secret"));
    assertEquals(await filesBelow(node.base), before);
  }
});

/** A source in memory that does as it is told. */
function fakeSource(
  name: string,
  search: HealSource["search"],
): HealSource {
  return { name, search, [Symbol.asyncDispose]: async () => {} };
}

async function recoverFrom(
  { base, db }: Node,
  sources: HealSource[],
  options: RecoverOptions = {},
): Promise<StoreReport> {
  const store = await openStore(base, db, {}, { finish: false });
  try {
    await using opened = new Sources(sources);
    return await recoverStore(store, options, opened);
  } finally {
    await closeStore(store);
  }
}

test("a source that dies is told, the next is asked, and nothing is given up for it", async () => {
  await using node = await makeNode();
  await damage(node);
  const dying = fakeSource("dying", async (wanted, take) => {
    const [first] = wanted;
    await take(first!, piecesOf(payloadOf(first!)));
    throw new Error("connection reset");
  });
  const half = fakeSource("half", async (wanted, take) => {
    const second = wanted.find(({ txId }) => txId === "edge")!;
    await take(second, piecesOf(payloadOf(second)));
  });
  const report = await recoverFrom(node, [dying, half]);
  assertEquals(outline(report), [
    "payload-corrupt c/d: none",
    "payload-corrupt edge: healed",
    "payload-missing a: healed",
    "payload-missing large: none",
  ]);
  assertEquals(report.sources, [
    { source: "dying", healed: 1, wrong: 0, failure: "connection reset" },
    { source: "half", healed: 1, wrong: 0, failure: null },
  ]);
  assertEquals(report.takenOut, []);
  // The next run goes on.
  const next = await node.recover({ from: node.backup });
  assertEquals(outline(next), [
    "payload-corrupt c/d: healed",
    "payload-missing large: healed",
  ]);
  await assertAllSound(node);
});

test("a payload that breaks off in the middle is not healed by that source", async () => {
  await using node = await makeNode();
  await damage(node);
  const broken = fakeSource("broken", async (wanted, take) => {
    for (const info of wanted) {
      const given = await take(
        info,
        (async function* () {
          yield payloadOf(info).subarray(0, 10);
          throw new Error("reset");
        })(),
      );
      assertEquals(given, false);
    }
  });
  const report = await recoverFrom(node, [broken]);
  assertEquals(report.sources[0]!.wrong, 4);
  assertEquals(report.takenOut, DAMAGE);
  assertEquals(namesIn(node.base, ".poh", "staged"), []);
});

/** What a node may answer when it is asked for a payload. */
const ANSWERS: {
  what: string;
  answer: (request: Request, payload: Uint8Array<ArrayBuffer>) => Response;
  mayHave: boolean;
}[] = [
  {
    what: "half of it",
    answer: (request, payload) =>
      request.headers.has("range")
        ? new Response(payload.subarray(0, 1), { status: 206 })
        : new Response(brokenAt(payload, payload.length / 2)),
    mayHave: true,
  },
  {
    what: "that it may not",
    answer: () => new Response("no", { status: 403 }),
    mayHave: true,
  },
  {
    what: "that it cannot",
    answer: () => Response.json({ code: "UNREADABLE" }, { status: 500 }),
    mayHave: true,
  },
  {
    what: "that it has none",
    answer: () => new Response(null, { status: 404 }),
    mayHave: false,
  },
  {
    what: "that its own is damaged",
    answer: () => Response.json({ code: "INTEGRITY" }, { status: 500 }),
    mayHave: false,
  },
  {
    what: "a damaged one, but for its end",
    answer: (request, payload) =>
      request.headers.has("range")
        ? Response.json({ code: "INTEGRITY" }, { status: 500 })
        : new Response(brokenAt(payload, payload.length - 1)),
    mayHave: false,
  },
];

/** A stream that breaks off. */
function brokenAt(payload: Uint8Array<ArrayBuffer>, at: number) {
  return ReadableStream.from((async function* () {
    yield payload.subarray(0, at);
    await new Promise((resolve) => setTimeout(resolve, 10)); // it is sent
    throw new Error("reset");
  })());
}

for (const { what, answer, mayHave } of ANSWERS) {
  test(
    `a payload is ${
      mayHave ? "not given up" : "given up"
    } when a node answers ${what}`,
    async () => {
      await using node = await makeNode();
      await Deno.remove(node.path("large"));
      const { payload } = TXS.find(({ txId }) => txId === "large")!;
      await using server = Deno.serve(
        {
          port: 0,
          hostname: "127.0.0.1",
          onListen() {},
          onError: () => new Response(null),
        },
        (request) =>
          new URL(request.url).pathname === "/txs"
            ? Response.json({ txs: [] })
            : answer(request, payload.slice()),
      );
      const from = `http://127.0.0.1:${server.addr.port}`;
      const report = await node.recover({ from, purge: true });
      assertEquals(outline(report), [
        `payload-missing large: ${mayHave ? "none" : "purged"}`,
      ]);
      assertEquals(report.sources[0]!.failure !== null, mayHave);
    },
  );
}

test("a file of a source that breaks off is not given up", async () => {
  await using node = await makeNode();
  await damage(node);
  const source = fakeSource(
    "failing disk",
    async (wanted, take, _, onUnread) => {
      for (const info of wanted) {
        if (info.txId === "edge") onUnread(info);
        else await take(info, piecesOf(payloadOf(info)));
      }
    },
  );
  const report = await recoverFrom(node, [source]);
  assertEquals(outline(report), [
    "payload-corrupt c/d: healed",
    "payload-corrupt edge: none",
    "payload-missing a: healed",
    "payload-missing large: healed",
  ]);
});

test("Ctrl-C ends a heal between two payloads, and the next run goes on", async () => {
  await using node = await makeNode();
  await damage(node);
  const interrupt = new AbortController();
  const slow = fakeSource("slow", async (wanted, take, signal) => {
    for (const info of wanted) {
      if (signal.aborted) return;
      await take(info, piecesOf(payloadOf(info)));
      interrupt.abort();
    }
  });
  const report = await recoverFrom(node, [slow], { signal: interrupt.signal });
  assertEquals(report.interrupted, true);
  assertEquals(outline(report), [
    "payload-corrupt c/d: none",
    "payload-corrupt edge: none",
    "payload-missing a: healed",
    "payload-missing large: none",
  ]);
  assertEquals((await node.recover({ from: node.tar })).repaired, 3);
  await assertAllSound(node);
});

test("a source is asked for many rows at once, but never for all of a large store", async () => {
  await using dir = await tempDir();
  const base = dir.join("data"), db = dir.join("data", "poh.db");
  const store = await openStore(base, db, { durability: "relaxed" }, {
    create: true,
  });
  try {
    store.rows.transaction(() => {
      for (let n = 0; n < 9_000; n++) {
        const head = { txId: `tx-${n + 10_000}`, holderId: "", timestamp: n };
        putRow(store.rows, {
          ...head,
          storageHash: sha256HexSync(bytes("x")),
          size: 1,
        });
      }
    });
    const asked: number[] = [];
    const source = fakeSource("all", async (wanted, take) => {
      asked.push(wanted.length);
      for (const info of wanted) await take(info, piecesOf(bytes("x")));
    });
    await using sources = new Sources([source]);
    const report = await verifyRows(store, {}, sources);
    assertEquals(asked, [8_192, 808]);
    assertEquals(report.actions, { "payload-missing": { none: 9_000 } });
    assertEquals([report.healable, report.findings.length], [9_000, 1_000]);
  } finally {
    await closeStore(store);
  }
});

test("a large payload is never held whole, and no more is taken than its row says", async () => {
  const size = 64 * 1024 * 1024;
  const piece = randomBytes(256 * 1024);
  const many = async function* (count: number) {
    for (let n = 0; n < count; n++) yield piece;
  };
  await using dir = await tempDir();
  const base = dir.join("data"), db = dir.join("data", "poh.db");
  {
    await using store = await StorageManager.create(base, db);
    const head = { txId: "huge", holderId: "", timestamp: 0 };
    await store.saveTxStream(head, many(size / piece.length));
  }
  await Deno.remove(join(base, placeOf("huge")));
  let taken = 0;
  const endless = fakeSource("endless", async ([info], take) => {
    const bytes = async function* () {
      for (;; taken++) yield piece;
    };
    assertEquals(await take(info!, bytes()), false);
  });
  const right = fakeSource("right", async ([info], take) => {
    const before = Deno.memoryUsage();
    const held = before.external + before.heapUsed;
    let most = 0;
    const watched = async function* () {
      for await (const next of many(size / piece.length)) {
        const { external, heapUsed } = Deno.memoryUsage();
        most = Math.max(most, external + heapUsed - held);
        yield next;
      }
    };
    assertEquals(await take(info!, watched()), true);
    assert(most < size / 4, `held ${most} bytes`);
  });
  const node = { base, db } as Node;
  const report = await recoverFrom(node, [endless, right]);
  assertEquals(outline(report), ["payload-missing huge: healed"]);
  assertEquals(taken, size / piece.length);
});

test("a row whose size is not known, and one that lies in the log, are healed", async () => {
  await using dir = await tempDir();
  const base = dir.join("data"), db = dir.join("data", "poh.db");
  const txs = [sampleTx({ txId: "small" }), TXS[4]!];
  const backup = dir.join("backup");
  {
    await using store = await StorageManager.create(base, db, {
      packBelow: 1024,
    });
    await store.saveTxs(txs);
  }
  await backupStore(base, db, backup);
  {
    const store = await openStore(base, db, {});
    store.rows.transaction(() => {
      putRow(store.rows, { ...findInfo(store.rows, "large")!, size: -1 });
    });
    await closeStore(store);
  }
  await overwriteInLog(base, "payload of small", "SMALL");
  await Deno.remove(join(base, placeOf("large")));
  const report = await performRecovery(base, db, { from: backup });
  assertEquals(outline(report), [
    "payload-corrupt small: healed",
    "payload-missing large: healed",
  ]);
  await using store = await StorageManager.create(base, db);
  for (const tx of txs) {
    assertBytes((await store.loadTx(tx.txId))?.payload, tx.payload);
  }
  assertEquals((await store.infoTx("large"))?.size, 300_000);
  const [kept] = await Array.fromAsync(store.listQuarantine());
  assertEquals([kept?.txId, kept?.size], ["small", "payload of small".length]);
});

test("verify of a part asks for that part only", async () => {
  await using node = await makeNode();
  await damage(node);
  const report = await verifyStore(node.base, node.db, {
    from: node.backup,
    filter: { idPrefix: "c" },
  });
  assertEquals(outline(report), ["payload-corrupt c/d: none"]);
  assertEquals([report.healable, report.steps.map(({ name }) => name)], [1, [
    "payloads",
    "heal",
  ]]);
});

Deno.test("the name of a source tells its kind", () => {
  assertEquals(parseSource("http://a:1"), { kind: "node", url: "http://a:1" });
  assertEquals(parseSource("/mnt/b"), { kind: "path", path: "/mnt/b" });
  assertEquals(parseSource("/mnt/b,/mnt/c.db"), {
    kind: "store",
    base: "/mnt/b",
    db: "/mnt/c.db",
  });
  assertEquals(parseSource("s3://b/p"), {
    kind: "store",
    base: "s3://b/p",
    db: null,
  });
  assertEquals(parseSource("s3://b/p,postgres://u@h1,h2/n"), {
    kind: "store",
    base: "s3://b/p",
    db: "postgres://u@h1,h2/n",
  });
});

function payloadOf({ txId }: TxInfo): Uint8Array {
  return TXS.find((tx) => tx.txId === txId)!.payload;
}

async function* piecesOf(whole: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < whole.length; at += 50_000) {
    yield whole.subarray(at, at + 50_000);
  }
}

test("a store whose disk was replaced comes back, once one file shows that the place is right", async () => {
  await using node = await makeNode();
  const { dir, base } = node, db = dir.join("meta.db");
  await Deno.rename(node.db, db);
  await Deno.remove(base, { recursive: true });
  await Deno.mkdir(base);
  await assertRejects(
    () => performRecovery(base, db, { from: node.backup }),
    StoreMismatchError,
    'copy one payload file of a backup there, then "recover --from',
  );
  await Deno.copyFile(join(node.backup, placeOf("a")), node.path("a"));
  const report = await performRecovery(base, db, { from: node.backup });
  assertEquals(report.actions, { "payload-missing": { healed: 5 } });
  await assertAllSound({ ...node, db });
});
