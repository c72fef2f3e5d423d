/**
 * The public store of payloads. The package itself uses `payload_files.ts`.
 *
 * @module
 */

import { removeFileSync, replaceFile } from "../files/durable_fs.ts";
import { fileName } from "../files/file_name.ts";
import {
  type OptionsType,
  optionsType,
  requireKnown,
  rule,
} from "../options.ts";
import { PayloadFiles } from "./payload_files.ts";

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
 * await store.save("a", new Uint8Array([1, 2, 3]));
 * assertEquals(await store.load("a"), new Uint8Array([1, 2, 3]));
 * assertEquals(await store.listKeys(), ["a"]);
 * await Deno.remove(base, { recursive: true });
 * ```
 */
export class FileStore {
  readonly #files: PayloadFiles;
  readonly #sync: boolean;
  #hasFolders = false;

  /** A store on `basePath`, which the first save makes where it is not there. */
  constructor(basePath: string, options: FileStoreOptions = {}) {
    requireKnown(options, FILE_STORE_OPTIONS);
    this.#files = new PayloadFiles(basePath, options);
    this.#sync = options.sync ?? true;
  }

  /** Keeps a payload, durable and whole once resolved; replaces an older one. */
  async save(txId: string, payload: Uint8Array): Promise<void> {
    fileName(txId); // refuses what no file can stand for
    if (!this.#hasFolders) await this.#files.init();
    this.#hasFolders = true;
    const path = this.#files.pathOf(txId);
    await replaceFile(path, payload, this.#files.tmpName(), this.#sync);
  }

  /** Returns the payload, or null when there is none. */
  async load(txId: string): Promise<Uint8Array | null> {
    return await this.#files.load(txId);
  }

  /** Returns whether there is a payload. */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async exists(txId: string): Promise<boolean> {
    return this.#files.find(txId) !== null;
  }

  /** Removes a payload; returns false when there was none. */
  async remove(txId: string): Promise<boolean> {
    if (!await this.exists(txId)) return false;
    const removed = removeFileSync(this.#files.pathOf(txId));
    await this.#files.syncFolders();
    return removed;
  }

  /** Returns the ids of all payloads, in no order, all at once. */
  async listKeys(): Promise<string[]> {
    const keys: string[] = [];
    try {
      for await (const { txId } of this.#files.files()) {
        if (txId !== null) keys.push(txId);
      }
    } catch (error) {
      // Nothing was saved yet.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    return keys;
  }
}
