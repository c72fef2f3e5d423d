// The transparency log of a store: what is saved, replaced and removed has its
// entry, whoever did it, and whatever became of the process.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import {
  checkConsistency,
  checkInclusion,
  LogAudit,
  openCheckpoint,
  parseEntry,
  policyOf,
} from "../../proofs.ts";
import {
  backupStore,
  performRecovery,
  restoreStore,
  StorageManager,
} from "../../mod.ts";
import { openDatabase } from "../../src/sqlite/open_database.ts";
import { entriesOf } from "../../src/proofs/tiles.ts";
import { liveEntry, readEdge } from "../../src/tlog/tlog_tables.ts";
import {
  codeOf,
  copyDir,
  entriesIn,
  keys,
  large,
  ORIGIN,
  tamper,
  tx,
} from "./log_helpers.ts";
import {
  bytes,
  denoScript,
  filesBelow,
  tempDir,
  type TempStore,
  tempStore,
  test,
  text,
} from "../helpers.ts";

/** Reads all entries of a closed store's log; the audit over them. */
async function auditOf(temp: TempStore): Promise<LogAudit> {
  await using rows = await openDatabase(temp.db, { readOnly: true });
  const { size, bundle } = readEdge(rows);
  const audit = new LogAudit();
  for (let n = 0; (n + 1) * 256 <= size; n++) {
    const name = String(n).padStart(3, "0");
    const path = join(temp.base, ".poh/tlog/tile/entries", name);
    for (const entry of entriesOf(await Deno.readFile(path))) audit.add(entry);
  }
  for (const entry of entriesOf(bundle)) audit.add(entry);
  assertEquals(audit.size, size);
  return audit;
}

test("a store has no log unless one is begun", async () => {
  await using temp = await tempStore();
  await temp.store.saveTx(tx("a"));
  assertEquals(await codeOf(temp.store.tlog.status()), "TLOG_NONE");
  await temp.store.tlog.init(ORIGIN);
  assertEquals(await codeOf(temp.store.tlog.init(ORIGIN)), "TLOG_EXISTS");
  const { size, live, published } = await temp.store.tlog.status();
  assertEquals([size, live, published], [2, 1, null]);
});

test("saves, replacements and deletions have their entries", async () => {
  await using temp = await tempStore();
  const { store } = temp;
  await store.saveTx(tx("old"));
  await store.saveTx(tx("old large", large(1)));
  await store.tlog.init(ORIGIN);
  await store.saveTx(tx("a"));
  await store.saveTx(tx("b", large(2)));
  await store.saveTx(tx("c", large(3, 8193)));
  await store.saveTx(tx("a", "again"));
  await store.saveTx(tx("a", "again")); // the same: nothing has changed
  await store.deleteTx("b");
  await store.deleteTx("none");
  const { size, live } = await store.tlog.status();
  assertEquals([size, live], [3 + 5, 4]);
  assertEquals(await store.tlog.check(), []);
  await temp.close();
  const audit = await auditOf(temp);
  assertEquals([...audit.live()], [1, 2, 5, 6]);
});

test("a proof of inclusion holds without the store, and for what was deleted since", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  const { store } = temp;
  const { path, vkey, signers } = await keys(dir);
  const policy = policyOf(vkey);
  await store.tlog.init(ORIGIN);
  await store.saveTx(tx("a"));
  await store.saveTx(tx("b", large(2)));
  assertEquals(await codeOf(store.tlog.proveInclusion("a")), "NOT_LOGGED");
  const first = await store.tlog.sign(signers, path);
  await store.saveTx(tx("later"));
  assertEquals(await codeOf(store.tlog.proveInclusion("later")), "NOT_LOGGED");
  const proofs = [
    await store.tlog.proveInclusion("a"),
    await store.tlog.proveInclusion("b"),
  ];
  await store.deleteTx("a");
  const second = await store.tlog.sign(signers, path);
  const kept = await openCheckpoint(first, policy);
  const step = await store.tlog.proveConsistency(kept);
  await temp.close();
  const [a, b] = [
    await checkInclusion(proofs[0]!, policy, bytes("a")),
    await checkInclusion(proofs[1]!, policy, large(2)),
  ];
  assertEquals([a.record.holderId, b.record.size], ["alice", 200_000]);
  const { old, checkpoint } = await checkConsistency(step, policy, first);
  assertEquals([old.size, checkpoint.size], [3, 5]);
  assertEquals(checkpoint.note, second);
});

