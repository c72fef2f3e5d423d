/**
 * Payloads and their catalog know each other by an id, the object `.poh/id`.
 * Without it a URL mistyped, or an emptied bucket, would look like a store
 * whose payloads are all gone, and recover would take every row out of service.
 *
 * @module
 */

import { StoreMismatchError } from "../errors.ts";
import { sha256HexSync } from "../hash.ts";
import type { Catalog, ObjectStore } from "./contracts.ts";

const KEY = ".poh/id";

/**
 * Checks that payloads and catalog belong together, and sees to it that they
 * know each other from now on, unless they are only read.
 *
 * @throws {StoreMismatchError} If they do not.
 */
export async function matchParts(
  objects: ObjectStore,
  catalog: Catalog,
  options: { readOnly?: boolean; rebuild?: boolean },
): Promise<void> {
  const [known, id] = await Promise.all([objects.read(KEY), catalog.id()]);
  const ofBase = known && new TextDecoder().decode(known).trim();
  if (ofBase === id) return;
  const isEmpty = await isWithoutRows(catalog);
  if (ofBase !== null && !(isEmpty && options.rebuild)) {
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
  if (options.readOnly) return;
  if (ofBase !== null) await objects.delete(KEY);
  const bytes = new TextEncoder().encode(`${id}\n`);
  if (await objects.create(KEY, bytes, sha256HexSync(bytes))) return;
  // Another node was faster.
  await matchParts(objects, catalog, { readOnly: true });
}

async function isWithoutRows(catalog: Catalog): Promise<boolean> {
  for await (const _ of catalog.entries({ limit: 1 })) return false;
  return true;
}
