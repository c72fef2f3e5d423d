import {
  assert,
  assertEquals,
  assertGreater,
  assertMatch,
  assertRejects,
} from "@std/assert";
import { basename, dirname, join } from "@std/path";
import {
  type Finding,
  performRecovery,
  PohStorageError,
  type Progress,
  type RecoverOptions,
  sha256Hex,
  StorageManager,
  StoreNotFoundError,
  type StoreReport,
  type VerifyOptions,
  verifyStore,
} from "../mod.ts";
import { closeStore, openStore } from "../src/local/open_store.ts";
import { verifyRows } from "../src/local/local_check.ts";
import { MAX_FINDINGS } from "../src/model/report.ts";
import { openSqlite } from "../src/sqlite/driver.ts";
import { placeOf } from "../src/payloads/payload_layout.ts";
import {
  bytes,
  type Driver,
  filesBelow,
  flipBit,
  IS_WINDOWS,
  namesIn,
  outline,
  randomBytes,
  sampleTx,
  tempDir,
  type TempStore,
  tempStore,
  testDrivers,
  text,
} from "./helpers.ts";

/** Permissions do not bind root. */
const IS_ROOT = !IS_WINDOWS && Deno.uid() === 0;

/** One for the database, one for what payload files do not tell. */
const REBUILT_FROM_FILES = [
  "metadata-damaged null: rebuilt",
  "metadata-damaged null: rebuilt",
];

/** A store at rest that holds these transactions. */
async function filledStore(
  driver: Driver,
  txIds: string[] = ["a", "b", "c"],
): Promise<TempStore> {
  const temp = await tempStore({ driver, durability: "relaxed" });
  await temp.store.saveTxs(txIds.map((txId) => sampleTx({ txId })));
  await temp.close();
  return temp;
}

function verify(
  { base, db }: TempStore,
  driver: Driver,
  options: VerifyOptions = {},
): Promise<StoreReport> {
  return verifyStore(base, db, { driver, ...options });
}

function recover(
  { base, db }: TempStore,
  driver: Driver,
  options: RecoverOptions = {},
): Promise<StoreReport> {
  return performRecovery(base, db, { driver, ...options });
}

/** Runs SQL on a database, past the store. */
async function sql(temp: TempStore, driver: Driver, statement: string) {
  const db = await openSqlite(temp.db, driver, false);
  try {
    db.exec(statement);
  } finally {
    db.close();
  }
}

testDrivers(
  "rows that no record can have keep no other from being repaired",
  async (driver) => {
    await using temp = await filledStore(driver);
    const { storageHash } = (await (await temp.open()).infoTx("a"))!;
    await temp.close();
    await sql(
      temp,
      driver,
      `INSERT INTO txs (tx_id, storage_hash, timestamp, size)
      VALUES (hex(zeroblob(40000)), '${storageHash}', 1, -1);
      UPDATE txs SET holder_id = hex(zeroblob(40000)) WHERE tx_id = 'b'`,
    );
    await Deno.remove(temp.file("b"));
    await flipBit(temp.file("c"), 1);
    const source = `${dirname(temp.base)}/source`;
    await Deno.mkdir(source);
    for (const txId of ["b", "c"]) {
      const { payload } = sampleTx({ txId });
      await Deno.writeFile(join(source, placeOf(txId)), payload);
    }
    const report = await recover(temp, driver, { from: source });
    assertEquals(report.actions, {
      "payload-missing": { quarantined: 2 },
      "payload-corrupt": { healed: 1 },
    });
    assertEquals((await recover(temp, driver)).findings, []);
    assertEquals(await (await temp.open()).listTxs(), ["a", "c"]);
  },
);

// --- every kind of finding ----------------------------------------------------

interface Case {
  /** What is wrong with the store. */
  what: string;
  /** Makes it so. */
  damage: (temp: TempStore, driver: Driver) => unknown;
  options?: RecoverOptions;
  /** What verify finds. */
  findings: string[];
  /** The actions that recover takes, in the order of the findings. */
  actions: string[];
  /** Ids that are sound afterwards. */
  sound: string[];
  /** What a second recover still finds; default nothing. */
  left?: string[];
  isDamage: boolean;
  ignore?: boolean;
}

