/**
 * A base and its database know each other by an id, `<base>/.poh/id` and the
 * setting `id`. Without it a mistyped path, a lost database or a volume that is
 * not mounted would look like a store that is empty, or whose payloads are all
 * gone, and the next command would overwrite or drop what is there.
 *
 * @module
 */

import { join } from "@std/path";
import {
  databaseOf,
  isDatabaseThere,
  isProvenOf,
} from "../sqlite/database_file.ts";
import {
  isAbsent,
  isFile,
  readRegular,
  replaceFile,
} from "../files/durable_fs.ts";
import {
  MetadataDamagedError,
  StoreMismatchError,
  StoreNotFoundError,
} from "../errors.ts";
import {
  payloadPlaces,
  placesOf,
  txIdsAt,
} from "../payloads/payload_layout.ts";
import { upgradePath, waitingPlace } from "./naming.ts";
import { requireKnownVersion } from "../sqlite/schema.ts";
import type { Connection } from "../sqlite/driver.ts";
import type { Database } from "../sqlite/database.ts";
import type { PayloadFiles } from "../payloads/payload_files.ts";
import { readSetting, writeSetting } from "../sqlite/log_state.ts";

/**
 * What an opening may do: `"read"` changes nothing, `"write"` changes a store
 * that is there, `"create"` makes one where there is none.
 */
export type Opening = "read" | "write" | "create";

/** Rows whose files are looked for before all files are looked at. */
const FIRST_ROWS = 1_000;

/** What every id is. */
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Characters of an id that damage may have changed. */
const CHANGED_CHARACTERS = 2;

/** The way out where the database of a base is gone. */
const REBUILD =
  'if that is gone, "recover --rebuild" makes a new one from the payloads';

/** A base has a store when it has an id, or payload files. */
export async function hasStore(files: PayloadFiles): Promise<boolean> {
  return await idOfBase(files.basePath) !== null || await hasPayloads(files);
}

/**
 * Checks that a base and a database belong together. Changes nothing.
 *
 * Two ids decide, also where damage has changed a digit of one. Where one is
 * missing, as in a store of the older Python package, the payloads do: one of
 * the base that has a row in the database.
 *
 * @param db The database, not yet changed; null when there was none: one that
 * has come meanwhile is to be looked at once it is open.
 * @throws {StoreMismatchError} If they do not belong together.
 * @throws {StoreNotFoundError} If there is no store and none may be made.
 * @throws {PohStorageError} `SCHEMA_TOO_NEW` if a later version wrote it.
 */
export async function requireOwnDatabase(
  files: PayloadFiles,
  path: string,
  db: Connection | null,
  opening: Opening,
): Promise<void> {
  if (db) requireKnownVersion(db, path);
  const base = files.basePath;
  const inRows = db && idIn(db);
  const isOwn = inRows !== null && inRows === await readId(base);
  const ofBase = isOwn ? inRows : await idOfBase(base);
  const ofRows = inRows === null ? null : mended(inRows, ofBase);
  if (ofBase !== null && ofBase === ofRows) {
    if (db && hasTable(db, "txs")) return;
    throw new MetadataDamagedError(path, "it has lost its table of rows");
  }
  if (!db || !hasTable(db, "txs")) {
    if (ofBase !== null || await hasPayloads(files)) {
      // Another process may have made it since it was looked for.
      if (!db && isDatabaseThere(path)) return;
      if (db && ofBase !== null) requireSound(db, path, base, ofBase);
      throw await databaseMissing(base, path, ofBase, db !== null);
    }
    if (opening === "create") return;
    throw new StoreNotFoundError(base);
  }
  if (ofBase !== null && ofRows !== null) {
    throw await databaseOfAnother(base, path, ofBase);
  }
  if (await hasPayloadOf(files, db)) return;
  if (ofBase !== null || await hasPayloads(files)) {
    throw new StoreMismatchError(
      `The database ${path} knows none of the payloads in ${base}: name the base's own database by --db; ${REBUILD}, once ${path} is moved away`,
    );
  }
  if (db.prepare("SELECT 1 FROM txs LIMIT 1").get()) {
    throw new StoreMismatchError(
      `The database ${path} has transactions, but ${base} has none of their payloads: is a volume not mounted, or the path wrong? On a new, empty disk copy one payload file of a backup there, then "recover --from <backup>" brings the others`,
    );
  }
  // An empty database that has an id: its base was not finished, or is elsewhere.
  const isStore = ofRows === null && isDir(base);
  if (!isStore && opening !== "create") throw new StoreNotFoundError(base);
}

