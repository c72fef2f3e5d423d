/**
 * What has to be so of a store's places before it is opened, above all of its
 * own folder, `<base>/.poh`. Recovery moves and deletes files in
 * it, so a symbolic link planted there must not lead it elsewhere.
 *
 * @module
 */

import { join } from "@std/path";
import { isThere, kindOf } from "./durable_fs.ts";
import { BackupReadOnlyError, StoreNotFoundError } from "../errors.ts";
import { FOLDS_CASE } from "./file_name.ts";

const DIRECTORIES = [
  "tmp",
  "staged",
  "quarantine",
  "holders",
  "upgrade",
  "log",
  "tlog",
];
const FILES = [
  "lock",
  "commit.lock",
  "checkpoint.lock",
  "waiting",
  "newest",
  "id",
  "names",
  "backup",
  "reserve",
  "write-once",
];

/** The directory for what is out of service. */
export function quarantinePath(basePath: string): string {
  return join(basePath, ".poh", "quarantine");
}

/** The directory for half-written files, which recover empties. */
export function tmpPath(basePath: string): string {
  return join(basePath, ".poh", "tmp");
}

/**
 * Checks that what is there of a store's own folder is what it should be.
 *
 * @throws {Deno.errors.InvalidData} If a link, or anything else, has its place.
 */
export function requirePohDir(basePath: string): void {
  const dir = join(basePath, ".poh");
  const own = lstat(dir);
  if (own === null) return;
  if (!own.isDirectory) throw misplaced(dir, "a directory", own);
  // One call, where asking for each name takes longer than to open a database.
  for (const entry of Deno.readDirSync(dir)) {
    const path = join(dir, entry.name);
    const name = FOLDS_CASE ? entry.name.toLowerCase() : entry.name;
    if (DIRECTORIES.includes(name) && !entry.isDirectory) {
      throw misplaced(path, "a directory", lstat(path));
    }
    if (FILES.includes(name) && !entry.isFile) {
      throw misplaced(path, "a regular file", lstat(path));
    }
  }
}

/**
 * Checks that there is something at a path.
 *
 * @throws {StoreNotFoundError} If there is not.
 */
export function requireThere(path: string): void {
  try {
    Deno.statSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new StoreNotFoundError(path);
    }
    throw error;
  }
}

/**
 * Checks that a folder is not a backup's: what is saved there, the next backup
 * would delete.
 *
 * @throws {BackupReadOnlyError} If it is.
 */
export function requireNoBackup(basePath: string): void {
  if (isThere(join(basePath, ".poh", "backup"))) {
    throw new BackupReadOnlyError(basePath);
  }
}

function lstat(path: string): Deno.FileInfo | null {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

function misplaced(
  path: string,
  what: string,
  found: Deno.FileInfo | null,
): Error {
  return new Deno.errors.InvalidData(
    `${path} must be ${what}, and is ${found ? kindOf(found) : "gone"}`,
  );
}