test("a log of many entries is in tiles, whoever packs, and is the same after each opening", async () => {
  await using temp = await tempStore({ packBelow: 4096 });
  await temp.store.tlog.init(ORIGIN);
  for (let round = 0; round < 3; round++) {
    const many = Array.from({ length: 400 }, (_, i) => tx(`${round} ${i}`));
    await temp.store.saveTxs(many);
    for (let i = 0; i < 100; i++) await temp.store.deleteTx(`${round} ${i}`);
    const before = await temp.store.tlog.status();
    await temp.store.compact();
    assertEquals(await temp.store.tlog.status(), before, "moved, not changed");
    await temp.close();
    await temp.open();
    assertEquals(await temp.store.tlog.status(), before);
    assertEquals(await temp.store.tlog.check(), []);
  }
  await temp.close();
  const audit = await auditOf(temp);
  assertEquals([audit.size, audit.liveCount], [1 + 3 * 500, 3 * 300]);
});

for (
  const [what, sql, kind] of [
    [
      "another holder",
      "UPDATE txs SET holder_id = 'mallory' WHERE tx_id = 'a'",
      "altered",
    ],
    [
      "another time",
      "UPDATE txs SET timestamp = 1 WHERE tx_id = 'a'",
      "altered",
    ],
    [
      "a forged digest",
      `UPDATE txs SET storage_hash = '${"0".repeat(64)}' WHERE tx_id = 'a'`,
      "altered",
    ],
    ["another id", "UPDATE txs SET tx_id = 'z' WHERE tx_id = 'a'", "vanished"],
    ["no row", "DELETE FROM txs WHERE tx_id = 'a'", "vanished"],
    [
      "a row that nobody saved",
      "INSERT INTO txs SELECT 'z', storage_hash, timestamp, holder_id, size, place FROM txs WHERE tx_id = 'a'",
      "unlogged",
    ],
    [
      "another salt",
      "UPDATE tlog_live SET salt = zeroblob(16) WHERE tx_id = 'a'",
      "altered",
    ],
    [
      "another entry",
      "UPDATE tlog_live SET entry = 1 WHERE tx_id = 'b'",
      "damaged",
    ],
    ["no seal", "DELETE FROM tlog_live WHERE tx_id = 'a'", "damaged"],
  ] as const
) {
  test(`the check of the log finds ${what}`, async () => {
    await using temp = await tempStore();
    await temp.store.tlog.init(ORIGIN);
    await temp.store.saveTx(tx("a"));
    await temp.store.saveTx(tx("b"));
    assertEquals(await temp.store.tlog.check(), []);
    const store = await tamper(temp, sql);
    const kinds = (await store.tlog.check()).map(({ kind }) => kind);
    assert(kinds.includes(kind), `${kinds}`);
  });
}

test("an edited bundle or tile is found, and nothing is proven from it", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  const { path, signers } = await keys(dir);
  await temp.store.tlog.init(ORIGIN);
  await temp.store.saveTxs(Array.from({ length: 600 }, (_, i) => tx(`${i}`)));
  await temp.store.tlog.sign(signers, path);
  // Byte 5,000 is of entry 110, and of the leaf beside that of entry 157.
  for (
    const [name, txId] of [
      ["tile/entries/000", "109"],
      ["tile/0/000", "156"],
    ] as const
  ) {
    const file = join(temp.base, ".poh/tlog", name);
    const before = await Deno.readFile(file);
    const altered = before.slice();
    altered[5000]! ^= 1;
    await Deno.writeFile(file, altered);
    const kinds = (await temp.store.tlog.check()).map(({ kind }) => kind);
    assertEquals(kinds, ["damaged"], name);
    const code = await temp.store.tlog.proveInclusion(txId)
      .then(() => "none", ({ code }) => code);
    assertEquals(code, "TLOG_DAMAGED", name);
    await Deno.writeFile(file, before);
  }
  assertEquals(await temp.store.tlog.check(), []);
});

