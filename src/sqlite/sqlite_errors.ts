/**
 * SQLite's errors as this package's.
 *
 * @module
 */

import {
  MetadataDamagedError,
  PohStorageError,
  StoreBusyError,
} from "../errors.ts";
import { isLocked, isMalformed, reasonOf } from "./driver.ts";

/** Runs `work`; what SQLite throws of a database becomes this package's. */
export async function translated<T>(
  path: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw translate(path, error);
  }
}

/** As `translated`, for what is done at once. */
export function translatedSync<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw translate(path, error);
  }
}

/** The error to throw for one of SQLite; all others stay as they are. */
export function translate(path: string, error: unknown): unknown {
  if (error instanceof PohStorageError) return error;
  if (isMalformed(error)) {
    return new MetadataDamagedError(path, reasonOf(error), { cause: error });
  }
  if (isLocked(error)) {
    return new StoreBusyError(
      `The database ${path} is locked by another program`,
      [],
    );
  }
  return error;
}
