// A database that is made anew: what it has from the log, from a backup, and
// from payload files alone.

import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  backupStore,
  performRecovery,
  StorageManager,
  StoreBusyError,
  type StoreReport,
  type Tx,
} from "../../mod.ts";
import { listQuarantine } from "../../src/payloads/quarantine.ts";
import {
  bytes,
  type Driver,
  flipBit,
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
} from "../helpers.ts";

const PACKED = { packBelow: 1_000 };

/** Transactions with holders and times of their own. */
function someTxs(count: number): Tx[] {
  return Array.from(
    { length: count },
    (_, n) =>
      sampleTx({
        txId: `tx-${n}`,
        holderId: `holder ${n}`,
        timestamp: n + 0.25,
      }),
  );
}

/** The first byte of a page that has rows of a table, or entries of an index. */
const TABLE_LEAF = 13, INDEX_LEAF = 10;

/** What may become of a database. */
const LOSSES: Record<string, (db: string) => void> = {
  "gone": (db) => Deno.removeSync(db),
  "zeros": (db) =>
    Deno.writeFileSync(db, new Uint8Array(Deno.statSync(db).size)),
  "half of it": (db) => Deno.truncateSync(db, Deno.statSync(db).size / 2),
  "another file": (db) => Deno.writeTextFileSync(db, "no database at all"),
};

function rebuild({ base, db }: TempStore, driver: Driver, options = {}) {
  return performRecovery(base, db, { driver, rebuild: true, ...options });
}

/** Zeros the pages of a kind that have one of these texts; returns what they had. */
function zeroPages(db: string, kind: number, texts: string[]): string[] {
  const content = Deno.readFileSync(db), zeroed: string[] = [];
  for (let at = 4_096; at < content.length; at += 4_096) {
    const page = content.subarray(at, at + 4_096);
    const held = new TextDecoder("latin1").decode(page);
    if (page[0] !== kind || !texts.some((one) => held.includes(one))) {
      continue;
    }
    page.fill(0);
    zeroed.push(held);
  }
  Deno.writeFileSync(db, content);
  return zeroed;
}

function detailsOf({ findings }: StoreReport, kind: string): string[] {
  return findings.filter((one) => one.kind === kind).map(({ detail }) =>
    detail
  );
}

for (const [what, lose] of Object.entries(LOSSES)) {
  testDrivers(
    `packed payloads are rebuilt whole, with holder and time: ${what}`,
    async (driver) => {
      await using temp = await tempStore({ driver, ...PACKED });
      const txs = someTxs(30);
      await temp.store.saveTxs(txs);
      await temp.store.saveTx({ ...txs[3]!, payload: bytes("replaced") });
      await temp.store.deleteTx("tx-5");
      await temp.reopen();
      await temp.store.saveTx({ ...txs[7]!, holderId: "another" });
      await temp.close();
      lose(temp.db);
      const report = await rebuild(temp, driver);
      const kinds = new Set(report.findings.map(({ kind }) => kind));
      assertEquals([...kinds], ["metadata-damaged"]);
      const told = detailsOf(report, "metadata-damaged").join();
      assertEquals(/holder/.test(told), false, told);
      assertMatch(told, /up to which size payloads are packed is lost/);
      assertEquals(report.sound, 29);
      const store = await temp.open();
      for (const [n, tx] of txs.entries()) {
        const expected = n === 3
          ? { ...tx, payload: bytes("replaced") }
          : n === 7
          ? { ...tx, holderId: "another" }
          : n === 5
          ? null
          : tx;
        assertEquals(await store.loadTx(tx.txId), expected);
      }
      await temp.close();
      assertEquals(outline(await rebuild(temp, driver)), []);
    },
  );
}

testDrivers(
  "a damaged page of the table costs no row on another",
  async (driver) => {
    await using temp = await tempStore({ driver, durability: "relaxed" });
    const txs = someTxs(600).map((tx, n) => ({
      ...tx,
      txId: `${n * 7 % 600}`.padStart(4, "0"), // in another order than saved
    }));
    await temp.store.saveTxs(txs);
    await temp.close();
    const lost = zeroPages(temp.db, TABLE_LEAF, ["holder 200", "holder 400"]);
    const isLost = ({ holderId }: Tx) =>
      lost.some((page) => page.includes(holderId));
    await rebuild(temp, driver);
    const store = await temp.open();
    assertEquals(await store.countTxs(), 600);
    for (const tx of txs.filter((tx) => !isLost(tx))) {
      assertEquals(await store.loadTx(tx.txId), tx);
    }
    assertEquals(txs.filter(isLost).length < 150, true);
  },
);

