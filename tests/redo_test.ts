import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import {
  FileStore,
  performRecovery,
  sha256Hex,
  SqliteStore,
  verifyStore,
} from "../mod.ts";
import { removal } from "../src/open_store.ts";
import { quarantinePath } from "../src/poh_dir.ts";
import {
  carryOut,
  hasFollowed,
  payloadInLog,
  replay,
  type Replayed,
} from "../src/redo.ts";
import type { RedoEntry } from "../src/redo_log.ts";
import { sampleInfo } from "./contract/metadata_store.ts";
import {
  assertBytes,
  bytes,
  type Driver,
  filesBelow,
  namesIn,
  outline,
  randomBytes,
  sampleTx,
  tempDir,
  type TempStore,
  tempStore,
  test,
  testDrivers,
  text,
} from "./helpers.ts";

// --- entries by themselves ----------------------------------------------------

async function tempParts() {
  const dir = await tempDir();
  const files = new FileStore(dir.join("base"));
  await files.init();
  const rows = await SqliteStore.open(dir.join("poh.db"));
  await rows.init();
  return {
    files,
    rows,
    async [Symbol.asyncDispose]() {
      await rows.close();
      await dir[Symbol.asyncDispose]();
    },
  };
}

type Parts = Awaited<ReturnType<typeof tempParts>>;

async function putEntry(txId: string, payload: Uint8Array): Promise<RedoEntry> {
  return {
    txId,
    action: "put",
    storageHash: await sha256Hex(payload),
    payload,
    staged: null,
  };
}

/** Commits a row, if the entry is a put, and its entry. */
function commit({ rows }: Parts, entry: RedoEntry): void {
  rows.transaction(() => {
    const { txId, storageHash } = entry;
    if (entry.action === "put") rows.put(sampleInfo({ txId, storageHash }));
    rows.redo.append([entry], "dead writer");
  });
}

async function outcomesOf({ files, rows }: Parts): Promise<Replayed[]> {
  const outcomes: Replayed[] = [];
  await replay(files, rows, (one) => outcomes.push(one));
  return outcomes;
}

test("carrying out an entry twice does no harm", async () => {
  await using parts = await tempParts();
  const { files } = parts;
  const put = await putEntry("a", bytes("1"));
  for (let n = 0; n < 2; n++) {
    await carryOut(put, files);
    assertEquals(text(await files.load("a")), "1");
    assertEquals(await hasFollowed(put, files), true);
  }
  const { name } = await files.stage([bytes("2")]);
  const staged = {
    ...await putEntry("a", bytes("2")),
    payload: null,
    staged: name,
  };
  assertEquals(await hasFollowed(staged, files), false);
  for (let n = 0; n < 2; n++) {
    await carryOut(staged, files);
    assertEquals(text(await files.load("a")), "2");
  }
  for (let n = 0; n < 2; n++) {
    await carryOut(removal("a"), files);
    assertEquals(await files.load("a"), null);
    assertEquals(await hasFollowed(removal("a"), files), true);
  }
});

test("a quarantine entry moves the file aside, once", async () => {
  await using parts = await tempParts();
  const { files } = parts;
  await files.save("a", bytes("bad"));
  const entry: RedoEntry = {
    ...removal("a"),
    action: "quarantine",
    staged: "case.bin",
  };
  await carryOut(entry, files);
  await carryOut(entry, files);
  assertEquals(await files.load("a"), null);
  assertEquals(
    await Deno.readTextFile(join(quarantinePath(files.basePath), "case.bin")),
    "bad",
  );
});

test("replay() finishes, keeps or drops, and empties the log", async () => {
  await using parts = await tempParts();
  const { files, rows } = parts;
  commit(parts, await putEntry("absent", bytes("1")));
  commit(parts, await putEntry("torn", bytes("22")));
  await files.save("torn", bytes("2"));
  commit(parts, await putEntry("there", bytes("3")));
  await files.save("there", bytes("3"));
  commit(parts, removal("removed"));
  await files.save("removed", bytes("4"));
  commit(parts, removal("gone"));
  commit(parts, await putEntry("overtaken", bytes("old")));
  await files.save("overtaken", bytes("new"));
  await rows.save(
    sampleInfo({
      txId: "overtaken",
      storageHash: await sha256Hex(bytes("new")),
    }),
  );
  commit(parts, removal("resaved"));
  await files.save("resaved", bytes("5"));
  await rows.save(
    sampleInfo({ txId: "resaved", storageHash: await sha256Hex(bytes("5")) }),
  );

  assertEquals(
    (await outcomesOf(parts)).map((o) => `${o.action} ${o.txId}: ${o.outcome}`),
    [
      "put absent: finished",
      "put torn: finished",
      "put there: done",
      "remove removed: finished",
      "remove gone: done",
      "put overtaken: void",
      "remove resaved: void",
    ],
  );
  assertEquals(rows.redo.count(), 0);
  const found = await Promise.all(
    (await files.listKeys()).sort().map(async (id) =>
      `${id}=${text(await files.load(id))}`
    ),
  );
  assertEquals(found, [
    "absent=1",
    "overtaken=new",
    "resaved=5",
    "there=3",
    "torn=22",
  ]);
  assertEquals(await outcomesOf(parts), []);
});