/**
 * Checks that a base's database is really lost, or the damaged one at `path`, so
 * that a new one may be made there.
 *
 * @throws {StoreMismatchError} If it is there under another path.
 */
export async function requireNoOtherDatabase(
  base: string,
  path: string,
): Promise<void> {
  const id = await idOfBase(base);
  if (id === null) return;
  if (isDatabaseThere(path) && isProvenOf(path, base, id)) return;
  const own = await databaseOf(base, path, id);
  if (own !== null) throw ownIsElsewhere(base, path, own);
}

/** Sees to it that base and database know each other from now on. */
export async function bindStore(
  files: PayloadFiles,
  rows: Database,
): Promise<void> {
  await writeBoth(files, rows, await idOf(files, rows));
}

/** The id of a store; a new one where nothing tells it. */
export async function idOf(
  files: PayloadFiles,
  rows: Database,
): Promise<string> {
  return await ownId(files.basePath, rows) ?? crypto.randomUUID();
}

/** The id of a store by all that tells it; null where nothing does. */
export async function ownId(
  basePath: string,
  rows: Database,
): Promise<string | null> {
  const inRows = readSetting(rows, "id");
  if (inRows !== null && inRows === await readId(basePath)) return inRows;
  const ofBase = await idOfBase(basePath);
  return ofBase ?? (inRows === null ? null : mended(inRows, ofBase));
}

/**
 * Gives a copy of a store an id that is not the original's, so that the base of
 * the one and the database of the other are never taken for a store.
 */
export async function giveOwnId(
  files: PayloadFiles,
  rows: Database,
): Promise<void> {
  const known = await readId(files.basePath);
  await writeBoth(files, rows, known ?? crypto.randomUUID());
}

/**
 * The id of a base by what it says and by the headers of its log, whichever is
 * not damaged; null when neither tells one.
 */
export async function idOfBase(basePath: string): Promise<string | null> {
  const said = await readId(basePath);
  const { LogDir } = await import("../log/log_dir.ts");
  using dir = new LogDir(basePath, { sync: false, write: false });
  const tag = dir.storeId();
  if (tag === null) return said === null ? null : mended(said, null);
  const ofLog = asId(tag);
  return said === null ? ofLog : mended(said, ofLog) ?? ofLog;
}

/**
 * An id as it was before damage, by another one that may be the same: chance
 * makes no two ids that are so near to each other. Null where it is no id.
 */
function mended(id: string, other: string | null): string | null {
  if (other !== null && isNear(id, other)) return other;
  return ID.test(id) ? id : null;
}

function isNear(id: string, other: string): boolean {
  if (id.length !== other.length) return false;
  const changed = Array.from(id).filter((char, n) => char !== other[n]);
  return changed.length <= CHANGED_CHARACTERS;
}

