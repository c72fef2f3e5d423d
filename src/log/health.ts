/**
 * Whether a writer may go on: not once the disk has refused something, and not
 * where base or database is another one by now.
 *
 * @module
 */

import { PohStorageError, StoreMovedError } from "../errors.ts";
import { type Place, whyMoved } from "../files/place.ts";
import type { WalFile } from "../sqlite/wal_file.ts";
import type { LogParts } from "./checkpoint.ts";

/** The trust that one writer has in its store. */
export class LogHealth {
  readonly #parts: LogParts;
  readonly #base: Place;
  #failure: Error | null = null;

  /** Of a store that nothing is wrong with, at this place. */
  constructor(parts: LogParts, base: Place) {
    this.#parts = parts;
    this.#base = base;
  }

  /** Whether something has failed for good. */
  get hasFailed(): boolean {
    return this.#failure !== null;
  }

  /**
   * Why nobody writes any more, as this process or another one has met it; null:
   * nothing has failed for good.
   */
  failure(): Error | null {
    if (this.#failure) return this.#failure;
    return this.#parts.dir.peekState().hasFailed
      ? diskFailed("as another process was told")
      : null;
  }

  /** The error to tell when base or database is not where it was; else null. */
  moved(): StoreMovedError | null {
    if (this.#failure instanceof StoreMovedError) return this.#failure;
    return whyMoved(this.#base, this.#parts.rows);
  }

  /** Refuses to go on after a failure. */
  requireTrust(): void {
    if (this.#failure) throw this.#failure;
  }

  /**
   * Refuses to go on where the base or the database is another one by now: files
   * would be put into the other store.
   */
  requireInPlace(): void {
    const moved = this.moved();
    if (!moved) return;
    this.#failure = moved;
    throw moved;
  }

  /**
   * From now on nobody writes, until the store is opened anew.
   *
   * @returns What to throw.
   */
  fail(error: Error): Error {
    this.#failure ??= diskFailed(error.message, error);
    this.#parts.dir.setState({ hasFailed: true });
    return this.#failure;
  }

  /** Runs work after which nobody writes if SQLite's log was refused. */
  async orFail<T>(
    work: () => Promise<T>,
    wal: WalFile = this.#parts.rows.wal,
  ): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const { failure } = wal;
      throw failure ? this.fail(failure) : error;
    }
  }
}

/** The error for what the disk did not take. */
export function diskFailed(why: string, cause?: unknown): PohStorageError {
  return new PohStorageError(
    "DISK_FAILED",
    `The disk did not take a commit (${why}): what was saved last may be lost in a power cut; close the store everywhere and open it again`,
    { cause },
  );
}
