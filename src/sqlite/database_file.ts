/**
 * What lies at a database's path: nothing, a SQLite database, a damaged one, or
 * a file that never was one.
 *
 * @module
 */

import { basename, dirname, join, resolve } from "@std/path";
import {
  CHUNK,
  kindOf,
  openRegular,
  readAllSync,
} from "../files/durable_fs.ts";
import { PohStorageError } from "../errors.ts";
import { openSqlite } from "./driver.ts";

/** The name that a database has in a base unless told otherwise. */
const DEFAULT_NAME = "poh.db";

/** What every SQLite database begins with. */
const MAGIC = "SQLite format 3\0";

/** Names of databases that were set aside, or are not finished. */
const ASIDE = /\.(damaged-|rebuild|restoring)/;

/** What SQLite may have beside a database file. */
export const COMPANIONS: readonly string[] = ["-wal", "-shm", "-journal"];

/** Files looked at in search of a database. */
const CANDIDATES = 100;

/**
 * Whether anything has a database's path, but for an empty file, which SQLite
 * takes for a database without tables. What it is, opening it tells.
 */
export function isDatabaseThere(path: string): boolean {
  try {
    const { isFile, size } = Deno.statSync(path);
    return !isFile || size > 0;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Makes sure that SQLite opens files: to read a FIFO never ends. The database
 * may be a link to one.
 *
 * @throws {Deno.errors.InvalidData} If something else has a name of theirs.
 */
export function requireFiles(path: string): void {
  for (const suffix of ["", ...COMPANIONS]) {
    let info: Deno.FileInfo;
    try {
      info = Deno.statSync(path + suffix);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) continue;
      // SQLite asks for no permission for what it has beside the database.
      const isBeside = suffix !== "";
      if (isBeside && error instanceof Deno.errors.NotCapable) continue;
      throw error;
    }
    if (info.isFile) continue;
    throw new Deno.errors.InvalidData(
      `The database ${path} cannot be opened: ${path}${suffix} is ${
        kindOf(info)
      }`,
    );
  }
}

/**
 * Whether a file that SQLite refuses is a damaged database rather than some
 * other file: it begins as every SQLite database does, or is proven to be the
 * base's own.
 */
export function isDamagedDatabase(
  path: string,
  base: string | null,
  id: string | null,
): boolean {
  return beginsAsDatabase(path) || id !== null && isProvenOf(path, base, id);
}

/**
 * Whether a file, however damaged, is the database of a base: its `poh.db`, or a
 * file that holds its id.
 */
export function isProvenOf(
  path: string,
  base: string | null,
  id: string,
): boolean {
  const isDefault = base !== null && basename(path) === DEFAULT_NAME &&
    resolve(dirname(path)) === resolve(base);
  return isDefault || holds(path, id);
}

/** The error for a file that never was a database. */
export function notADatabase(path: string): PohStorageError {
  return new PohStorageError(
    "NOT_A_DATABASE",
    `${path} is not a database: name the right one by --db, or move this away`,
  );
}

/**
 * Finds the database that has a store's id, in the store's base and beside the
 * path where it was expected.
 *
 * @param except The path where it is not.
 * @returns Its path; null when it is in neither folder.
 */
export async function databaseOf(
  base: string,
  except: string,
  id: string,
): Promise<string | null> {
  for (const folder of new Set([base, dirname(except)])) {
    for (const path of candidatesIn(folder)) {
      if (path !== except && await hasId(path, id)) return path;
    }
  }
  return null;
}

function candidatesIn(folder: string): string[] {
  const paths: string[] = [];
  try {
    for (const { name, isFile } of Deno.readDirSync(folder)) {
      if (!isFile || name.endsWith(".bin") || ASIDE.test(name)) continue;
      paths.push(join(folder, name));
    }
  } catch {
    return []; // what cannot be searched gives no hint
  }
  return paths.sort().slice(0, CANDIDATES);
}

/**
 * By SQLite alone, and the library that serves: to close a database file in any
 * other way drops the locks that this process has on it.
 */
async function hasId(path: string, id: string): Promise<boolean> {
  try {
    const db = await openSqlite(path, "auto", true);
    try {
      const row = db.prepare("SELECT value FROM settings WHERE name = 'id'")
        .get();
      return row?.[0] === id;
    } finally {
      db.close();
    }
  } catch {
    return false; // no database of ours, or none that can be read
  }
}

function beginsAsDatabase(path: string): boolean {
  const opened = openRegular(Deno.realPathSync(path));
  if (!opened) return false;
  using file = opened.file;
  return latin1(readAllSync(file, MAGIC.length)) === MAGIC;
}

/** Whether a file holds a text of ASCII characters. */
function holds(path: string, text: string): boolean {
  const opened = openRegular(Deno.realPathSync(path));
  if (!opened) return false;
  using file = opened.file;
  for (let carry = "", piece; (piece = readAllSync(file, CHUNK)).length > 0;) {
    const window = carry + latin1(piece);
    if (window.includes(text)) return true;
    carry = window.slice(-text.length);
  }
  return false;
}

function latin1(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes);
}
