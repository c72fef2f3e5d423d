/**
 * Payloads as files, where `payload_layout.ts` has them.
 *
 * Beside the contract of {@linkcode PayloadStore} this store has the parts from
 * which the storage manager builds group commit: `place` and `discard` change
 * a file without waiting for the disk, `sync` waits for many at once, `stage`
 * makes a large payload durable before anything names it.
 *
 * @module
 */

import { dirname, join } from "@std/path";
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
} from "../files/durable_fs.ts";
import { tmpPath } from "../files/layout.ts";
import type { PayloadFile } from "./payload_file.ts";
import { sha256HexSync } from "../files/hash.ts";
import { fileName } from "../files/file_name.ts";
import {
  payloadFolders,
  payloadPlaces,
  placeOf,
  txIdsAt,
} from "./payload_layout.ts";
import {
  type OptionsType,
  optionsType,
  requireKnown,
  rule,
} from "../options.ts";
import type { PayloadStore } from "../model/store.ts";
import type { TxInfo } from "../types.ts";

/** How the files of a store that has not been upgraded yet are named. */
export interface EarlierNames {
  /** Where an id's payload may be, as paths from the base, the likelier first. */
  placesOf(txId: string): string[];
  /** The ids whose payload a file may hold, by its place. */
  txIdsOf(place: string): string[];
}

/** Options of {@linkcode FileStore}. */
export interface FileStoreOptions {
  /** Whether to wait for the disk: true (default) survives power loss. */
  sync?: boolean;
}