const CASES: Case[] = [
  {
    what: "nothing wrong",
    damage: () => {},
    findings: [],
    actions: [],
    sound: ["a", "b", "c"],
    isDamage: false,
  },
  {
    what: "a missing payload",
    damage: (temp) => Deno.remove(temp.file("b")),
    findings: ["payload-missing b"],
    actions: ["quarantined"],
    sound: ["a", "c"],
    isDamage: true,
  },
  {
    what: "a missing payload, to purge",
    damage: (temp) => Deno.remove(temp.file("b")),
    options: { purge: true },
    findings: ["payload-missing b"],
    actions: ["purged"],
    sound: ["a", "c"],
    isDamage: true,
  },
  {
    what: "a flipped bit",
    damage: (temp) => flipBit(temp.file("b"), 3),
    findings: ["payload-corrupt b"],
    actions: ["quarantined"],
    sound: ["a", "c"],
    isDamage: true,
  },
  {
    what: "a flipped bit, to purge",
    damage: (temp) => flipBit(temp.file("b"), 3),
    options: { purge: true },
    findings: ["payload-corrupt b"],
    actions: ["purged"],
    sound: ["a", "c"],
    isDamage: true,
  },
  {
    what: "a payload that is cut short",
    damage: (temp) => Deno.truncate(temp.file("a"), 3),
    findings: ["payload-corrupt a"],
    actions: ["quarantined"],
    sound: ["b", "c"],
    isDamage: true,
  },
  {
    what: "payloads that are empty, all of them",
    damage: async (temp) => {
      for (const txId of ["a", "b", "c"]) await Deno.truncate(temp.file(txId));
    },
    findings: ["payload-corrupt a", "payload-corrupt b", "payload-corrupt c"],
    actions: ["quarantined", "quarantined", "quarantined"],
    sound: [],
    isDamage: true,
  },
  {
    what: "a row with the wrong size",
    damage: (temp, driver) =>
      sql(temp, driver, "UPDATE txs SET size = 9999 WHERE tx_id = 'c'"),
    findings: ["size-mismatch c"],
    actions: ["corrected"],
    sound: ["a", "b", "c"],
    isDamage: true,
  },
  {
    what: "a row whose size is not known",
    damage: (temp, driver) =>
      sql(temp, driver, "UPDATE txs SET size = -1 WHERE tx_id = 'c'"),
    findings: [],
    actions: [],
    sound: ["a", "b", "c"],
    isDamage: false,
  },
  {
    what: "a row whose id no file can have",
    damage: (temp, driver) =>
      sql(
        temp,
        driver,
        `INSERT INTO txs VALUES ('${"x".repeat(300)}', '${
          "00".repeat(32)
        }', 1, '', 5, NULL)`,
      ),
    findings: [`payload-missing ${"x".repeat(300)}`],
    actions: ["quarantined"],
    sound: ["a", "b", "c"],
    isDamage: true,
  },
  {
    what: "an orphan",
    damage: (temp) => Deno.writeTextFile(temp.file("d"), "orphan"),
    findings: ["orphan-payload d"],
    actions: ["none"],
    sound: ["a", "b", "c"],
    left: ["orphan-payload d: none"],
    isDamage: false,
  },
  {
    what: "an orphan, to adopt",
    damage: (temp) => Deno.writeTextFile(temp.file("d"), "orphan"),
    options: { orphans: "adopt" },
    findings: ["orphan-payload d"],
    actions: ["adopted"],
    sound: ["a", "b", "c", "d"],
    isDamage: false,
  },
  {
    what: "an orphan, to quarantine",
    damage: (temp) => Deno.writeTextFile(temp.file("D"), "orphan"),
    options: { orphans: "quarantine" },
    findings: ["orphan-payload D"],
    actions: ["quarantined"],
    sound: ["a", "b", "c"],
    isDamage: false,
  },
  {
    what: "leftover files",
    damage: async (temp) => {
      for (const dir of ["tmp", "staged"]) {
        await Deno.writeTextFile(join(temp.base, ".poh", dir, "x"), "half");
      }
    },
    findings: ["leftover-temp null", "leftover-temp null"],
    actions: ["removed", "removed"],
    sound: ["a", "b", "c"],
    isDamage: false,
  },
  {
    what: "a directory in place of a payload",
    damage: async (temp) => {
      await Deno.remove(temp.file("b"));
      await Deno.mkdir(join(temp.file("b"), "within"), { recursive: true });
    },
    options: { purge: true, orphans: "quarantine" },
    findings: ["unreadable b"],
    actions: ["none"],
    sound: ["a", "c"],
    left: ["unreadable b: none"],
    isDamage: false,
  },
  {
    what: "a directory with the name of an unknown payload",
    damage: (temp) => Deno.mkdir(temp.file("d")),
    options: { orphans: "adopt" },
    findings: ["unreadable d"],
    actions: ["none"],
    sound: ["a", "b", "c"],
    left: ["unreadable d: none"],
    isDamage: false,
  },
  {
    what: "a symbolic link in place of a payload",
    damage: async (temp) => {
      await Deno.rename(temp.file("b"), join(temp.base, "..", "moved"));
      await Deno.symlink(join(temp.base, "..", "moved"), temp.file("b"));
    },
    options: { purge: true, orphans: "quarantine" },
    findings: ["unreadable b"],
    actions: ["none"],
    sound: ["a", "c"],
    left: ["unreadable b: none"],
    isDamage: false,
    ignore: IS_WINDOWS,
  },
  {
    what: "a link to nowhere in place of a payload",
    damage: async (temp) => {
      await Deno.remove(temp.file("b"));
      await Deno.symlink("nowhere", temp.file("b"));
    },
    options: { purge: true },
    findings: ["unreadable b"],
    actions: ["none"],
    sound: ["a", "c"],
    left: ["unreadable b: none"],
    isDamage: false,
    ignore: IS_WINDOWS,
  },
  {
    what: "a payload without read permission",
    damage: (temp) => Deno.chmod(temp.file("b"), 0o000),
    options: { purge: true },
    findings: ["unreadable b"],
    actions: ["none"],
    sound: ["a", "c"],
    left: ["unreadable b: none"],
    isDamage: false,
    ignore: IS_WINDOWS || IS_ROOT,
  },
  {
    what: "an orphan for each payload that is missing",
    damage: (temp) => Deno.rename(temp.file("b"), temp.file("d")),
    findings: ["orphan-payload d", "payload-missing b"],
    actions: ["none", "quarantined"],
    sound: ["a", "c"],
    left: ["orphan-payload d: none"],
    isDamage: true,
  },
  {
    what: "an orphan beside a payload that is corrupt",
    damage: async (temp) => {
      await flipBit(temp.file("b"), 3);
      await Deno.writeTextFile(temp.file("d"), "orphan");
    },
    findings: ["orphan-payload d", "payload-corrupt b"],
    actions: ["none", "quarantined"],
    sound: ["a", "c"],
    left: ["orphan-payload d: none"],
    isDamage: true,
  },
  {
    what: "several things at once",
    damage: async (temp) => {
      await Deno.remove(temp.file("a"));
      await flipBit(temp.file("c"));
      await Deno.writeTextFile(temp.file("d"), "orphan");
      await Deno.writeTextFile(join(temp.base, ".poh", "tmp", "x"), "");
    },
    findings: [
      "leftover-temp null",
      "orphan-payload d",
      "payload-corrupt c",
      "payload-missing a",
    ],
    actions: ["removed", "none", "quarantined", "quarantined"],
    sound: ["b"],
    left: ["orphan-payload d: none"],
    isDamage: true,
  },
];

