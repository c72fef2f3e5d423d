/**
 * Group commit: changes that are in flight together share one transaction, and
 * their files one checkpoint. See `redo.ts` for the order of things.
 *
 * @module
 */

import { crashPoint } from "./crash_points.ts";
import type { FileStore } from "./file_store.ts";
import type { StoreLocks } from "./locks.ts";
import { carryOut } from "./redo.ts";
import { isIoError } from "./sqlite_driver.ts";
import type { RedoEntry, SqliteStore } from "./sqlite_store.ts";
import { nextTurn } from "./turn.ts";
import type { TxInfo } from "./types.ts";

/** At most so many changes, and payload bytes, in one transaction. */
const BATCH_CHANGES = 256;
const BATCH_BYTES = 4 * 1024 * 1024;

/** The log is trimmed when it holds so many entries, or payload bytes. */
const LOG_ENTRIES = 4_096;
const LOG_BYTES = 32 * 1024 * 1024;

/** How long files are written before others have their turn, in ms. */
const LONGEST_STRETCH = 4;

/** A row's new state and what its file has to do. */
export interface Change {
  /** The row to write; null to delete it. */
  info: TxInfo | null;
  /** What follows. For a deletion the digest comes from the row. */
  entry: RedoEntry;
  /** For a deletion: only of the row as it was seen, not of one that came since. */
  seen?: TxInfo;
}

interface Waiting extends Change {
  /** Whether there was a row to change: known once committed, for deletions. */
  existed: boolean;
  settle: PromiseWithResolvers<boolean>;
}

/** Orders and commits the changes of one open writer. */
export class CommitQueue {
  readonly #files: FileStore;
  readonly #rows: SqliteStore;
  readonly #locks: StoreLocks;
  readonly #sync: boolean;
  readonly #writer = crypto.randomUUID();
  #waiting: Waiting[] = [];
  #working: Promise<void> | null = null;
  /** Entries and bytes that this writer has logged since the last checkpoint. */
  #logged = { entries: 0, bytes: 0 };
  /** Committed changes whose file could not follow: the disk may be full. */
  readonly #behind = new Map<string, RedoEntry>();

  /** A queue that commits to these stores under these locks. */
  constructor(
    files: FileStore,
    rows: SqliteStore,
    locks: StoreLocks,
    sync: boolean,
  ) {
    this.#files = files;
    this.#rows = rows;
    this.#locks = locks;
    this.#sync = sync;
  }

  /**
   * Makes a change; durable when resolved.
   *
   * @returns For a deletion, whether the row was there, as it was seen.
   */
  submit(change: Change): Promise<boolean> {
    const settle = Promise.withResolvers<boolean>();
    this.#waiting.push({ ...change, existed: true, settle });
    if (!this.#working) this.#work(() => this.#drain());
    return settle.promise;
  }

  /** Waits for the changes in flight, then makes the log empty. */
  async flush(): Promise<void> {
    while (this.#working) await this.#working;
    await this.#work(() => this.#checkpoint());
  }

  /** One thing at a time: a batch or a checkpoint. */
  #work(work: () => Promise<void>): Promise<void> {
    this.#working = work().finally(() => {
      this.#working = null;
      if (this.#waiting.length > 0) this.#work(() => this.#drain());
    });
    return this.#working;
  }

