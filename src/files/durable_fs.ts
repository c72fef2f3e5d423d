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
import { digestOfPieces, Sha256, sha256HexSync } from "./hash.ts";
import { readNoFollowSync, refusesLinks } from "./no_follow.ts";

const IS_WINDOWS = Deno.build.os === "windows";

/** Reads and writes of up to so many bytes do not leave the thread. */
export const SMALL = 64 * 1024;

/** Size of the pieces in which large payloads are read, written and hashed. */
export const CHUNK = 256 * 1024;

/** Files synced, or read, at once: more is not faster, fewer is slower. */
const SYNCS_IN_FLIGHT = 32;
const READS_IN_FLIGHT = 256;

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

/** As `createFile`, without leaving the thread or waiting for the disk. */
export function createFileSync(path: string, bytes: Uint8Array): void {
  using file = Deno.openSync(path, { write: true, createNew: true });
  try {
    writeAllSync(file, bytes);
  } catch (error) {
    removeFileSync(path);
    throw error;
  }
}

/** Writes all of these bytes, without leaving the thread. */
export function writeAllSync(file: Deno.FsFile, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) {
    at += file.writeSync(bytes.subarray(at));
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
  using file = await Deno.open(path, { write: true, createNew: true });
  try {
    const written = await writeFrom(file, chunks);
    if (sync) await file.syncData();
    return written;
  } catch (error) {
    removeFileSync(path);
    throw error;
  }
}

/**
 * Writes bytes that come in pieces to an open file.
 *
 * @returns The digest and the size of what was written.
 */