/** The id that a header has the digits of. */
function asId(tag: string): string {
  return tag.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** What `.poh/id` says; null when it is not there. */
export async function readId(basePath: string): Promise<string | null> {
  try {
    const bytes = await readRegular(idPath(basePath));
    return bytes && new TextDecoder().decode(bytes).trim();
  } catch (error) {
    if (error instanceof Deno.errors.NotADirectory) return null;
    throw error;
  }
}

/** The database first: without the base's id it is not yet bound to it. */
async function writeBoth(
  files: PayloadFiles,
  rows: Database,
  id: string,
): Promise<void> {
  if (readSetting(rows, "id") !== id) {
    await rows.change(() => writeSetting(rows, "id", id));
    await rows.wal.flush();
  }
  if (await readId(files.basePath) !== id) await writeId(files, id);
}

async function writeId(files: PayloadFiles, id: string): Promise<void> {
  const tmp = join(files.tmpPath, crypto.randomUUID());
  const bytes = new TextEncoder().encode(`${id}\n`);
  await replaceFile(idPath(files.basePath), bytes, tmp, true);
}

function idPath(basePath: string): string {
  return join(basePath, ".poh", "id");
}

// --- what is there ----------------------------------------------------------

/** Whether there is a payload file, maybe on its way to its new place. */
async function hasPayloads({ basePath }: PayloadFiles): Promise<boolean> {
  const folders = [basePath, upgradePath(basePath)].map(payloadPlaces);
  for (const places of folders) {
    try {
      for await (const _ of places) return true;
    } catch (error) {
      if (!isAbsent(error)) throw error;
    }
  }
  return false;
}

/**
 * Whether any payload file is that of a row, by whichever rules it is named:
 * one of the first rows' files, or else a row of one of all files.
 */
async function hasPayloadOf(
  { basePath }: PayloadFiles,
  db: Connection,
): Promise<boolean> {
  const rows = db.prepare(
    "SELECT tx_id FROM txs WHERE typeof(tx_id) = 'text' LIMIT ?",
  ).all(FIRST_ROWS);
  const isThere = (place: string) => isFile(join(basePath, place));
  for (const [txId] of rows as [string][]) {
    if (placesOf(txId, "mixed", basePath).some(isThere)) return true;
    if (isThere(waitingPlace(txId))) return true;
  }
  const row = db.prepare("SELECT 1 FROM txs WHERE tx_id = ?");
  try {
    for await (const place of payloadPlaces(basePath)) {
      if (txIdsAt(place, "mixed").some((txId) => row.get(txId))) return true;
    }
  } catch (error) {
    if (!isAbsent(error)) throw error;
  }
  return await hasPackedPayloadOf(basePath, db);
}

/** Whether the log of a base has the payload of a row where the row says. */
async function hasPackedPayloadOf(
  basePath: string,
  db: Connection,
): Promise<boolean> {
  const { columnsOf } = await import("../sqlite/schema.ts");
  if (!columnsOf(db, "txs").has("place")) return false;
  const { LogDir } = await import("../log/log_dir.ts");
  const { recordAt } = await import("../log/scan.ts");
  using dir = new LogDir(basePath, { sync: false, write: false });
  const rows = db.prepare(
    "SELECT tx_id, place FROM txs WHERE typeof(place) = 'integer' LIMIT ?",
  ).all(FIRST_ROWS) as [string, number][];
  return rows.some(([txId, place]) => recordAt(dir, place)?.txId === txId);
}

function idIn(db: Connection): string | null {
  if (!hasTable(db, "settings")) return null;
  const row = db.prepare("SELECT value FROM settings WHERE name = 'id'").get();
  return row ? String(row[0]) : null;
}

function hasTable(db: Connection, name: string): boolean {
  return db.prepare(
    "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?",
  ).get(name) !== undefined;
}

/**
 * Tells the base's own database that has lost its tables to damage from one
 * that is none of a store: only the former may be rebuilt where it stands.
 */
function requireSound(
  db: Connection,
  path: string,
  base: string,
  id: string,
): void {
  const reason = String(db.prepare("PRAGMA quick_check(1)").get()?.[0]);
  if (reason === "ok" || !isProvenOf(path, base, id)) return;
  throw new MetadataDamagedError(path, reason.split("\n").at(-1)!);
}

function isDir(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

// --- errors -----------------------------------------------------------------

async function databaseMissing(
  base: string,
  path: string,
  id: string | null,
  isOther: boolean,
): Promise<StoreMismatchError> {
  const own = id === null ? null : await databaseOf(base, path, id);
  if (own !== null) return ownIsElsewhere(base, path, own);
  return new StoreMismatchError(
    isOther
      ? `${path} is a database, but none of a store: name the one of ${base} by --db; ${REBUILD}, once ${path} is moved away`
      : `There is no database at ${path}, but ${base} has a store: name its own database by --db; ${REBUILD}`,
  );
}

async function databaseOfAnother(
  base: string,
  path: string,
  id: string,
): Promise<StoreMismatchError> {
  const own = await databaseOf(base, path, id);
  return own === null
    ? new StoreMismatchError(
      `The database ${path} belongs to another base than ${base}: name the base's own database by --db; ${REBUILD}, under a path that is free`,
    )
    : ownIsElsewhere(base, path, own);
}

function ownIsElsewhere(
  base: string,
  path: string,
  own: string,
): StoreMismatchError {
  return new StoreMismatchError(
    `${path} is not the database of ${base}: that is ${own}, name it by --db`,
  );
}