for (const one of CASES) {
  const { what, damage, options = {}, findings, left = [], ignore } = one;
  const expected = findings.map((finding, n) =>
    `${finding}: ${one.actions[n]}`
  );
  const untouched = findings.map((finding) => `${finding}: none`);

  testDrivers(
    `${what}: verify finds it and changes nothing`,
    async (driver) => {
      await using temp = await filledStore(driver);
      await damage(temp, driver);
      const before = await filesBelow(temp.base);
      const report = await verify(temp, driver);
      assertEquals(outline(report), untouched);
      assertEquals([report.damaged, report.repaired], [one.isDamage, 0]);
      assertEquals(report.dryRun, false);
      assertEquals(await filesBelow(temp.base), before);
      assertEquals(outline(await verify(temp, driver)), untouched);
    },
    { ignore: ignore ?? false },
  );

  testDrivers(
    `${what}: a dry run tells what recover does, and changes nothing`,
    async (driver) => {
      await using temp = await filledStore(driver);
      await damage(temp, driver);
      const before = await filesBelow(temp.base);
      const report = await recover(temp, driver, { ...options, dryRun: true });
      assertEquals(outline(report), expected);
      assertEquals(report.dryRun, true);
      assertEquals(await filesBelow(temp.base), before);
    },
    { ignore: ignore ?? false },
  );

  testDrivers(`${what}: recover deals with it, once`, async (driver) => {
    await using temp = await filledStore(driver);
    await damage(temp, driver);
    const told: Finding[] = [];
    const report = await recover(temp, driver, {
      ...options,
      onFinding: (finding) => told.push(finding),
    });
    assertEquals(outline(report), expected);
    assertEquals(told, report.findings);
    assertEquals(report.damaged, one.isDamage);
    assertEquals(
      report.repaired,
      one.actions.filter((action) => action !== "none").length,
    );
    assertEquals(report.sound, one.sound.length);
    assertEquals(Object.keys(report.counts).length, 13);
    for (const [kind, count] of Object.entries(report.counts)) {
      assertEquals(
        count,
        findings.filter((finding) => finding.startsWith(`${kind} `)).length,
      );
    }

    const sound: string[] = [];
    const second = await recover(temp, driver, {
      ...options,
      onSound: (txId) => sound.push(txId),
    });
    assertEquals(outline(second), left);
    assertEquals(sound, one.sound);
    assertEquals([second.sound, second.repaired], [one.sound.length, 0]);
    const store = await temp.open();
    for (const txId of one.sound) assert(await store.loadTx(txId), txId);
  }, { ignore: ignore ?? false });
}

// --- what a report says --------------------------------------------------------

testDrivers(
  "a report says what was looked at, where and by what",
  async (driver) => {
    await using temp = await filledStore(driver);
    const report = await verify(temp, driver);
    assertEquals([report.base, report.db], [temp.base, temp.db]);
    assertEquals(report.driver?.name, driver);
    assertEquals([report.sound, report.checked], [3, 3]);
    assertEquals(report.bytes, 3 * "payload of a".length);
    assertEquals([report.cursor, report.interrupted], [null, false]);
    assertEquals(report.steps.map(({ name, count }) => [name, count]), [
      ["database", 1],
      ["log", 0],
      ["payloads", 3],
      ["files", 3],
      ["leftovers", 0],
    ]);
    for (const { ms } of report.steps) assert(ms >= 0 && Number.isInteger(ms));
  },
);

testDrivers(
  "a finding says which file, what was expected, what was found",
  async (driver) => {
    await using temp = await filledStore(driver, ["a", "b/c"]);
    await flipBit(temp.file("b/c"));
    await Deno.remove(temp.file("a"));
    const { findings } = await verify(temp, driver);
    const [missing, corrupt] = findings;
    assertEquals(missing, {
      kind: "payload-missing",
      txId: "a",
      file: "a.bin",
      expected: await sha256Hex(bytes("payload of a")),
      found: null,
      detail: missing!.detail,
      action: "none",
      source: null,
    });
    assertEquals(corrupt, {
      kind: "payload-corrupt",
      txId: "b/c",
      file: "b%2Fc.bin",
      expected: await sha256Hex(bytes("payload of b/c")),
      found: await sha256Hex(await Deno.readFile(temp.file("b/c"))),
      detail: corrupt!.detail,
      action: "none",
      source: null,
    });
    for (const { detail } of findings) assertMatch(detail, /^[^.]+[^.]$/);
  },
);

