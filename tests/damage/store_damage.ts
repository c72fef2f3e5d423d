/**
 * Damage to anything in a store but its payload files, and what an operator
 * then does: open it, recover it, rebuild its database. Chance decides what is
 * hit; what must hold afterwards is not a matter of chance.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { join, relative } from "@std/path";
import {
  type Finding,
  IntegrityError,
  performRecovery,
  PohStorageError,
  StorageManager,
  type StoreReport,
  type Tx,
  verifyStore,
} from "../../mod.ts";
import { sha256HexSync } from "../../src/files/hash.ts";
import { LogDir } from "../../src/log/log_dir.ts";
import { scanLog } from "../../src/log/scan.ts";
import {
  FIRST_RECORD,
  offsetOf,
  positionOf,
  segmentOf,
} from "../../src/log/segment.ts";
import { assertClean, type Place } from "../crash/check.ts";
import { allowedStates, readJournal, versionOf } from "../crash/journal.ts";
import { copyTree, placeBelow, runWriter } from "../crash/process.ts";
import type { Random } from "../crash/random.ts";
import { tempDir, within } from "../helpers.ts";

/** No power is cut here. */
const FAST = { durability: "relaxed" } as const;

/** No round takes longer, in ms. */
const TIME_LIMIT = 60_000;

const SECTOR = 512;

/** Payloads of up to so many bytes are in the log, in stores that pack them. */
const PACK_BELOW = 4_000;

/** A version of a transaction. */
interface Version {
  holderId: string;
  timestamp: number;
  /** SHA-256 of its payload. */
  digest: string;
}

/** A store as it was before the damage. */
export interface SoundStore extends Place {
  /** Which layout it has, and how its writer ended. */
  name: string;
  /** What each id may hold; null: nothing. */
  allowed: Map<string, (Version | null)[]>;
  /** Digests of all payloads that were ever saved under an id. */
  history: Map<string, Set<string>>;
  /** Where the records of its log are, by path of the segment. */
  records: Map<string, { txId: string; from: number; to: number }[]>;
}

/** Makes one of each: files and packed, closed and killed. */
export async function makeSoundStores(
  dir: string,
  size: { bulk: number; ids: number },
): Promise<SoundStore[]> {
  const stores: SoundStore[] = [];
  for (const layout of ["files", "packed"]) {
    for (const ending of ["closed", "killed"]) {
      stores.push(await makeSoundStore(dir, layout, ending, size));
    }
  }
  return stores;
}

async function makeSoundStore(
  dir: string,
  layout: string,
  ending: string,
  size: { bulk: number; ids: number },
): Promise<SoundStore> {
  const name = `${layout}, ${ending}`;
  const place = placeBelow(join(dir, `${layout}-${ending}`));
  const options = {
    ...FAST,
    ...(layout === "packed" && { packBelow: PACK_BELOW }),
  };
  const task = { ...place, options };
  await runWriter({ ...task, work: { kind: "bulk", count: size.bulk } });
  await runWriter({ ...task, work: { kind: "changes" } });
  if (ending === "killed") {
    const { killed } = await runWriter({
      ...task,
      work: {
        kind: "mix",
        seed: 1,
        from: 1_000,
        prefix: "tx-",
        ids: size.ids,
        largest: 70_000,
        ms: 60_000,
      },
      kill: { point: "log synced", n: 12 },
    });
    assert(killed);
  }
  const history = new Map<string, Set<string>>();
  const lines = readJournal(place.journal);
  for (const { id, state } of lines) {
    const digests = history.get(id) ?? new Set();
    history.set(id, digests);
    if (!state) continue;
    digests.add(digestOf(versionOf(id, state.n, state.size)));
  }
  const allowed: SoundStore["allowed"] = new Map();
  for (const [id, states] of allowedStates(lines)) {
    const versions = states.map((state) =>
      state && briefly(versionOf(id, state.n, state.size))
    );
    allowed.set(id, versions);
  }
  return {
    base: place.base,
    db: place.db,
    name,
    allowed,
    history,
    records: recordsOf(place.base),
  };
}

function recordsOf(base: string): SoundStore["records"] {
  using dir = new LogDir(base, { sync: false, write: false });
  const records: SoundStore["records"] = new Map();
  const [first = 0] = dir.numbers();
  for (const { record } of scanLog(dir, positionOf(first, FIRST_RECORD))) {
    if (!record) continue;
    const path = relative(base, dir.pathOf(segmentOf(record.position)))
      .replaceAll("\\", "/");
    const from = offsetOf(record.position);
    const { txId, length } = record;
    const list = records.get(path) ?? [];
    list.push({ txId, from, to: from + length });
    records.set(path, list);
  }
  return records;
}

// --- damage -------------------------------------------------------------------

/** What was done to a file. */
export interface Inflicted {
  /** Path below the base. */
  path: string;
  /** In words. */
  what: string;
  /** The bytes that may be other ones by now. */
  ranges: { from: number; to: number }[];
}

