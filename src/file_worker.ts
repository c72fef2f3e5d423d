/**
 * The thread of `file_thread.ts`.
 *
 * @module
 */

import { claim, type Claims, confirm } from "./claims.ts";
import { createFileSync, syncFiles } from "./durable_fs.ts";
import { isSoundSoon } from "./payload_file.ts";
import { answerAs } from "./thread.ts";

/**
 * After so many looks at a payload this thread has its garbage collected:
 * `node:crypto` leaves an object for each digest, whose size V8 does not see.
 */
const COLLECT_AFTER = 32_768;

/** There where V8 was started with `--expose-gc`, as the program starts it. */
const { gc: collectGarbage } = globalThis as { gc?: () => void };

/** What the thread is called. */
export const FILE_THREAD = "poh-storage files";

/** Something to do with many files. */
export type FileJob =
  /** Creates small ones, with these bytes one after another. */
  | { task: "create"; paths: string[]; sizes: number[]; bytes: Uint8Array }
  /** Waits until they are on the disk. */
  | { task: "sync"; paths: string[] }
  /** Holds small ones against what they are to be, as far as it claims them. */
  | {
    task: "check";
    paths: string[];
    sizes: number[];
    digests: string[];
    claims: Claims;
  };

/** The paths of those that were not created, or not synced. */
function answer(job: FileJob): string[] | Promise<string[]> {
  if (job.task === "sync") return refusedOf(job.paths);
  if (job.task === "check") return check(job);
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

let looks = 0;

/** From the last on, until it meets whoever comes from the first. */
function check(
  { paths, sizes, digests, claims }: FileJob & { task: "check" },
): [] {
  for (let i = paths.length - 1; i >= 0 && claim(claims, i); i--) {
    const file = { path: paths[i]!, size: sizes[i]!, digest: digests[i]! };
    if (isSoundSoon(file)) confirm(claims, i);
    if (++looks % COLLECT_AFTER === 0) collectGarbage?.();
  }
  return [];
}

answerAs(FILE_THREAD, answer);
