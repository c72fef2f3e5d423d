/**
 * Damage to the database and to what SQLite keeps beside it. What exactly is
 * hit is a matter of chance; what must hold is not.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import {
  performRecovery,
  PohStorageError,
  StorageManager,
  type StoreReport,
  verifyStore,
} from "../../mod.ts";
import { sha256HexSync } from "../../src/files/hash.ts";
import { txIdOfFile } from "../../src/files/file_name.ts";
import { assertClean, type Place } from "../crash/check.ts";
import { readJournal, versionOf } from "../crash/journal.ts";
import { copyTree, placeBelow, runWriter } from "../crash/process.ts";
import type { Random } from "../crash/random.ts";
import type { Mix } from "../crash/writer.ts";
import { tempDir } from "../helpers.ts";

/** A store as it was before the damage. */
export interface Intact extends Place {
  /** The digest of each payload file. */
  files: Map<string, string>;
  /** Digests of all payloads that were ever saved under an id. */
  history: Map<string, Set<string>>;
}

/** Damage of one kind. */
export interface DatabaseDamage {
  name: string;
  /** Whether it needs the write-ahead log of a process that was killed. */
  hot?: boolean;
  inflict(db: string, random: Random): void;
}

/** Everything that is done to databases. */
export const DATABASE_DAMAGES: DatabaseDamage[] = [
  {
    name: "bit flips in the database",
    inflict: (db, random) => flip(db, random, random.between(1, 4)),
  },
  {
    name: "bit flips in the database's header",
    inflict: (db, random) => flip(db, random, 1, 0, HEADER_BITS / 8),
  },
  {
    name: "a page of zeros or of noise",
    inflict(db, random) {
      change(db, (bytes) => {
        const at = random.between(0, bytes.length / 4_096) * 4_096;
        const page = bytes.subarray(at, at + 4_096);
        if (random.next() < 0.5) page.fill(0);
        else page.forEach((_, at) => page[at] = random.between(0, 256));
      });
    },
  },
  {
    name: "a database cut short",
    inflict(db, random) {
      const { size } = Deno.statSync(db);
      Deno.truncateSync(db, random.pick([0, random.between(1, size)]));
    },
  },
  {
    name: "a deleted database",
    inflict: (db) => Deno.removeSync(db),
  },
  {
    name: "something else in the database's place",
    inflict: (db) => Deno.writeTextFileSync(db, "not a database\n".repeat(999)),
  },
  {
    name: "bit flips in the write-ahead log",
    hot: true,
    inflict: (db, random) => flip(`${db}-wal`, random, random.between(1, 4)),
  },
  {
    name: "a write-ahead log cut short",
    hot: true,
    inflict(db, random) {
      const wal = `${db}-wal`;
      Deno.truncateSync(wal, random.between(0, Deno.statSync(wal).size));
    },
  },
  {
    name: "a deleted write-ahead log",
    hot: true,
    inflict: (db) => Deno.removeSync(`${db}-wal`),
  },
  {
    name: "bit flips in database and write-ahead log",
    hot: true,
    inflict(db, random) {
      flip(db, random, 2);
      flip(`${db}-wal`, random, 2);
    },
  },
];

/** Bits of a database's header, and of the page header that follows it. */
export const HEADER_BITS = 108 * 8;

/** Flips one bit of the header. */
export function flipHeaderBit(bit: number): DatabaseDamage {
  return {
    name: `bit ${bit & 7} of byte ${bit >> 3}`,
    inflict: (db) =>
      change(db, (bytes) => {
        bytes[bit >> 3]! ^= 1 << (bit & 7);
      }),
  };
}

/**
 * Makes a store that was closed, and with `hot` one that was written to again
 * by a process that was killed.
 */
export async function makeIntact(dir: string, hot: boolean): Promise<Intact> {
  const place = placeBelow(dir);
  const task = { ...place, options: {} };
  const mix = (from: number): Mix => ({
    kind: "mix",
    seed: from,
    from,
    prefix: "tx-",
    ids: 60,
    largest: 100_000,
    ms: 200,
  });
  // Small ones: what large ones leave behind are free pages, and to
  // damage those is no challenge.
  await runWriter({ ...task, work: { kind: "bulk", count: 100 } });
  if (hot) {
    await runWriter({ ...task, work: mix(1) });
    const { killed } = await runWriter({
      ...task,
      work: { ...mix(1_000_000), ms: 60_000 },
      kill: { point: "rows applied", n: 12 },
    });
    assert(killed);
  }
  const files = new Map<string, string>();
  const history = new Map<string, Set<string>>();
  for (const { id, state } of readJournal(place.journal)) {
    const digests = history.get(id) ?? new Set();
    history.set(id, digests);
    if (!state) continue;
    const { payload } = versionOf(id, state.n, state.size);
    digests.add(sha256HexSync(payload));
  }
  for (const { name } of Deno.readDirSync(place.base)) {
    if (txIdOfFile(name) === null) continue;
    files.set(name, digestOfFile(join(place.base, name)));
  }
  return { base: place.base, db: place.db, files, history };
}

