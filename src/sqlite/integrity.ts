/**
 * SQLite's own check of a whole database, which takes seconds from some hundred
 * thousand rows on.
 *
 * @module
 */

import { integrityErrors } from "./integrity_errors.ts";
import { Thread } from "../async/thread.ts";
import { INTEGRITY_THREAD, type IntegrityJob } from "./integrity_worker.ts";
import type { Database } from "./database.ts";
import { COMPANIONS } from "./database_file.ts";

/** Up to this size a check is done before another thread is up, in bytes. */
const SMALL = 4 * 1024 * 1024;

/**
 * What SQLite finds wrong with a database; empty when it is sound, null when
 * the signal came first. Where there can be no other thread for it, this one
 * does nothing else until the check is done.
 */
export async function checkIntegrity(
  rows: Database,
  signal?: AbortSignal,
): Promise<string[] | null> {
  if (signal?.aborted) return null;
  if (isLarge(rows)) {
    using thread = await Thread.start<IntegrityJob, string[] | null>(
      new URL("./integrity_worker.ts", import.meta.url),
      INTEGRITY_THREAD,
    );
    const job = { path: rows.path, driver: rows.driver.name };
    const lines = await thread?.ask(job, { signal });
    if (lines) return lines;
    if (signal?.aborted) return null;
  }
  return integrityErrors(rows);
}

/** Whether a check of a database takes longer than to start another thread. */
export function isLarge(rows: Database): boolean {
  return sizeOf(rows.path) > SMALL;
}

/** Bytes of a database and of what SQLite has beside it. */
function sizeOf(path: string): number {
  let bytes = 0;
  for (const suffix of ["", ...COMPANIONS]) {
    try {
      bytes += Deno.statSync(path + suffix).size;
    } catch {
      // It has none of that kind.
    }
  }
  return bytes;
}
