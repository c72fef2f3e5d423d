// Whoever can write to the store, and has no key, is found out by the check of
// its log.

import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import {
  encodeRecord,
  openCheckpoint,
  policyOf,
  sealOf,
  type SignedCheckpoint,
} from "../../proofs.ts";
import { StorageManager } from "../../mod.ts";
import { sha256HexSync } from "../../src/files/hash.ts";
import { openDatabase } from "../../src/sqlite/open_database.ts";
import { findInfo } from "../../src/sqlite/lookups.ts";
import { recordOf } from "../../src/tlog/seal.ts";
import { liveEntry } from "../../src/tlog/tlog_tables.ts";
import { WINDOW } from "../../src/tlog/tlog_check.ts";
import {
  bytes,
  type TempDir,
  tempDir,
  type TempStore,
  tempStore,
  test,
} from "../helpers.ts";
import { codeOf, copyDir, keys, ORIGIN, tx } from "./log_helpers.ts";

/** A store of 600 transactions whose log is signed, and what was kept of it. */
async function signedStore(dir: TempDir, temp: TempStore) {
  const { path, vkey, signers } = await keys(dir);
  await temp.store.tlog.init(ORIGIN);
  await temp.store.saveTxs(Array.from({ length: 600 }, (_, i) => tx(`${i}`)));
  const note = await temp.store.tlog.sign(signers, path);
  const kept = await openCheckpoint(note, policyOf(vkey));
  return { path, signers, kept };
}

type Tamper = (
  temp: TempStore,
  change: (sql: string, ...params: (string | Uint8Array)[]) => Promise<void>,
) => Promise<void>;

const file = ({ base }: TempStore, id: string) => join(base, `${id}.bin`);

async function flip(path: string, at: number): Promise<void> {
  const bytes = await Deno.readFile(path);
  bytes[at]! ^= 1;
  await Deno.writeFile(path, bytes);
}

const TAMPERING: [what: string, kind: string, tamper: Tamper][] = [
  [
    "another holder and time",
    "altered",
    (_, change) =>
      change(
        "UPDATE txs SET holder_id = 'mallory', timestamp = 1 WHERE tx_id = '7'",
      ),
  ],
  ["a forged file with its digest", "altered", async (temp, change) => {
    const forged = bytes("8");
    await Deno.writeFile(file(temp, "7"), forged);
    await change(
      "UPDATE txs SET storage_hash = ? WHERE tx_id = '7'",
      sha256HexSync(forged),
    );
  }],
  [
    "a row that is gone",
    "vanished",
    (_, change) => change("DELETE FROM txs WHERE tx_id = '7'"),
  ],
  ["a row and its file that are gone", "vanished", async (temp, change) => {
    await Deno.remove(file(temp, "7"));
    await change("DELETE FROM txs WHERE tx_id = '7'");
  }],
  [
    "two rows that changed ids, and their files",
    "altered",
    async (temp, change) => {
      await change("UPDATE txs SET tx_id = 'x' WHERE tx_id = '7'");
      await change("UPDATE txs SET tx_id = '7' WHERE tx_id = '8'");
      await change("UPDATE txs SET tx_id = '8' WHERE tx_id = 'x'");
      await Deno.rename(file(temp, "7"), file(temp, "x"));
      await Deno.rename(file(temp, "8"), file(temp, "7"));
      await Deno.rename(file(temp, "x"), file(temp, "8"));
    },
  ],
  [
    "an edited tile",
    "damaged",
    ({ base }) => flip(join(base, ".poh/tlog/tile/0/001"), 100),
  ],
  [
    "an edited bundle",
    "damaged",
    ({ base }) => flip(join(base, ".poh/tlog/tile/entries/001"), 100),
  ],
  [
    "a missing bundle",
    "damaged",
    ({ base }) => Deno.remove(join(base, ".poh/tlog/tile/entries/001")),
  ],
  [
    "an edge that was cut",
    "damaged",
    (_, change) => change("DELETE FROM tlog_edge WHERE name = 'bundle'"),
  ],
  [
    "a row that was edited together with its seal",
    "damaged",
    async ({ db }, change) => {
      await change("UPDATE txs SET holder_id = 'mallory' WHERE tx_id = '7'");
      await using rows = await openDatabase(db, { readOnly: true });
      const record = recordOf(findInfo(rows, "7")!, liveEntry(rows, "7")!);
      const seal = sealOf(encodeRecord(record));
      await change("UPDATE tlog_live SET seal = ? WHERE tx_id = '7'", seal);
    },
  ],
  [
    "one entry for two rows",
    "damaged",
    (_, change) =>
      change(
        "UPDATE tlog_live SET entry = (SELECT entry FROM tlog_live WHERE tx_id = '8') WHERE tx_id = '7'",
      ),
  ],
  [
    "a checkpoint of another tree",
    "damaged",
    async ({ base }) => {
      const path = join(base, ".poh/tlog/checkpoint");
      const note = await Deno.readTextFile(path);
      const root = note.split("\n")[2]!;
      const other = root.startsWith("A")
        ? `B${root.slice(1)}`
        : `A${root.slice(1)}`;
      await Deno.writeTextFile(path, note.replace(root, other));
    },
  ],
];