/**
 * Damages the database of a copy, and asserts that this is told or does no
 * harm, that no wrong bytes are ever given for right ones, that recovery ends
 * in a clean store, and that no payload is lost on the way.
 *
 * @returns What came of it, for the record.
 */
export async function damageDatabase(
  intact: Intact,
  damage: DatabaseDamage,
  random: Random,
): Promise<"told" | "harmless"> {
  await using dir = await tempDir();
  const { base, db } = placeBelow(dir.path);
  copyTree(intact.base, base);
  damage.inflict(db, random);

  const report = await verified({ base, db });
  assertEquals(missing(base, intact), [], "verify changed payloads");
  const isTold = report === null || report.findings.length > 0;
  if (!isTold) await assertHarmless({ base, db }, intact);

  await recovered({ base, db });
  await assertClean({ base, db });
  // A log cut short brings back an older state whole: then an older payload has
  // a newer one's place, and that one is in quarantine.
  const lost = missing(base, intact, damage.hot);
  assertEquals(lost, [], "not all payloads were kept");
  await assertGivesNothingWrong({ base, db }, intact);
  return isTold ? "told" : "harmless";
}

/** What verify says; null when it cannot even begin, and says why. */
async function verified({ base, db }: Place): Promise<StoreReport | null> {
  try {
    return await verifyStore(base, db);
  } catch (error) {
    assert(error instanceof PohStorageError, String(error));
    return null;
  }
}

/** Recovers as a person would who reads what is said. */
async function recovered({ base, db }: Place): Promise<void> {
  await performRecovery(base, db, { rebuild: true, orphans: "adopt" });
  // What is adopted twice under one id, or not at all, goes aside.
  await performRecovery(base, db, { orphans: "quarantine" });
}

/** Asserts that every transaction is there, or at least its orphaned file. */
async function assertHarmless(place: Place, intact: Intact): Promise<void> {
  await using store = await StorageManager.create(place.base, place.db, {
    readOnly: true,
  });
  const ids = await store.listTxs();
  assertEquals(ids.length, intact.files.size);
  await assertGivesNothingWrong(place, intact);
}

/** Asserts that what a store gives under an id was saved under that id. */
async function assertGivesNothingWrong(
  { base, db }: Place,
  intact: Intact,
): Promise<void> {
  await using store = await StorageManager.create(base, db, { readOnly: true });
  for (const id of await store.listTxs()) {
    const tx = await store.loadTx(id);
    const digest = sha256HexSync(tx!.payload);
    assert(intact.history.get(id)?.has(digest), `wrong bytes for ${id}`);
  }
}

/**
 * Payloads that are neither in their place nor in quarantine, as they were;
 * nor, unless others may have their place, in quarantine only.
 */
function missing(
  base: string,
  { files }: Intact,
  mayBeReplaced = false,
): string[] {
  const kept = new Set<string>();
  const quarantine = join(base, ".poh", "quarantine");
  for (const dir of [base, quarantine]) {
    if (dir === quarantine && !exists(dir)) continue;
    for (const { name } of Deno.readDirSync(dir)) {
      if (name.endsWith(".bin")) kept.add(digestOfFile(join(dir, name)));
    }
  }
  return [...files].filter(([name, digest]) =>
    exists(join(base, name)) && !mayBeReplaced
      ? digestOfFile(join(base, name)) !== digest
      : !kept.has(digest)
  ).map(([name]) => name);
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

function digestOfFile(path: string): string {
  return sha256HexSync(Deno.readFileSync(path));
}

/** Flips so many random bits of a file, in all of it or between two places. */
function flip(
  path: string,
  random: Random,
  count: number,
  from = 0,
  to = Infinity,
): void {
  change(path, (bytes) => {
    for (let flipped = 0; flipped < count; flipped++) {
      const at = random.between(from, Math.min(to, bytes.length));
      bytes[at]! ^= 1 << random.between(0, 8);
    }
  });
}

function change(path: string, edit: (bytes: Uint8Array) => void): void {
  const bytes = Deno.readFileSync(path);
  edit(bytes);
  Deno.writeFileSync(path, bytes);
}