  async #drain(): Promise<void> {
    await Promise.resolve(); // what is submitted in this turn goes together
    while (this.#waiting.length > 0) {
      const batch = this.#takeBatch();
      try {
        if (this.#sync && batch.some((change) => change.entry.staged)) {
          await this.#files.syncStaged();
          crashPoint("staged names synced");
        }
        await this.#locks.whileCommitting(async () => {
          this.#commit(batch);
          await this.#apply(batch);
        });
      } catch (error) {
        this.#abandon(batch, error);
      }
      if (this.#isLogFull()) await this.#checkpointQuietly();
    }
  }

  /** Nothing of the batch was committed. */
  #abandon(batch: Waiting[], error: unknown): void {
    // After an I/O error a crash may yet find it committed: recover will tell.
    const isCertain = !isIoError(error);
    for (const { entry, settle } of batch) {
      if (isCertain && entry.action === "put" && entry.staged) {
        this.#files.unstage(entry.staged);
      }
      settle.reject(error);
    }
  }

  #takeBatch(): Waiting[] {
    let bytes = 0, count = 0;
    for (const { entry } of this.#waiting) {
      bytes += entry.payload?.length ?? 0;
      if (count === BATCH_CHANGES || (count > 0 && bytes > BATCH_BYTES)) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  #commit(batch: Waiting[]): void {
    this.#rows.transaction(() => {
      // Without syncs a file is as good as it gets once it is written.
      if (!this.#sync && this.#logged.entries > 0 && this.#behind.size === 0) {
        this.#rows.trimRedo(this.#writer, Number.MAX_SAFE_INTEGER);
      }
      for (const change of batch) this.#write(change);
      crashPoint("rows written");
    });
    crashPoint("committed");
    if (!this.#sync && this.#behind.size === 0) {
      this.#logged = { entries: 0, bytes: 0 };
    }
    for (const { entry } of batch) {
      this.#logged.entries++;
      this.#logged.bytes += entry.payload?.length ?? 0;
    }
  }

  /** Makes the files follow, and tells everyone. */
  async #apply(batch: Waiting[]): Promise<void> {
    const failures = await this.#follow(batch);
    crashPoint("batch applied");
    for (const { entry, existed, settle } of batch) {
      const failure = failures.get(entry.txId);
      if (failure) settle.reject(failure);
      else settle.resolve(existed);
    }
  }

  #write(change: Waiting): void {
    const { info, entry, seen } = change;
    if (info) {
      this.#rows.put(info);
    } else {
      const row = this.#rows.get(entry.txId);
      change.existed = row !== null && (!seen || isSameRow(row, seen));
      if (!row || !change.existed) return;
      entry.storageHash = row.storageHash;
      this.#rows.delete(entry.txId);
    }
    this.#rows.log(entry, this.#writer);
  }

  /** The errors of the files that could not follow. */
  async #follow(batch: Waiting[]): Promise<Map<string, unknown>> {
    const last = new Map<string, RedoEntry>();
    for (const { entry, existed } of batch) {
      if (!existed) continue;
      const older = last.get(entry.txId);
      if (older?.action === "put" && older.staged) {
        this.#files.unstage(older.staged);
      }
      last.set(entry.txId, entry);
    }
    const failures = new Map<string, unknown>();
    let since = performance.now();
    for (const [txId, entry] of last) {
      if (performance.now() - since > LONGEST_STRETCH) {
        await nextTurn();
        since = performance.now();
      }
      try {
        await this.#carryOut(entry);
        this.#behind.delete(txId);
      } catch (error) {
        this.#behind.set(txId, entry);
        failures.set(txId, error);
      }
    }
    return failures;
  }

  #carryOut(entry: RedoEntry): Promise<void> {
    return carryOut(
      entry,
      this.#files,
      (txId) => this.#rows.get(txId) !== null,
    );
  }

  #isLogFull(): boolean {
    return this.#logged.entries >= LOG_ENTRIES ||
      this.#logged.bytes >= LOG_BYTES;
  }

  /** Nothing is lost when a checkpoint fails: the log is only longer. */
  async #checkpointQuietly(): Promise<void> {
    try {
      await this.#checkpoint();
    } catch {
      this.#logged = { entries: 0, bytes: 0 }; // try again after as many more
    }
  }

  async #checkpoint(): Promise<void> {
    if (this.#logged.entries === 0 && this.#behind.size === 0) return;
    await this.#catchUp();
    const until = this.#rows.lastRedo();
    for (let seq = 0;;) {
      const page = this.#rows.redoIds(seq, 1_024, this.#writer);
      if (page.length === 0) break;
      const ids = page.map(({ txId }) => txId);
      await this.#files.sync(ids.filter((txId) => !this.#behind.has(txId)));
      seq = page.at(-1)!.seq;
    }
    crashPoint("files synced");
    await this.#locks.whileCommitting(() =>
      this.#rows.transaction(() =>
        this.#rows.trimRedo(this.#writer, until, [...this.#behind.keys()])
      )
    );
    crashPoint("redo trimmed");
    this.#logged = { entries: 0, bytes: 0 };
  }

  /** Tries again what could not follow; what still cannot stays in the log. */
  async #catchUp(): Promise<void> {
    if (this.#behind.size === 0) return;
    await this.#locks.whileCommitting(async () => {
      for (const [txId, entry] of this.#behind) {
        // Another process may have changed the row, and the file, since.
        const current = this.#rows.redoOf(txId);
        const isCurrent = current?.action === entry.action &&
          current.storageHash === entry.storageHash;
        try {
          if (isCurrent) await this.#carryOut(entry);
          this.#behind.delete(txId);
        } catch {
          // The call that made this change was told why.
        }
      }
    });
  }
}

function isSameRow(a: TxInfo, b: TxInfo): boolean {
  return a.txId === b.txId && a.holderId === b.holderId &&
    a.timestamp === b.timestamp && a.storageHash === b.storageHash &&
    a.size === b.size;
}
