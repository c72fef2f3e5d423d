/**
 * Stores that the older Python package wrote open here and are upgraded.
 * `interop/python_store.py` stands for that package.
 */

import { assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  performRecovery,
  StorageManager,
  StoreBusyError,
  verifyStore,
} from "../mod.ts";
import {
  bytes,
  type Driver,
  flipBit,
  IS_WINDOWS,
  namesIn,
  outline,
  randomBytes,
  tempDir,
  testDrivers,
  text,
  TIME_LIMIT,
  within,
} from "./helpers.ts";

import { ODD_IDS } from "./local/older_store.ts";

const PYTHON = await findPython();

/** Python with its own sqlite3; null where there is none. */
async function findPython(): Promise<string | null> {
  for (const name of ["python3", "python"]) {
    try {
      const { success } = await new Deno.Command(name, {
        args: ["-c", "import sqlite3, sys; assert sys.version_info >= (3, 7)"],
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).output();
      if (success) return name;
    } catch {
      // Not there, or not to be run.
    }
  }
  return null;
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch {
    return false;
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

interface Commands {
  save?: { tx_id: string; timestamp: number; payload: string }[];
  remove?: string[];
}

/** What the package finds: time and payload by id; null for what is damaged. */
type Found = Record<string, [number, string | null]>;

/** Runs commands in the package and gives all that it can load afterwards. */
async function python(
  base: string,
  db: string,
  commands: Commands = {},
): Promise<Found> {
  const child = spawn(base, db);
  try {
    const writer = child.stdin.getWriter();
    await writer.write(bytes(JSON.stringify(commands)));
    await writer.close();
    const { code, stdout, stderr } = await within(
      TIME_LIMIT / 2,
      child.output(),
    );
    assertEquals([code, text(stderr)], [0, ""]);
    return JSON.parse(text(stdout));
  } finally {
    await end(child);
  }
}

function spawn(base: string, db: string): Deno.ChildProcess {
  return new Deno.Command(PYTHON!, {
    args: [join(import.meta.dirname!, "interop", "python_store.py"), base, db],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function end(child: Deno.ChildProcess): Promise<void> {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended.
  }
  await child.status;
}

function save(tx_id: string, timestamp: number, payload: Uint8Array) {
  return { tx_id, timestamp, payload: payload.toBase64() };
}

/** What both must agree on, in the form that the package gives it. */
async function found(base: string, db: string, driver: Driver): Promise<Found> {
  const options = { driver, upgradeQuiet: 20 };
  await using store = await StorageManager.create(base, db, options);
  const all: Found = {};
  for await (const { txId } of store.iterateTxs()) {
    const { timestamp, payload } = (await store.loadTx(txId))!;
    all[txId] = [timestamp, payload.toBase64()];
  }
  return all;
}

function testInterop(
  name: string,
  fn: (driver: Driver, base: string, db: string) => Promise<void>,
  { ignore = false } = {},
): void {
  const why = PYTHON === null ? " (needs python3 with sqlite3)" : "";
  testDrivers(`${name}${why}`, async (driver) => {
    await using dir = await tempDir();
    await fn(driver, dir.join("data"), dir.join("poh.db"));
  }, { ignore: ignore || PYTHON === null });
}

const FIRST: Commands = {
  save: [
    save("tx1", 1464307123, bytes("hello")),
    save("empty", 0, new Uint8Array()),
    save("binary", -1.5, randomBytes(70_000)),
    save("取引🪙", 1464307123.123456, bytes("日本")),
    save("Upper", 1e15 + 0.5, bytes("case")),
    save("a b.c", 2 ** 53 + 2, bytes("space")),
    save("tiny", 5e-324, bytes("t")),
    save("huge", 1e308, bytes("h")),
  ],
};

testInterop(
  "a store that Python wrote is read, whole",
  async (driver, base, db) => {
    const written = await python(base, db, FIRST);
    assertEquals(Object.keys(written).length, FIRST.save!.length);
    {
      const report = await verifyStore(base, db, { driver });
      assertEquals([report.sound, report.findings], [FIRST.save!.length, []]);
    }
    // Nothing was changed by that.
    assertEquals(await python(base, db), written);
    assertEquals(await found(base, db, driver), written);
    await using store = await StorageManager.create(base, db, { driver });
    assertEquals(await store.loadTx("tx1"), {
      txId: "tx1",
      holderId: "",
      timestamp: 1464307123,
      payload: bytes("hello"),
    });
    assertEquals((await store.infoTx("tx1"))?.size, -1);
    assertEquals((await store.recover()).sound, FIRST.save!.length);
  },
);

testInterop(
  "odd ids that Python saved are kept, whatever they are",
  async (driver, base, db) => {
    await Deno.mkdir(join(base, "dir"), { recursive: true });
    const ids = ODD_IDS.filter((txId) => !txId.startsWith("./"));
    const written = await python(base, db, {
      save: ids.map((txId, n) => save(txId, n + 0.5, bytes(`of ${txId}`))),
    });
    assertEquals(Object.keys(written).sort(), ids.toSorted());
    assertEquals(await found(base, db, driver), written);
    const report = await verifyStore(base, db, { driver });
    assertEquals([report.sound, report.findings], [ids.length, []]);
  },
  { ignore: IS_WINDOWS },
);

testInterop(
  "while Python is saving, its store is not upgraded",
  async (driver, base, db) => {
    await python(base, db, FIRST);
    const child = spawn(base, db);
    try {
      const writer = child.stdin.getWriter();
      const payload = randomBytes(1_000);
      const txs = Array.from(
        { length: 500 },
        (_, n) => save(`many-${n}`, n, payload),
      );
      await writer.write(bytes(JSON.stringify({ save: txs })));
      await writer.close();
      while (!await exists(join(base, "many-1.bin"))) await delay(5);
      await assertRejects(
        () => StorageManager.create(base, db, { driver, upgradeQuiet: 300 }),
        StoreBusyError,
      );
      const { code, stdout } = await within(TIME_LIMIT / 2, child.output());
      assertEquals(code, 0);
      const written = JSON.parse(text(stdout));
      // It has not noticed anything, and nothing of it is lost.
      assertEquals(Object.keys(written).length, 8 + txs.length);
      assertEquals(await found(base, db, driver), written);
    } finally {
      await end(child);
    }
  },
);

testInterop(
  "damage in a store of Python's is found, the rest is kept",
  async (driver, base, db) => {
    const written = await python(base, db, FIRST);
    await flipBit(join(base, "tx1.bin"));
    await Deno.remove(join(base, "empty.bin"));
    const report = await performRecovery(base, db, { driver });
    assertEquals(outline(report), [
      "payload-corrupt tx1: quarantined",
      "payload-missing empty: quarantined",
    ]);
    assertEquals(report.sound, 6);
    const { tx1: _, empty: __, ...left } = written;
    assertEquals(await found(base, db, driver), left);
  },
);

testInterop(
  "what Python leaves half-done is told, and nothing is lost",
  async (driver, base, db) => {
    await python(base, db, { save: [save("a", 1, bytes("old"))] });
    // It writes the file before the row: here it was killed in between.
    await Deno.writeTextFile(join(base, "a.bin"), "new");
    await Deno.writeTextFile(join(base, "b.bin"), "never named");
    const report = await performRecovery(base, db, { driver });
    assertEquals(outline(report), [
      "orphan-payload b: none",
      "payload-corrupt a: quarantined",
    ]);
    const [payload] = namesIn(base, ".poh", "quarantine");
    assertEquals(
      await Deno.readTextFile(join(base, ".poh", "quarantine", payload!)),
      "new",
    );
  },
);