testDrivers(
  "progress is told step by step, and reaches its total",
  async (driver) => {
    await using temp = await filledStore(driver);
    const progress: Progress[] = [];
    await verify(temp, driver, {
      onProgress: (one) => progress.push({ ...one }),
    });
    const payloads = progress.filter(({ step }) => step === "payloads");
    const { done, total, bytes } = payloads.at(-1)!;
    assertEquals([done, total, bytes], [3, 3, 3 * "payload of a".length]);
  },
);

testDrivers(
  "more findings than are kept are counted and told",
  async (driver) => {
    await using temp = await filledStore(driver, []);
    const count = MAX_FINDINGS + 10;
    for (let n = 0; n < count; n++) {
      Deno.writeTextFileSync(temp.file(`orphan-${n}`), "");
    }
    let told = 0;
    const report = await verify(temp, driver, { onFinding: () => told++ });
    assertEquals(report.findings.length, MAX_FINDINGS);
    assertEquals([report.counts["orphan-payload"], told], [count, count]);
  },
);

// --- verify a part ----------------------------------------------------------------

const TEN = Array.from({ length: 10 }, (_, n) => `tx-${n}`);

testDrivers("verify goes on where the last one stopped", async (driver) => {
  await using temp = await filledStore(driver, TEN);
  await flipBit(temp.file("tx-5"));
  for (const limit of [1, 3, 5, 9]) {
    const sound: string[] = [];
    const damaged: (string | null)[] = [];
    let cursor: string | null | undefined;
    for (let round = 0; cursor !== null; round++) {
      assert(round <= 10);
      const report: StoreReport = await verify(temp, driver, {
        limit,
        ...(cursor && { after: cursor }),
        onSound: (txId) => sound.push(txId),
        onFinding: ({ txId }) => damaged.push(txId),
      });
      assert(report.checked <= limit);
      assertEquals(report.steps.map(({ name }) => name), ["payloads"]);
      cursor = report.cursor;
    }
    assertEquals(sound, TEN.filter((txId) => txId !== "tx-5"));
    assertEquals(damaged, ["tx-5"]);
  }
});

testDrivers("verify looks at what a filter selects", async (driver) => {
  await using temp = await filledStore(driver, TEN);
  await flipBit(temp.file("tx-5"));
  const by = async (options: VerifyOptions) => {
    const sound: string[] = [];
    const onSound = (txId: string) => sound.push(txId);
    await verify(temp, driver, { ...options, onSound });
    return sound;
  };
  assertEquals(await by({ filter: { idPrefix: "tx-1" } }), ["tx-1"]);
  assertEquals(await by({ filter: { holderId: "nobody" } }), []);
  assertEquals(await by({ filter: { after: "tx-6" } }), [
    "tx-7",
    "tx-8",
    "tx-9",
  ]);
  assertEquals(await by({ filter: { limit: 2 } }), ["tx-0", "tx-1"]);
  assertEquals(await by({ after: "tx-3", limit: 3 }), ["tx-4", "tx-6"]);
});

testDrivers("verify of a sample looks at some", async (driver) => {
  const ids = Array.from({ length: 300 }, (_, n) => `tx-${n + 1_000}`);
  await using temp = await filledStore(driver, ids);
  const all = await verify(temp, driver, { sample: 1 });
  assertEquals(all.checked, 300);
  const some = await verify(temp, driver, { sample: 0.5 });
  assert(some.checked > 75 && some.checked < 225, `${some.checked}`);
  assertEquals(some.sound, some.checked);
});

testDrivers(
  "verify stops between two transactions when told to",
  async (driver) => {
    await using temp = await filledStore(driver, TEN);
    const stop = new AbortController();
    const report = await verify(temp, driver, {
      signal: stop.signal,
      onSound: (txId) => txId === "tx-3" && stop.abort(),
    });
    assertEquals([report.interrupted, report.cursor], [true, "tx-3"]);
    assertEquals([report.checked, report.sound], [4, 4]);
    const rest = await verify(temp, driver, { after: report.cursor! });
    assertEquals(rest.checked, 6);
  },
);

testDrivers(
  "recover that is stopped keeps what it did, the next one does the rest",
  async (driver) => {
    await using temp = await filledStore(driver, TEN);
    for (const txId of ["tx-2", "tx-7"]) await flipBit(temp.file(txId));
    const stop = new AbortController();
    const first = await recover(temp, driver, {
      signal: stop.signal,
      onFinding: () => stop.abort(),
    });
    assertEquals(outline(first), ["payload-corrupt tx-2: quarantined"]);
    assertEquals(first.interrupted, true);
    const second = await recover(temp, driver);
    assertEquals(outline(second), ["payload-corrupt tx-7: quarantined"]);
    assertEquals([second.sound, second.interrupted], [8, false]);
  },
);

testDrivers(
  "verify that is stopped before it begins looks at nothing",
  async (driver) => {
    await using temp = await filledStore(driver);
    const report = await verify(temp, driver, { signal: AbortSignal.abort() });
    assertEquals([report.interrupted, report.checked], [true, 0]);
  },
);