export async function writeFrom(
  file: Deno.FsFile,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<{ digest: string; size: number }> {
  const hash = new Sha256();
  let size = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += CHUNK) {
      const piece = chunk.subarray(at, at + CHUNK);
      const written = writeAll(file, piece);
      hash.update(piece); // meanwhile
      await written;
      size += piece.length;
    }
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
    using file = openToSync(path);
    await file.syncData();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/**
 * Opens a file for writing as well: Windows flushes only through such a handle,
 * and a FIFO that somebody put in the file's place does not block it.
 */
function openToSync(path: string): Deno.FsFile {
  try {
    return Deno.openSync(path, { read: true, write: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
    regularSize(path); // a file that may only be read has to be one
    return Deno.openSync(path, { read: true });
  }
}

/** What is told of a file or a name that the disk refused. */
export type OnRefused<T = string> = (what: T, error: Error) => void;

/**
 * Waits until the bytes of many files are on the disk.
 *
 * @param onRefused Receives each file that the disk refused, for callers that
 * write it anew. To ask the disk again proves nothing: systems report a lost
 * write once.
 * @throws {AggregateError} Without `onRefused`: if the disk refused any file.
 */
export async function syncFiles(
  paths: string[],
  onRefused?: OnRefused,
): Promise<void> {
  const refused = new Map<string, Error>();
  const pending = paths.values();
  const work = async () => {
    for (const path of pending) {
      try {
        await syncFile(path);
      } catch (error) {
        if (error instanceof Deno.errors.NotCapable) throw error;
        refused.set(path, error as Error);
      }
    }
  };
  await Promise.all(Array.from({ length: SYNCS_IN_FLIGHT }, work));
  handleRefused(refused, onRefused);
}

/** Hands over what the disk refused, or throws it: nothing is dropped. */
export function handleRefused<T>(
  refused: ReadonlyMap<T, Error>,
  onRefused?: OnRefused<T>,
): void {
  if (refused.size === 0) return;
  if (onRefused) {
    return refused.forEach((error, what) => onRefused(what, error));
  }
  const [[first, error]] = refused as Iterable<[T, Error]> as [[T, Error]];
  const more = refused.size - 1;
  throw new AggregateError(
    refused.values(),
    `The disk did not take ${first}${
      more > 0 ? ` and ${more} more` : ""
    }: ${error.message}`,
  );
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

/** The names in a directory; none where it is not there. */
export async function namesIn(dir: string): Promise<string[]> {
  try {
    return await Array.fromAsync(Deno.readDir(dir), (entry) => entry.name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/**
 * Makes a directory and its parents, on the disk when `sync` is set. One that is
 * there may be another process's, which has not synced it yet, or could not.
 */
export async function makeDir(path: string, sync: boolean): Promise<void> {
  const missing: string[] = [];
  for (let at = path; !await isDir(at); at = dirname(at)) {
    missing.push(at);
    if (dirname(at) === at) break;
  }
  await Deno.mkdir(path, { recursive: true });
  if (!sync) return;
  for (const made of missing.reverse()) await syncDir(dirname(made));
  if (missing.length > 0) return;
  try {
    await syncDir(dirname(path));
  } catch (error) {
    // Who may not read what is above it has not made it either.
    const mayNot = error instanceof Deno.errors.NotCapable ||
      error instanceof Deno.errors.PermissionDenied;
    if (!mayNot) throw error;
  }
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
 * Windows refuses while someone has either file open without sharing (virus
 * scanners do, for moments): then it is tried again for two seconds.
 *
 * @param sync Whether to wait until both directories are on the disk. False
 * where a later sync covers them, or the store promises no durability.
 */
export async function renameFile(
  from: string,
  to: string,
  sync: boolean,
): Promise<void> {
  await replaceName(from, to);
  if (!sync) return;
  // The new name first: with neither on the disk the file has its old one.
  for (const dir of new Set([dirname(to), dirname(from)])) await syncDir(dir);
}

/**
 * Writes a file under a temporary name, then gives it its own: whoever reads
 * it finds the old bytes or the new ones, whole.
 *
 * @param tmp The temporary name, on the same file system.
 * @param sync Whether to wait for the disk, for bytes and names.
 */
export async function replaceFile(
  path: string,
  bytes: Uint8Array,
  tmp: string,
  sync: boolean,
): Promise<void> {
  await createFile(tmp, bytes, sync);
  try {
    await renameFile(tmp, path, sync);
  } catch (error) {
    removeFileSync(tmp);
    throw error;
  }
}

async function replaceName(from: string, to: string): Promise<void> {
  for (let wait = 1;; wait *= 2) {
    try {
      return Deno.renameSync(from, to);
    } catch (error) {
      if (!isInUse(error) || wait > 1024) throw error;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

/** Whether Windows refused because of who has one of the files open. */
function isInUse(error: unknown): boolean {
  return IS_WINDOWS && (error instanceof Deno.errors.PermissionDenied ||
    error instanceof Error && "code" in error && error.code === "EBUSY");
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
  throw new Deno.errors.InvalidData(`${path} is ${kindOf(info)}`);
}

/** Returns whether a regular file has a path; false also where none can. */
export function isFile(path: string): boolean {
  try {
    return Deno.lstatSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return false;
  }
}

/** Returns whether anything has a path. */
export function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

/** Returns whether an error says that nothing has a path. */
export function isAbsent(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound ||
    error instanceof Deno.errors.NotADirectory;
}

/** What has a name, for people. */
export function kindOf(info: Deno.FileInfo): string {
  if (info.isFile) return "a file";
  if (info.isDirectory) return "a directory";
  if (info.isSymlink) return "a symbolic link";
  if (info.isFifo) return "a FIFO";
  if (info.isSocket) return "a socket";
  return "a device";
}

/**
 * Removes what a program that ended has left: anything but a directory with
 * something in it, which is somebody else's.
 *
 * @param dryRun Only tells.
 * @returns Whether it is gone, or would be.
 */
export function removeLeftover(path: string, dryRun: boolean): boolean {
  const info = Deno.lstatSync(path);
  const isOthers = info.isDirectory &&
    Deno.readDirSync(path)[Symbol.iterator]().next().done !== true;
  if (!isOthers && !dryRun) Deno.removeSync(path);
  return !isOthers;
}

/** All bytes of a regular file; null when there is none. */
export async function readRegular(path: string): Promise<Uint8Array | null> {
  const opened = openRegular(path);
  if (!opened) return null;
  const { file, size } = opened;
  if (size <= SMALL) {
    using open = file;
    return readAllSync(open, size);
  }
  const bytes = new Uint8Array(size);
  let read = 0;
  for await (const piece of piecesInto(bytes, file)) read += piece.length;
  return bytes.subarray(0, read); // it may have shrunk
}

/** All bytes of a regular file and their digest; null when there is none. */
export async function readWithDigest(
  path: string,
): Promise<{ bytes: Uint8Array; digest: string } | null> {
  const opened = openRegular(path);
  if (!opened) return null;
  const { file, size } = opened;
  if (size <= SMALL) {
    using open = file;
    const bytes = readAllSync(open, size);
    return { bytes, digest: sha256HexSync(bytes) };
  }
  const bytes = new Uint8Array(size);
  const { digest, size: read } = await digestOfPieces(piecesInto(bytes, file));
  return { bytes: bytes.subarray(0, read), digest }; // it may have shrunk
}

/**
 * The bytes of a small file that is known to have `size` of them, in the fewest
 * system calls; the next call overwrites them. Null where that is not so,
 * whatever the reason: a load that takes its time finds out.
 */
export function tryReadSync(path: string, size: number): Uint8Array | null {
  if (size < 0 || size >= SMALL) return null;
  const buffer = scratch.subarray(0, size + 1);
  try {
    const read = refusesLinks()
      ? readNoFollowSync(path, buffer)
      : readIfFileSync(path, size, buffer);
    return read === size ? scratch.subarray(0, size) : null;
  } catch {
    return null;
  }
}

/** The same with a look at what has the name beforehand; null: not that file. */
function readIfFileSync(
  path: string,
  size: number,
  buffer: Uint8Array,
): number | null {
  const info = Deno.lstatSync(path);
  if (!info.isFile || info.size !== size) return null;
  using file = Deno.openSync(path); // options cost a microsecond
  return file.readSync(buffer) ?? 0;
}

/**
 * Reads small files that are known to have `size` bytes, many at once and in no
 * order; without a word of those for which that is not so.
 */
export async function readManySmall<T extends { path: string; size: number }>(
  files: Iterable<T>,
  take: (file: T, bytes: Uint8Array) => void,
): Promise<void> {
  const pending = files[Symbol.iterator]();
  const work = async () => {
    for (let next = pending.next(); !next.done; next = pending.next()) {
      const { path, size } = next.value;
      if (size < 0 || size > SMALL) continue;
      try {
        const info = await Deno.lstat(path);
        if (!info.isFile || info.size !== size) continue;
        const bytes = await Deno.readFile(path);
        if (bytes.length === size) take(next.value, bytes);
      } catch {
        // Whoever reads it in earnest is told.
      }
    }
  };
  await Promise.all(Array.from({ length: READS_IN_FLIGHT }, work));
}

/** At most `size` bytes of an open file, without leaving the thread. */
export function readAllSync(file: Deno.FsFile, size: number): Uint8Array {
  return fillSync(file, new Uint8Array(size));
}

/** The part of a buffer that an open file could fill, without leaving the thread. */
export function fillSync(file: Deno.FsFile, buffer: Uint8Array): Uint8Array {
  let at = 0;
  while (at < buffer.length) {
    const read = file.readSync(buffer.subarray(at));
    if (read === null) break;
    at += read;
  }
  return buffer.subarray(0, at);
}

/** What is read piece by piece, and then closed. */
export type Readable = Pick<Deno.FsFile, "read" | "close">;

/** Where the piece of a file behind so many bytes is to be read to. */
type BufferAt = (at: number) => Uint8Array<ArrayBuffer>;

/**
 * Reads the rest of an open file, each piece while the one before is looked at.
 * The end is where the file ends, or where there is no buffer left.
 */
export class ReadAhead implements AsyncDisposable {
  readonly #file: Readable;
  readonly #bufferAt: BufferAt;
  #at = 0;
  #reading: Promise<Uint8Array<ArrayBuffer> | null> | null = null;
  #closing: Promise<void> | null = null;

  /** Takes over the file; nothing is read yet. */
  constructor(
    file: Readable,
    bufferAt: BufferAt = () => new Uint8Array(CHUNK),
  ) {
    this.#file = file;
    this.#bufferAt = bufferAt;
  }

  /** The next piece; null at the end. */
  async next(): Promise<Uint8Array<ArrayBuffer> | null> {
    this.#reading ??= this.#read();
    const piece = await this.#reading;
    if (piece === null || this.#closing) return null;
    this.#at += piece.length;
    this.#reading = this.#read();
    this.#reading.catch(() => {}); // whoever asks for it is told
    return piece;
  }

  /** Closes the file, once nothing reads it any more. Safe to repeat. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await this.#reading?.catch(() => {});
    this.#file.close();
  }

  async #read(): Promise<Uint8Array<ArrayBuffer> | null> {
    const buffer = this.#bufferAt(this.#at);
    if (buffer.length === 0) return null;
    const read = await this.#file.read(buffer);
    return read === null ? null : buffer.subarray(0, read);
  }
}

/** The rest of an open file, piece by piece; closes it at the end. */
export async function* piecesOf(
  file: Readable,
  bufferAt?: BufferAt,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  await using ahead = new ReadAhead(file, bufferAt);
  for (let piece; (piece = await ahead.next()) !== null;) yield piece;
}

/** The rest of an open file, piece by piece, each at its place in a buffer. */
function piecesInto(buffer: Uint8Array<ArrayBuffer>, file: Deno.FsFile) {
  return piecesOf(file, (at) => buffer.subarray(at, at + CHUNK));
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
  const buffers = [new Uint8Array(CHUNK), new Uint8Array(CHUNK)] as const;
  let turn = 0;
  return await digestOfPieces(piecesOf(file, () => buffers[turn++ % 2]!));
}
