import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  backupStore,
  InvalidTxIdError,
  performRecovery,
  restoreStore,
  sha256Hex,
  StorageManager,
  type StorageOptions,
  StoreBusyError,
  StoreMismatchError,
  type UpgradeReport,
} from "../../mod.ts";
import { observeCrashPoints } from "../../src/async/crash_points.ts";
import {
  fileName,
  isNameByDigest,
  storedName,
} from "../../src/files/file_name.ts";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { call } from "../cli_helpers.ts";
import { copyTree } from "../crash/process.ts";
import {
  bytes,
  type Driver,
  filesBelow,
  flipBit,
  IS_WINDOWS,
  namesIn,
  outline,
  sampleTx,
  soundAfter,
  type TempDir,
  tempDir,
  testDrivers,
  text,
} from "../helpers.ts";
import {
  makeOddStore,
  oddIds,
  type OlderTx,
  saveAsOlder,
} from "./older_store.ts";

/** As many as were looked at when stores of the older package were last tried. */
const MANY = 500;

/** Ids that show every kind of name, and names that are in each other's way. */
const FEW = [
  "",
  "a",
  "Tx",
  ".hidden",
  "a:b",
  "a%3Ab",
  "a%253Ab",
  "e\u0301",
  "?".repeat(251),
  "dir/x",
  "./y",
  "y",
  "./only",
];

/** Those of which each matters to an upgrade that is cut short. */
const CRASHED = ["", "a", "a:b", "a%3Ab", "?".repeat(251), "dir/x", "./y", "y"];

/** A store of the older package. */
class OlderStore implements AsyncDisposable {
  readonly driver: Driver;
  readonly dir: TempDir;
  /** What the package could load. */
  saved: Map<string, OlderTx> = new Map();
  report: UpgradeReport | null = null;

  constructor(driver: Driver, dir: TempDir) {
    this.driver = driver;
    this.dir = dir;
  }

  get base(): string {
    return this.dir.join("data");
  }

  get db(): string {
    return this.dir.join("poh.db");
  }

