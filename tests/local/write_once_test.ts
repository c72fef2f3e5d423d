import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  backupStore,
  describeStore,
  migrateStore,
  performRecovery,
  PohStorageError,
  restoreStore,
  sha256Hex,
  StorageManager,
  type StorageOptions,
  type Tx,
  TxExistsError,
} from "../../mod.ts";
import { txToJson } from "../../src/tx.ts";
import { cliStore, txText } from "../cli_helpers.ts";
import {
  bytes,
  flipBit,
  namesIn,
  randomBytes,
  sampleTx,
  tempDir,
  tempStore,
  test,
  testDrivers,
  TIME_LIMIT,
} from "../helpers.ts";
import { startService } from "../http/serve_helpers.ts";

const OTHER = sampleTx({ payload: bytes("other") });

/** Makes sure that a store replaces nothing. */
async function assertWriteOnce(store: StorageManager): Promise<void> {
  assertEquals(store.writeOnce, true);
  const there = await store.infoTx("a");
  for (const ifExists of ["replace", "fail", undefined] as const) {
    const options = ifExists && { ifExists };
    const error = await assertRejects(
      () => store.saveTx(OTHER, options),
      TxExistsError,
    );
    assertEquals(error.storageHash, there!.storageHash);
    assertEquals(error.found, await sha256Hex(OTHER.payload));
  }
  assertEquals((await store.saveTx(OTHER, { ifExists: "keep" })).saved, false);
  assertEquals(await store.infoTx("a"), there);
}

// --- the setting ------------------------------------------------------------

testDrivers(
  "a write-once store replaces nothing, whatever is asked for",
  async (driver) => {
    await using temp = await tempStore({ driver, writeOnce: true });
    const { store } = temp;
    assertEquals((await store.saveTx(sampleTx())).outcome, "created");
    assertEquals((await store.saveTx(sampleTx())).outcome, "unchanged");
    await assertWriteOnce(store);
    const large = sampleTx({ payload: randomBytes(200_000) });
    await assertRejects(() => store.saveTx(large), TxExistsError);
    const { payload, ...head } = large;
    const stream = () => ReadableStream.from([payload]);
    await assertRejects(
      () => store.saveTxStream(head, stream()),
      TxExistsError,
    );
    await assertRejects(
      () => store.saveTxStream(head, stream(), { ifExists: "replace" }),
      TxExistsError,
    );
    assertEquals(await store.loadTx("a"), sampleTx());
    assertEquals((await store.verify()).findings, []);
    assertEquals(namesIn(temp.base, ".poh", "staged"), []);
    // To delete is no replacement.
    await store.deleteTx("a");
    assertEquals((await store.saveTx(OTHER)).outcome, "created");
  },
);

testDrivers("a store stays write-once, whoever opens it", async (driver) => {
  await using temp = await tempStore({ driver, writeOnce: true });
  await temp.store.saveTx(sampleTx());
  await temp.close();
  const open = (options: StorageOptions) =>
    StorageManager.create(temp.base, temp.db, { driver, ...options });
  for (const options of [{}, { writeOnce: false }, { writeOnce: true }]) {
    await using store = await open(options);
    await assertWriteOnce(store);
  }
  await using reader = await open({ readOnly: true });
  assertEquals(reader.writeOnce, true);
  assertEquals((await describeStore(temp.base, temp.db)).writeOnce, true);
});

test("a store that is there is not made write-once", async () => {
  await using temp = await tempStore();
  await temp.close();
  const error = await assertRejects(
    () => StorageManager.create(temp.base, temp.db, { writeOnce: true }),
    PohStorageError,
    "is there already and not write-once",
  );
  assertEquals(error.code, "NOT_WRITE_ONCE");
  const store = await temp.open();
  assertEquals(store.writeOnce, false);
  await store.saveTx(sampleTx());
  assertEquals((await store.saveTx(OTHER)).outcome, "replaced");
});

test("an ifExists that there is none of is refused, and nothing is saved", async () => {
  await using temp = await tempStore();
  const options = { ifExists: "overwrite" as "replace" };
  const { payload, ...head } = sampleTx();
  for (
    const save of [
      () => temp.store.saveTx(sampleTx(), options),
      () => temp.store.saveTxs([sampleTx()], options),
      () =>
        temp.store.saveTxStream(head, ReadableStream.from([payload]), options),
    ]
  ) {
    await assertRejects(save, TypeError, 'got "overwrite"');
  }
  assertEquals(await temp.store.listTxs(), []);
});