test("an older copy of the store is not signed", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  const { path, signers } = await keys(dir);
  await temp.store.tlog.init(ORIGIN);
  await temp.store.saveTx(tx("a"));
  await temp.close();
  const copy = dir.join("copy");
  await copyDir(temp.base, copy);
  await temp.open();
  await temp.store.saveTx(tx("b"));
  await temp.store.tlog.sign(signers, path);
  await temp.close();
  await using older = await StorageManager.open(copy, join(copy, "poh.db"));
  assertEquals(
    await codeOf(older.tlog.sign(signers, path)),
    "TLOG_ROLLED_BACK",
  );
  await older.saveTx(tx("other"));
  assertEquals(
    await codeOf(older.tlog.sign(signers, path)),
    "TLOG_ROLLED_BACK",
  );
});

test("a restored store has no log until one is begun", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  await temp.store.tlog.init(ORIGIN);
  await temp.store.saveTx(tx("a"));
  await temp.close();
  await backupStore(temp.base, temp.db, dir.join("backup"));
  const base = dir.join("restored");
  await restoreStore(dir.join("backup"), base, join(base, "poh.db"));
  await using store = await StorageManager.open(base, join(base, "poh.db"));
  assertEquals(await codeOf(store.tlog.status()), "TLOG_NONE");
  await store.tlog.init(ORIGIN);
  assertEquals((await store.tlog.status()).live, 1);
});

test("what is deleted leaves no byte of its id, holder or salt", async () => {
  await using temp = await tempStore();
  await temp.store.tlog.init(ORIGIN);
  const secret = { ...tx("a-very-secret-id"), holderId: "a-secret-holder" };
  await temp.store.saveTx(secret);
  await temp.store.saveTxs(Array.from({ length: 300 }, (_, i) => tx(`${i}`)));
  await temp.store.tlog.status();
  const salt = await saltOf(temp.db, secret.txId);
  const traces = [bytes(secret.txId), bytes(secret.holderId), salt];
  await temp.close();
  assertEquals(await placesOf(temp, traces), ["poh.db", "poh.db", "poh.db"]);
  await temp.open();
  await temp.store.deleteTx(secret.txId);
  await temp.store.tlog.status();
  await temp.close();
  await vacuum(temp.db);
  assertEquals(await placesOf(temp, traces), [null, null, null]);
});

/** By a program with all permissions: SQLite attaches a database for it. */
async function vacuum(db: string): Promise<void> {
  const script = `const { DatabaseSync } = await import("node:sqlite");
    new DatabaseSync(${JSON.stringify(db)}).exec("VACUUM");`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", script],
  });
  const { success, stderr } = await child.output();
  assert(success, text(stderr));
}

async function saltOf(db: string, txId: string): Promise<Uint8Array> {
  await using rows = await openDatabase(db, { readOnly: true });
  return liveEntry(rows, txId)!.salt;
}

/** In which file of the log, or of the database, each of these is; null: in none. */
async function placesOf(
  { base }: TempStore,
  traces: Uint8Array[],
): Promise<(string | null)[]> {
  const found: (string | null)[] = traces.map(() => null);
  const tlog = await filesBelow(join(base, ".poh/tlog"));
  const names = [...Object.keys(tlog)].map((name) => `.poh/tlog/${name}`);
  const database = [...Deno.readDirSync(base)].map(({ name }) => name)
    .filter((name) => name.startsWith("poh.db"));
  for (const name of [...names, ...database]) {
    const text = latin1(await Deno.readFile(join(base, name)));
    for (const [n, trace] of traces.entries()) {
      if (text.includes(latin1(trace))) found[n] = name;
    }
  }
  return found;
}

const latin1 = (data: Uint8Array) => new TextDecoder("latin1").decode(data);

test("entries say why a transaction went", async () => {
  await using temp = await tempStore();
  await temp.store.tlog.init(ORIGIN);
  for (const id of ["deleted", "pruned", "damaged"]) {
    await temp.store.saveTx(tx(id));
  }
  await temp.store.deleteTx("deleted");
  await temp.store.saveTx({ ...tx("kept"), timestamp: 2e9 });
  await Deno.writeTextFile(join(temp.base, "damaged.bin"), "other");
  const report = await temp.store.recover();
  assertEquals(report.damaged, true);
  await temp.store.prune({ before: 1.9e9 });
  assertEquals(await temp.store.tlog.check(), []);
  await temp.close();
  const reasons = (await entriesIn(temp)).map((bytes) => {
    const entry = parseEntry(bytes);
    return entry.kind === "remove" ? entry.reason : entry.kind;
  });
  assertEquals(reasons, [
    ...["begin", "put", "put", "put", "deleted", "put", "damaged", "pruned"],
  ]);
});

