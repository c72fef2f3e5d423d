/**
 * Another thread for what many small files take, so that this one can go on
 * with the database meanwhile. It does the plain case and no other: what it
 * could not do is the asking thread's to see to.
 *
 * @module
 */

import type { OnRefused } from "./durable_fs.ts";
import { FILE_THREAD, type FileJob } from "./file_worker.ts";
import { Thread } from "./thread.ts";

/** A thread that creates and syncs files. */
export class FileThread implements Disposable {
  readonly #thread: Thread<FileJob, string[]>;

  private constructor(thread: Thread<FileJob, string[]>) {
    this.#thread = thread;
  }

  /** Starts one; null where there can be none. */
  static async start(): Promise<FileThread | null> {
    const module = new URL("./file_worker.ts", import.meta.url);
    const thread = await Thread.start<FileJob, string[]>(module, FILE_THREAD);
    return thread && new FileThread(thread);
  }

  /**
   * Creates small files where there are none, without waiting for the disk.
   *
   * @returns The paths of those that it did not create.
   */
  create(files: { path: string; payload: Uint8Array }[]): Promise<string[]> {
    const sizes = files.map(({ payload }) => payload.length);
    const bytes = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
    let at = 0;
    for (const { payload } of files) {
      bytes.set(payload, at);
      at += payload.length;
    }
    const paths = files.map(({ path }) => path);
    return this.#ask({ task: "create", paths, sizes, bytes }, [bytes.buffer]);
  }

  /**
   * Waits until files are on the disk.
   *
   * @param onRefused Receives each file that the disk refused; all of them when
   * the thread dies.
   */
  async sync(paths: string[], onRefused: OnRefused): Promise<void> {
    for (const path of await this.#ask({ task: "sync", paths })) {
      onRefused(path, new Error(`Cannot sync ${path}`));
    }
  }

  /** Whether it does nothing any more. */
  get hasDied(): boolean {
    return this.#thread.hasDied;
  }

  /** Ends it, whatever it does. */
  [Symbol.dispose](): void {
    this.#thread[Symbol.dispose]();
  }

  async #ask(
    job: FileJob,
    transfer: Transferable[] = [],
  ): Promise<string[]> {
    return await this.#thread.ask(job, { transfer }) ?? job.paths;
  }
}
