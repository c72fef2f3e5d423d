/**
 * Payloads as files of one directory.
 *
 * Beside the contract of {@linkcode PayloadStore} this store has the parts from
 * which the storage manager builds group commit: `place` and `discard` change
 * a file without waiting for the disk, `sync` waits for many at once, `stage`
 * makes a large payload durable before anything names it.
 *
 * @module
 */

import { basename, dirname, join } from "@std/path";
import {
  createFile,
  createFileFrom,
  digestOfOpen,
  handleRefused,
  makeDir,
  type OnRefused,
  openRegular,
  readRegular,
  readWithDigest,
  regularSize,
  removeFileSync,
  renameFile,
  syncDir,
  syncFiles,
} from "./durable_fs.ts";
import type { FileThread } from "./file_thread.ts";
import { type PayloadFile, readSoon } from "./payload_file.ts";
import {
  fileName,
  fileNames,
  hasPlainName,
  txIdOfFile,
  txIdsOfFile,
} from "./key.ts";
import { requireKnown } from "./options.ts";
import { quarantineFile } from "./quarantine.ts";
import type { PayloadStore } from "./store.ts";
import type { TxInfo } from "./types.ts";

/** Whether an id has a row whose payload is in a file. */
export type HasRow = (txId: string) => boolean;

const noRow: HasRow = () => false;

/** Options of {@linkcode FileStore}. */
export interface FileStoreOptions {
  /** Whether to wait for the disk: true (default) survives power loss. */
  sync?: boolean;
}

/**
 * Keeps each payload in `<base>/<file name of tx id>.bin`.
 *
 * Needs `--allow-read` and `--allow-write` for the directory.
 *
 * @example Usage
 * ```ts
 * import { FileStore } from "@poh/storage";
 * import { assertEquals } from "@std/assert";
 *
 * const base = await Deno.makeTempDir();
 * const store = new FileStore(base);
 * await store.init();
 * await store.save("a", new Uint8Array([1, 2, 3]));
 * assertEquals(await store.load("a"), new Uint8Array([1, 2, 3]));
 * await Deno.remove(base, { recursive: true });
 * ```
 */
export class FileStore implements PayloadStore {
  /** The directory of the payload files. */
  readonly basePath: string;
  /** Half-written files; nothing ever refers to them. */
  readonly tmpPath: string;
  /** Complete payloads that wait for their rename. */
  readonly stagedPath: string;
  /** Who has the store open for writing. */
  readonly holdersPath: string;
  readonly #sync: boolean;
  /** What stands before the name of a payload file. */
  readonly #prefix: string;

  /** A store on `basePath`; touches nothing yet. */
  constructor(basePath: string, options: FileStoreOptions = {}) {
    requireKnown(options, "FileStoreOptions");
    this.basePath = basePath;
    this.tmpPath = join(basePath, ".poh", "tmp");
    this.stagedPath = join(basePath, ".poh", "staged");
    this.holdersPath = join(basePath, ".poh", "holders");
    this.#prefix = join(basePath, "_").slice(0, -1);
    this.#sync = options.sync ?? true;
  }

