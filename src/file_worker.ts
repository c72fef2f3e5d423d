/**
 * The thread of `file_thread.ts`.
 *
 * @module
 */

import { createFileSync, syncFiles } from "./durable_fs.ts";
import { answerAs } from "./thread.ts";

/** What the thread is called. */
export const FILE_THREAD = "poh-storage files";

/** Something to do with many files. */
export type FileJob =
  /** Creates small ones, with these bytes one after another. */
  | { task: "create"; paths: string[]; sizes: number[]; bytes: Uint8Array }
  /** Waits until they are on the disk. */
  | { task: "sync"; paths: string[] };

/** The paths of those that were not created, or not synced. */
function answer(job: FileJob): string[] | Promise<string[]> {
  if (job.task === "sync") return refusedOf(job.paths);
  let at = 0;
  return job.paths.filter((path, i) =>
    !isCreated(path, job.bytes.subarray(at, at += job.sizes[i]!))
  );
}

async function refusedOf(paths: string[]): Promise<string[]> {
  const refused: string[] = [];
  await syncFiles(paths, (path) => refused.push(path));
  return refused;
}

function isCreated(path: string, bytes: Uint8Array): boolean {
  try {
    createFileSync(path, bytes);
    return true;
  } catch {
    return false; // the asking thread's own try tells why
  }
}

answerAs(FILE_THREAD, answer);