testDrivers(
  "what is saved while verify is at work hides no orphan",
  async (driver) => {
    const ids = Array.from({ length: 2_500 }, (_, n) => `tx-${n + 10_000}`);
    await using temp = await filledStore(driver, ids);
    await Deno.writeTextFile(temp.file("d"), "orphan");
    const store = await temp.open();
    let saved: boolean | null = null, turns = 0;
    const report = await store.verify({
      onSound: () => {
        if (saved === null) {
          saved = false;
          store.saveTx(sampleTx({ txId: "ty" })).then(() => saved = true);
        }
        // So long that others have their turn, before the last pages.
        const until = performance.now() + (saved ? 0 : 1);
        while (performance.now() < until);
        if (!saved) turns++;
      },
    });
    assert(saved && turns < 1_000, `${turns} turns`);
    assertEquals(report.sound, 2_501);
    assertEquals(outline(report), ["orphan-payload d: none"]);
  },
);

// --- what becomes of the damaged and the orphaned ------------------------------------

testDrivers(
  "what is quarantined is kept, with a note that tells all",
  async (driver) => {
    await using temp = await filledStore(driver);
    await flipBit(temp.file("b"));
    const damaged = await Deno.readFile(temp.file("b"));
    const row = await infoOf(temp, "b");
    const before = new Date().toISOString();
    await recover(temp, driver);
    assertEquals(namesIn(temp.base).includes(placeOf("b")), false);
    const quarantine = join(temp.base, ".poh", "quarantine");
    const [payload, note, ...more] = namesIn(quarantine);
    assertEquals(more, []);
    assertEquals([payload, note].map((name) => name!.slice(0, 2)), [
      "b.",
      "b.",
    ]);
    assertEquals(await Deno.readFile(join(quarantine, payload!)), damaged);
    const said = JSON.parse(await Deno.readTextFile(join(quarantine, note!)));
    assert(said.at >= before && said.at <= new Date().toISOString());
    assertEquals(said, {
      txId: "b",
      reason: "payload-corrupt",
      at: said.at,
      expected: row!.storageHash,
      found: await sha256Hex(damaged),
      row,
    });
  },
);

async function infoOf({ base, db }: TempStore, txId: string) {
  await using store = await StorageManager.create(base, db, {
    readOnly: true,
    driver: "builtin",
  });
  return await store.infoTx(txId);
}

testDrivers(
  "of a missing payload the row is kept in quarantine",
  async (driver) => {
    await using temp = await filledStore(driver);
    await Deno.remove(temp.file("b"));
    const row = await infoOf(temp, "b");
    await recover(temp, driver);
    const quarantine = join(temp.base, ".poh", "quarantine");
    const [note, ...more] = namesIn(quarantine);
    assertEquals(more, []);
    const said = JSON.parse(await Deno.readTextFile(join(quarantine, note!)));
    assertEquals([said.reason, said.found, said.row], [
      "payload-missing",
      null,
      row,
    ]);
  },
);

testDrivers("purged is gone for good", async (driver) => {
  await using temp = await filledStore(driver);
  await flipBit(temp.file("a"));
  await Deno.remove(temp.file("b"));
  await recover(temp, driver, { purge: true });
  assertEquals(
    Object.keys(await filesBelow(temp.base)),
    [".poh/id", ".poh/log/00000003.seg", ".poh/names", "c.bin", "poh.db"],
  );
});

testDrivers(
  "a damaged transaction may be saved anew and damaged again",
  async (driver) => {
    await using temp = await filledStore(driver);
    for (let n = 1; n <= 3; n++) {
      await Deno.writeTextFile(temp.file("b"), `damage ${n}`);
      assertEquals(
        outline(await recover(temp, driver)),
        ["payload-corrupt b: quarantined"],
      );
      const quarantine = namesIn(temp.base, ".poh", "quarantine");
      assertEquals(quarantine.length, 2 * n); // none replaces another
      await temp.reopen();
      await temp.store.saveTx(sampleTx({ txId: "b" }));
      await temp.close();
    }
  },
);

testDrivers(
  "an adopted orphan has its time, its digest and no holder",
  async (driver) => {
    await using temp = await filledStore(driver);
    const time = new Date("2020-02-03T04:05:06Z");
    await Deno.writeTextFile(temp.file("取引/d"), "orphan");
    await Deno.utime(temp.file("取引/d"), time, time);
    await recover(temp, driver, { orphans: "adopt" });
    const store = await temp.open();
    assertEquals(await store.infoTx("取引/d"), {
      txId: "取引/d",
      holderId: "",
      timestamp: time.getTime() / 1000,
      storageHash: await sha256Hex(bytes("orphan")),
      size: 6,
    });
    assertEquals(text((await store.loadTx("取引/d"))?.payload), "orphan");
  },
);

testDrivers("an orphan that is kept is as it was", async (driver) => {
  await using temp = await filledStore(driver);
  await Deno.writeTextFile(temp.file("d"), "orphan");
  await recover(temp, driver, { purge: true });
  assertEquals(await Deno.readTextFile(temp.file("d")), "orphan");
});

testDrivers("files that are no payloads are left alone", async (driver) => {
  await using temp = await filledStore(driver);
  for (const name of ["notes.txt", "a.bin.bak", "x.BIN.old"]) {
    await Deno.writeTextFile(join(temp.base, name), "mine");
  }
  const report = await recover(temp, driver, {
    purge: true,
    orphans: "quarantine",
  });
  assertEquals(report.findings, []);
  for (const name of ["notes.txt", "a.bin.bak", "x.BIN.old"]) {
    assertEquals(await Deno.readTextFile(join(temp.base, name)), "mine");
  }
});

