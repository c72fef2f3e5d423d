/**
 * A base and its database know each other by an id, `<base>/.poh/id` and the
 * setting `id`. Without it a volume that is not mounted, or a path mistyped,
 * would look like a store whose payloads are all gone, and recover would take
 * every row out of service.
 *
 * @module
 */

import { join } from "@std/path";
import { readRegular, replaceFile } from "./durable_fs.ts";
import { StoreMismatchError } from "./errors.ts";
import type { FileStore } from "./file_store.ts";
import type { SqliteStore } from "./sqlite_store.ts";

/**
 * Checks that base and database belong together, and sees to it that they
 * know each other from now on, unless the store is open read-only.
 *
 * @throws {StoreMismatchError} If they do not.
 */
export async function matchStoreId(
  files: FileStore,
  rows: SqliteStore,
  readOnly: boolean,
): Promise<void> {
  const ofBase = await readId(files.basePath);
  const ofRows = rows.setting("id");
  if (ofBase !== null && ofBase === ofRows) return;
  if (ofBase !== null && ofRows !== null) {
    throw new StoreMismatchError(
      `The database ${rows.path} belongs to another base than ${files.basePath}; to use them together all the same, delete ${
        idPath(files.basePath)
      }`,
    );
  }
  if (ofBase === null && rows.needsFiles() && !await hasPayloads(files)) {
    throw new StoreMismatchError(
      `The database ${rows.path} has transactions, but ${files.basePath} has no payloads: is a volume not mounted, or the path wrong? If they are really gone, move the database away`,
    );
  }
  if (readOnly) return;
  const id = ofBase ?? ofRows ?? crypto.randomUUID();
  if (ofBase === null) await writeId(files, id);
  if (ofRows === null) await rows.change(() => rows.setSetting("id", id));
}

/**
 * Gives a copy of a store an id that is not the original's, so that the base of
 * the one and the database of the other are never taken for a store.
 */
export async function giveOwnId(
  files: FileStore,
  rows: SqliteStore,
): Promise<void> {
  const known = await readId(files.basePath);
  const id = known ?? crypto.randomUUID();
  if (known === null) await writeId(files, id);
  await rows.change(() => rows.setSetting("id", id));
}

async function hasPayloads(files: FileStore): Promise<boolean> {
  for await (const _ of files.files()) return true;
  return false;
}

async function readId(basePath: string): Promise<string | null> {
  const bytes = await readRegular(idPath(basePath));
  return bytes && new TextDecoder().decode(bytes).trim();
}

async function writeId(files: FileStore, id: string): Promise<void> {
  const tmp = join(files.tmpPath, crypto.randomUUID());
  const bytes = new TextEncoder().encode(`${id}\n`);
  await replaceFile(idPath(files.basePath), bytes, tmp, true);
}

function idPath(basePath: string): string {
  return join(basePath, ".poh", "id");
}