test("replay() goes through a long log", async () => {
  await using parts = await tempParts();
  const ids = Array.from({ length: 200 }, (_, n) => `id-${n + 1_000}`);
  for (const id of ids) commit(parts, await putEntry(id, bytes(id)));
  assertEquals((await outcomesOf(parts)).length, 200);
  assertEquals((await parts.files.listKeys()).sort(), ids);
  assertEquals(parts.rows.redo.count(), 0);
});

test("payloadInLog() gives the payload of the row, or none", async () => {
  await using parts = await tempParts();
  const { files, rows } = parts;
  const entry = await putEntry("a", bytes("1"));
  commit(parts, entry);
  const info = rows.get("a")!;
  assertEquals(await payloadInLog(info, files, rows), bytes("1"));
  const other = { ...info, storageHash: "00".repeat(32) };
  assertEquals(await payloadInLog(other, files, rows), null);

  const { name } = await files.stage([bytes("1")]);
  commit(parts, { ...entry, payload: null, staged: name });
  assertEquals(await payloadInLog(info, files, rows), bytes("1"));
  files.unstage(name);
  assertEquals(await payloadInLog(info, files, rows), null);

  commit(parts, { ...entry, payload: bytes("x") }); // damaged in the log
  assertEquals(await payloadInLog(info, files, rows), null);
  commit(parts, removal("a"));
  assertEquals(await payloadInLog(info, files, rows), null);
});

// --- what a crash leaves --------------------------------------------------------

/** The store as a crash leaves it, and what was lost with it. */
async function crashed(
  temp: TempStore,
  lose: (crash: TempStore) => Promise<unknown>,
): Promise<TempStore> {
  const crash = await temp.snapshot();
  await lose(crash);
  return crash;
}

testDrivers(
  "a save whose file was lost comes back from the log",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(sampleTx());
    await using crash = await crashed(
      temp,
      (crash) => Deno.remove(crash.file("a")),
    );
    const store = await crash.open();
    assertEquals(await store.loadTx("a"), sampleTx());
    assertEquals(await Deno.readFile(crash.file("a")), sampleTx().payload);
  },
);

testDrivers(
  "a save whose file is empty or torn comes back from the log",
  async (driver) => {
    await using temp = await tempStore({ driver });
    for (const txId of ["a", "b"]) await temp.store.saveTx(sampleTx({ txId }));
    await using crash = await crashed(temp, async (crash) => {
      await Deno.truncate(crash.file("a"), 0);
      await Deno.truncate(crash.file("b"), 3);
    });
    const store = await crash.open();
    assertEquals(await store.loadTx("a"), sampleTx());
    assertEquals(await store.loadTx("b"), sampleTx({ txId: "b" }));
  },
);

testDrivers(
  "a replacement whose file is still the old one is new",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(sampleTx({ payload: bytes("old") }));
    const replacement = sampleTx({ holderId: "bob", payload: bytes("new") });
    await temp.store.saveTx(replacement);
    await using crash = await crashed(
      temp,
      (crash) => Deno.writeTextFile(crash.file("a"), "old"),
    );
    const store = await crash.open();
    assertEquals(await store.loadTx("a"), replacement);
    assertEquals(await Deno.readTextFile(crash.file("a")), "new");
  },
);

testDrivers(
  "a deletion whose file is still there is finished",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(sampleTx());
    await temp.store.deleteTx("a");
    await using crash = await crashed(
      temp,
      (crash) => Deno.writeFile(crash.file("a"), sampleTx().payload),
    );
    const store = await crash.open();
    assertEquals(await store.loadTx("a"), null);
    assertEquals(namesIn(crash.base).includes("a.bin"), false);
  },
);

/** Moves a large payload back to where it was before it was committed. */
async function unplace(crash: TempStore, driver: Driver, txId: string) {
  await using rows = await SqliteStore.open(crash.db, { driver });
  await rows.init();
  const { staged } = rows.redo.of(txId)!;
  await Deno.rename(
    crash.file(txId),
    join(crash.base, ".poh", "staged", staged!),
  );
}

testDrivers(
  "a large payload that was committed, not renamed, is put in its place",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const payload = randomBytes(200_000);
    await temp.store.saveTx(sampleTx({ payload }));
    await using crash = await crashed(
      temp,
      (crash) => unplace(crash, driver, "a"),
    );
    const store = await crash.open();
    assertBytes((await store.loadTx("a"))?.payload, payload);
    assertEquals(namesIn(crash.base, ".poh", "staged"), []);
  },
);