testDrivers(
  "a second file of a transaction is an orphan, and the first one stays",
  async (driver) => {
    await using temp = await filledStore(driver, ["CON"]);
    const second = join(temp.base, "CON.bin");
    await Deno.writeTextFile(second, "older");
    for (const orphans of ["keep", "adopt"] as const) {
      const report = await recover(temp, driver, { orphans });
      assertEquals(outline(report), ["orphan-payload null: none"]);
      assertEquals(report.sound, 1);
    }
    const report = await recover(temp, driver, { orphans: "quarantine" });
    assertEquals(outline(report), ["orphan-payload null: quarantined"]);
    const quarantine = join(temp.base, ".poh", "quarantine");
    const [payload, note] = namesIn(quarantine);
    assertEquals(await Deno.readTextFile(join(quarantine, payload!)), "older");
    const said = JSON.parse(await Deno.readTextFile(join(quarantine, note!)));
    assertEquals(said.found, await sha256Hex(bytes("older")));
    const store = await temp.open();
    assertEquals(await store.loadTx("CON"), sampleTx({ txId: "CON" }));
  },
  { ignore: IS_WINDOWS },
);

testDrivers(
  "another transaction's payload is not taken for a missing one's",
  async (driver) => {
    await using temp = await filledStore(driver, ["user/tx", "user%2Ftx"]);
    await Deno.remove(temp.file("user%2Ftx"));
    const report = await recover(temp, driver);
    assertEquals(outline(report), ["payload-missing user%2Ftx: quarantined"]);
    const store = await temp.open();
    assertEquals(await store.loadTx("user/tx"), sampleTx({ txId: "user/tx" }));
  },
);

// --- the database itself ------------------------------------------------------------

testDrivers("recover and verify of nothing", async (driver) => {
  await using dir = await tempDir();
  const [base, db] = [dir.join("base"), dir.join("base", "poh.db")];
  await assertRejects(
    () => verifyStore(base, db, { driver }),
    StoreNotFoundError,
  );
  await assertRejects(
    () => performRecovery(base, db, { driver, dryRun: true }),
    StoreNotFoundError,
  );
  for (const options of [{}, { rebuild: true }, { purge: true }]) {
    await assertRejects(
      () => performRecovery(base, db, { driver, ...options }),
      StoreNotFoundError,
    );
  }
  const create = true;
  const dry = await performRecovery(base, db, { driver, create, dryRun: true });
  assertEquals([dry.sound, dry.findings], [0, []]);
  assertEquals(namesIn(dir.path), []);
  const report = await performRecovery(base, db, { driver, create });
  assertEquals([report.sound, report.findings], [0, []]);
  assertEquals((await performRecovery(base, db, { driver })).sound, 0);
});

testDrivers("recover migrates a store of the older package", async (driver) => {
  await using dir = await tempDir();
  const [base, db] = [dir.join("base"), dir.join("poh.db")];
  await Deno.mkdir(base);
  const connection = await openSqlite(db, driver, false);
  connection.exec(
    `CREATE TABLE txs (
      tx_id TEXT PRIMARY KEY, storage_hash TEXT NOT NULL, timestamp REAL NOT NULL);
    INSERT INTO txs VALUES
      ('good', '${await sha256Hex(bytes("good"))}', 1),
      ('bad', '${await sha256Hex(bytes("good"))}', 2)`,
  );
  connection.close();
  for (const txId of ["good", "bad"]) {
    await Deno.writeTextFile(join(base, placeOf(txId)), txId);
  }
  assertEquals(
    outline(await verifyStore(base, db, { driver })),
    ["payload-corrupt bad: none"],
  );
  const report = await performRecovery(base, db, { driver });
  assertEquals([report.sound, outline(report)], [
    1,
    ["payload-corrupt bad: quarantined"],
  ]);
});

const GARBAGE = randomBytes(20_000);

testDrivers(
  "a garbage database is told, and nothing is touched",
  async (driver) => {
    await using temp = await filledStore(driver);
    await Deno.writeFile(temp.db, GARBAGE);
    const before = await filesBelow(temp.base);
    const told: Finding[] = [];
    const onFinding = (finding: Finding) => told.push(finding);
    for (
      const report of [
        await verify(temp, driver, { onFinding }),
        await recover(temp, driver, { onFinding }),
        await recover(temp, driver, { onFinding, dryRun: true }),
        await recover(temp, driver, { onFinding, purge: true }),
      ]
    ) {
      assertEquals(outline(report), ["metadata-damaged null: none"]);
      assertEquals([report.damaged, report.driver], [true, null]);
      assertEquals(report.findings[0]!.file, "poh.db");
    }
    assertEquals(told.length, 4);
    const dry = await recover(temp, driver, { rebuild: true, dryRun: true });
    assertEquals(outline(dry), ["metadata-damaged null: rebuilt"]);
    assertEquals(await filesBelow(temp.base), before);
  },
);

testDrivers(
  "a garbage database is rebuilt from the payloads",
  async (driver) => {
    await using temp = await filledStore(driver);
    await Deno.writeFile(temp.db, GARBAGE);
    const report = await recover(temp, driver, { rebuild: true });
    assertEquals(outline(report), REBUILT_FROM_FILES);
    assertMatch(report.findings[1]!.detail, /^holder and time of 3 transact/);
    assertEquals([report.sound, report.damaged], [3, true]);
    assertEquals(report.driver?.name, driver);

    const kept = namesIn(temp.base).filter((name) => /\.damaged-/.test(name));
    assertEquals(kept.length, 1);
    assertEquals(
      await sha256Hex(await Deno.readFile(join(temp.base, kept[0]!))),
      await sha256Hex(GARBAGE),
    );
    assertEquals(outline(await recover(temp, driver, { rebuild: true })), []);
    const store = await temp.open();
    assertEquals(await store.listTxs(), ["a", "b", "c"]);
    const tx = await store.loadTx("b");
    assertEquals([tx?.holderId, text(tx?.payload)], ["", "payload of b"]);
    assert(Math.abs(tx!.timestamp - Date.now() / 1000) < 3_600);
    assertEquals(namesIn(temp.base).filter((n) => n.includes("rebuild")), []);
  },
);

