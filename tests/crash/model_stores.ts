/**
 * The stores on which the model checker of power cuts works: how they are made,
 * and what they have to have.
 *
 * @module
 */

import { join } from "@std/path";
import { StorageManager } from "../../mod.ts";
import { type Allowed, contentsOf, type Place } from "./check.ts";
import type { Work } from "./crash_model.ts";
import { type Line, versionOf } from "./journal.ts";
import type { Random } from "./random.ts";

/** An operation on a store that was made for it. */
export interface Operation {
  /** What is done to it. */
  work: Work;
  /**
   * Asserts what must hold of what a cut has left in a folder.
   *
   * @param lines What the writer's journal had by then.
   */
  check(left: string, lines: Line[], random: Random): Promise<void>;
}

/** Makes a store below a folder, for an operation on it. */
export type Preparation = (
  folder: string,
  random: Random,
) => Promise<Operation>;

/** Where a store is below a folder. */
export function placeIn(folder: string, name = "base"): Place {
  const base = join(folder, name);
  return { base, db: join(base, "poh.db") };
}

/** Transactions that `fill` saves. */
export const COUNT = 24;

/** Saves a few transactions, small and large. */
export async function fill(place: Place, packBelow: number): Promise<Allowed> {
  const versions = Array.from({ length: COUNT }, (_, n) => ({
    id: `tx-${n}`,
    n,
    size: n % 12 === 11 ? 70_000 : 40 * n,
  }));
  await using store = await StorageManager.create(place.base, place.db, {
    packBelow,
  });
  await store.saveTxs(
    versions.map(({ id, n, size }) => versionOf(id, n, size)),
  );
  return new Map(versions.map(({ id, n, size }) => [id, [{ n, size }]]));
}

/** Asserts that a store has exactly this. */
export async function assertHas(
  { base, db }: Place,
  all: Allowed,
): Promise<void> {
  await using store = await StorageManager.open(base, db, { readOnly: true });
  await contentsOf(store, all);
}

/** Whether a service recovers first, or just goes on. */
export function anyHow(random: Random): "recover" | "open" {
  return random.pick(["recover", "open"] as const);
}

/** Whether anything has a name. */
export function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
