/**
 * A store with one of everything that recover acts on, and what must hold once
 * it is through, however often it was killed on its way.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import {
  type QuarantineEntry,
  type RecoverOptions,
  StorageManager,
  type Tx,
} from "../../mod.ts";
import { sha256HexSync } from "../../src/files/hash.ts";
import { listQuarantine } from "../../src/payloads/quarantine.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import { bytes, flipBit, namesIn } from "../helpers.ts";
import { assertSameTx, type Place } from "./check.ts";
import { versionOf } from "./journal.ts";

/** What is in such a store. */
export interface DamagedStore extends Place {
  /** Transactions that nothing was done to. */
  sound: Tx[];
  /** Damaged ones, and the bytes in their place. */
  damaged: { tx: Tx; bytes: Uint8Array | null }[];
  /** A folder of payload files that has the damaged ones as they were. */
  source: string;
  /** Payload files without a row. */
  orphans: { txId: string; bytes: Uint8Array }[];
}

const LARGE = 200_000;

/** Makes one. */
export async function makeDamagedStore(place: Place): Promise<DamagedStore> {
  const { base, db } = place;
  const txs = [
    ...Array.from({ length: 12 }, (_, n) => versionOf(`sound-${n}`, n, 50 * n)),
    versionOf("sound-large", 1, LARGE),
    versionOf("wrong-size", 1, 77),
    ...["corrupt-1", "corrupt-2", "missing-1", "missing-2"].map((id) =>
      versionOf(id, 1, 300)
    ),
    versionOf("corrupt-large", 1, LARGE),
  ];
  {
    await using store = await StorageManager.create(base, db);
    await store.saveTxs(txs);
  }
  const source = `${base}-source`;
  await Deno.mkdir(source);
  const file = (id: string) => join(base, placeOf(id));
  const damaged: DamagedStore["damaged"] = [];
  for (const tx of txs) {
    const { txId } = tx;
    if (!/^(sound|wrong)/.test(txId)) {
      await Deno.copyFile(file(txId), join(source, placeOf(txId)));
    }
    if (txId.startsWith("corrupt")) {
      await flipBit(file(txId), 17);
      damaged.push({ tx, bytes: await Deno.readFile(file(txId)) });
    } else if (txId.startsWith("missing")) {
      await Deno.remove(file(txId));
      damaged.push({ tx, bytes: null });
    }
  }
  const orphans = [
    { txId: "orphan-1", bytes: bytes("nobody's") },
    { txId: "orphan-2", bytes: versionOf("orphan-2", 1, LARGE).payload },
  ];
  for (const { txId, bytes } of orphans) {
    await Deno.writeFile(file(txId), bytes);
  }
  for (const dir of ["tmp", "staged"]) {
    for (const name of ["left-1", "left-2"]) {
      await Deno.writeTextFile(join(base, ".poh", dir, name), "half-written");
    }
  }
  await editRows(db, "UPDATE txs SET size = 3 WHERE tx_id = 'wrong-size'");
  const sound = txs.filter(({ txId }) => /^(sound|wrong)/.test(txId));
  return { ...place, source, sound, damaged, orphans };
}

/** Runs SQL on a database that nobody has open. */
export async function editRows(db: string, sql: string): Promise<void> {
  const connection = await openSqlite(db, "builtin", false);
  try {
    connection.exec(sql);
  } finally {
    connection.close();
  }
}

/** Asserts what must hold once recover is through. */
export async function assertRecovered(
  made: DamagedStore,
  options: RecoverOptions,
): Promise<void> {
  const { base, db } = made;
  await using store = await StorageManager.create(base, db);
  for (const tx of made.sound) {
    assertSameTx(await store.loadTx(tx.txId), tx);
  }
  const expected: [string, string | null][] = [];
  const ids = made.sound.map(({ txId }) => txId);
  const isHealed = options.from !== undefined;
  for (const { tx, bytes } of made.damaged) {
    // Of what is healed there is nothing to keep but the damaged bytes.
    const isKept = !options.purge && !(isHealed && bytes === null);
    if (isKept) expected.push([tx.txId, digestOf(bytes)]);
    assertEquals(namesIn(base).includes(placeOf(tx.txId)), isHealed);
    if (!isHealed) continue;
    ids.push(tx.txId);
    assertSameTx(await store.loadTx(tx.txId), tx);
  }
  for (const { txId, bytes } of made.orphans) {
    if (options.orphans === "quarantine") {
      expected.push([txId, digestOf(bytes)]);
    }
    const isThere = namesIn(base).includes(placeOf(txId));
    assertEquals(isThere, options.orphans !== "quarantine");
    if (options.orphans === "adopt") {
      ids.push(txId);
      const tx = await store.loadTx(txId);
      assertEquals(digestOf(tx?.payload), digestOf(bytes));
    }
  }
  assertEquals(await store.listTxs(), ids.sort());

  // Everything that was taken out is in quarantine, once, byte for byte.
  const entries = await Array.fromAsync(listQuarantine(base));
  const found = entries.map((entry): [string, string | null] => [
    entry.txId!,
    digestOf(bytesOf(base, entry)),
  ]);
  assertEquals(found.sort(byId), expected.sort(byId));
  for (const { tx, bytes } of options.purge ? [] : made.damaged) {
    if (isHealed && bytes === null) continue;
    const { row } = entries.find(({ txId }) => txId === tx.txId)!;
    // What was healed is in service, and may be deleted from now on.
    const { holderId, timestamp } = isHealed ? {} as Partial<Tx> : tx;
    assertEquals(row?.holderId, holderId);
    assertEquals(row?.timestamp, timestamp);
  }
}

/** The bytes that lie beside a note; null when there are none. */
export function bytesOf(
  base: string,
  { name, size }: QuarantineEntry,
): Uint8Array | null {
  return size === null
    ? null
    : Deno.readFileSync(join(base, ".poh", "quarantine", `${name}.bin`));
}

/** The digest of bytes, if there are any. */
export function digestOf(bytes?: Uint8Array | null): string | null {
  return bytes ? sha256HexSync(bytes) : null;
}

function byId([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : 1;
}