// --- copies and repairs -----------------------------------------------------

test("a restored backup of a write-once store is write-once", async () => {
  await using temp = await tempStore({ writeOnce: true });
  await using dir = await tempDir();
  await temp.store.saveTx(sampleTx());
  const folder = dir.join("backup"), tar = dir.join("backup.tar");
  await backupStore(temp.base, temp.db, folder);
  const file = await Deno.open(tar, { write: true, create: true });
  await backupStore(temp.base, temp.db, file.writable);
  for (const [n, source] of [folder, tar].entries()) {
    const base = dir.join(`restored-${n}`), db = join(base, "poh.db");
    await restoreStore(source, base, db);
    await using store = await StorageManager.create(base, db);
    await assertWriteOnce(store);
  }
});

test("a database that is lost or damaged comes back write-once", async () => {
  await using temp = await tempStore({ writeOnce: true });
  await temp.store.saveTx(sampleTx());
  for (const damage of ["lost", "damaged"]) {
    await temp.close();
    if (damage === "lost") await Deno.remove(temp.db);
    else await Deno.writeTextFile(temp.db, "no database");
    await performRecovery(temp.base, temp.db, { rebuild: true });
    await assertWriteOnce(await temp.open());
  }
});

test("recover and restoreQuarantined() work on a write-once store", async () => {
  await using temp = await tempStore({ writeOnce: true });
  const { store } = temp;
  const { storageHash } = await store.saveTx(sampleTx());
  await store.saveTx(sampleTx({ txId: "lost" }));
  await flipBit(temp.file("a"));
  await Deno.remove(temp.file("lost"));
  assertEquals((await store.recover()).sound, 0);
  const cases = await Array.fromAsync(store.listQuarantine());
  const { name } = cases.find(({ txId }) => txId === "a")!;
  const path = join(temp.base, ".poh", "quarantine", `${name}.bin`);
  await flipBit(path);
  assertEquals((await store.restoreQuarantined(name)).storageHash, storageHash);
  assertEquals(await store.loadTx("a"), sampleTx());
  // Its place is free again.
  assertEquals((await store.saveTx(sampleTx({ txId: "lost" }))).saved, true);
  assertEquals((await store.verify()).findings, []);
});

test("migrate leaves out what a write-once store refuses, and tells it", async () => {
  await using from = await tempStore();
  await using to = await tempStore({ writeOnce: true });
  for (const txId of ["a", "b", "c"]) {
    await from.store.saveTx(sampleTx({ txId }));
  }
  const large = sampleTx({ txId: "d", payload: randomBytes(1_500_000) });
  await from.store.saveTx(large);
  await to.store.saveTx(OTHER);
  await to.store.saveTx(sampleTx({ txId: "b" }));
  await to.store.saveTx({ ...large, holderId: "bob" });
  const refused: string[] = [];
  const report = await migrateStore(from.store, to.store, {
    onLeftOut: (error) => {
      assert(error instanceof TxExistsError);
      refused.push(error.txId);
    },
  });
  assertEquals([report.copied, report.present, report.refused], [1, 1, 2]);
  assertEquals(refused.toSorted(), ["a", "d"]);
  assertEquals((await to.store.loadTx("a"))?.payload, OTHER.payload);
});

// --- saveTxs ----------------------------------------------------------------

test("saveTxs() counts what its saves came to, in order of ids too", async () => {
  await using temp = await tempStore();
  const txs = (...payloads: string[]): Tx[] =>
    payloads.map((payload, n) =>
      sampleTx({ txId: `${n % 3}`, payload: bytes(payload) })
    );
  const { store } = temp;
  const first = await store.saveTxs(txs("0", "1", "2", "0", "x"));
  assertEquals(first, {
    txs: 5,
    created: 3,
    replaced: 1,
    unchanged: 1,
    kept: 0,
  });
  const told: string[] = [];
  const second = await store.saveTxs(txs("0", "1", "2"), {
    ifExists: "keep",
    onSaved: ({ txId, outcome }, index) =>
      told.push(`${index} ${txId} ${outcome}`),
  });
  assertEquals([second.txs, second.unchanged, second.kept], [3, 2, 1]);
  assertEquals(told, ["0 0 unchanged", "1 1 kept", "2 2 unchanged"]);
});

