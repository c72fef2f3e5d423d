/**
 * Notices that a path leads to another file or directory than it did.
 *
 * @module
 */

import { StoreMovedError } from "../errors.ts";

/** A path and what it led to when this was made. */
export class Place {
  /** The path. */
  readonly path: string;
  readonly #identity: string | null;

  /** Remembers what is there now. */
  constructor(path: string) {
    this.path = path;
    this.#identity = identityOf(path);
  }

  /**
   * Whether something else is there by now, or nothing: one system call. Where
   * the system numbers no files, as some on Windows, it is seen only that
   * nothing is there.
   */
  hasChanged(): boolean {
    return identityOf(this.path) !== this.#identity;
  }
}

/** The error to tell when base or database is not where it was; else null. */
export function whyMoved(
  base: Place,
  rows: { path: string; hasMoved(): boolean },
): StoreMovedError | null {
  if (base.hasChanged()) return new StoreMovedError(base.path);
  return rows.hasMoved() ? new StoreMovedError(rows.path) : null;
}

/** Device and inode; `""` where the system has no such numbers; null: nothing. */
function identityOf(path: string): string | null {
  try {
    const { dev, ino } = Deno.statSync(path);
    return ino ? `${dev}:${ino}` : "";
  } catch (error) {
    if (
      error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotADirectory
    ) return null;
    throw error;
  }
}
