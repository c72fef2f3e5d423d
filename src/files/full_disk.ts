/**
 * How a full disk can be left again. To delete takes room: the database logs
 * the deletion before anything is freed. So a store keeps some, in the file
 * `.poh/reserve`, and gives it up when a deletion finds none.
 *
 * An empty file says that it was given up. Until it is whole again saves are
 * refused, as they would take what deletions need.
 *
 * @module
 */

import { dirname, join } from "@std/path";
import { removeFileSync, syncDir, writeFrom } from "./durable_fs.ts";
import { DiskFullError } from "../errors.ts";

/** Size of the reserve: many times what the deletion of a batch logs. */
const RESERVE_BYTES = 4 * 1024 * 1024;
const PIECE = 64 * 1024;

/** How often it is tried to make it whole again, in ms. */
const RETRY = 1_000;

/** The reserve of one open writer. */
export class Reserve {
  readonly #path: string;
  readonly #sync: boolean;
  #isMissing: boolean;
  #isGivenUp: boolean;
  /** Whether it is still to be made: false once it is given up meanwhile. */
  #isWanted = false;
  /** Whether the one being made is the first: without it saves go on. */
  #isFirst = false;
  #making: Promise<void> | null = null;
  #restoring: Promise<void> | null = null;
  #tried = -Infinity;

  /** That of a store; looks how it is. */
  constructor(basePath: string, sync: boolean) {
    this.#path = join(basePath, ".poh", "reserve");
    this.#sync = sync;
    const size = sizeOf(this.#path);
    this.#isMissing = size === null;
    this.#isGivenUp = size !== null && size < RESERVE_BYTES;
  }

  /** Whether it was given up, so that saves have to see to it first. */
  get isGivenUp(): boolean {
    return this.#isGivenUp;
  }

  /** Gives up the room; false when there is none to give up. */
  giveUp(): boolean {
    if ((sizeOf(this.#path) ?? 0) === 0) return false;
    this.#isWanted = false;
    using file = Deno.openSync(this.#path, { write: true });
    file.truncateSync();
    file.syncSync(); // some file systems reuse blocks only then
    if (!this.#isFirst) this.#isGivenUp = true;
    return true;
  }

  /** Makes it where there never was one, in the background; tried once. */
  makeOnce(): void {
    if (!this.#isMissing) return;
    this.#isMissing = false;
    this.#making = this.#make().catch(() => {
      // It is only needed once the disk is full, and the next writer tries again.
    });
  }

  /**
   * Makes it whole again, where it was given up and there is room by now.
   *
   * @throws {DiskFullError} If there is none.
   */
  requireWhole(): Promise<void> {
    if (!this.#isGivenUp) return Promise.resolve();
    return this.#restoring ??= this.#restore().finally(() =>
      this.#restoring = null
    );
  }

  async #restore(): Promise<void> {
    await this.#making;
    if (performance.now() - this.#tried < RETRY) {
      throw new DiskFullError("its reserve is in use");
    }
    this.#tried = performance.now();
    try {
      await this.#make();
      this.#isGivenUp = false;
    } catch (error) {
      throw asDiskFull(error);
    }
  }

  /** Waits for what is under way, and makes it whole again where there is room. */
  async close(): Promise<void> {
    await this.#making;
    await this.#restoring?.catch(() => {}); // whoever asked for it is told
    if (!this.#isGivenUp) return;
    this.#tried = -Infinity;
    await this.requireWhole().catch((error) => {
      if (!(error instanceof DiskFullError)) throw error;
    });
  }

  /** In place: what a crash leaves is too small, as one that was given up. */
  async #make(): Promise<void> {
    const isNew = sizeOf(this.#path) === null;
    this.#isWanted = true;
    this.#isFirst = isNew;
    using file = await Deno.open(this.#path, {
      write: true,
      create: true,
      truncate: true,
    });
    try {
      await writeFrom(file, this.#incompressible());
      if (!this.#sync) return;
      await file.syncData();
      await syncDir(dirname(this.#path));
    } catch (error) {
      file.truncateSync();
      if (isNew) removeFileSync(this.#path);
      throw error;
    } finally {
      this.#isFirst = false;
    }
  }

  /** File systems that compress would keep next to nothing of zeros. */
  async *#incompressible(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < RESERVE_BYTES; at += PIECE) {
      if (!this.#isWanted) throw new DiskFullError("its reserve is in use");
      yield crypto.getRandomValues(new Uint8Array(PIECE));
    }
  }
}

/** Whether the system, or SQLite, found no room. */
export function isDiskFull(error: unknown): boolean {
  if (error instanceof DiskFullError) return true;
  return error instanceof Error &&
    (/\bENOSPC\b|os error (28|112)\b|\bis full\b/.test(error.message) ||
      (error as { code?: unknown }).code === "ENOSPC");
}

/** An error of a full disk as this package's; all others as they are. */
export function asDiskFull(error: unknown): unknown {
  if (!isDiskFull(error) || error instanceof DiskFullError) return error;
  return new DiskFullError((error as Error).message, { cause: error });
}

function sizeOf(path: string): number | null {
  try {
    return Deno.lstatSync(path).size;
  } catch (error) {
    const isAbsent = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotADirectory;
    if (isAbsent) return null;
    throw error;
  }
}
