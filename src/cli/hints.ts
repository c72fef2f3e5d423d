/**
 * The next step after an error.
 *
 * @module
 */

import { PohStorageError } from "../errors.ts";

/** The next step after errors that say by their code what went wrong. */
const HINTS: Readonly<Record<string, string>> = {
  NOT_FOUND: '"poh-storage init" makes one',
  INTEGRITY:
    '"poh-storage recover --from <backup, archive, store or URL>" heals it',
  UNREADABLE: "this proves no damage: look at permissions and the disk",
  BUSY: "wait for it to end, or wait longer by --lock-timeout",
  METADATA_DAMAGED:
    '"poh-storage recover --rebuild" makes a new one and keeps the old file',
  DISK_FAILED: "look at the disk, then run the command again",
  LOG_DAMAGED: '"poh-storage recover" repairs it',
};

/** Returns what to do next after an error; null where nothing can be said. */
export function hintOf(error: unknown): string | null {
  const { hint } = error as { hint?: unknown };
  if (typeof hint === "string") return hint;
  return error instanceof PohStorageError ? HINTS[error.code] ?? null : null;
}
