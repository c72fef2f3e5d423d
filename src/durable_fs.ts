/**
 * The only file that knows how bytes get to the disk and stay there: create,
 * sync, rename, directory sync. Nothing here follows a symbolic link.
 *
 * What the names promise: bytes are on the disk once their file is synced; a
 * name is on the disk once its directory is synced; a rename replaces a name
 * atomically. Without the syncs all of it still survives the death of the
 * process, since the operating system has the bytes.
 *
 * @module
 */

import { dirname } from "@std/path";
import { Sha256, sha256HexSync } from "./hash.ts";

const IS_WINDOWS = Deno.build.os === "windows";

/** Reads and writes of up to so many bytes do not leave the thread. */
export const SMALL = 64 * 1024;

/** Size of the pieces in which large payloads are read, written and hashed. */
export const CHUNK = 256 * 1024;

/** For small files that are looked at and forgotten in one go. */
const scratch = new Uint8Array(SMALL);

/**
 * Creates a file with these bytes; nothing is left where it cannot.
 *
 * @throws {Deno.errors.AlreadyExists} If the name is taken, by whatever it is.
 */
export async function createFile(
  path: string,
  bytes: Uint8Array,
  sync: boolean,
): Promise<void> {
  if (bytes.length <= SMALL && !sync) return createFileSync(path, bytes);
  await createFileFrom(path, [bytes], sync);
}

function createFileSync(path: string, bytes: Uint8Array): void {
  using file = Deno.openSync(path, { write: true, createNew: true });
  try {
    for (let at = 0; at < bytes.length;) {
      at += file.writeSync(bytes.subarray(at));
    }
  } catch (error) {
    removeFileSync(path);
    throw error;
  }
}

/**
 * Creates a file from bytes that come in pieces; nothing is left where it
 * cannot.
 *
 * @returns The digest and the size of what was written.
 * @throws {Deno.errors.AlreadyExists} If the name is taken.
 */
export async function createFileFrom(
  path: string,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  sync: boolean,
): Promise<{ digest: string; size: number }> {
  const hash = new Sha256();
  let size = 0;
  using file = await Deno.open(path, { write: true, createNew: true });
  try {
    for await (const chunk of chunks) {
      for (let at = 0; at < chunk.length; at += CHUNK) {
        const piece = chunk.subarray(at, at + CHUNK);
        hash.update(piece);
        await writeAll(file, piece);
        size += piece.length;
      }
    }
    if (sync) await file.sync();
  } catch (error) {
    removeFileSync(path);
    throw error;
  }
  return { digest: hash.hex(), size };
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    at += await file.write(bytes.subarray(at));
  }
}

/** Waits until a file's bytes are on the disk. A file that is gone is fine. */
export async function syncFile(path: string): Promise<void> {
  try {
    // Windows flushes only through a handle that may write.
    using file = await Deno.open(path, { read: true, write: IS_WINDOWS });
    await file.sync();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/**
 * Waits until the names in a directory are on the disk. Windows has no such
 * call: NTFS journals its directories.
 */
export async function syncDir(path: string): Promise<void> {
  if (IS_WINDOWS) return;
  using dir = await Deno.open(path, { read: true });
  await dir.sync();
}

/** Makes a directory and its parents, on the disk when `sync` is set. */
export async function makeDir(path: string, sync: boolean): Promise<void> {
  const missing: string[] = [];
  for (let at = path; !await isDir(at); at = dirname(at)) {
    missing.push(at);
    if (dirname(at) === at) break;
  }
  await Deno.mkdir(path, { recursive: true });
  if (!sync) return;
  for (const made of missing.reverse()) await syncDir(dirname(made));
}

async function isDir(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Gives a file another name, replacing what has it.
 *
 * Windows refuses while someone has the replaced file open without sharing
 * (virus scanners do, for moments): then it is tried again for two seconds.
 */
export async function renameFile(from: string, to: string): Promise<void> {
  for (let wait = 1;; wait *= 2) {
    try {
      return Deno.renameSync(from, to);
    } catch (error) {
      const mayPass = IS_WINDOWS && wait <= 1024 &&
        error instanceof Deno.errors.PermissionDenied;
      if (!mayPass) throw error;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

/** Removes a file; false when there was none. A directory is none. */
export function removeFileSync(path: string): boolean {
  try {
    if (Deno.lstatSync(path).isDirectory) return false;
    Deno.removeSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Opens a regular file for reading; null when there is none.
 *
 * @throws {Deno.errors.InvalidData} If something else has the name.
 */
export function openRegular(
  path: string,
): { file: Deno.FsFile; size: number } | null {
  const size = regularSize(path);
  if (size === null) return null;
  try {
    return { file: Deno.openSync(path, { read: true }), size };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/**
 * Size in bytes of a regular file; null when there is none.
 *
 * @throws {Deno.errors.InvalidData} If something else has the name.
 */
export function regularSize(path: string): number | null {
  let info: Deno.FileInfo;
  try {
    info = Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
  if (info.isFile) return info.size;
  const what = info.isSymlink
    ? "a symbolic link"
    : info.isDirectory
    ? "a directory"
    : "no regular file";
  throw new Deno.errors.InvalidData(`${path} is ${what}`);
}

/** All bytes of a regular file; null when there is none. */
export async function readRegular(path: string): Promise<Uint8Array | null> {
  const opened = openRegular(path);
  if (!opened) return null;
  using file = opened.file;
  if (opened.size <= SMALL) return readAllSync(file, opened.size);
  const bytes = new Uint8Array(opened.size);
  let at = 0;
  while (at < bytes.length) {
    const read = await file.read(bytes.subarray(at, at + CHUNK));
    if (read === null) break; // it shrank meanwhile: its digest will tell
    at += read;
  }
  return bytes.subarray(0, at);
}

/** At most `size` bytes of an open file, without leaving the thread. */
export function readAllSync(file: Deno.FsFile, size: number): Uint8Array {
  return fillSync(file, new Uint8Array(size));
}

/** The part of a buffer that an open file could fill. */
function fillSync(file: Deno.FsFile, buffer: Uint8Array): Uint8Array {
  let at = 0;
  while (at < buffer.length) {
    const read = file.readSync(buffer.subarray(at));
    if (read === null) break;
    at += read;
  }
  return buffer.subarray(0, at);
}

/** The rest of an open file, piece by piece; closes it at the end. */
export async function* chunksOf(
  file: Deno.FsFile,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  using open = file;
  while (true) {
    const buffer = new Uint8Array(CHUNK);
    const read = await open.read(buffer);
    if (read === null) return;
    yield buffer.subarray(0, read);
  }
}

/**
 * Shows the rest of an open file piece by piece and closes it. The pieces share
 * their memory: each is gone when the next one comes.
 */
export async function scan(
  file: Deno.FsFile,
  see: (piece: Uint8Array) => void,
): Promise<void> {
  using open = file;
  const buffer = new Uint8Array(CHUNK);
  for (let read; (read = await open.read(buffer)) !== null;) {
    see(buffer.subarray(0, read));
  }
}

/** Digest and size in bytes of the rest of an open file, which is closed then. */
export async function digestOfOpen(
  { file, size }: { file: Deno.FsFile; size: number },
): Promise<{ digest: string; size: number }> {
  if (size <= SMALL) {
    using open = file;
    const bytes = fillSync(open, scratch.subarray(0, size));
    return { digest: sha256HexSync(bytes), size: bytes.length };
  }
  const hash = new Sha256();
  let read = 0;
  await scan(file, (piece) => {
    hash.update(piece);
    read += piece.length;
  });
  return { digest: hash.hex(), size: read };
}