/** Damages one file that is no payload file. */
function inflict(base: string, random: Random): Inflicted {
  const path = pickFile(base, random);
  const file = join(base, path);
  const bytes = Deno.readFileSync(file);
  const { length } = bytes;
  const sectors = Math.ceil(length / SECTOR);
  const sector = () => placeIn(bytes, random) / SECTOR | 0;
  const kind = random.next();
  if (length === 0) {
    Deno.writeFileSync(file, Uint8Array.of(random.between(1, 256)));
    return { path, what: "a byte in an empty file", ranges: [] };
  }
  if (kind < 0.7 || sectors < 2) {
    const at = placeIn(bytes, random), bit = random.between(0, 8);
    bytes[at]! ^= 1 << bit;
    Deno.writeFileSync(file, bytes);
    const ranges = [{ from: at, to: at + 1 }];
    return { path, what: `bit ${bit} of byte ${at} flipped`, ranges };
  }
  if (kind < 0.8) {
    const to = random.next() < 0.2 ? 0 : placeIn(bytes, random);
    Deno.truncateSync(file, to);
    const ranges = [{ from: to, to: length }];
    return { path, what: `cut from ${length} to ${to} bytes`, ranges };
  }
  if (kind < 0.9) {
    const from = sector() * SECTOR, to = from + SECTOR;
    bytes.fill(0, from, to);
    Deno.writeFileSync(file, bytes);
    return { path, what: `sector at ${from} zeroed`, ranges: [{ from, to }] };
  }
  const [a, b] = [sector() * SECTOR, sector() * SECTOR];
  const [one, other] = [a, b].map((at) => bytes.slice(at, at + SECTOR));
  bytes.set(one!.subarray(0, length - b), b);
  bytes.set(other!.subarray(0, length - a), a);
  Deno.writeFileSync(file, bytes);
  const ranges = [a, b].map((from) => ({ from, to: from + SECTOR }));
  return { path, what: `sectors at ${a} and ${b} swapped`, ranges };
}

/** The database and the log more often than the small files beside them. */
function pickFile(base: string, random: Random): string {
  const paths = [...filesIn(base)].sort();
  const kind = random.next();
  const wanted = kind < 0.35
    ? paths.filter((path) => path === "poh.db")
    : kind < 0.5
    ? paths.filter((path) => path === "poh.db-wal")
    : kind < 0.8
    ? paths.filter((path) => path.endsWith(".seg"))
    : [];
  return random.pick(wanted.length > 0 ? wanted : paths);
}

function* filesIn(base: string, below = ""): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(join(base, below))) {
    const path = below ? `${below}/${name}` : name;
    const isPayload = path.endsWith(".bin") || path === ".poh/staged" ||
      path === ".poh/tmp" || path === ".poh/quarantine";
    if (isPayload) continue;
    if (isDirectory) yield* filesIn(base, path);
    else yield path;
  }
}

/** Mostly where something is; sometimes in the first bytes; else anywhere. */
function placeIn(bytes: Uint8Array, random: Random): number {
  const kind = random.next();
  if (kind < 0.15) return random.between(0, Math.min(bytes.length, SECTOR));
  if (kind < 0.25) return random.between(0, bytes.length);
  const end = bytes.findLastIndex((byte) => byte !== 0) + 1;
  return random.between(0, Math.max(end, 1));
}

// --- what an operator does --------------------------------------------------------

/** How a store came through. */
export type Outcome = "harmless" | "recovered" | "rebuilt";

/** Damages a copy of a store, and asserts that it comes through. */
export async function damageStore(
  sound: SoundStore,
  random: Random,
  damage: (base: string, random: Random) => Inflicted = inflict,
): Promise<Outcome> {
  await using dir = await tempDir();
  const { base, db } = placeBelow(dir.path);
  copyTree(sound.base, base);
  const done = damage(base, random);
  try {
    return await within(
      TIME_LIMIT,
      comesThrough(sound, { base, db }, done, random),
    );
  } catch (error) {
    const { message } = error as Error;
    throw new Error(`${sound.name}: ${done.path}: ${done.what}: ${message}`, {
      cause: error,
    });
  }
}

