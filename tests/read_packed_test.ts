import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { StorageManager } from "../mod.ts";
import { segmentOf } from "../src/log/segment.ts";
import { openSqlite } from "../src/sqlite/driver.ts";
import {
  bytes,
  filesBelow,
  flipBit,
  namesIn,
  randomBytes,
  sampleTx,
  tempDir,
  type TempStore,
  tempStore,
  test,
  text,
} from "./helpers.ts";
import { unpackOlder } from "./local/older_versions.ts";
import { ODD_IDS } from "./local/older_store.ts";

const SCRIPT = new URL("../examples/read_packed.py", import.meta.url);

const NO_PYTHON = await whyNoPython();
const ignore = NO_PYTHON !== null;
const skipped = ignore ? ` (skipped: ${NO_PYTHON})` : "";

async function whyNoPython(): Promise<string | null> {
  try {
    const { success } = await python("-c", "import sqlite3");
    return success ? null : "python3 has no sqlite3";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "there is no python3";
    throw error;
  }
}

function python(...args: string[]): Promise<Deno.CommandOutput> {
  return new Deno.Command("python3", { args }).output();
}

/** Runs the example; its exit code and lines. */
async function read(base: string): Promise<{ code: number; lines: string[] }> {
  const { code, stdout, stderr } = await python(
    Deno.realPathSync(SCRIPT),
    base,
  );
  const lines = (text(stdout) + text(stderr)).trimEnd().split("\n");
  return { code, lines };
}

/** A closed store with payloads of all sizes, in the log and in files. */
async function closedStore(): Promise<TempStore> {
  const temp = await tempStore({ packBelow: 1_000 });
  const { store } = temp;
  for (let n = 0; n < 40; n++) {
    const payload = randomBytes(n * 60, n + 1);
    await store.saveTx(sampleTx({ txId: `tx-${n}`, payload }));
  }
  await store.saveTx(sampleTx({ txId: "large", payload: randomBytes(80_000) }));
  await store.saveTx(sampleTx({ txId: "tx-1", payload: bytes("replaced") }));
  await store.deleteTx("tx-2");
  await temp.close();
  return temp;
}

/** Where a transaction's record is in which segment. */
async function placeOf({ base, db }: TempStore, txId: string) {
  const rows = await openSqlite(db, "builtin", true);
  const [place] = rows.prepare("SELECT place FROM txs WHERE tx_id = ?")
    .get(txId)!;
  rows.close();
  const number = segmentOf(place as number);
  const name = `${String(number).padStart(8, "0")}.seg`;
  const path = join(base, ".poh", "log", name);
  return { path, offset: (place as number) % 2 ** 26 };
}

test(`read_packed.py finds a sound store sound${skipped}`, async () => {
  await using temp = await closedStore();
  const before = await filesBelow(temp.base);
  assertEquals(await read(temp.base), {
    code: 0,
    lines: ["16 payloads in the log, 24 in files, 0 damaged"],
  });
  assertEquals(await filesBelow(temp.base), before);
}, { ignore });

test(`read_packed.py tells every damaged payload${skipped}`, async () => {
  await using temp = await closedStore();
  const { base } = temp;
  const packed = await placeOf(temp, "tx-7");
  await flipBit(packed.path, packed.offset + 200); // its payload
  const other = await placeOf(temp, "tx-9");
  await flipBit(other.path, other.offset + 4); // its length
  await flipBit(packed.path, 20); // one copy of the header
  await flipBit(join(base, "tx-30.bin"));
  await Deno.remove(join(base, "large.bin"));
  const { code, lines } = await read(base);
  assertEquals(code, 4);
  assertEquals(lines.map((line) => line.split(": ").slice(0, 2).join(": ")), [
    "damaged: 'tx-7'",
    "damaged: 'tx-9'",
    "damaged: 'tx-30'",
    "damaged: 'large'",
    "16 payloads in the log, 24 in files, 4 damaged",
  ]);
  await flipBit(packed.path, 100); // the other copy
  const all = await read(base);
  assert(all.lines.at(-1)!.endsWith("18 damaged"), all.lines.at(-1));
}, { ignore });

test(`read_packed.py finds files of odd ids${skipped}`, async () => {
  await using temp = await tempStore();
  const saved: string[] = [];
  for (const txId of new Set([...ODD_IDS, "a/b", "É", "取引"])) {
    try {
      await temp.store.saveTx(sampleTx({ txId }));
      saved.push(txId);
    } catch {
      // not an id of ours
    }
  }
  await temp.close();
  assert(saved.length > 20);
  assertEquals(await read(temp.base), {
    code: 0,
    lines: [`0 payloads in the log, ${saved.length} in files, 0 damaged`],
  });
}, { ignore });

test(
  `read_packed.py refuses a store that was not closed${skipped}`,
  async () => {
    await using dir = await tempDir();
    const { base } = await unpackOlder("version_5", dir.path);
    const { code, lines } = await read(base);
    assertEquals([code, lines.length], [5, 1], lines[0]);
    // Once it was closed it is read, with a payload whose file cannot follow.
    await Deno.mkdir(join(base, "new-1.bin"));
    await (await StorageManager.open(base, join(base, "poh.db"))).close();
    assert(namesIn(base).includes("new-1.bin"));
    assertEquals(await read(base), {
      code: 0,
      lines: ["3 payloads in the log, 8 in files, 0 damaged"],
    });
  },
  { ignore },
);
