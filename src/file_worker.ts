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
  /** Reads small ones, which are sound with this size and digest. */
  | { task: "check"; paths: string[]; sizes: number[]; digests: string[] }
  /** Waits until they are on the disk. */
  | { task: "sync"; paths: string[] };

/** The paths of those that were not created, are not sound, were not synced. */
function answer(job: FileJob): string[] | Promise<string[]> {
  if (job.task === "sync") return syncFiles(job.paths);
  let at = 0;
  return job.paths.filter((path, i) => {
    const size = job.sizes[i]!;
    return !(job.task === "create"
      ? isCreated(path, job.bytes.subarray(at, at += size))
      : isSound(path, size, job.digests[i]!));
  });
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