for (const isLast of [true, false]) {
  testDrivers(
    `rows count where the log has lost what overtook its records, ${
      isLast ? "at its end" : "in the middle"
    }`,
    async (driver) => {
      await using temp = await tempStore({ driver, packBelow: 18 });
      const [live, changed, gone, last] = someTxs(4);
      const newer = { ...changed!, payload: bytes("newer, and in a file") };
      await temp.store.saveTxs([live!, changed!, gone!]);
      await temp.store.saveTx(newer);
      await temp.store.deleteTx(gone!.txId);
      if (!isLast) await temp.store.saveTx(last!);
      await temp.close();
      const [name] = namesIn(temp.base, ".poh", "log").filter((name) =>
        name.endsWith(".seg")
      );
      const path = join(temp.base, ".poh", "log", name!);
      const log = new TextDecoder("latin1").decode(await Deno.readFile(path));
      await flipBit(path, log.indexOf("newer"));
      await flipBit(path, log.lastIndexOf(gone!.txId));
      assertEquals(
        zeroPages(temp.db, INDEX_LEAF, [changed!.holderId]).length,
        1,
      );
      const report = await rebuild(temp, driver);
      assertEquals(
        report.findings.some(({ kind }) => kind === "log-damaged"),
        true,
      );
      const store = await temp.open();
      assertEquals(await store.loadTx(changed!.txId), newer);
      assertEquals(await store.loadTx(gone!.txId), null);
      assertEquals(await store.loadTx(live!.txId), live);
      if (!isLast) assertEquals(await store.loadTx(last!.txId), last);
      await temp.close();
      assertEquals(outline(await rebuild(temp, driver)), []);
    },
  );
}

testDrivers(
  "what was taken out of service does not come back with a rebuild",
  async (driver) => {
    await using temp = await tempStore({ driver, ...PACKED });
    await temp.store.saveTxs(someTxs(3));
    await temp.close();
    const [name] = namesIn(temp.base, ".poh", "log").filter((n) =>
      n.endsWith(".seg")
    );
    const path = join(temp.base, ".poh", "log", name!);
    const content = await Deno.readFile(path);
    const at = new TextDecoder("latin1").decode(content).indexOf(
      "payload of tx-1",
    );
    await flipBit(path, at);
    const report = await performRecovery(temp.base, temp.db, { driver });
    assertEquals(outline(report), ["payload-corrupt tx-1: quarantined"]);
    await Deno.remove(temp.db);
    await rebuild(temp, driver);
    assertEquals(await (await temp.open()).listTxs(), ["tx-0", "tx-2"]);
  },
);

testDrivers(
  "a rebuild from files says how many holders are lost",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTxs(someTxs(4));
    await temp.close();
    await Deno.remove(temp.db);
    const report = await rebuild(temp, driver);
    assertEquals(detailsOf(report, "metadata-damaged"), [
      "the database is missing",
      "holder and time of 4 transactions are lost: their rows are made from payload files alone, with no holder and the time of the file",
    ]);
    assertEquals((await temp.open()).infoTx.length > 0, true);
    assertEquals((await temp.store.infoTx("tx-2"))?.holderId, "");
  },
);

testDrivers(
  "what the log still has of files has holder and time after a rebuild",
  async (driver) => {
    await using temp = await tempStore({ driver });
    const txs = someTxs(6);
    await temp.store.saveTxs(txs.slice(0, 4));
    await temp.reopen(); // what was before is in files alone
    await temp.store.saveTxs(txs.slice(4));
    await temp.store.saveTx({ ...txs[1]!, payload: randomBytes(100_000) });
    await temp.store.deleteTx("tx-0");
    await using crash = await temp.snapshot();
    for (const suffix of ["", "-wal"]) await Deno.remove(crash.db + suffix);
    const report = await rebuild(crash, driver);
    const told = detailsOf(report, "metadata-damaged").at(-1)!;
    assertMatch(told, /^holder and time of 2 transactions are lost/);
    const store = await crash.open();
    const holders = new Map<string, string>();
    for (const id of await store.listTxs()) {
      holders.set(id, (await store.infoTx(id))!.holderId);
    }
    assertEquals(Object.fromEntries(holders), {
      "tx-1": "holder 1",
      "tx-2": "",
      "tx-3": "",
      "tx-4": "holder 4",
      "tx-5": "holder 5",
    });
  },
);