async function comesThrough(
  sound: SoundStore,
  place: Place,
  done: Inflicted,
  random: Random,
): Promise<Outcome> {
  const { base, db } = place;
  const first = random.next();
  if (first < 0.25) await orRefused(() => verifyStore(base, db));
  else if (first < 0.5) await orRefused(() => readAll(sound, place, true));
  else if (first < 0.75) await orRefused(() => readAll(sound, place, false));
  const reports: StoreReport[] = [];
  const recover = async (options = {}) =>
    void reports.push(await performRecovery(base, db, { ...FAST, ...options }));
  const isRecovered = await orRefused(() => recover());
  const isDamaged = () =>
    (reports.at(-1)?.actions["metadata-damaged"]?.none ?? 0) > 0;
  const needsRebuild = !isRecovered || isDamaged();
  if (needsRebuild) await recover({ rebuild: true });
  if (reports.at(-1)!.counts["orphan-payload"] > 0) {
    await recover({ orphans: "adopt" });
    await recover({ orphans: "quarantine" });
  }
  await assertClean(place, FAST);
  await assertNothingLost(sound, place, done, reports);
  if (needsRebuild) return "rebuilt";
  return reports.some(({ damaged }) => damaged) ? "recovered" : "harmless";
}

/** What is refused has to be refused in the words of the package. */
async function orRefused(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (error instanceof PohStorageError) return false;
    throw error;
  }
}

/** Loads everything before anything was recovered: nothing may be false. */
async function readAll(
  { history }: SoundStore,
  { base, db }: Place,
  readOnly: boolean,
): Promise<void> {
  await using store = await StorageManager.create(base, db, {
    ...FAST,
    readOnly,
  });
  for (const id of await store.listTxs()) {
    try {
      const tx = await store.loadTx(id);
      const isKnown = !tx || history.get(id)?.has(digestOf(tx));
      assert(isKnown, `wrong bytes for ${id} before recover`);
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error;
    }
  }
}

async function assertNothingLost(
  sound: SoundStore,
  place: Place,
  done: Inflicted,
  reports: StoreReport[],
): Promise<void> {
  const findings = reports.flatMap(({ findings }) => findings);
  const kept = keptDigests(place.base);
  const hit = hitIds(sound, done);
  const problems: string[] = [];
  await using store = await StorageManager.create(place.base, place.db, {
    readOnly: true,
  });
  for (const [id, allowed] of sound.allowed) {
    const tx = await store.loadTx(id);
    const problem = problemOf(tx && briefly(tx), allowed, {
      isHit: hit.has(id),
      isNamed: findings.some(({ txId }) => txId === id),
      findings,
      kept,
      history: sound.history.get(id)!,
    });
    if (problem) problems.push(`${id}: ${problem}`);
  }
  for (const id of await store.listTxs()) {
    if (!sound.allowed.has(id)) problems.push(`${id} was never saved`);
  }
  if (problems.length === 0) return;
  const told = findings.slice(0, 20).map(({ kind, txId, detail, action }) =>
    `${kind} ${txId}: ${detail} (${action})`
  );
  assertEquals([...problems.slice(0, 10), "told:", ...told], []);
}

/** What is wrong with what an id holds; null: nothing. */
function problemOf(
  tx: Version | null,
  allowed: (Version | null)[],
  { isHit, isNamed, findings, kept, history }: {
    isHit: boolean;
    isNamed: boolean;
    findings: Finding[];
    kept: Set<string>;
    history: Set<string>;
  },
): string | null {
  if (tx && !history.has(tx.digest)) return "wrong bytes";
  const same = allowed.find((one) => one?.digest === tx?.digest);
  if (same === null) return null;
  if (same && tx) {
    const isWhole = same.holderId === tx.holderId &&
      same.timestamp === tx.timestamp;
    if (isWhole) return null;
    if (tx.holderId !== "") {
      return `a false holder or time: ${tx.holderId} ${tx.timestamp}`;
    }
    return findings.some(tellsLostHolders) ? null : "its holder is lost untold";
  }
  const isLost = !allowed.includes(null);
  if (!isLost) return isHit ? null : "it is back, though it was deleted";
  if (!isNamed) return tx ? "an older version, untold" : "it is lost untold";
  const isKept = allowed.some((one) => kept.has(one!.digest));
  return isHit || isKept ? null : "its bytes are lost, and were not hit";
}

function tellsLostHolders({ detail }: Finding): boolean {
  return /holder/.test(detail);
}

/** Ids of which a record was hit. */
function hitIds({ records }: SoundStore, { path, ranges }: Inflicted) {
  const hit = new Set<string>();
  for (const { txId, from, to } of records.get(path) ?? []) {
    const isHit = ranges.some((range) => range.from < to && from < range.to);
    if (isHit) hit.add(txId);
  }
  return hit;
}

/** Digests of all payload files, in their places and in quarantine. */
function keptDigests(base: string): Set<string> {
  const digests = new Set<string>();
  for (const dir of [base, join(base, ".poh", "quarantine")]) {
    try {
      for (const { name } of Deno.readDirSync(dir)) {
        if (!name.endsWith(".bin")) continue;
        digests.add(sha256HexSync(Deno.readFileSync(join(dir, name))));
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return digests;
}

function briefly(tx: Tx): Version {
  const { holderId, timestamp } = tx;
  return { holderId, timestamp, digest: digestOf(tx) };
}

function digestOf({ payload }: Tx): string {
  return sha256HexSync(payload);
}