for (const [what, kind, tamper] of TAMPERING) {
  test(`the check of the log finds ${what}`, async () => {
    await using dir = await tempDir();
    await using temp = await tempStore();
    await signedStore(dir, temp);
    await temp.close();
    await tamper(temp, async (sql, ...params) => {
      await using rows = await openDatabase(temp.db);
      await rows.change(() => rows.run(sql, ...params));
    });
    await temp.open();
    const found = await temp.store.tlog.check();
    assertEquals(found[0]?.kind, kind, JSON.stringify(found));
  });
}

test("an older database beside the files of its log is found, and not signed", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  const { path, signers } = await signedStore(dir, temp);
  await temp.close();
  await Deno.copyFile(temp.db, dir.join("older.db"));
  await temp.open();
  await temp.store.saveTxs(Array.from({ length: 600 }, (_, i) => tx(`x${i}`)));
  await temp.store.tlog.sign(signers, path);
  await temp.close();
  await Deno.copyFile(dir.join("older.db"), temp.db);
  await Deno.remove(join(temp.base, ".poh/log"), { recursive: true });
  await temp.open();
  const found = await temp.store.tlog.check();
  const details = found.map((finding) => finding.details).join("\n");
  assertMatch(details, /published checkpoint has 1201 entries, the log 601/);
  assertMatch(details, /the database is older than its log/);
  const { tlog } = temp.store;
  assertEquals(await codeOf(tlog.sign(signers, path)), "TLOG_ROLLED_BACK");
});

/** An older copy of everything, which has gone on elsewhere since. */
async function olderCopy(dir: TempDir, temp: TempStore) {
  const { path, signers } = await signedStore(dir, temp);
  await temp.close();
  const base = dir.join("older");
  await copyDir(temp.base, base);
  await temp.open();
  await temp.store.saveTx(tx("after"));
  const note = await temp.store.tlog.sign(signers, path);
  await temp.close();
  return { base, note };
}

test("an older copy of everything is found by whoever kept a checkpoint", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  const { base, note } = await olderCopy(dir, temp);
  await using older = await StorageManager.open(base, join(base, "poh.db"));
  assertEquals(await older.tlog.check(), [], "it is whole in itself");
  const kept = checkpointIn(note);
  const [found] = await older.tlog.check({ kept });
  assertMatch(
    found!.details,
    /has 602 entries, the log 601: it was rolled back/,
  );
  await older.saveTx(tx("other"));
  const [forked] = await older.tlog.check({ kept });
  assertMatch(forked!.details, /first 602 entries are not those of/);
  const other = await older.tlog.check({ kept: { ...kept, origin: "x" } });
  assertMatch(other[0]!.details, /is of the log x, this is node7/);
});

function checkpointIn(
  note: string,
): Pick<SignedCheckpoint, "origin" | "size" | "root"> {
  const [origin, size, root] = note.split("\n");
  return {
    origin: origin!,
    size: Number(size),
    root: Uint8Array.fromBase64(root!),
  };
}

test("nothing is proven from a row that was edited together with its seal", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  await signedStore(dir, temp);
  await temp.close();
  const [, , forge] = TAMPERING.find(([what]) => what.endsWith("its seal"))!;
  await forge(temp, async (sql, ...params) => {
    await using rows = await openDatabase(temp.db);
    await rows.change(() => rows.run(sql, ...params));
  });
  await temp.open();
  const { tlog } = temp.store;
  assertEquals(await codeOf(tlog.proveInclusion("7")), "TLOG_MISMATCH");
  await tlog.proveInclusion("8");
});

test("tiles are made anew from bundles, which have to be whole", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  const { kept } = await signedStore(dir, temp);
  const tiles = join(temp.base, ".poh/tlog/tile");
  const before = await Deno.readFile(join(tiles, "0/001"));
  await Deno.remove(join(tiles, "0/000"));
  await flip(join(tiles, "0/001"), 5);
  const { tlog } = temp.store;
  assertEquals((await tlog.check()).length, 1);
  assertEquals(await tlog.rebuildTiles(), 2);
  assertEquals(await tlog.rebuildTiles(), 0);
  assertEquals(await tlog.check({ kept }), []);
  assertEquals(await Deno.readFile(join(tiles, "0/001")), before);
  await flip(join(tiles, "entries/000"), 5000);
  await Deno.remove(join(tiles, "0/001"));
  assertEquals(await codeOf(tlog.rebuildTiles()), "TLOG_DAMAGED");
  assertEquals(
    [...Deno.readDirSync(join(tiles, "0"))].map(({ name }) => name),
    ["000"],
  );
});

test("the check goes through the log in windows", async () => {
  await using dir = await tempDir();
  await using temp = await tempStore();
  await signedStore(dir, temp);
  for (let i = 0; i < 600; i += 3) await temp.store.deleteTx(`${i}`);
  await temp.close();
  {
    await using rows = await openDatabase(temp.db);
    await rows.change(() =>
      rows.run("UPDATE txs SET timestamp = 1 WHERE tx_id IN ('7', '599')")
    );
  }
  await temp.open();
  const before = WINDOW.entries;
  try {
    for (const entries of [1, 100, 256, 300, before]) {
      WINDOW.entries = entries;
      const found = await temp.store.tlog.check();
      const ids = found.map(({ kind, txId }) => `${kind} ${txId}`).sort();
      assertEquals(ids, ["altered 599", "altered 7"], `${entries}`);
    }
  } finally {
    WINDOW.entries = before;
  }
});
