/**
 * Payloads and their catalog know each other by an id, the object `.poh/id`.
 * Without it a URL mistyped, or an emptied bucket, would look like a store
 * whose payloads are all gone, and recover would take every row out of service.
 *
 * @module
 */

import { StoreMismatchError, StoreNotFoundError } from "../errors.ts";
import { sha256HexSync } from "../files/hash.ts";
import type { Catalog, ObjectStore } from "./contracts.ts";
import { txIdOfKey } from "./object_key.ts";

const KEY = ".poh/id";

/** What payloads say of the store that they belong to. */
export interface BaseState {
  /** The id of their store; null where there is none. */
  id: string | null;
  /** Whether there is a store: an id, or payloads. */
  hasStore: boolean;
}

/** How the parts of a store are opened. */
export interface Binding {
  /** Changes nothing. */
  readOnly: boolean;
  /** May make a store where there is none. */
  create: boolean;
  /** May make a new catalog for payloads that have lost theirs. */
  rebuild: boolean;
}

/** Looks at payloads; a bucket that is not there has none. */
export async function stateOf(objects: ObjectStore): Promise<BaseState> {
  try {
    const known = await objects.read(KEY);
    const id = known && new TextDecoder().decode(known).trim();
    return { id, hasStore: id !== null || await hasPayloads(objects) };
  } catch (error) {
    if (!(error instanceof StoreNotFoundError)) throw error;
    return { id: null, hasStore: false };
  }
}

/** Whether a catalog may be made for these payloads. */
export function mayMakeCatalog(
  { hasStore }: BaseState,
  { readOnly, create, rebuild }: Binding,
): boolean {
  return !readOnly && (hasStore ? rebuild : create);
}

/** The error where payloads have no catalog and none may be made for them. */
export function catalogMissing(
  objects: ObjectStore,
  db: string,
  { hasStore }: BaseState,
): Error {
  return hasStore
    ? new StoreMismatchError(
      `There is no database at ${db}, but ${objects.url} has a store: name its own database by --db; if that is gone, "recover --rebuild" makes a new one from the payloads`,
    )
    : new StoreNotFoundError(objects.url);
}

/**
 * Checks that payloads and catalog belong together, and sees to it that they
 * know each other from now on, unless they are only read.
 *
 * @throws {StoreMismatchError} If they do not.
 * @throws {StoreNotFoundError} If there is no store and none may be made.
 */
export async function matchParts(
  objects: ObjectStore & { init(): Promise<void> },
  catalog: Catalog,
  state: BaseState,
  binding: Binding,
): Promise<void> {
  const id = await catalog.id();
  if (state.id === id) return;
  const isEmpty = await isWithoutRows(catalog);
  if (state.id !== null && !(isEmpty && binding.rebuild)) {
    throw new StoreMismatchError(
      `The database ${catalog.url} belongs to another base than ${objects.url}${
        isEmpty ? "; it is empty: recover --rebuild has them go together" : ""
      }`,
    );
  }
  if (!isEmpty) {
    throw new StoreMismatchError(
      `The database ${catalog.url} has transactions, but ${objects.url} is not the base that it knows: is the URL wrong, or the bucket another one?`,
    );
  }
  if (binding.readOnly && !state.hasStore) return;
  if (!mayMakeCatalog(state, binding)) {
    throw catalogMissing(objects, catalog.url, state);
  }
  await objects.init();
  if (state.id !== null) await objects.delete(KEY);
  const bytes = new TextEncoder().encode(`${id}\n`);
  if (await objects.create(KEY, bytes, sha256HexSync(bytes))) return;
  // Another node was faster.
  const now = await stateOf(objects);
  await matchParts(objects, catalog, now, { ...binding, readOnly: true });
}

async function hasPayloads(objects: ObjectStore): Promise<boolean> {
  for await (const { key } of objects.list()) {
    if (txIdOfKey(key) !== null) return true;
  }
  return false;
}

async function isWithoutRows(catalog: Catalog): Promise<boolean> {
  for await (const _ of catalog.entries({ limit: 1 })) return false;
  return true;
}
