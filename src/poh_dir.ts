/**
 * The store's own folder, `<base>/.poh`. Recovery moves and deletes files in
 * it, so a symbolic link planted there must not lead it elsewhere.
 *
 * @module
 */

import { join } from "@std/path";

const DIRECTORIES = ["", "tmp", "staged", "quarantine", "holders"];
const FILES = ["lock", "commit.lock", "newest", "id", "backup"];

/** The directory for what is out of service. */
export function quarantinePath(basePath: string): string {
  return join(basePath, ".poh", "quarantine");
}

/**
 * Checks that what is there of a store's own folder is what it should be.
 *
 * @throws {Deno.errors.InvalidData} If a link, or anything else, has its place.
 */
export function requirePohDir(basePath: string): void {
  const dir = join(basePath, ".poh");
  for (const name of DIRECTORIES) {
    expect(join(dir, name), "a directory", (info) => info.isDirectory);
  }
  for (const name of FILES) {
    expect(join(dir, name), "a regular file", (info) => info.isFile);
  }
}

function expect(
  path: string,
  what: string,
  isRight: (info: Deno.FileInfo) => boolean,
): void {
  let info: Deno.FileInfo;
  try {
    info = Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  if (isRight(info)) return;
  const found = info.isSymlink ? "a symbolic link" : "something else";
  throw new Deno.errors.InvalidData(
    `${path} must be ${what}, and is ${found}`,
  );
}
