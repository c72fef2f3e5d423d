/**
 * Objects as files of one folder, so that a local folder can be a half of a
 * store whose other half is elsewhere.
 *
 * A key is a path below the folder. Where case does not count, capitals in the
 * name of an id are encoded, as a local store does, so that the objects of `A`
 * and `a` never share a file.
 *
 * @module
 */

import { dirname, join } from "@std/path";
import {
  createFileFrom,
  makeDir,
  openRegular,
  readRegular,
  removeFileSync,
  renameFile,
  syncDir,
} from "../files/durable_fs.ts";
import { StoreClosedError } from "../errors.ts";
import { fileName, txIdOfFile } from "../files/file_name.ts";
import { requirePohDir } from "../files/layout.ts";
import type { ObjectStore, PayloadSource, StoredObject } from "./contracts.ts";
import { plainKey } from "./object_key.ts";

/** Where objects are, beside the plain ones in the folder itself. */
const FOLDERS = [".poh/versions", ".poh/quarantine"];

/** Options of {@linkcode FileObjects}. */
export interface FileObjectsOptions {
  /** Whether to wait for the disk: true (default) survives power loss. */
  sync?: boolean;
}

/**
 * Keeps objects in a folder. Needs `--allow-read` and `--allow-write` for it.
 */
export class FileObjects implements ObjectStore {
  /** {@inheritDoc ObjectStore.url} */
  readonly url: string;
  readonly #tmp: string;
  readonly #sync: boolean;
  #canLink: boolean | null = null;
  #closed = false;

  /** A store in a folder, by its absolute path; touches nothing yet. */
  constructor(path: string, options: FileObjectsOptions = {}) {
    requirePohDir(path);
    this.url = path;
    this.#tmp = join(path, ".poh", "tmp");
    this.#sync = options.sync ?? true;
  }