testDrivers(
  "a large payload that was never committed is no transaction",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await using crash = await crashed(
      temp,
      (crash) =>
        Deno.writeFile(join(crash.base, ".poh", "staged", "x"), randomBytes(9)),
    );
    const report = await performRecovery(crash.base, crash.db, { driver });
    assertEquals(outline(report), ["leftover-temp null: removed"]);
    assertEquals(namesIn(crash.base, ".poh", "staged"), []);
  },
);

testDrivers("read-only, the log is read and left as it is", async (driver) => {
  await using temp = await tempStore({ driver });
  await temp.store.saveTx(sampleTx());
  await using crash = await crashed(
    temp,
    (crash) => Deno.remove(crash.file("a")),
  );
  const store = await crash.open({ readOnly: true });
  assertEquals(await store.loadTx("a"), sampleTx());
  const stream = (await store.loadTxStream("a"))!;
  assertEquals(await new Response(stream.payload).text(), "payload of a");
  assertEquals(namesIn(crash.base).includes("a.bin"), false);
});

testDrivers(
  "a row that has changed since is not overtaken by the log",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(sampleTx());
    await using crash = await crashed(temp, async (crash) => {
      await Deno.writeTextFile(crash.file("a"), "by another");
      await using rows = await SqliteStore.open(crash.db, { driver });
      await rows.init();
      await rows.save(
        sampleInfo({
          storageHash: await sha256Hex(bytes("by another")),
          size: -1,
        }),
      );
    });
    const store = await crash.open();
    assertEquals(text((await store.loadTx("a"))?.payload), "by another");
  },
);

testDrivers(
  "recover tells what it finished, and finds nothing the second time",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const replaced = sampleTx({ txId: "b", payload: bytes("new") });
    await temp.store.saveTx(sampleTx());
    await temp.store.saveTx(sampleTx({ txId: "b", payload: bytes("old") }));
    await temp.store.saveTx(replaced);
    await temp.store.saveTx(sampleTx({ txId: "c" }));
    await using crash = await crashed(temp, async (crash) => {
      await Deno.remove(crash.file("a"));
      await Deno.writeTextFile(crash.file("b"), "old");
    });
    const findings = ["unfinished a: finished", "unfinished b: finished"];
    const before = await filesBelow(crash.base);
    const { base, db } = crash;
    assertEquals(
      outline(await performRecovery(base, db, { driver, dryRun: true })),
      findings,
    );
    assertEquals(
      outline(await verifyStore(base, db, { driver })),
      ["unfinished a: none", "unfinished b: none"],
    );
    const after = await filesBelow(crash.base);
    for (const files of [before, after]) delete files["poh.db-wal"];
    assertEquals(after, before);

    const first = await performRecovery(base, db, { driver });
    assertEquals([outline(first), first.sound], [findings, 3]);
    const second = await performRecovery(base, db, { driver });
    assertEquals([second.sound, second.findings], [3, []]);
    const store = await crash.open();
    assertEquals(await store.loadTx("b"), replaced);
  },
);

testDrivers(
  "a large payload that cannot be put in its place yet is kept",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const payload = randomBytes(100_000);
    await temp.store.saveTx(sampleTx({ payload }));
    await using crash = await crashed(temp, async (crash) => {
      await unplace(crash, driver, "a");
      await Deno.mkdir(join(crash.file("a"), "within"), { recursive: true });
    });
    for (let n = 0; n < 2; n++) {
      const report = await performRecovery(crash.base, crash.db, { driver });
      assertEquals(
        outline(report),
        ["unfinished a: none", "unreadable a: none"],
      );
    }
    assertEquals(namesIn(crash.base, ".poh", "staged").length, 1);
    await Deno.remove(crash.file("a"), { recursive: true });
    const store = await crash.open();
    assertBytes((await store.loadTx("a"))?.payload, payload);
    assertEquals(namesIn(crash.base, ".poh", "staged"), []);
  },
);

testDrivers(
  "one file in the way does not keep the rest of the store shut",
  async (driver) => {
    await using temp = await tempStore({ driver });
    for (const txId of ["a", "b"]) await temp.store.saveTx(sampleTx({ txId }));
    await using crash = await crashed(temp, async (crash) => {
      for (const txId of ["a", "b"]) await Deno.remove(crash.file(txId));
      await Deno.mkdir(join(crash.file("a"), "within"), { recursive: true });
    });
    {
      const store = await crash.open();
      assertEquals(await store.loadTx("b"), sampleTx({ txId: "b" }));
      await store.saveTx(sampleTx({ txId: "c" }));
      await crash.close();
    }
    const report = await performRecovery(crash.base, crash.db, { driver });
    assertEquals(outline(report), ["unfinished a: none", "unreadable a: none"]);
    assertEquals(report.damaged, false);
    assertEquals(namesIn(crash.file("a")), ["within"]);

    await Deno.remove(crash.file("a"), { recursive: true });
    assertEquals(
      outline(await performRecovery(crash.base, crash.db, { driver })),
      ["unfinished a: finished"],
    );
    const store = await crash.open();
    assertEquals(await store.loadTx("a"), sampleTx());
  },
);
