/**
 * A store goes back and forth between the older Python package and this one.
 * `interop/python_store.py` stands for that package.
 */

import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { performRecovery, StorageManager, verifyStore } from "../mod.ts";
import {
  bytes,
  type Driver,
  flipBit,
  namesIn,
  outline,
  randomBytes,
  sampleTx,
  tempDir,
  testDrivers,
  text,
  TIME_LIMIT,
  within,
} from "./helpers.ts";

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
  const child = new Deno.Command(PYTHON!, {
    args: [join(import.meta.dirname!, "interop", "python_store.py"), base, db],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
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
  } catch (error) {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    throw error;
  }
}

function save(tx_id: string, timestamp: number, payload: Uint8Array) {
  return { tx_id, timestamp, payload: payload.toBase64() };
}

/** What both must agree on, in the form that the package gives it. */
async function found(base: string, db: string, driver: Driver): Promise<Found> {
  await using store = await StorageManager.create(base, db, { driver });
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
): void {
  const why = PYTHON === null ? " (needs python3 with sqlite3)" : "";
  testDrivers(`${name}${why}`, async (driver) => {
    await using dir = await tempDir();
    await fn(driver, dir.join("data"), dir.join("poh.db"));
  }, { ignore: PYTHON === null });
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
    assertEquals(Object.keys(written).length, 8);
    {
      const report = await verifyStore(base, db, { driver });
      assertEquals([report.sound, report.findings], [8, []]);
    }
    assertEquals(await found(base, db, driver), written);
    await using store = await StorageManager.create(base, db, { driver });
    assertEquals(await store.loadTx("tx1"), {
      txId: "tx1",
      holderId: "",
      timestamp: 1464307123,
      payload: bytes("hello"),
    });
    assertEquals((await store.infoTx("tx1"))?.size, -1);
  },
);

testInterop(
  "a store that was migrated is read by Python, whole",
  async (driver, base, db) => {
    const written = await python(base, db, FIRST);
    await found(base, db, driver);
    assertEquals(await python(base, db), written);
  },
);

testInterop(
  "each goes on where the other one stopped",
  async (driver, base, db) => {
    await python(base, db, FIRST);
    {
      await using store = await StorageManager.create(base, db, { driver });
      const payload = randomBytes(100_000);
      await store.saveTx(sampleTx({ txId: "ours", payload }));
      await store.saveTx(
        sampleTx({ txId: "tx1", timestamp: 7.25, payload: bytes("replaced") }),
      );
      assertEquals(await store.deleteTx("empty"), true);
    }
    const second = await python(base, db);
    assertEquals(second.ours, [
      1464307123.25,
      randomBytes(100_000).toBase64(),
    ]);
    assertEquals(second.tx1, [7.25, bytes("replaced").toBase64()]);
    assertEquals("empty" in second, false);
    assertEquals(Object.keys(second).length, 8);
    assertEquals(await found(base, db, driver), second);

    const third = await python(base, db, {
      save: [
        save("tx1", 8.5, bytes("by Python again")),
        save("ours", 9.5, bytes("Python's now")),
        save("new", 10.5, bytes("new")),
      ],
      remove: ["tiny"],
    });
    assertEquals(await found(base, db, driver), third);
    await using store = await StorageManager.create(base, db, { driver });
    // Python's statement knows nothing of holders and sizes.
    assertEquals((await store.loadTx("ours"))?.holderId, "");
    assertEquals((await store.infoTx("ours"))?.size, -1);
    assertEquals((await store.recover()).length, Object.keys(third).length);
  },
);

testInterop(
  "a store that was made here is read and written by Python",
  async (driver, base, db) => {
    {
      await using store = await StorageManager.create(base, db, { driver });
      await store.saveTx(sampleTx());
    }
    const all = await python(base, db, { save: [save("b", 1, bytes("2"))] });
    assertEquals(all, {
      a: [1464307123.25, bytes("payload of a").toBase64()],
      b: [1, bytes("2").toBase64()],
    });
    assertEquals(await found(base, db, driver), all);
  },
);

testInterop("both have the store open at once", async (driver, base, db) => {
  await using store = await StorageManager.create(base, db, { driver });
  await store.saveTx(sampleTx());
  const all = await python(base, db, {
    save: [save("a", 2, bytes("Python's")), save("b", 3, bytes("b"))],
  });
  assertEquals(all.a, [2, bytes("Python's").toBase64()]);
  assertEquals(text((await store.loadTx("a"))?.payload), "Python's");
  assertEquals(await store.listTxs(), ["a", "b"]);
  await store.deleteTx("b");
  assertEquals(Object.keys(await python(base, db)), ["a"]);
});

testInterop(
  "damage in a store of Python's is found, the rest is kept",
  async (driver, base, db) => {
    await python(base, db, FIRST);
    await flipBit(join(base, "tx1.bin"));
    await Deno.remove(join(base, "empty.bin"));
    const report = await performRecovery(base, db, { driver });
    assertEquals(outline(report), [
      "payload-corrupt tx1: quarantined",
      "payload-missing empty: quarantined",
    ]);
    assertEquals(report.sound, 6);
    const left = await python(base, db);
    assertEquals(Object.keys(left).length, 6);
    assertEquals(
      Object.values(left).some(([, payload]) => payload === null),
      false,
    );
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
