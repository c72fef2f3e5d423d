/**
 * Stores in the form of the older Python package, with odd ids as well: it
 * takes every id that the file system lets it take.
 *
 * @module
 */

import { join } from "@std/path";
import { sha256Hex } from "../../mod.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { bytes, type Driver, seededRandom } from "../helpers.ts";

/** A transaction that the package saves. */
export interface OlderTx {
  txId: string;
  payload: Uint8Array;
  timestamp: number;
}

/** Text that makes trouble, to be put together at random. */
const PIECES = [
  ...'abzABZ09._-% \\/:*?"<>|\n\x01\x7f',
  ..."éÉßẞſKkİıǅΩωςΣ取引が🪙👩\u200d\u0301\u3099ﬁ㍿￿$¹",
  ...[
    "..",
    "../",
    "./",
    "dir/",
    "%41",
    "%4F",
    "%2f",
    "%3A",
    "%25",
    "%=",
    ".bin",
  ],
  ...["con", "CON", "nul.", "aux ", "com1", "LPT9", "lpt¹", "conin$"],
  ...["e\u0301", "\u00e9", "か\u3099", "\u212b", "\u00c5", "A\u030a"],
];

/** Ids that have made trouble, or may. */
export const ODD_IDS = [
  "",
  "a",
  "Tx",
  ".hidden",
  "..",
  ".",
  "...",
  ".poh",
  "a:b",
  "a%3Ab",
  "a%253Ab",
  "user%2Ftx",
  "%",
  "100%",
  "%41",
  "A",
  "CON",
  "con.txt",
  "e\u0301",
  "\u00e9",
  " a ",
  "a\nb",
  "🪙",
  "x".repeat(251),
  "?".repeat(251), // each takes three bytes once it is encoded
  "取".repeat(83),
  "é".normalize("NFD").repeat(80),
  "%=" + "0".repeat(64),
  "dir/x",
  "./y",
  "y",
  "./only",
];

/** Ids that are the same in every run, the known ones first. */
export function oddIds(count: number): string[] {
  const random = seededRandom(20_160_527);
  const pick = () => PIECES[Math.floor(random() * PIECES.length)]!;
  const ids = new Set([...ODD_IDS, "dir//x", "dir/../y"]);
  while (ids.size < count) {
    const length = 1 + Math.floor(random() * (ids.size % 10 === 0 ? 90 : 5));
    const txId = Array.from({ length }, pick).join("");
    // The package would write it to whatever is there, outside of the tests.
    if (!leadsOut(txId)) ids.add(txId);
  }
  return [...ids];
}

function leadsOut(txId: string): boolean {
  return /^[/\\]/.test(txId) || /(^|[/\\])\.\.[/\\]/.test(txId) &&
      txId !== "dir/../y";
}

/** Where the package has the payload of an id. */
export function olderPath(base: string, txId: string): string {
  return txId.startsWith("/") ? `${txId}.bin` : `${base}/${txId}.bin`;
}

/**
 * Saves transactions as the package does, one after another.
 *
 * @returns Those that it could load afterwards.
 */
export async function saveAsOlder(
  base: string,
  db: string,
  driver: Driver,
  txs: OlderTx[],
): Promise<Map<string, OlderTx>> {
  await Deno.mkdir(base, { recursive: true });
  const rows = await openSqlite(db, driver, false);
  const saved = new Map<string, OlderTx>();
  try {
    rows.exec(
      "CREATE TABLE IF NOT EXISTS txs (tx_id TEXT PRIMARY KEY, storage_hash TEXT NOT NULL, timestamp REAL NOT NULL)",
    );
    const insert = rows.prepare(
      "INSERT OR REPLACE INTO txs (tx_id, storage_hash, timestamp) VALUES (?, ?, CAST(? AS REAL))",
    );
    rows.exec("BEGIN");
    for (const tx of txs) {
      try {
        await Deno.writeFile(olderPath(base, tx.txId), tx.payload);
      } catch (error) {
        if (error instanceof Deno.errors.NotCapable) throw error;
        continue; // it has no such folder, or the name is too long: not saved
      }
      const time = Number.isFinite(tx.timestamp)
        ? String(tx.timestamp)
        : tx.timestamp > 0
        ? "9e999"
        : "-9e999";
      insert.run(tx.txId, await sha256Hex(tx.payload), time);
      saved.set(tx.txId, tx);
    }
    rows.exec("COMMIT");
  } finally {
    rows.close();
  }
  for (const [txId, { payload }] of saved) {
    const found = await Deno.readFile(olderPath(base, txId));
    if (await sha256Hex(found) !== await sha256Hex(payload)) {
      saved.delete(txId);
    }
  }
  return saved;
}

/** A store with odd ids in a base that has a folder `dir`. */
export async function makeOddStore(
  base: string,
  db: string,
  driver: Driver,
  ids: string[],
): Promise<Map<string, OlderTx>> {
  await Deno.mkdir(join(base, "dir"), { recursive: true });
  const txs = ids.map((txId, n) => ({
    txId,
    // Some have the same bytes: then a digest does not tell whose file it is.
    payload: bytes(n % 7 === 3 ? "the same" : `payload ${n}`),
    timestamp: n % 50 === 49 ? Infinity : n + 0.5,
  }));
  return await saveAsOlder(base, db, driver, txs);
}