test("saveTxs() names the first transaction that is refused", async () => {
  await using temp = await tempStore({ writeOnce: true });
  const { store } = temp;
  await store.saveTx(sampleTx({ txId: "7" }));
  const txs = Array.from(
    { length: 20 },
    (_, n) => sampleTx({ txId: `${n}`, payload: bytes("new") }),
  );
  const error = await assertRejects(
    () => store.saveTxs(txs),
    PohStorageError,
    'Tx 7 ("7"): Cannot save tx "7": it is there already',
  );
  assertEquals(error.code, "NOT_SAVED");
  assert(error.cause instanceof TxExistsError);
  const bad = [sampleTx(), null] as Tx[];
  await assertRejects(() => store.saveTxs(bad), PohStorageError, "Tx 1: ");
});

// --- the command line -------------------------------------------------------

test("save says what it did, and --if-exists decides", async () => {
  await using store = await cliStore();
  await store.ok(["init"]);
  const save = async (payload: string, ...args: string[]) => {
    const tx = txText("a", payload);
    const { code, stdout, stderr } = await store.call(
      ["save", "--tx", tx, ...args],
    );
    return [code, stdout, stderr] as const;
  };
  const [one, two] = [await sha256Hex(bytes("1")), await sha256Hex(bytes("2"))];
  assertEquals(await save("1"), [0, "Saved tx a\n", ""]);
  assertEquals(await save("1", "--if-exists=fail"), [
    0,
    "Unchanged tx a\n",
    "The same tx is there already\n",
  ]);
  assertEquals(await save("2", "--if-exists", "fail"), [
    2,
    "",
    `poh-storage: Cannot save tx "a": it is there already, and its payload has SHA-256 ${one}, the given one ${two}\n`,
  ]);
  assertEquals(await save("2", "--if-exists=keep"), [
    0,
    "Kept tx a\n",
    "Another tx of that id is there already: nothing was saved\n",
  ]);
  assertEquals(await save("2"), [
    0,
    "Saved tx a\n",
    "It has replaced another tx of that id\n",
  ]);
  const [, json] = await save("1", "--json", "--if-exists=keep");
  const kept = JSON.parse(json);
  assertEquals([kept.outcome, kept.saved, kept.storage_hash], [
    "kept",
    false,
    two,
  ]);
  const file = store.dir.join("payload");
  await Deno.writeTextFile(file, "3");
  const streamed = await store.call(
    ["save", "--tx-id=a", "--holder-id=b", "--payload-file", file].concat(
      "--if-exists=fail",
    ),
  );
  assertEquals(streamed.code, 2);
  assertEquals((await save("2", "--if-exists=never"))[0], 2);
});

test("import of a file twice finds all of it unchanged", async () => {
  await using store = await cliStore({ make: false });
  const lines = Array.from(
    { length: 1_557 },
    (_, n) => txText(`tx-${n}`, `payload ${n}`),
  );
  const all = { stdin: lines.join("\n") };
  await store.ok(["init", "--write-once"]);
  assertEquals(
    await store.ok(["import"], { stdin: lines.slice(0, 57).join("\n") }),
    "57 txs: 57 new, 0 unchanged, 0 replaced\n",
  );
  assertEquals(
    await store.ok(["import", "--durability=relaxed"], all),
    "1,557 txs: 1,500 new, 57 unchanged, 0 replaced\n",
  );
  assertEquals(
    await store.ok(["import", "--durability=relaxed"], all),
    "1,557 txs: 0 new, 1,557 unchanged, 0 replaced\n",
  );
  assertEquals(
    await store.ok(["import", "--if-exists=keep"], {
      stdin: `${txText("tx-1", "other")}\n${lines[2]}\n${txText("new")}`,
    }),
    "3 txs: 1 new, 1 unchanged, 0 replaced, 1 kept\n",
  );
}, { timeout: 3 * TIME_LIMIT });