  /** Makes the folder; harmless when it is there. */
  async init(): Promise<void> {
    await makeDir(this.#tmp, this.#sync);
  }

  /** {@inheritDoc ObjectStore.create} */
  async create(
    key: string,
    payload: PayloadSource,
    digest: string,
  ): Promise<boolean> {
    const path = this.#path(key);
    const size = payload instanceof Uint8Array ? payload.length : payload.size;
    const tmp = join(this.#tmp, crypto.randomUUID());
    const chunks = payload instanceof Uint8Array ? [payload] : payload.open();
    try {
      const written = await createFileFrom(tmp, chunks, this.#sync);
      if (written.digest !== digest || written.size !== size) {
        throw new Deno.errors.InvalidData(
          `Cannot keep ${key}: it has ${written.size} bytes and SHA-256 ${written.digest}, expected ${size} and ${digest}`,
        );
      }
      await makeDir(dirname(path), this.#sync);
      const isMade = await this.#name(tmp, path);
      // Where it is taken, whoever took it may have died before this.
      if (this.#sync) await syncDir(dirname(path));
      return isMade;
    } finally {
      removeFileSync(tmp);
    }
  }

  /** {@inheritDoc ObjectStore.canCreateOnce} */
  async canCreateOnce(): Promise<boolean> {
    return this.#canLink ??= await canLinkIn(this.#tmp);
  }

  /** {@inheritDoc ObjectStore.read} */
  async read(key: string): Promise<Uint8Array | null> {
    return await readRegular(this.#path(key));
  }

  /** {@inheritDoc ObjectStore.stream} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async stream(key: string): Promise<ReadableStream<Uint8Array> | null> {
    const opened = openRegular(this.#path(key));
    return opened && opened.file.readable;
  }

  /** {@inheritDoc ObjectStore.delete} */
  async delete(key: string): Promise<void> {
    const path = this.#path(key);
    if (!removeFileSync(path)) return;
    const dir = dirname(path);
    if (this.#sync) await syncDir(dir);
    if (dir !== this.url) removeIfEmpty(dir);
  }

  /** {@inheritDoc ObjectStore.list} */
  async *list(prefix = ""): AsyncGenerator<StoredObject> {
    if (!prefix.startsWith(".poh/")) {
      for await (const { name } of entriesOf(this.url)) {
        const txId = txIdOfFile(name);
        if (txId === null || !fits(txId)) continue;
        const key = plainKey(txId);
        const isOurs = this.#path(key) === join(this.url, name);
        if (isOurs && key.startsWith(prefix)) yield* this.#found(key);
      }
    }
    for (const folder of FOLDERS) {
      if (folder.startsWith(prefix) || prefix.startsWith(folder)) {
        yield* this.#below(folder, prefix);
      }
    }
  }

  /** {@inheritDoc ObjectStore.now} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async now(): Promise<number> {
    return Date.now() / 1000;
  }

  /** {@inheritDoc ObjectStore.deleteAbandoned} */
  async deleteAbandoned(before: number): Promise<number> {
    let count = 0;
    for await (const { name } of entriesOf(this.#tmp)) {
      const path = join(this.#tmp, name);
      const info = statOf(path);
      if (info && info.modified < before && removeFileSync(path)) count++;
    }
    return count;
  }

  /** {@inheritDoc ObjectStore.close} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async close(): Promise<void> {
    this.#closed = true;
  }

  /** Gives a complete file a name that nothing has; false when it is taken. */
  async #name(tmp: string, path: string): Promise<boolean> {
    if (!await this.canCreateOnce()) {
      // Without links only keys of one's own are asked for: nobody else does.
      if (statOf(path)) return false;
      await renameFile(tmp, path, this.#sync);
      return true;
    }
    while (true) {
      try {
        Deno.linkSync(tmp, path);
        return true;
      } catch (error) {
        if (error instanceof Deno.errors.AlreadyExists) return false;
        // The last object of that folder went, and the folder with it.
        if (!(error instanceof Deno.errors.NotFound)) throw error;
        await makeDir(dirname(path), this.#sync);
      }
    }
  }

  async *#below(folder: string, prefix: string): AsyncGenerator<StoredObject> {
    const entries = entriesOf(join(this.url, folder));
    for await (const { name, isDirectory } of entries) {
      const key = `${folder}/${name}`;
      if (name.startsWith(".")) continue;
      if (isDirectory) {
        yield* this.#below(key, prefix);
      } else if (this.#keyOf(key).startsWith(prefix)) {
        yield* this.#found(this.#keyOf(key));
      }
    }
  }

  *#found(key: string): Generator<StoredObject> {
    const info = statOf(this.#path(key));
    if (info) yield { key, ...info };
  }

  /** Path of an object; what is no key of ours has none. */
  #path(key: string): string {
    if (this.#closed) throw new StoreClosedError();
    const parts = key.split("/");
    const isPlain = parts.every((part) =>
      part !== "" && part !== "." && part !== ".." && !/[\\\0]/.test(part)
    );
    if (!isPlain) throw new TypeError(`${JSON.stringify(key)} is no key`);
    return join(this.url, ...parts.map(nameHere));
  }

  #keyOf(path: string): string {
    const parts = path.split("/");
    const name = parts.pop()!;
    const txId = txIdOfFile(name);
    return [...parts, txId === null ? name : plainKey(txId)].join("/");
  }
}

/** The name that a part of a key has in this system. */
function nameHere(part: string): string {
  const txId = txIdOfFile(part, false);
  return txId !== null && fits(txId) && plainKey(txId) === part
    ? fileName(txId)
    : part;
}

/** Whether files can be named after an id. */
function fits(txId: string): boolean {
  try {
    return plainKey(txId) !== "" && fileName(txId) !== "";
  } catch {
    return false;
  }
}

/** Whether the file system gives a file a second name, if that is free. */
async function canLinkIn(dir: string): Promise<boolean> {
  const [one, two] = [crypto.randomUUID(), crypto.randomUUID()]
    .map((name) => join(dir, name)) as [string, string];
  await Deno.writeTextFile(one, "");
  try {
    Deno.linkSync(one, two);
    return true;
  } catch {
    return false;
  } finally {
    removeFileSync(one);
    removeFileSync(two);
  }
}

function statOf(path: string): { size: number; modified: number } | null {
  try {
    const { size, mtime } = Deno.lstatSync(path);
    return { size, modified: (mtime?.getTime() ?? 0) / 1000 };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

async function* entriesOf(dir: string): AsyncGenerator<Deno.DirEntry> {
  try {
    yield* Deno.readDir(dir);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function removeIfEmpty(dir: string): void {
  try {
    Deno.removeSync(dir);
  } catch {
    // It is not empty, or not there any more.
  }
}