/** Checks {@linkcode FileStoreOptions}. */
const FILE_STORE_OPTIONS: OptionsType = optionsType<FileStoreOptions>(
  "FileStoreOptions",
  { sync: rule.flag },
);

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
  readonly #earlier: EarlierNames | null;
  /** What stands before the name of a payload file. */
  readonly #prefix: string;

  /**
   * A store on `basePath`; touches nothing yet.
   *
   * @param earlier For reading a store that has not been upgraded yet.
   */
  constructor(
    basePath: string,
    options: FileStoreOptions = {},
    earlier: EarlierNames | null = null,
  ) {
    requireKnown(options, FILE_STORE_OPTIONS);
    this.basePath = basePath;
    this.tmpPath = tmpPath(basePath);
    this.stagedPath = join(basePath, ".poh", "staged");
    this.holdersPath = join(basePath, ".poh", "holders");
    this.#prefix = join(basePath, "_").slice(0, -1);
    this.#sync = options.sync ?? true;
    this.#earlier = earlier;
  }

  /** Makes the directories; harmless when they are there. */
  async init(): Promise<void> {
    const { basePath, tmpPath, stagedPath } = this;
    const own = [dirname(tmpPath), tmpPath, stagedPath];
    for (const path of [basePath, ...own, ...payloadFolders(basePath)]) {
      await makeDir(path, this.#sync);
    }
  }

  /** {@inheritDoc PayloadStore.save} */
  async save(txId: string, payload: Uint8Array): Promise<void> {
    fileName(txId); // refuses what no file can stand for
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
    for (const place of this.placesOf(txId)) {
      const found = await readWithDigest(this.#at(place));
      if (found) return found;
    }
    return null;
  }

  /**
   * Where the payload of a row is put, and what it is to be.
   *
   * @internal
   */
  expected(row: TxInfo): PayloadFile {
    const { txId, size, storageHash: digest } = row;
    const place = this.#earlier
      ? this.#earlier.placesOf(txId)[0]
      : placeOf(txId);
    return { path: place === undefined ? "" : this.#at(place), size, digest };
  }

  /** {@inheritDoc PayloadStore.exists} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async exists(txId: string): Promise<boolean> {
    return this.find(txId) !== null;
  }

  /** {@inheritDoc PayloadStore.remove} */
  async remove(txId: string): Promise<boolean> {
    const place = this.find(txId);
    if (place === null) return false;
    const removed = removeFileSync(this.#at(place));
    await this.syncFolders();
    return removed;
  }

  /** {@inheritDoc PayloadStore.listKeys} */
  async listKeys(): Promise<string[]> {
    return await Array.fromAsync(this.keys());
  }

  /** {@inheritDoc PayloadStore.keys} */
  async *keys(): AsyncIterableIterator<string> {
    for await (const { txId } of this.files()) if (txId !== null) yield txId;
  }

  /**
   * Every payload file's place and the id whose payload it holds; null where
   * the place does not tell.
   */
  async *files(): AsyncIterableIterator<
    { place: string; txId: string | null }
  > {
    for await (const place of payloadPlaces(this.basePath)) {
      yield { place, txId: this.txIdsOf(place)[0] ?? null };
    }
  }

  /**
   * Whether each id has one place and each place one id: after the upgrade.
   *
   * @internal
   */
  get hasOwnNames(): boolean {
    return this.#earlier === null;
  }

  /**
   * The ids whose payload a file may hold, by its place: at most one, unless the
   * store has not been upgraded yet.
   *
   * @internal
   */
  txIdsOf(place: string): string[] {
    return this.#earlier?.txIdsOf(place) ?? txIdsAt(place);
  }

  /** The place of the file that holds an id's payload; null when none does. */
  find(txId: string): string | null {
    for (const place of this.placesOf(txId)) {
      if (regularSize(this.#at(place)) !== null) return place;
    }
    return null;
  }

  /** The open payload file and its size in bytes; null when there is none. */
  open(txId: string): { file: Deno.FsFile; size: number } | null {
    for (const place of this.placesOf(txId)) {
      const opened = openRegular(this.#at(place));
      if (opened) return opened;
    }
    return null;
  }

  /** Digest and size of the payload in its place; null when there is none. */
  async digest(txId: string): Promise<{ digest: string; size: number } | null> {
    const opened = this.open(txId);
    return opened && await digestOfOpen(opened);
  }

  /** Digest and size of a file, by its place; null when there is none. */
  async digestOfFile(
    place: string,
  ): Promise<{ digest: string; size: number } | null> {
    const opened = openRegular(this.#at(place));
    return opened && await digestOfOpen(opened);
  }

  /** Where an id's payload is put. */
  pathOf(txId: string): string {
    return this.#at(placeOf(txId));
  }

  /** Puts a payload in its place, atomically for whoever reads an older one. */
  async place(txId: string, payload: Uint8Array): Promise<void> {
    const to = this.pathOf(txId);
    try {
      // A new name needs no rename: nobody trusts it before it has all bytes.
      await createFile(to, payload, false);
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      const tmp = this.#tmpName();
      await createFile(tmp, payload, false);
      await this.#replace(to, tmp, false);
    }
  }

  /** Keeps a payload under a name that nothing refers to yet. */
  async stage(
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<{ name: string; digest: string; size: number }> {
    const name = crypto.randomUUID();
    const path = join(this.stagedPath, name);
    return { name, ...await createFileFrom(path, chunks, this.#sync) };
  }

  /**
   * Where a payload waits that is to take the place of another: under a name
   * that its row tells.
   */
  stagedFor(row: TxInfo): string {
    return join(this.stagedPath, stagedName(row));
  }

  /** The payload that waits for its place; null when none does. */
  async loadWaiting(row: TxInfo): Promise<Uint8Array | null> {
    return await this.loadStaged(stagedName(row));
  }

  /** The open file of a payload that waits for its place; null when none does. */
  openWaiting(row: TxInfo): { file: Deno.FsFile; size: number } | null {
    return this.openStaged(stagedName(row));
  }

  /** Digest and size of a payload that waits; null when none does. */
  async digestOfWaiting(
    row: TxInfo,
  ): Promise<{ digest: string; size: number } | null> {
    const opened = this.openWaiting(row);
    return opened && await digestOfOpen(opened);
  }

  /** Waits until the names of staged payloads are on the disk. */
  async syncStaged(): Promise<void> {
    if (this.#sync) await syncDir(this.stagedPath);
  }

  /** Puts a staged payload in its place; false when it is not there any more. */
  async placeStaged(txId: string, name: string): Promise<boolean> {
    const from = join(this.stagedPath, name);
    if (regularSize(from) === null) return false;
    await renameFile(from, this.pathOf(txId), false); // `sync` waits for many
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

  /** Removes the file of an id that has no row any more, without a sync. */
  discard(txId: string): void {
    removeFileSync(this.pathOf(txId));
  }

  /**
   * Waits until these payloads, or their absence, are on the disk, and that all
   * that were removed are gone.
   *
   * @internal
   * @param onRefused Receives each id that the disk refused, for callers that
   * write its payload anew.
   * @throws {AggregateError} Without `onRefused`: if the disk refused any.
   */
  async sync(
    txIds: string[],
    onRefused?: OnRefused,
  ): Promise<void> {
    if (!this.#sync) return;
    const ids = new Map(txIds.map((txId) => [this.pathOf(txId), txId]));
    const paths = [...ids.keys()];
    const refused = new Map<string, Error>();
    await syncFiles(paths, (path, error) => refused.set(path, error));
    try {
      await this.syncFolders();
    } catch (error) {
      const isTold = paths.length > 0;
      if (!isTold || error instanceof Deno.errors.NotCapable) throw error;
      for (const path of paths) refused.set(path, error as Error);
    }
    handleRefused(
      refused,
      onRefused && ((path, error) => onRefused(ids.get(path)!, error)),
    );
  }

  /**
   * Waits until all names of payload files, new and removed, are on the disk.
   *
   * @internal
   */
  async syncFolders(): Promise<void> {
    if (!this.#sync) return;
    for (const path of payloadFolders(this.basePath)) await syncDir(path);
  }

  /** The path of a place. */
  #at(place: string): string {
    return this.#prefix + place;
  }

  /**
   * Where an id's payload may be, as paths from the base: one place, unless the
   * store has not been upgraded yet.
   *
   * @internal
   */
  placesOf(txId: string): string[] {
    return this.#earlier?.placesOf(txId) ?? [placeOf(txId)];
  }

  #tmpName(): string {
    return join(this.tmpPath, crypto.randomUUID());
  }

  async #replace(path: string, tmp: string, sync: boolean): Promise<void> {
    try {
      await renameFile(tmp, path, sync);
    } catch (error) {
      removeFileSync(tmp);
      throw error;
    }
  }
}

/** Whether a staged file is a payload that waits for its place, by its name. */
export function isWaiting(name: string): boolean {
  return /^[0-9a-f]{64}-[0-9a-f]{64}$/.test(name);
}

/** The name under which the payload of a row waits for its place. */
function stagedName({ txId, storageHash }: TxInfo): string {
  const id = sha256HexSync(new TextEncoder().encode(txId));
  return `${id}-${storageHash}`;
}
