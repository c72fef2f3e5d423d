/**
 * SQLite's write-ahead log as a file, through which a commit waits for the disk.
 *
 * SQLite would do so within each commit, at `synchronous = FULL`; but it would
 * stop the event loop, and wait for the log's time of change as well, where only
 * its bytes matter. What SQLite syncs besides, at a checkpoint, it still does by
 * itself.
 *
 * @module
 */

import { DiskWait } from "../files/disk_wait.ts";
import { fillSync, writeAllSync } from "../files/durable_fs.ts";
import { nextTurn } from "../async/turn.ts";

/** It is read and written again in pieces of so many bytes. */
const PIECE = 1024 * 1024;

/** The log of one open database. */
export class WalFile {
  /** Null: SQLite itself waits for the disk, or nobody does. */
  readonly #file: Deno.FsFile | null;
  readonly #disk = new DiskWait();
  /** Why what was committed may not be on the disk; null when it is. */
  failure: Error | null = null;

  private constructor(file: Deno.FsFile | null) {
    this.#file = file;
  }

  /** Whether `flush` is what makes commits durable. */
  get isThere(): boolean {
    return this.#file !== null;
  }

  /** The log of a database that needs no `flush`. */
  static none(): WalFile {
    return new WalFile(null);
  }

  /** Opens the log of a database, if it has one. */
  static open(path: string): WalFile {
    // It is beside the database itself, where the path is a link to that.
    const log = `${Deno.realPathSync(path)}-wal`;
    try {
      // Windows flushes only through a handle that may write.
      return new WalFile(Deno.openSync(log, { read: true, write: true }));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return WalFile.none();
      throw error;
    }
  }

  /**
   * Waits until all that was committed is on the disk.
   *
   * A failure is final: systems tell of a lost write once, and the next call
   * would be told that all is well.
   */
  async flush(): Promise<void> {
    if (this.failure) throw this.failure;
    const file = this.#file;
    if (!file) return;
    try {
      await this.#disk.wait(() => file.syncDataSync(), () => file.syncData());
    } catch (error) {
      throw this.failure = error as Error;
    }
  }

  /**
   * Writes the log again as it looks; `flush` then waits for the disk. For when
   * whoever waited for it has died, and may have been the only one to learn that
   * the disk refused it: memory shows it all the same.
   *
   * @param change Runs work while nobody else writes to the log.
   */
  async writeAgain(
    change: <T>(work: () => T) => Promise<T>,
  ): Promise<void> {
    const file = this.#file;
    if (!file) return;
    const piece = new Uint8Array(PIECE);
    for (let at = 0, read = PIECE; read === PIECE; at += read) {
      await nextTurn();
      read = await change(() => {
        file.seekSync(at, Deno.SeekMode.Start);
        const bytes = fillSync(file, piece);
        file.seekSync(at, Deno.SeekMode.Start);
        writeAllSync(file, bytes);
        return bytes.length;
      });
    }
  }

  /** Closes the file. */
  close(): void {
    this.#file?.close();
  }
}
