/**
 * SQLite's own check of a whole database. It takes seconds from some hundred
 * thousand rows on, and SQLite does not return before it is done: so that a
 * service answers and Ctrl-C is heard meanwhile, another thread waits for it.
 *
 * @module
 */

import { type Job, WORKER_NAME } from "./integrity_worker.ts";
import { COMPANIONS, type SqliteStore } from "./sqlite_store.ts";

/** Up to this size a check is done before another thread is up, in bytes. */
const SMALL = 4 * 1024 * 1024;

const MODULE = new URL("./integrity_worker.ts", import.meta.url);

/**
 * What SQLite finds wrong with a database; empty when it is sound, null when
 * the signal came first.
 *
 * The other thread has this one's permissions and its binding: two copies of
 * SQLite in one process would drop each other's locks. Where there can be no
 * such thread, this one does nothing else until the check is done.
 */
export async function checkIntegrity(
  rows: SqliteStore,
  signal?: AbortSignal,
): Promise<string[] | null> {
  if (signal?.aborted) return null;
  if (sizeOf(rows.path) > SMALL && await mayStart()) {
    const { path, driver } = rows;
    const lines = await elsewhere({ path, driver: driver.name }, signal);
    if (lines !== null || signal?.aborted) return lines;
  }
  return rows.checkIntegrity();
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

/** Whether the thread's module may be loaded: asked first, as Deno tells a refusal on stderr. */
async function mayStart(): Promise<boolean> {
  const permission: Deno.PermissionDescriptor = MODULE.protocol === "file:"
    ? { name: "read", path: MODULE }
    : { name: "import", host: MODULE.host };
  return (await Deno.permissions.query(permission)).state === "granted";
}

/** The other thread's answer; null when it has none, or the signal came first. */
async function elsewhere(
  job: Job,
  signal?: AbortSignal,
): Promise<string[] | null> {
  const worker = new Worker(MODULE, { type: "module", name: WORKER_NAME });
  const { promise, resolve } = Promise.withResolvers<string[] | null>();
  const stop = () => resolve(null);
  try {
    signal?.addEventListener("abort", stop);
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      stop();
    };
    worker.postMessage(job);
    return await promise;
  } finally {
    signal?.removeEventListener("abort", stop);
    worker.terminate();
  }
}