  /** Makes the directories; harmless when they are there. */
  async init(): Promise<void> {
    await makeDir(this.tmpPath, this.#sync);
    await makeDir(this.stagedPath, this.#sync);
  }

  /** {@inheritDoc PayloadStore.save} */
  async save(txId: string, payload: Uint8Array): Promise<void> {
    const to = this.pathOf(txId);
    const tmp = this.#tmpName();
    await createFile(tmp, payload, this.#sync);
    await this.#replace(to, tmp, this.#sync);
  }

  /** {@inheritDoc PayloadStore.load} */
  async load(txId: string): Promise<Uint8Array | null> {
    return (await this.loadWithDigest(txId))?.bytes ?? null;
  }

  /** The payload and its digest; null when there is none. */
  async loadWithDigest(
    txId: string,
  ): Promise<{ bytes: Uint8Array; digest: string } | null> {
    for (const name of this.#names(txId)) {
      const found = await readWithDigest(this.#at(name));
      if (found) return found;
    }
    return null;
  }

  /**
   * The payload of a row where it is soon read: small, under the id's own name,
   * as the row says. Null proves nothing.
   */
  loadSoon(row: TxInfo): Uint8Array | null {
    return readSoon(this.expected(row))?.slice() ?? null;
  }

  /**
   * Where the payload of a row is put, and what it is to be.
   *
   * @internal
   */
  expected(row: TxInfo): PayloadFile {
    const { size, storageHash: digest } = row;
    return { path: this.#path(row) ?? "", size, digest };
  }

  /** {@inheritDoc PayloadStore.exists} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async exists(txId: string): Promise<boolean> {
    return this.find(txId) !== null;
  }

  /** {@inheritDoc PayloadStore.remove} */
  async remove(txId: string): Promise<boolean> {
    const name = this.findOwn(txId);
    if (name === null) return false;
    const removed = removeFileSync(this.#at(name));
    if (this.#sync) await syncDir(this.basePath);
    return removed;
  }

  /** {@inheritDoc PayloadStore.listKeys} */
  async listKeys(): Promise<string[]> {
    return await Array.fromAsync(this.keys());
  }

  /** {@inheritDoc PayloadStore.keys} */
  async *keys(): AsyncIterableIterator<string> {
    for await (const { txId } of this.files()) yield txId;
  }

  /**
   * Every payload file's name and the id whose payload it holds, or that of
   * another one which `txIdsOfFile` tells.
   */
  async *files(): AsyncIterableIterator<{ name: string; txId: string }> {
    for await (const entry of Deno.readDir(this.basePath)) {
      const txId = txIdOfFile(entry.name);
      if (txId !== null) yield { name: entry.name, txId };
    }
  }

  /** The name of the file that holds an id's payload; null when none does. */
  find(txId: string): string | null {
    for (const name of this.#names(txId)) {
      if (regularSize(this.#at(name)) !== null) return name;
    }
    return null;
  }

  /**
   * Like `find`, but not by a name that is another id's here, as `a%2Fb.bin` is
   * that of `a/b`, nor by one under which an id that has a row finds its
   * payload. What it holds may be the other's: to load it does no harm, the
   * digest tells; to take it away would.
   */
  findOwn(txId: string, hasRow: HasRow = noRow): string | null {
    const name = this.find(txId);
    const isOwn = name !== null && txIdOfFile(name) === txId &&
      !this.#isOthers(name, txId, hasRow);
    return isOwn ? name : null;
  }

  /** The ids of `txIdsOfFile` that find their payload in this file. */
  usersOf(name: string): string[] {
    const txIds = txIdsOfFile(name);
    return txIds.every(hasPlainName)
      ? txIds
      : txIds.filter((txId) => this.find(txId) === name);
  }

  /** The open payload file and its size in bytes; null when there is none. */
  open(txId: string): { file: Deno.FsFile; size: number } | null {
    for (const name of this.#names(txId)) {
      const opened = openRegular(this.#at(name));
      if (opened) return opened;
    }
    return null;
  }

  /** Digest and size of the payload in its place; null when there is none. */
  async digest(txId: string): Promise<{ digest: string; size: number } | null> {
    const opened = this.open(txId);
    return opened && await digestOfOpen(opened);
  }

  /** Digest and size of a file, by its name; null when there is none. */
  async digestOfFile(
    name: string,
  ): Promise<{ digest: string; size: number } | null> {
    const opened = openRegular(this.#at(name));
    return opened && await digestOfOpen(opened);
  }

  /** Where an id's payload is put. */
  pathOf(txId: string): string {
    return this.#at(fileName(txId));
  }

  /** Puts a payload in its place, atomically for whoever reads an older one. */
  async place(
    txId: string,
    payload: Uint8Array,
    hasRow: HasRow = noRow,
  ): Promise<void> {
    const to = this.pathOf(txId);
    this.#makeRoom(txId, hasRow);
    try {
      // A new name needs no rename: nobody trusts it before it has all bytes.
      await createFile(to, payload, false);
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      const tmp = this.#tmpName();
      await createFile(tmp, payload, false);
      await this.#replace(to, tmp, false);
    }
    this.#removeOlder(txId, hasRow);
  }

  /** Keeps a payload under a name that nothing refers to yet. */
  async stage(
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<{ name: string; digest: string; size: number }> {
    const name = crypto.randomUUID();
    const path = join(this.stagedPath, name);
    return { name, ...await createFileFrom(path, chunks, this.#sync) };
  }

  /** Waits until the names of staged payloads are on the disk. */
  async syncStaged(): Promise<void> {
    if (this.#sync) await syncDir(this.stagedPath);
  }

  /** Puts a staged payload in its place; false when it is not there any more. */
  async placeStaged(
    txId: string,
    name: string,
    hasRow: HasRow = noRow,
  ): Promise<boolean> {
    const from = join(this.stagedPath, name);
    if (regularSize(from) === null) return false;
    const to = this.pathOf(txId);
    this.#makeRoom(txId, hasRow);
    await makeWay(to);
    await renameFile(from, to, false); // `sync` waits for many at once
    this.#removeOlder(txId, hasRow);
    return true;
  }

  /** The open staged payload; null when it is in its place by now. */
  openStaged(name: string): { file: Deno.FsFile; size: number } | null {
    return openRegular(join(this.stagedPath, name));
  }

  /** All bytes of a staged payload; null when it is in its place by now. */
  async loadStaged(name: string): Promise<Uint8Array | null> {
    return await readRegular(join(this.stagedPath, name));
  }

  /** All bytes of a staged payload, which is staged no more. */
  async takeStaged(name: string): Promise<Uint8Array> {
    const payload = await this.loadStaged(name);
    if (!payload) {
      throw new Deno.errors.NotFound(`The staged payload ${name} is gone`);
    }
    this.unstage(name);
    return payload;
  }

  /** Removes a staged payload that nothing came to refer to. */
  unstage(name: string): void {
    try {
      removeFileSync(join(this.stagedPath, name));
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      // It does no harm, and recover removes it.
    }
  }

  /**
   * Removes the files of an id that no row refers to any more. Under the id's
   * own name that is any file; under another name it might have, only one with
   * the digest that its row had; under another id's name, only where there was
   * none of its own, and never one in which an id that has a row finds its
   * payload.
   */
  async discard(
    txId: string,
    digest: string,
    hasRow: HasRow = noRow,
  ): Promise<void> {
    const [own] = fileNames(txId);
    let hadOwn = false;
    for (const name of this.#names(txId)) {
      if (this.#isOthers(name, txId, hasRow)) continue;
      const path = this.#at(name);
      if (name === own) {
        hadOwn = removeFileSync(path);
        continue;
      }
      if (hadOwn && txIdOfFile(name) !== txId) continue;
      const found = await this.digestOfFile(name);
      if (found?.digest === digest) removeFileSync(path);
    }
  }

  /** Whether nothing is left that `discard` would look at. */
  isDiscarded(txId: string, hasRow: HasRow): boolean {
    const name = this.find(txId);
    return name === null || this.#isOthers(name, txId, hasRow);
  }

  /**
   * Waits until these payloads, or their absence, are on the disk.
   *
   * @internal
   * @param onRefused Receives each id that the disk refused, for callers that
   * write its payload anew.
   * @param thread Another thread that is to wait.
   * @throws {AggregateError} Without `onRefused`: if the disk refused any.
   */
  async sync(
    txIds: string[],
    onRefused?: OnRefused,
    thread?: FileThread | null,
  ): Promise<void> {
    if (!this.#sync) return;
    const ids = new Map<string, string>();
    for (const txId of txIds) {
      const path = this.#path({ txId });
      if (path !== null) ids.set(path, txId);
    }
    const refused = new Map<string, Error>();
    const onFile = (path: string, error: Error) =>
      refused.set(ids.get(path)!, error);
    const paths = [...ids.keys()];
    await (thread ? thread.sync(paths, onFile) : syncFiles(paths, onFile));
    try {
      await syncDir(this.basePath);
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      for (const txId of txIds) refused.set(txId, error as Error);
    }
    handleRefused(refused, onRefused);
  }

  /** Where an id's payload is put; null where no file can stand for it. */
  #path({ txId }: Pick<TxInfo, "txId">): string | null {
    const [name] = fileNames(txId);
    return name === undefined ? null : this.#at(name);
  }

  /** The path of a name in this directory. */
  #at(name: string): string {
    return this.#prefix + name;
  }

  /** The names under which an id's payload may be found in this directory. */
  #names(txId: string): string[] {
    return fileNames(txId).filter((name) => {
      const actual = nameOnDisk(this.#at(name));
      return actual === null || actual === name;
    });
  }

  /** Whether another id, one that has a row, finds its payload in this file. */
  #isOthers(name: string, txId: string, hasRow: HasRow): boolean {
    return txIdsOfFile(name).some((id) =>
      id !== txId && hasRow(id) && this.find(id) === name
    );
  }

  /**
   * `a%2Fb.bin`, which the older package made for the id `a%2Fb`, gets the name
   * that this id has here before `a/b` takes the other.
   */
  #makeRoom(txId: string, hasRow: HasRow): void {
    const name = fileName(txId);
    for (const other of txIdsOfFile(name)) {
      const isUsed = other !== txId && hasRow(other) &&
        this.find(other) === name;
      if (!isUsed) continue;
      const to = this.#at(fileName(other));
      Deno.renameSync(this.#at(name), to);
    }
  }

  /** Removes what an id had under its other names, now that it has its own. */
  #removeOlder(txId: string, hasRow: HasRow): void {
    for (const name of fileNames(txId).slice(1)) {
      if (txIdOfFile(name) !== txId) continue;
      if (this.#isOthers(name, txId, hasRow)) continue;
      const path = this.#at(name);
      const actual = nameOnDisk(path);
      if (actual === null || actual === name) removeFileSync(path);
    }
  }

  #tmpName(): string {
    return join(this.tmpPath, crypto.randomUUID());
  }

  async #replace(path: string, tmp: string, sync: boolean): Promise<void> {
    try {
      await makeWay(path);
      await renameFile(tmp, path, sync);
    } catch (error) {
      removeFileSync(tmp);
      throw error;
    }
  }
}

/**
 * Where case does not count, a file of the older package may have the wanted
 * name in other letters and so belong to another id (`A.bin` when `a` is
 * saved). It moves to the name that its own id has here, unless that id has a
 * newer payload there.
 */
async function makeWay(path: string): Promise<void> {
  const actual = nameOnDisk(path);
  if (actual === null || actual === basename(path)) return;
  const owner = txIdOfFile(actual);
  if (owner === null) return;
  const base = dirname(path);
  const to = join(base, fileName(owner));
  if (regularSize(to) === null) return Deno.renameSync(path, to);
  // Its id was saved here since; this is an older payload, that nobody reads.
  const reason = "orphan-payload";
  await quarantineFile(base, path, { txId: owner, reason });
}

/**
 * How the file that answers to a path is really spelled, where case does not
 * count: `a.bin` answers to `A.bin` there. Null when there is no such file, when
 * it cannot be told, and where a name has one spelling only.
 */
function nameOnDisk(path: string): string | null {
  if (Deno.build.os !== "windows" && Deno.build.os !== "darwin") return null;
  try {
    if (Deno.lstatSync(path).isSymlink) return null; // it leads elsewhere
    return basename(Deno.realPathSync(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return null; // reading it will tell why
  }
}
