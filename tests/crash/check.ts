/**
 * What must hold of a store whose writer died.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import {
  type FindingKind,
  performRecovery,
  PohStorageError,
  StorageManager,
  type StorageOptions,
  StoreNotFoundError,
  type StoreReport,
  type Tx,
  verifyStore,
} from "../../mod.ts";
import { sha256HexSync } from "../../src/files/hash.ts";
import { listQuarantine } from "../../src/payloads/quarantine.ts";
import { namesIn } from "../helpers.ts";
import { type State, versionOf } from "./journal.ts";

/** Where a store is. */
export interface Place {
  base: string;
  db: string;
}

/** What a store may hold, by id. */
export type Allowed = Map<string, State[]>;

/** What a store holds, by id. */
export type Seen = Map<string, State>;

/** Whether a crash alone may leave something of a kind behind. */
export function isTidy(kind: FindingKind): boolean {
  return kind === "unfinished" || kind === "leftover-temp";
}

/**
 * Asserts that a store whose writer was killed has lost nothing, and that
 * recovery leaves it clean.
 *
 * @param how Whether a service just goes on with the store, or recovers first.
 * @returns What it holds.
 */
export async function checkAfterCrash(
  place: Place,
  allowed: Allowed,
  how: "recover" | "open",
  options: StorageOptions = {},
): Promise<Seen> {
  const { base, db } = place;
  try {
    const before = await verifyStore(base, db, options);
    assertUndamaged(before, "verify, before anything was repaired");
    await checkReadOnly(place, allowed, options);
  } catch (error) {
    // Before there was a store nothing can have been done; and a database with
    // a journal is read once a writer has rolled it back.
    const isEarly = error instanceof StoreNotFoundError ||
      error instanceof PohStorageError && error.code === "UNFINISHED";
    if (!isEarly) throw error;
  }
  let seen: Seen | undefined;
  if (how === "open") {
    await using store = await StorageManager.create(base, db, options);
    seen = await contentsOf(store, allowed);
  }
  // A cut may have left nothing of a store that was just being made.
  const made = await performRecovery(base, db, { ...options, create: true });
  assertUndamaged(made, "recover");
  await assertClean(place, options);
  assertEquals(await Array.fromAsync(listQuarantine(base)), []);

  await using store = await StorageManager.create(base, db, options);
  const after = await contentsOf(store, allowed);
  if (seen) assertEquals(after, seen, "recovery changed what was there");
  return after;
}

/** Asserts that recover and verify find nothing more. */
export async function assertClean(
  { base, db }: Place,
  options: StorageOptions = {},
): Promise<void> {
  const second = await performRecovery(base, db, options);
  assertEquals(second.findings, [], "a second recover found something");
  const verified = await verifyStore(base, db, options);
  assertEquals(verified.findings, [], "verify found something after recover");
  assertEquals(verified.sound, verified.checked);
  for (const dir of ["tmp", "staged"]) {
    assertEquals(namesIn(base, ".poh", dir), [], `left in .poh/${dir}`);
  }
  const kept = namesIn(base, ".poh", "quarantine");
  const unnamed = kept.filter((name) =>
    !kept.includes(name.replace(/\.\w+$/, ".json"))
  );
  assertEquals(unnamed, [], "left in .poh/quarantine, of no case");
}

/**
 * What a store holds of these ids, and asserts that this is allowed, whole,
 * and all there is.
 *
 * @param prefix What these ids begin with: others are not looked at.
 */
export async function contentsOf(
  store: StorageManager,
  allowed: Allowed,
  prefix = "",
): Promise<Seen> {
  const problems: string[] = [];
  const seen: Seen = new Map();
  for (const [id, states] of allowed) {
    try {
      const state = await stateOf(store, id);
      seen.set(id, state);
      if (!states.some((other) => isSame(state, other))) {
        problems.push(
          `${id} is ${tell(state)}, not ${states.map(tell).join(" or ")}`,
        );
      }
    } catch (error) {
      problems.push(`${id}: ${(error as Error).message}`);
    }
  }
  for (const id of await store.listTxs({ idPrefix: prefix })) {
    if (!allowed.has(id)) problems.push(`${id} was never saved`);
  }
  assertEquals(problems, []);
  return seen;
}

/**
 * Which version of a transaction is there, whole.
 *
 * @param looks How often to look: a change whose caller was refused for others
 * that were busy may follow between two calls.
 */
async function stateOf(
  store: StorageManager,
  id: string,
  looks = 3,
): Promise<State> {
  const tx = await store.loadTx(id);
  if (!tx) return null;
  const state = { n: tx.timestamp - 0.25, size: tx.payload.length };
  const info = await store.infoTx(id);
  if (info?.timestamp !== tx.timestamp && looks > 1) {
    return await stateOf(store, id, looks - 1);
  }
  assertEquals(info?.size, state.size, "size of row and payload");
  // Row and payload of one version, not of two.
  assertSameTx(tx, versionOf(id, state.n, state.size));
  return state;
}

/**
 * Asserts that two transactions are the same. By digests: the difference of
 * two large payloads would take all memory to tell.
 */
export function assertSameTx(actual: Tx | null, expected: Tx | null): void {
  const brief = (tx: Tx | null) =>
    tx && { ...tx, payload: sha256HexSync(tx.payload) };
  assertEquals(brief(actual), brief(expected));
}

async function checkReadOnly(
  { base, db }: Place,
  allowed: Allowed,
  options: StorageOptions,
): Promise<void> {
  await using store = await StorageManager.create(base, db, {
    ...options,
    readOnly: true,
  });
  await contentsOf(store, allowed);
}

function assertUndamaged(report: StoreReport, when: string): void {
  const untoward = report.findings.filter(({ kind }) => !isTidy(kind));
  assertEquals(untoward, [], `${when}: found what no crash may leave`);
  assert(!report.damaged, when);
}

function isSame(a: State, b: State): boolean {
  return a === b || a?.n === b?.n && a?.size === b?.size;
}

function tell(state: State): string {
  return state ? `version ${state.n} of ${state.size} bytes` : "absent";
}
