/**
 * The thread of `file_thread.ts`.
 *
 * @module
 */

import { createFileSync, syncFiles, tryReadSync } from "./durable_fs.ts";
import { sha256HexSync } from "./hash.ts";
import { answerAs } from "./thread.ts";

/** What the thread is called. */
export const FILE_THREAD = "poh-storage files";

/** Something to do with many files. */
export type FileJob =
  /** Creates small ones, with these bytes one after another. */
  | { task: "create"; paths: string[]; sizes: number[]; bytes: Uint8Array }
  /** Waits until they are on the disk. */
  | { task: "sync"; paths: string[] }
  /** Holds small ones against their sizes and digests. */
  | { task: "check"; paths: string[]; sizes: number[]; digests: string[] };

/** The paths of those that were not created, not synced, not found as they were to be. */
function answer(job: FileJob): string[] | Promise<string[]> {
  if (job.task === "sync") return syncFiles(job.paths);
  if (job.task === "check") {
    return job.paths.filter((path, i) =>
      !isSound(path, job.sizes[i]!, job.digests[i]!)
    );
  }
  let at = 0;
  return job.paths.filter((path, i) =>
    !isCreated(path, job.bytes.subarray(at, at += job.sizes[i]!))
  );
}

function isCreated(path: string, bytes: Uint8Array): boolean {
  try {
    createFileSync(path, bytes);
    return true;
  } catch {
    return false; // the asking thread's own try tells why
  }
}

function isSound(path: string, size: number, digest: string): boolean {
  const bytes = tryReadSync(path, size);
  return bytes !== null && sha256HexSync(bytes) === digest;
}

answerAs(FILE_THREAD, answer);