testDrivers(
  "a deleted database is rebuilt from the payloads",
  async (driver) => {
    await using temp = await filledStore(driver, ["a", "b/c", "取引", "Tx"]);
    await Deno.remove(temp.db);
    const dry = await recover(temp, driver, { rebuild: true, dryRun: true });
    assertEquals(outline(dry), ["metadata-damaged null: rebuilt"]);
    assertEquals(namesIn(temp.base).includes("poh.db"), false);

    const report = await recover(temp, driver, { rebuild: true });
    assertEquals(outline(report), REBUILT_FROM_FILES);
    assertMatch(report.findings[1]!.detail, /^holder and time of 4 transact/);
    assertEquals(report.sound, 4);
    const store = await temp.open();
    assertEquals(
      (await store.listTxs()).sort(),
      ["Tx", "a", "b/c", "取引"].sort(),
    );
  },
);

/** A store of many transactions, with holders and times of their own. */
async function largeStore(driver: Driver, count: number) {
  const txs = Array.from({ length: count }, (_, n) =>
    sampleTx({
      txId: `tx-${n + 10_000}`,
      holderId: `holder-${n}`,
      timestamp: n + 0.25,
    }));
  const temp = await tempStore({ driver, durability: "relaxed" });
  await temp.store.saveTxs(txs);
  await temp.close();
  return {
    temp,
    txs,
    [Symbol.asyncDispose]: () => temp[Symbol.asyncDispose](),
  };
}

/** Pages of the database whose bytes hold a text. */
async function pagesWith(
  db: string,
  driver: Driver,
  wanted: string,
): Promise<
  { content: Uint8Array<ArrayBuffer>; size: number; pages: number[] }
> {
  const connection = await openSqlite(db, driver, true);
  const size = connection.prepare("PRAGMA page_size").get()![0] as number;
  connection.close();
  const content = await Deno.readFile(db);
  const pages: number[] = [];
  for (let page = 0; page * size < content.length; page++) {
    const bytes = content.subarray(page * size, (page + 1) * size);
    // Latin 1, so that a byte is a character.
    if (new TextDecoder("latin1").decode(bytes).includes(wanted)) {
      pages.push(page);
    }
  }
  return { content, size, pages };
}

/** Destroys the root pages of tables or indexes. */
async function zeroRootPages(temp: TempStore, driver: Driver, which: string) {
  await rewriteRootPages(temp, driver, which, (page) => page.fill(0));
}

async function rewriteRootPages(
  temp: TempStore,
  driver: Driver,
  which: string,
  rewrite: (page: Uint8Array) => void,
) {
  const connection = await openSqlite(temp.db, driver, true);
  const roots = connection.prepare(
    `SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size
      WHERE ${which}`,
  ).all() as [number, number][];
  connection.close();
  const content = await Deno.readFile(temp.db);
  for (const [page, size] of roots) {
    rewrite(content.subarray((page - 1) * size, page * size));
  }
  await Deno.writeFile(temp.db, content);
}

testDrivers(
  "from a database with a damaged page rows are salvaged, the rest described",
  async (driver) => {
    await using made = await largeStore(driver, 1_500);
    const { temp, txs } = made;
    const found = await pagesWith(temp.db, driver, "holder-700");
    for (const page of found.pages) {
      found.content.fill(0xA5, page * found.size, (page + 1) * found.size);
    }
    await Deno.writeFile(temp.db, found.content);

    const told = await recover(temp, driver);
    assert(told.counts["metadata-damaged"] > 0);
    assertEquals(told.repaired, 0);
    assertEquals(namesIn(temp.base, ".poh", "quarantine"), []);

    const report = await recover(temp, driver, { rebuild: true });
    assertEquals(report.sound, txs.length);
    assertEquals(report.counts["payload-missing"], 0);
    assert(report.findings.every(({ action }) => action === "rebuilt"));

    const store = await temp.open();
    let salvaged = 0;
    for (const tx of txs) {
      const loaded = (await store.loadTx(tx.txId))!;
      assertEquals(text(loaded.payload), text(tx.payload));
      if (loaded.holderId === "") continue;
      assertEquals([loaded.holderId, loaded.timestamp], [
        tx.holderId,
        tx.timestamp,
      ]);
      salvaged++;
    }
    assertGreater(salvaged, 1_000);
    await temp.close();
    assertEquals(outline(await recover(temp, driver)), []);
  },
);