  open(options: StorageOptions = {}): Promise<StorageManager> {
    return StorageManager.create(this.base, this.db, {
      driver: this.driver,
      upgradeQuiet: 20,
      onUpgrade: (report) => this.report = report,
      ...options,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dir[Symbol.asyncDispose]();
  }
}

async function olderStore(
  driver: Driver,
  idsIn: (dir: TempDir) => string[] = () => FEW,
): Promise<OlderStore> {
  const store = new OlderStore(driver, await tempDir());
  const { dir, base, db } = store;
  store.saved = await makeOddStore(base, db, driver, idsIn(dir));
  return store;
}

/** Asserts that a store gives what the older package could load. */
async function assertLoads(
  store: StorageManager,
  saved: ReadonlyMap<string, OlderTx>,
): Promise<void> {
  for (const [txId, { payload, timestamp }] of saved) {
    const tx = await store.loadTx(txId);
    assertEquals(tx, { txId, holderId: "", timestamp, payload }, txId);
  }
}

/** A test of what only systems do where names may have nearly every character. */
function testOlder(
  name: string,
  fn: (driver: Driver) => Promise<void>,
): void {
  testDrivers(name, fn, { ignore: IS_WINDOWS });
}

testOlder(
  "all that the older package could load is loaded, before and after",
  async (driver) => {
    await using older = await olderStore(driver, () => oddIds(MANY));
    assert(older.saved.size > 350);
    const before = await filesBelow(older.dir.path);
    {
      await using store = await older.open({ readOnly: true });
      await assertLoads(store, older.saved);
      const report = await store.verify();
      assertEquals(report.counts["orphan-payload"], 0);
      assertEquals(report.sound, older.saved.size);
    }
    assertEquals(await filesBelow(older.dir.path), before);
    assertEquals(older.report, null);
    await (await older.open()).close();
    assert(older.report!.renamed > 200);
    await using store = await older.open();
    await assertLoads(store, older.saved);
    const report = await store.verify();
    assertEquals(report.sound, older.saved.size);
    for (const { kind, txId } of report.findings) {
      // Another id's path led to its file, and what was there was overwritten.
      assert(kind !== "orphan-payload" && !older.saved.has(txId!), kind);
    }
    for (const name of namesIn(older.base)) {
      if (!name.endsWith(".bin")) continue;
      const { txId } = [...older.saved.values()].find(({ txId }) =>
        storedName(txId) === name
      ) ?? { txId: null };
      const isKnown = txId !== null ||
        report.findings.some(({ file }) =>
          file === name
        );
      assert(isKnown, name);
    }
  },
);

testOlder("the second opening has nothing to do", async (driver) => {
  await using older = await olderStore(driver);
  await (await older.open()).close();
  const before = await filesBelow(older.base);
  older.report = null;
  await (await older.open()).close();
  assertEquals(older.report, null);
  assertEquals(await filesBelow(older.base), before);
});

testOlder("what cannot be kept as it was is listed", async (driver) => {
  await using older = await olderStore(
    driver,
    (
      dir,
    ) => [
      "",
      "a",
      "../out",
      dir.join("abs"),
      "x".repeat(251),
      "y",
      "./z",
      "dir/../y",
    ],
  );
  const { base, db, dir } = older;
  await saveAsOlder(base, db, driver, [
    { txId: "future", payload: bytes("f"), timestamp: Infinity },
    { txId: "past", payload: bytes("p"), timestamp: -Infinity },
    { txId: "text", payload: bytes("t"), timestamp: 1 },
  ]);
  const rows = await openSqlite(db, driver, false);
  rows.exec("UPDATE txs SET timestamp = 'soon' WHERE tx_id = 'text'");
  rows.close();
  await using store = await older.open();
  const { notes, noted } = older.report!;
  const infinite =
    "its timestamp is infinite: it is kept so, but JSON has no such number";
  const outside =
    "its payload file is not in the base: it was left where it is";
  assertEquals(
    Object.fromEntries(notes.map(({ txId, reason }) => [txId, reason])),
    {
      "": `no new transaction can have this id; its file is now ${
        storedName("")
      }`,
      "../out": outside,
      [dir.join("abs")]: outside,
      "future": infinite,
      "past": infinite,
      "text": "its timestamp is no number but text: it counts as 0",
    },
  );
  assertEquals(noted, notes.length);
  assertEquals((await store.loadTx("future"))?.timestamp, Infinity);
  assertEquals((await store.loadTx("past"))?.timestamp, -Infinity);
  assertEquals(await store.countTxs(), 11);
  assertEquals(text(await Deno.readFile(dir.join("out.bin"))), "payload 2");
});

testOlder(
  "an id that no new transaction can have is used like any other",
  async (driver) => {
    const long = "?".repeat(251);
    await using older = await olderStore(driver, () => ["", long, "a"]);
    await using store = await older.open();
    assertEquals(await store.listTxs(), ["", long, "a"]);
    for (const txId of ["", long]) {
      assert(isNameByDigest(storedName(txId)));
      assertEquals(await store.hasTx(txId), true);
      const stream = await store.loadTxStream(txId);
      const payload = await new Response(stream!.payload).bytes();
      assertEquals(payload, older.saved.get(txId)!.payload);
      await assertRejects(
        () => store.saveTx(sampleTx({ txId })),
        InvalidTxIdError,
      );
    }
    assertEquals((await soundAfter(store)).sort(), ["", long, "a"].sort());
    assertEquals(await store.deleteTx(""), true);
    await assertRejects(() => store.loadTx(""), InvalidTxIdError);
    await assertRejects(() => store.deleteTx(""), InvalidTxIdError);
    assertEquals((await store.prune({ before: 2 })).deleted, 1);
    assertEquals((await store.verify()).findings, []);
    assertEquals(namesIn(older.base).filter((n) => n.endsWith(".bin")), [
      "a.bin",
    ]);
  },
);

testOlder(
  "a file under a name by digest that no row has is an orphan",
  async (driver) => {
    await using older = await olderStore(driver, () => ["", "a"]);
    {
      await using store = await older.open();
      const name = storedName("x".repeat(300));
      await Deno.writeTextFile(join(older.base, name), "x");
      const { findings } = await store.verify();
      assertEquals(findings.map(({ kind, txId, file }) => [kind, txId, file]), [
        ["orphan-payload", null, name],
      ]);
    }
    const { base, db } = older;
    const report = await performRecovery(base, db, {
      driver,
      orphans: "quarantine",
    });
    assertEquals(outline(report), ["orphan-payload null: quarantined"]);
    assertEquals((await performRecovery(base, db, { driver })).findings, []);
  },
);

testOlder(
  "what is in the way of a name and no row's goes to quarantine",
  async (driver) => {
    await using older = await olderStore(driver, () => ["a:b"]);
    await Deno.writeTextFile(join(older.base, "a%3Ab.bin"), "an orphan");
    await using store = await older.open();
    await assertLoads(store, older.saved);
    const cases = await Array.fromAsync(store.listQuarantine());
    assertEquals(cases.map(({ reason, size }) => [reason, size]), [
      ["orphan-payload", 9],
    ]);
  },
);

testOlder("a store whose files are links is not followed", async (driver) => {
  await using older = await olderStore(driver, () => ["a", "a:b"]);
  await Deno.writeTextFile(older.dir.join("outside"), "payload 1");
  await Deno.remove(join(older.base, "a:b.bin"));
  await Deno.symlink(older.dir.join("outside"), join(older.base, "a:b.bin"));
  await Deno.symlink(older.dir.path, join(older.base, "out"));
  await saveAsOlder(older.base, older.db, driver, [
    { txId: "out/linked", payload: bytes("linked"), timestamp: 1 },
  ]);
  await using store = await older.open();
  assertEquals(older.report!.noted, 2);
  assertEquals((await store.verify()).sound, 1);
  assertEquals(await Deno.readTextFile(older.dir.join("linked.bin")), "linked");
});

testOlder(
  "a damaged payload is told after the upgrade, not lost by it",
  async (driver) => {
    await using older = await olderStore(driver, () => ["a:b", "c:d"]);
    await flipBit(join(older.base, "a:b.bin"));
    await Deno.remove(join(older.base, "c:d.bin"));
    const { base, db } = older;
    const options = { driver, upgradeQuiet: 20 };
    assertEquals(outline(await performRecovery(base, db, options)), [
      "payload-corrupt a:b: quarantined",
      "payload-missing c:d: quarantined",
    ]);
  },
);

// --- others -------------------------------------------------------------------

/** Asserts that the store is left alone, since somebody is at work. */
async function assertRefused(
  older: OlderStore,
  message: string,
  options: StorageOptions = {},
): Promise<void> {
  const before = await filesBelow(older.base);
  await assertRejects(() => older.open(options), StoreBusyError, message);
  const after = await filesBelow(older.base);
  for (const [name, digest] of Object.entries(before)) {
    assertEquals(after[name], digest, name);
  }
  await using store = await older.open({ readOnly: true });
  await assertLoads(store, older.saved);
}

testOlder("a database that is in use is left alone", async (driver) => {
  await using older = await olderStore(driver);
  const rows = await openSqlite(older.db, driver, false);
  try {
    rows.exec("BEGIN IMMEDIATE");
    await assertRefused(older, "locked by another program");
    rows.exec("ROLLBACK");
  } finally {
    rows.close();
  }
  await using store = await older.open();
  await assertLoads(store, older.saved);
});

testOlder(
  "a store whose files are being changed is left alone",
  async (driver) => {
    await using older = await olderStore(driver);
    let n = 0;
    const timer = setInterval(() => {
      Deno.writeTextFileSync(join(older.base, "new.bin"), "x".repeat(++n));
    }, 20);
    try {
      await assertRefused(older, "is changing the store", {
        upgradeQuiet: 300,
      });
    } finally {
      clearInterval(timer);
    }
    await using store = await older.open();
    await assertLoads(store, older.saved);
  },
);

testOlder("a store that was left alone is opened at once", async (driver) => {
  await using older = await olderStore(driver);
  const longAgo = Date.now() / 1000 - 3600;
  for (const name of namesIn(older.base)) {
    await Deno.utime(join(older.base, name), longAgo, longAgo);
  }
  await Deno.utime(older.db, longAgo, longAgo);
  const start = performance.now();
  await (await older.open({ upgradeQuiet: 20_000 })).close();
  assert(performance.now() - start < 15_000);
});

testOlder("two that open it at once both find it upgraded", async (driver) => {
  await using older = await olderStore(driver);
  const stores = await Promise.all([older.open(), older.open()]);
  for (const store of stores) {
    await assertLoads(store, older.saved);
    await store.close();
  }
});

// --- crashes ------------------------------------------------------------------

testOlder(
  "an upgrade that is cut short at any step is finished by the next",
  async (driver) => {
    await using older = await olderStore(driver, () => CRASHED);
    /** What a process would leave that dies at each step. */
    const states = async (from: string, to: string): Promise<string[]> => {
      const left: string[] = [];
      const work = join(to, "work");
      copyTree(from, work);
      const at = { base: join(work, "data"), db: join(work, "poh.db") };
      observeCrashPoints((point) => {
        if (!point.startsWith("upgrade")) return;
        const state = join(to, `${left.length}`);
        copyTree(work, state);
        left.push(state);
      });
      try {
        const options = { driver, upgradeQuiet: 20 };
        await (await StorageManager.create(at.base, at.db, options)).close();
      } finally {
        observeCrashPoints(() => {});
      }
      return left;
    };
    const assertWhole = async (state: string) => {
      const base = join(state, "data"), db = join(state, "poh.db");
      for (const readOnly of [true, false]) {
        const options = { driver, readOnly, upgradeQuiet: 20 };
        await using store = await StorageManager.create(base, db, options);
        await assertLoads(store, older.saved);
        const report = await store.verify();
        assertEquals(report.sound, older.saved.size, state);
      }
      await using store = await StorageManager.create(base, db, { driver });
      for (const { kind } of (await store.verify()).findings) {
        assertEquals(kind, "payload-missing"); // of "./y", as before
      }
      assertEquals(await Array.fromAsync(store.listQuarantine()), []);
    };
    await using first = await tempDir();
    const left = await states(older.dir.path, first.path);
    assert(left.length > 3 * 5, `${left.length} steps`);
    for (const [n, state] of left.entries()) {
      // Some are cut short once more.
      if (n % 4 === 0) {
        await using second = await tempDir();
        const again = await states(state, second.path);
        for (const [m, twice] of again.entries()) {
          if (m % 5 === 2) await assertWhole(twice);
        }
      }
      await assertWhole(state);
    }
  },
);

testOlder("without hard links the files are copied", async (driver) => {
  await using older = await olderStore(driver);
  const { linkSync } = Deno;
  Deno.linkSync = () => {
    throw new Deno.errors.NotSupported("no links here");
  };
  try {
    await (await older.open()).close();
  } finally {
    Deno.linkSync = linkSync;
  }
  await using store = await older.open();
  await assertLoads(store, older.saved);
  assertEquals((await store.verify()).counts["orphan-payload"], 0);
});

// --- other systems, other versions --------------------------------------------

/** A store of ours, with the files of these ids under other names. */
async function renamedStore(
  driver: Driver,
  ids: string[],
  names: (txId: string) => string,
  record: string | null,
): Promise<OlderStore> {
  const older = new OlderStore(driver, await tempDir());
  await using store = await older.open();
  for (const txId of ids) {
    const tx = { txId, payload: bytes(`of ${txId}`), timestamp: 1 };
    await store.saveTx({ ...tx, holderId: "" });
    older.saved.set(txId, tx);
  }
  await store.close();
  for (const txId of ids) {
    await Deno.rename(
      join(older.base, placeOf(txId)),
      join(older.base, `${names(txId)}.renamed`),
    );
  }
  for (const txId of ids) {
    const path = join(older.base, names(txId));
    await Deno.rename(`${path}.renamed`, path);
  }
  const path = join(older.base, ".poh", "names");
  if (record === null) await Deno.remove(path);
  else await Deno.writeTextFile(path, record);
  return older;
}

testOlder(
  "a store from a system with other case rules is renamed once",
  async (driver) => {
    const ids = ["A", "a", "Tx", "%41", "É", "plain"];
    const isFolded = Deno.build.os === "darwin";
    await using older = await renamedStore(
      driver,
      ids,
      (txId) => fileName(txId, !isFolded),
      isFolded ? "plain\n" : "folded\n",
    );
    await using reader = await older.open({ readOnly: true });
    await assertLoads(reader, older.saved);
    assertEquals((await reader.verify()).findings, []);
    await (await older.open()).close();
    await assertLoads(reader, older.saved);
    await using store = await older.open();
    await assertLoads(store, older.saved);
    assertEquals((await store.verify()).findings, []);
    assertEquals(
      namesIn(older.base).filter((name) => name.endsWith(".bin")),
      ids.map((txId) => fileName(txId)).sort(),
    );
  },
);

testOlder(
  "a file without a row is renamed as well, as its row may be on its way",
  async (driver) => {
    const isFolded = Deno.build.os === "darwin";
    await using older = await renamedStore(
      driver,
      ["A"],
      (txId) => fileName(txId, !isFolded),
      isFolded ? "plain\n" : "folded\n",
    );
    const left = join(older.base, fileName("Left", !isFolded));
    await Deno.writeTextFile(left, "left");
    await (await older.open()).close();
    assertEquals(
      namesIn(older.base).filter((name) => name.endsWith(".bin")),
      [fileName("A"), fileName("Left")].sort(),
    );
    assertEquals(
      await Deno.readTextFile(join(older.base, placeOf("Left"))),
      "left",
    );
  },
);

testOlder(
  "a store that an earlier version used beside the package is renamed",
  async (driver) => {
    const ids = ["CON", "a?b", "e\u0301", "100%", "a:b", "a%3Ab", "A*", "Tx"];
    await using older = await renamedStore(
      driver,
      ids,
      (txId) => txId === "Tx" ? "%54x.bin" : `${txId}.bin`,
      null,
    );
    {
      await using store = await older.open({ readOnly: true });
      for (const [txId, { payload }] of older.saved) {
        if (txId === "a:b") continue; // its name is where another's payload is
        assertEquals((await store.loadTx(txId))?.payload, payload);
      }
    }
    await (await older.open()).close();
    await using store = await older.open();
    await assertLoads(store, older.saved);
    assertEquals((await store.verify()).findings, []);
    assertEquals(await Array.fromAsync(store.listQuarantine()), []);
  },
);

testOlder(
  "the database of another store renames nothing",
  async (driver) => {
    const ids = ["a:b", "a?b"];
    const names = (txId: string) => `${txId}.bin`;
    await using one = await renamedStore(driver, ids, names, null);
    await using other = await renamedStore(driver, ids, names, null);
    const before = await filesBelow(one.base);
    await assertRejects(
      () => StorageManager.create(one.base, other.db, { driver }),
      StoreMismatchError,
    );
    assertEquals(
      namesIn(one.base),
      Object.keys(before).filter((name) => !name.includes("/")).concat(".poh")
        .sort(),
    );
    await using store = await one.open();
    await assertLoads(store, one.saved);
  },
);

// --- what else handles its rows ------------------------------------------------

testOlder(
  "a store of the older package is backed up and restored, odd ids and all",
  async (driver) => {
    await using older = await olderStore(driver, () => [
      ...FEW,
      ...oddIds(60).slice(34),
    ]);
    const { base, db, dir } = older;
    const before = await filesBelow(base);
    const archive = dir.join("backup.tar");
    const file = await Deno.create(archive);
    await backupStore(base, db, file.writable, { driver });
    await backupStore(base, db, dir.join("backup"), { driver });
    const after = await filesBelow(base);
    for (const [name, digest] of Object.entries(before)) {
      assertEquals(after[name], digest, name);
    }
    for (const source of [archive, dir.join("backup")]) {
      const to = `${source}.restored`;
      await restoreStore(source, to, join(to, "poh.db"), { driver });
      await using store = await StorageManager.create(to, join(to, "poh.db"), {
        driver,
      });
      await assertLoads(store, older.saved);
      assertEquals((await store.verify()).findings, []);
    }
    // Again: nothing is new, nothing is removed.
    const again = await backupStore(base, db, dir.join("backup"), { driver });
    assertEquals([again.written, again.removed], [0, 0]);
  },
);

/** Destroys all of a database but what it begins with. */
async function damage(db: string): Promise<void> {
  const content = await Deno.readFile(db);
  await Deno.writeFile(db, content.fill(0xA5, 16));
}

testOlder(
  "the database of an older store is rebuilt where it is lost or damaged",
  async (driver) => {
    const ids = FEW.filter((txId) => txId !== "" && txId.length < 100);
    for (const what of ["lost", "damaged"]) {
      await using older = await olderStore(
        driver,
        () => ids.filter((txId) => !txId.includes("/")),
      );
      const { base, db } = older;
      if (what === "lost") await Deno.remove(db);
      else await damage(db);
      const options = { driver, rebuild: true, upgradeQuiet: 20 };
      const report = await performRecovery(base, db, options);
      // The second one tells that files know no holder.
      const rebuilt = "metadata-damaged null: rebuilt";
      assertEquals(outline(report), [rebuilt, rebuilt]);
      await using store = await older.open();
      for (const [txId, { payload }] of older.saved) {
        assertEquals((await store.loadTx(txId))?.payload, payload, txId);
      }
      assertEquals((await store.verify()).findings, []);
    }
  },
);

testOlder(
  "a row with an infinite time goes through quarantine",
  async (driver) => {
    await using older = await olderStore(driver, () => []);
    const { base, db } = older;
    const payload = bytes("payload");
    await saveAsOlder(base, db, driver, [
      { txId: "", payload, timestamp: Infinity },
    ]);
    await flipBit(join(base, ".bin"));
    const options = { driver, upgradeQuiet: 20 };
    await performRecovery(base, db, options);
    await using store = await older.open();
    const [entry] = await Array.fromAsync(store.listQuarantine());
    assertEquals(entry!.row?.timestamp, Infinity);
    await flipBit(join(base, ".poh", "quarantine", `${entry!.name}.bin`));
    await store.restoreQuarantined(entry!.name);
    assertEquals(await store.loadTx(""), {
      txId: "",
      holderId: "",
      timestamp: Infinity,
      payload,
    });
    const { storageHash } = (await store.infoTx(""))!;
    assertEquals(storageHash, await sha256Hex(payload));
  },
);

// --- on the command line -------------------------------------------------------

testOlder(
  "the first command that writes tells of the upgrade, and what it listed",
  async (driver) => {
    await using older = await olderStore(driver, () => ["", "a:b", "../out"]);
    const { base, db } = older;
    const longAgo = Date.now() / 1000 - 60;
    for (const path of [db, ...namesIn(base).map((name) => join(base, name))]) {
      await Deno.utime(path, longAgo, longAgo);
    }
    const options = ["--base", base, "--db", db, "--driver", driver];
    const before = await filesBelow(older.dir.path);
    const read = await call(["load", "a:b", "--raw", ...options]);
    assertEquals([read.stdout, read.code], ["payload 1", 0]);
    assertEquals(await filesBelow(older.dir.path), before);
    const written = await call(["recover", ...options]);
    const [first, ...notes] = written.stderr.split("\n");
    assertEquals(
      first,
      "Upgraded the store of the older Python package, which must not use it any more: 2 payload files have new names",
    );
    assertEquals(
      notes.filter((line) => line.startsWith('  "')),
      [
        `  "": no new transaction can have this id; its file is now ${
          storedName("")
        }`,
        '  "../out": its payload file is not in the base: it was left where it is',
      ],
    );
    const odd = await call(["load", "--tx-id=", "--raw", ...options]);
    assertEquals([odd.stdout, odd.code], ["payload 0", 0]);
    assertEquals((await call(["delete", "--tx-id=", ...options])).code, 0);
    assertEquals((await call(["load", "--tx-id=", ...options])).code, 2);
  },
);