test("what a program that does not log has changed is taken in by recover", async () => {
  await using temp = await tempStore();
  await temp.store.tlog.init(ORIGIN);
  await temp.store.saveTx(tx("a"));
  await temp.store.saveTx(tx("b"));
  await temp.close();
  await Deno.remove(join(temp.base, "a.bin"));
  const store = await tamper(temp, "DELETE FROM txs WHERE tx_id = 'a'");
  assertEquals((await store.tlog.check()).map(({ kind }) => kind), [
    "vanished",
  ]);
  await store.recover();
  assertEquals(await store.tlog.check(), []);
  // A file that nobody has saved through the store.
  await Deno.writeTextFile(join(temp.base, "orphan.bin"), "bytes");
  await store.recover({ orphans: "adopt" });
  assertEquals(await store.tlog.check(), []);
  assertEquals((await store.tlog.status()).live, 2);
});

test("a new log names the last checkpoint of one whose database is lost", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  const { path, signers } = await keys(dir);
  await temp.store.tlog.init(ORIGIN);
  await temp.store.saveTx(tx("a"));
  const last = await temp.store.tlog.sign(signers, path);
  await temp.close();
  await Deno.remove(temp.db);
  await performRecovery(temp.base, temp.db, { rebuild: true });
  const store = await temp.open();
  assertEquals(await codeOf(store.tlog.status()), "TLOG_NONE");
  await store.tlog.init(ORIGIN);
  assertEquals(
    await codeOf(store.tlog.sign(signers, path)),
    "TLOG_ROLLED_BACK",
  );
  await temp.close();
  const [first] = await entriesIn(temp);
  const begin = parseEntry(first!);
  assertEquals(begin.kind === "begin" && begin.predecessor, last);
});

test("two processes and one that signs share a log without gaps", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  const { path, vkey, signers } = await keys(dir);
  await temp.store.tlog.init(ORIGIN);
  const children = ["left", "right"].map((name) => saver(temp, name, 1_500));
  const notes: string[] = [];
  let running = true;
  const all = Promise.all(children.map((child) => child.output()))
    .finally(() => running = false);
  while (running) notes.push(await temp.store.tlog.sign(signers, path));
  for (const { code, stderr } of await all) {
    assertEquals(code, 0, new TextDecoder().decode(stderr));
  }
  notes.push(await temp.store.tlog.sign(signers, path));
  assertEquals(await temp.store.tlog.check(), []);
  const { size, live } = await temp.store.tlog.status();
  // Each saves 1,500, replaces every tenth and deletes every twentieth.
  assertEquals([size, live], [1 + 2 * (1_500 + 150 + 75), 2 * (1_500 - 75)]);
  const policy = policyOf(vkey);
  let kept = await openCheckpoint(notes[0]!, policy);
  for (const note of notes.slice(1)) {
    const next = await openCheckpoint(note, policy);
    assert(next.size >= kept.size);
    kept = next;
  }
  assertEquals(kept.size, size);
}, { timeout: 120_000 });

test(
  "a process that is killed leaves a log that another goes on with",
  async () => {
    await using temp = await tempStore();
    await temp.store.tlog.init(ORIGIN);
    const child = saver(temp, "killed", 100_000);
    while (await temp.store.countTxs() < 700) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    child.kill("SIGKILL");
    await child.output();
    await temp.store.saveTx(tx("after"));
    assertEquals(await temp.store.tlog.check(), []);
    await temp.close();
    await temp.open();
    assertEquals(await temp.store.tlog.check(), []);
    const { live } = await temp.store.tlog.status();
    assertEquals(live, await temp.store.countTxs());
  },
  { timeout: 120_000 },
);

/** A process that saves many, 64 in flight. */
function saver(
  temp: TempStore,
  name: string,
  count: number,
): Deno.ChildProcess {
  return denoScript("log_changes.ts", [
    ...[temp.base, temp.db, name, String(count)],
  ], { stdout: "piped", stderr: "piped" }).spawn();
}