testDrivers(
  "from a database with a damaged index every row is salvaged",
  async (driver) => {
    await using made = await largeStore(driver, 400);
    const { temp, txs } = made;
    await zeroRootPages(temp, driver, "type = 'index' AND tbl_name = 'txs'");
    // A payload that is damaged, too: no reason to take it out before there is a
    // database that can be trusted.
    await flipBit(temp.file(txs[7]!.txId));

    const told = await recover(temp, driver);
    assertEquals(told.counts["payload-corrupt"], 0);
    assertEquals(namesIn(temp.base, ".poh", "quarantine"), []);

    const report = await recover(temp, driver, { rebuild: true });
    assertEquals(report.sound, txs.length - 1);
    assertEquals(report.counts["payload-corrupt"], 1);
    const store = await temp.open();
    for (const tx of [txs[0]!, txs[200]!, txs.at(-1)!]) {
      assertEquals(await store.loadTx(tx.txId), tx);
    }
    assertEquals(await store.loadTx(txs[7]!.txId), null);
    assertEquals(namesIn(temp.base, ".poh", "quarantine").length, 2);
  },
);

testDrivers(
  "what a damaged database says proves nothing about the payloads",
  async (driver) => {
    await using temp = await filledStore(driver);
    // An index that is sound in itself and lacks every row.
    await rewriteRootPages(temp, driver, "name = 'txs_by_time'", (page) => {
      page.fill(0);
      page[0] = 0x0a; // a leaf, no cells, its content begins at the end
      page[5] = page.length >> 8;
    });
    await flipBit(temp.file("a"));
    await Deno.writeTextFile(temp.file("d"), "orphan");
    const report = await recover(temp, driver, { orphans: "quarantine" });
    assertEquals(
      new Set(outline(report)),
      new Set(["metadata-damaged null: none"]),
    );
    assertEquals(namesIn(temp.base, ".poh", "quarantine"), []);

    const rebuilt = await recover(temp, driver, { rebuild: true });
    assertEquals([rebuilt.sound, rebuilt.counts["payload-corrupt"]], [3, 1]);
    const store = await temp.open();
    assertEquals(await store.loadTx("b"), sampleTx({ txId: "b" }));
    assertEquals(await store.listTxs(), ["b", "c", "d"]);
  },
);

testDrivers(
  "payloads that only the log of a damaged database has are salvaged",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTxs([sampleTx(), sampleTx({ txId: "b" })]);
    await using crash = await temp.snapshot();
    await Deno.remove(crash.file("a"));
    await sql(crash, driver, "PRAGMA wal_checkpoint(TRUNCATE)");
    await zeroRootPages(crash, driver, "name = 'txs_by_time'");
    const report = await recover(crash, driver, { rebuild: true });
    assertEquals([report.sound, report.counts["payload-missing"]], [2, 0]);
    const store = await crash.open();
    assertEquals(await store.loadTx("a"), sampleTx());
  },
);

testDrivers("damage is what two readings agree on", async (driver) => {
  await using temp = await filledStore(driver);
  const store = await openStore(temp.base, temp.db, { driver });
  try {
    // A disk that gives wrong bytes once.
    const { find } = store.files;
    let reads = 0;
    store.files.expected = () => ({ path: "", size: -1, digest: "" });
    store.files.find = (txId) => {
      const isWrong = txId === "b" && ++reads === 1;
      return isWrong ? "poh.db" : find.call(store.files, txId);
    };
    const report = await verifyRows(store, {});
    assertEquals([report.sound, report.findings], [3, []]);
    assert(reads >= 2);
  } finally {
    await closeStore(store);
  }
});

testDrivers("rebuild leaves what it cannot read", async (driver) => {
  await using temp = await filledStore(driver, ["a", "b", "user%2Ftx"]);
  await Deno.mkdir(temp.file("d"));
  await zeroRootPages(temp, driver, "name = 'txs_by_time'");
  const report = await recover(temp, driver, { rebuild: true });
  assertEquals(report.sound, 3);
  assertEquals(report.counts.unreadable, 1);
  const store = await temp.open();
  assertEquals(await store.listTxs(), ["a", "b", "user%2Ftx"]);
  assertEquals((await store.loadTx("user%2Ftx"))?.holderId, "alice");
});

testDrivers("rebuild of a sound database does nothing", async (driver) => {
  await using temp = await filledStore(driver);
  const report = await recover(temp, driver, { rebuild: true });
  assertEquals([report.sound, report.findings], [3, []]);
  const store = await temp.open();
  assertEquals(await store.loadTx("a"), sampleTx());
  assertEquals(namesIn(temp.base).filter((n) => n.includes("damaged")), []);
});

testDrivers("a database elsewhere is rebuilt where it is", async (driver) => {
  await using dir = await tempDir();
  const [base, db] = [dir.join("base"), dir.join("elsewhere", "poh.db")];
  {
    await using store = await StorageManager.create(base, db, { driver });
    await store.saveTx(sampleTx());
  }
  // Nothing proves that this was its database, so it is not replaced.
  const content = await Deno.readFile(db);
  await Deno.writeTextFile(db, "garbage");
  const refused = await assertRejects(
    () => performRecovery(base, db, { driver, rebuild: true }),
    PohStorageError,
    `${db} is not a database`,
  );
  assertEquals(refused.code, "NOT_A_DATABASE");
  assertEquals(await Deno.readTextFile(db), "garbage");
  // The base's id, which it still holds, does.
  await Deno.writeFile(db, content.fill(0, 0, 4096));
  const report = await performRecovery(base, db, { driver, rebuild: true });
  assertEquals([report.sound, outline(report)], [1, REBUILT_FROM_FILES]);
  const [name, kept, ...more] = namesIn(dirname(db));
  assertEquals([name, more], [basename(db), []]);
  assertMatch(kept!, /^poh\.db\.damaged-/);
});