testDrivers(
  "a backup has the holders that files do not tell",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await using dir = await tempDir();
    const txs = someTxs(4);
    await temp.store.saveTxs(txs.slice(0, 3));
    await backupStore(temp.base, temp.db, dir.join("backup"), { driver });
    await temp.store.saveTx(txs[3]!);
    // The backup has another payload of this one.
    await temp.store.saveTx({ ...txs[0]!, payload: bytes("newer") });
    await temp.close();
    await Deno.remove(temp.db);
    const from = dir.join("backup");
    const report = await rebuild(temp, driver, { from });
    const told = detailsOf(report, "metadata-damaged").at(-1)!;
    assertMatch(told, /^holder and time of 2 transactions are lost/);
    const store = await temp.open();
    assertEquals(await store.loadTx("tx-1"), txs[1]);
    assertEquals(await store.loadTx("tx-2"), txs[2]);
    const newer = await store.loadTx("tx-0");
    assertEquals([newer?.holderId, text(newer?.payload)], ["", "newer"]);
    assertEquals((await store.loadTx("tx-3"))?.holderId, "");
  },
);

testDrivers(
  "a file that is newer than the log is kept by a rebuild",
  async (driver) => {
    await using temp = await tempStore({ driver });
    await temp.store.saveTxs([
      sampleTx({ txId: "a" }),
      sampleTx({ txId: "b" }),
    ]);
    await temp.store.deleteTx("b");
    await using crash = await temp.snapshot();
    for (const suffix of ["", "-wal"]) await Deno.remove(crash.db + suffix);
    await Deno.writeTextFile(crash.file("a"), "put there by hand");
    await Deno.writeTextFile(crash.file("b"), "and this one");
    await rebuild(crash, driver);
    const store = await crash.open();
    assertEquals(text((await store.loadTx("a"))?.payload), "payload of a");
    const kept: string[] = [];
    for await (const { name, size } of listQuarantine(crash.base)) {
      if (size === null) continue;
      kept.push(
        await Deno.readTextFile(
          join(crash.base, ".poh", "quarantine", `${name}.bin`),
        ),
      );
    }
    assertEquals(kept.sort(), ["and this one", "put there by hand"]);
  },
);

/** Runs a line of Python on a file: a process that is not this one. */
async function python(line: string, path: string): Promise<boolean> {
  const code = `import fcntl, sys\nf = open(sys.argv[1], "r+b")\n${line}`;
  const { success } = await new Deno.Command("python3", {
    args: ["-c", code, path],
    stderr: "null",
  }).output();
  return success;
}

/** Whether SQLite has its shared lock on a database in this process. */
async function isLocked(path: string): Promise<boolean> {
  const lock = "fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)";
  return !await python(lock, path);
}

test(
  "a rebuild that is refused leaves this process its locks on the database",
  async () => {
    const driver = "builtin";
    await using temp = await tempStore({ driver });
    await temp.store.saveTx(sampleTx());
    await temp.close();
    const content = await Deno.readFile(temp.db);
    // It reads what is damaged only when it is asked for it.
    await using _ = await openStoreOf(temp, driver);
    assertEquals(await isLocked(temp.db), true);
    assertEquals(await python('f.write(b"x" * 100)', temp.db), true);
    const dry = await rebuild(temp, driver, { dryRun: true });
    assertEquals(outline(dry), ["metadata-damaged null: rebuilt"]);
    assertEquals(await isLocked(temp.db), true);
    await assertRejects(
      () => rebuild(temp, driver, { lockTimeout: 50 }),
      StoreBusyError,
    );
    assertEquals(await isLocked(temp.db), true);
    const header = Array.from(content.subarray(0, 100)).join(",");
    assertEquals(await python(`f.write(bytes([${header}]))`, temp.db), true);
  },
  { ignore: Deno.build.os === "windows" },
);

function openStoreOf({ base, db }: TempStore, driver: Driver) {
  return StorageManager.create(base, db, { driver });
}