test("import names line and id of what is refused", async () => {
  await using store = await cliStore();
  const long = randomBytes(7 * 1024 * 1024);
  await store.ok(["init"]);
  await store.ok(["import"], {
    stdin: `${txText("a")}\n${txText("long", long)}\n`,
  });
  let known = 2;
  const refused = async (...lines: string[]) => {
    const stdin = lines.join("\n");
    const { code, stdout, stderr } = await store.call(
      ["import", "--if-exists=fail"],
      { stdin },
    );
    assertEquals(code, 2);
    const { txs } = JSON.parse(await store.ok(["info", "--json"]));
    const isNew = (txs - known).toLocaleString("en-US");
    known = txs;
    assertEquals(
      stdout,
      `${isNew} ${
        isNew === "1" ? "tx" : "txs"
      }: ${isNew} new, 0 unchanged, 0 replaced\n`,
    );
    return stderr.split(", what was saved stays: ")[0];
  };
  const many = Array.from({ length: 1_000 }, (_, n) => txText(`new-${n}`));
  assertEquals(
    await refused("", ...many, "", txText("a", "other"), txText("b")),
    'poh-storage: Import failed at line 1003 (tx "a")',
  );
  assertEquals(
    await refused(txText("c"), txText("long", randomBytes(long.length, 2))),
    'poh-storage: Import failed at line 2 (tx "long")',
  );
});

test("init --write-once makes such a store once, and info shows it", async () => {
  await using store = await cliStore({ make: false });
  const info = async () => JSON.parse(await store.ok(["info", "--json"]));
  const init = ["init", "--write-once", "--json"];
  assertEquals(JSON.parse(await store.ok(init)).write_once, true);
  assertEquals(JSON.parse(await store.ok(["init", "--json"])).write_once, true);
  assertEquals((await info()).write_once, true);
  const text = await store.ok(["info"]);
  assert(text.includes("Write once:   yes: no transaction is ever replaced\n"));
  await using other = await cliStore();
  await other.ok(["init"]);
  const refused = await other.call(["init", "--write-once"]);
  assertEquals(refused.code, 1);
  assert(refused.stderr.includes("is there already and not write-once"));
  assert((await other.ok(["info"])).includes("Write once:   no\n"));
});

// --- the service ------------------------------------------------------------

test("POST /txs answers 201, 200 and, in a write-once store, 409", async () => {
  await using served = await startService();
  const post = async (payload: string) => {
    const tx = sampleTx({ payload: bytes(payload) });
    const { status, json } = await served.post("/txs", txToJson(tx));
    return [status, json.outcome, json.saved];
  };
  assertEquals(await post("1"), [201, "created", true]);
  assertEquals(await post("1"), [200, "unchanged", false]);
  assertEquals(await post("2"), [200, "replaced", true]);
  const { text } = await served.ask("/metrics");
  assert(text.includes("\npoh_saved_txs_total 2\n"), text);
});

test("a service on a write-once store tells both digests", async () => {
  await using served = await startService({
    before: async (files) => {
      const store = await files.open({ writeOnce: true });
      await store.saveTx(sampleTx());
      await files.close();
    },
  });
  const facts = {
    status: 409,
    code: "EXISTS",
    tx_id: "a",
    storage_hash: await sha256Hex(sampleTx().payload),
    found: await sha256Hex(OTHER.payload),
  };
  const broadcast = { ...txToJson(OTHER), payload: "other" };
  for (
    const answer of [
      await served.post("/txs", txToJson(OTHER)),
      await served.post("/broadcast", broadcast),
    ]
  ) {
    const { type: _, title, detail, ...members } = answer.json;
    assertEquals(members, facts);
    assertEquals(title, "Conflict");
    assert(detail.startsWith('Cannot save tx "a": it is there already'));
  }
  const lines = [sampleTx(), sampleTx({ txId: "b" }), OTHER];
  const answer = await served.postLines(
    lines.map((tx) => JSON.stringify(txToJson(tx))).join("\n"),
  );
  const { line, txs, created, unchanged, ...rest } = answer.json;
  assertEquals([line, txs, created, unchanged], [3, 2, 1, 1]);
  assertEquals([answer.status, rest.found], [409, facts.found]);
  const { paths } = (await served.ask("/openapi.json")).json;
  assert("409" in paths["/txs"].post.responses);
  assert("409" in paths["/broadcast"].post.responses);
});
