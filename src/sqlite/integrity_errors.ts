/**
 * Has SQLite check a database, on this thread.
 *
 * @module
 */

import { MetadataDamagedError } from "../errors.ts";
import type { Database } from "./database.ts";

/** What SQLite finds wrong with a database; empty when it is sound. */
export function integrityErrors(rows: Database): string[] {
  try {
    return rows.all("PRAGMA integrity_check(20)")
      .map(([line]) => String(line))
      .filter((line) => line !== "ok");
  } catch (error) {
    if (error instanceof MetadataDamagedError) return [error.message];
    throw error;
  }
}
