/**
 * Payloads as files, where `payload_layout.ts` has them, changed without waiting
 * for the disk: `sync` waits for many at once.
 *
 * @module
 */

import { dirname, join } from "@std/path";
import {
  createFile,
  digestOfOpen,
  handleRefused,
  makeDir,
  type OnRefused,
  openRegular,
  readWithDigest,
  regularSize,
  removeFileSync,
  renameFile,
  replaceFile,
  syncDir,
  syncFiles,
} from "../files/durable_fs.ts";
import { tmpPath } from "../files/layout.ts";
import type { PayloadFile } from "./payload_file.ts";
import {
  payloadFolders,
  payloadPlaces,
  placeOf,
  txIdsAt,
} from "./payload_layout.ts";
import { StagedFiles } from "./staged_files.ts";
import type { TxInfo } from "../types.ts";

/** How the files of a store that has not been upgraded yet are named. */
export interface EarlierNames {
  /** Where an id's payload may be, as paths from the base, the likelier first. */
  placesOf(txId: string): string[];
  /** The ids whose payload a file may hold, by its place. */
  txIdsOf(place: string): string[];
}

/** How payload files are changed. */
export interface PayloadFilesOptions {
  /** Whether to wait for the disk: true (default) survives power loss. */
  sync?: boolean;
}

/** The payload of each id in `<base>/<file name of tx id>.bin`. */
export class PayloadFiles {
  /** The directory of the payload files. */
  readonly basePath: string;
  /** Half-written files; nothing ever refers to them. */
  readonly tmpPath: string;
  /** Complete payloads that wait for their place. */
  readonly staged: StagedFiles;
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
    { sync = true }: PayloadFilesOptions = {},
    earlier: EarlierNames | null = null,
  ) {
    this.basePath = basePath;
    this.tmpPath = tmpPath(basePath);
    this.staged = new StagedFiles(join(basePath, ".poh", "staged"), sync);
    this.holdersPath = join(basePath, ".poh", "holders");
    this.#prefix = join(basePath, "_").slice(0, -1);
    this.#sync = sync;
    this.#earlier = earlier;
  }

  /** Makes the directories; harmless when they are there. */
  async init(): Promise<void> {
    const { basePath, tmpPath, staged } = this;
    const own = [dirname(tmpPath), tmpPath, staged.path];
    for (const path of [basePath, ...own, ...payloadFolders(basePath)]) {
      await makeDir(path, this.#sync);
    }
  }

  /** The payload; null when there is none. */
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

  /** Where the payload of a row is put, and what it is to be. */
  expected(row: TxInfo): PayloadFile {
    const { txId, size, storageHash: digest } = row;
    const place = this.#earlier
      ? this.#earlier.placesOf(txId)[0]
      : placeOf(txId);
    return { path: place === undefined ? "" : this.#at(place), size, digest };
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

  /** Whether each id has one place and each place one id: after the upgrade. */
  get hasOwnNames(): boolean {
    return this.#earlier === null;
  }

  /**
   * The ids whose payload a file may hold, by its place: at most one, unless the
   * store has not been upgraded yet.
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
      await replaceFile(to, payload, this.tmpName(), false);
    }
  }

  /** Puts a staged payload in its place; false when it is not there any more. */
  async placeStaged(txId: string, name: string): Promise<boolean> {
    const from = join(this.staged.path, name);
    if (regularSize(from) === null) return false;
    await renameFile(from, this.pathOf(txId), false); // `sync` waits for many
    return true;
  }

  /** Removes the file of an id that has no row any more, without a sync. */
  discard(txId: string): void {
    removeFileSync(this.pathOf(txId));
  }

  /**
   * Waits until these payloads, or their absence, are on the disk, and that all
   * that were removed are gone.
   *
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

  /** Waits until all names of payload files, new and removed, are on the disk. */
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
   */
  placesOf(txId: string): string[] {
    return this.#earlier?.placesOf(txId) ?? [placeOf(txId)];
  }

  /** A new name for a half-written file. */
  tmpName(): string {
    return join(this.tmpPath, crypto.randomUUID());
  }
}
