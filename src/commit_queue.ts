/**
 * Group commit: changes that are in flight together share one transaction, and
 * their files one checkpoint. See `redo.ts` for the order of things.
 *
 * @module
 */

import type { CommitNote } from "./commit_note.ts";
import { crashPoint } from "./crash_points.ts";
import { PohStorageError } from "./errors.ts";
import type { FileStore } from "./file_store.ts";
import type { StoreLocks } from "./locks.ts";
import { carryOut, isVoid } from "./redo.ts";
import { isIoError } from "./sqlite_driver.ts";
import { isSameRow, type RedoEntry, type SqliteStore } from "./sqlite_store.ts";
import { nextTurn, Pacer } from "./turn.ts";
import type { TxInfo } from "./types.ts";
import { WalCheckpoints } from "./wal_checkpoints.ts";

/** At most so many changes, and payload bytes, in one transaction. */
const BATCH_CHANGES = 128;
const BATCH_BYTES = 4 * 1024 * 1024;

/** The log is trimmed when it holds so many payload bytes. */
const LOG_BYTES = 32 * 1024 * 1024;

/** Files synced before their entries are dropped, in one short transaction. */
const SYNC_PAGE = 512;

/** A row's new state and what its file has to do. */
export interface Change {
  /** The row to write; null to delete it. */
  info: TxInfo | null;
  /** What follows. For a removal the digest comes from the row. */
  entry: RedoEntry;
  /** The payload, where it is to live in the database; its file is removed. */
  inline?: Uint8Array;
  /** Only of the row as it was seen, not of one that came since. */
  seen?: TxInfo;
}

interface Waiting extends Change {
  /** Whether it was made: known once committed. */
  made: boolean;
  /** Whether a file has to follow. */
  follows: boolean;
  settle: PromiseWithResolvers<boolean>;
}

/** Orders and commits the changes of one open writer. */
export class CommitQueue {
  readonly #files: FileStore;
  readonly #rows: SqliteStore;
  readonly #locks: StoreLocks;
  readonly #note: CommitNote;
  readonly #wal: WalCheckpoints;
  readonly #sync: boolean;
  readonly #checkpointAfter: number;
  readonly #writer = crypto.randomUUID();
  #waiting: Waiting[] = [];
  #draining: Promise<void> | null = null;
  #checkpointing: Promise<void> | null = null;
  /** Entries and bytes logged since the last checkpoint began. */
  #logged = { entries: 0, bytes: 0 };
  /** Why no commit can be trusted any more. */
  #failure: Error | null = null;
  /** Whether this writer may have entries in the log. */
  #hasEntries = false;
  /** Ids of committed changes whose file has not followed: the disk may be full. */
  readonly #behind = new Set<string>();

  /** A queue that commits to these stores under these locks. */
  constructor(
    files: FileStore,
    rows: SqliteStore,
    locks: StoreLocks,
    note: CommitNote,
    options: { sync: boolean; checkpointAfter: number },
  ) {
    this.#files = files;
    this.#rows = rows;
    this.#locks = locks;
    this.#note = note;
    this.#wal = new WalCheckpoints(rows, locks);
    this.#sync = options.sync;
    this.#checkpointAfter = options.checkpointAfter;
  }

  /**
   * Makes a change; durable when resolved.
   *
   * @returns Whether it was made: false for a deletion without a row, and
   * where the row is not as the change demands.
   */
  submit(change: Change): Promise<boolean> {
    const settle = Promise.withResolvers<boolean>();
    this.#waiting.push({ ...change, made: true, follows: true, settle });
    this.#draining ??= this.#drain();
    return settle.promise;
  }

  /** Makes the log empty, and lets go of what it has; takes no more changes. */
  async close(): Promise<void> {
    try {
      await this.flush();
    } finally {
      await this.#wal.close();
    }
  }

  /** Waits for the changes in flight, then makes the log empty. */
  async flush(): Promise<void> {
    while (this.#draining) await this.#draining;
    await this.#checkpointing;
    await this.#checkpoint();
  }

  /** Never rejects: what goes wrong is told to those whom it concerns. */
  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      await nextTurn(); // what is submitted in this turn goes together
      await this.#make(this.#takeBatch());
      if (!this.#isLogFull()) continue;
      await this.#checkpointing; // not more than two logs' worth at a time
      this.#checkpointing = this.#checkpointQuietly();
    }
    this.#draining = null;
  }

  async #make(batch: Waiting[]): Promise<void> {
    let isCommitted = false;
    try {
      if (this.#sync && batch.some((change) => change.entry.staged)) {
        await this.#files.syncStaged();
        crashPoint("staged names synced");
      }
      await this.#locks.whileCommitting(async () => {
        this.#commit(batch);
        isCommitted = true;
        await this.#flush();
        await this.#apply(batch);
      });
    } catch (error) {
      // After an I/O error a crash may yet find it committed: recover will tell.
      if (!isCommitted && !isIoError(error)) this.#unstage(batch);
      for (const { settle } of batch) settle.reject(error);
    }
  }

  /**
   * Waits for the disk. What it does not take is committed and may be lost all
   * the same, and so may be all that follows, which is why nothing does.
   */
  async #flush(): Promise<void> {
    try {
      await this.#rows.flush();
    } catch (error) {
      this.#failure = new PohStorageError(
        "DISK_FAILED",
        `The disk did not take a commit (${
          (error as Error).message
        }): what was saved last may be lost in a power cut; open the store again`,
        { cause: error },
      );
      throw this.#failure;
    }
    this.#note.write(this.#rows.newestRedo());
    crashPoint("commit flushed");
  }

  #unstage(batch: Waiting[]): void {
    for (const { entry } of batch) {
      if (entry.action === "put" && entry.staged) {
        this.#files.unstage(entry.staged);
      }
    }
  }

  #takeBatch(): Waiting[] {
    let bytes = 0, count = 0;
    for (const change of this.#waiting) {
      bytes += bytesOf([change]);
      if (count === BATCH_CHANGES || (count > 0 && bytes > BATCH_BYTES)) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  #commit(batch: Waiting[]): void {
    if (this.#failure) throw this.#failure;
    this.#rows.transaction(() => {
      // Without syncs a file is as good as it gets once it is written.
      if (!this.#sync && this.#logged.entries > 0 && this.#behind.size === 0) {
        this.#rows.trimRedo(this.#writer, Number.MAX_SAFE_INTEGER);
      }
      const hasInline = this.#rows.hasInline() ||
        batch.some(({ inline }) => inline);
      for (const change of batch) this.#write(change, hasInline);
      if (!batch.some(({ follows }) => follows)) this.#rows.countCommit();
      crashPoint("rows written");
    });
    crashPoint("committed");
    this.#wal.onCommit(batch.length, bytesOf(batch));
    if (!this.#sync && this.#behind.size === 0) {
      this.#logged = { entries: 0, bytes: 0 };
    }
    for (const { entry, follows } of batch) {
      if (!follows) continue;
      this.#behind.add(entry.txId);
      this.#hasEntries = true;
      this.#logged.entries++;
      this.#logged.bytes += entry.payload?.length ?? 0;
    }
  }

  /** Makes the files follow, and tells everyone. */
  async #apply(batch: Waiting[]): Promise<void> {
    const failures = await this.#follow(batch);
    crashPoint("batch applied");
    for (const { entry, made, settle } of batch) {
      const failure = failures.get(entry.txId);
      if (failure) settle.reject(failure);
      else settle.resolve(made);
    }
  }

  /** @param hasInline Whether any payload may live in the database. */
  #write(change: Waiting, hasInline: boolean): void {
    const { info, entry, inline, seen } = change;
    const rows = this.#rows;
    if (entry.action === "put" && !seen) {
      rows.put(info!);
      if (hasInline) rows.dropInline(entry.txId);
      return rows.log(entry, this.#writer);
    }
    const before = rows.get(entry.txId);
    change.made = (before !== null || info !== null) &&
      (!seen || before !== null && isSameRow(before, seen));
    change.follows = change.made && before !== null &&
      (entry.action === "put" || !rows.isInline(before));
    if (!change.made) return;
    if (info) rows.put(info);
    else rows.delete(entry.txId);
    if (info && inline) rows.putInline(info, inline);
    else if (info && hasInline) rows.dropInline(entry.txId);
    if (!change.follows) return;
    if (entry.action !== "put") entry.storageHash = before!.storageHash;
    rows.log(entry, this.#writer);
  }

  /** The errors of the files that could not follow. */
  async #follow(batch: Waiting[]): Promise<Map<string, unknown>> {
    const last = new Map<string, RedoEntry>();
    for (const { entry, follows } of batch) {
      if (!follows) continue;
      const older = last.get(entry.txId);
      if (older?.action === "put" && older.staged) {
        this.#files.unstage(older.staged);
      }
      last.set(entry.txId, entry);
    }
    const failures = new Map<string, unknown>();
    const pacer = new Pacer();
    for (const [txId, entry] of last) {
      await pacer.giveWay();
      try {
        await this.#carryOut(entry);
        this.#behind.delete(txId);
      } catch (error) {
        failures.set(txId, error);
      }
    }
    return failures;
  }

  #carryOut(entry: RedoEntry): Promise<void> {
    return carryOut(entry, this.#files, (txId) => this.#rows.isInFile(txId));
  }

  #isLogFull(): boolean {
    return this.#logged.entries >= this.#checkpointAfter ||
      this.#logged.bytes >= LOG_BYTES;
  }

  /** Nothing is lost when a checkpoint fails: the log is only longer. */
  async #checkpointQuietly(): Promise<void> {
    try {
      await this.#checkpoint();
    } catch {
      // It is tried again after as many changes more.
    }
  }

  /**
   * Makes the files durable whose entries are in the log by now, and drops
   * these. Changes go on meanwhile: an id's next entry has a greater number.
   */
  async #checkpoint(): Promise<void> {
    // What the disk may have lost is replayed when the store is opened again.
    if (!this.#hasEntries || this.#failure) return;
    this.#logged = { entries: 0, bytes: 0 };
    const until = this.#rows.lastRedo();
    await this.#catchUp();
    const behind = new Set(this.#behind);
    for (let seq = 0; seq < until;) {
      const page = this.#rows.redoIds(seq, SYNC_PAGE, this.#writer);
      if (page.length === 0) break;
      const ids = page.map(({ txId }) => txId);
      const failed = await this.#files.sync(
        ids.filter((txId) => !behind.has(txId)),
      );
      // What the disk refused once is written anew, from the log.
      for (const txId of failed) {
        behind.add(txId);
        this.#behind.add(txId);
      }
      crashPoint("files synced");
      seq = Math.min(until, page.at(-1)!.seq);
      await this.#locks.whileCommitting(() =>
        this.#rows.transaction(() =>
          this.#rows.trimRedo(this.#writer, seq, [...behind])
        )
      );
      crashPoint("redo trimmed");
    }
    this.#hasEntries = this.#logged.entries > 0 || this.#behind.size > 0;
  }

  /** Tries again what could not follow; what still cannot stays in the log. */
  async #catchUp(): Promise<void> {
    if (this.#behind.size === 0) return;
    await this.#locks.whileCommitting(async () => {
      for (const txId of this.#behind) {
        const entry = this.#rows.redoOf(txId);
        try {
          if (entry && !isVoid(entry, this.#rows)) await this.#carryOut(entry);
          this.#behind.delete(txId);
        } catch {
          // The call that made this change was told why.
        }
      }
    });
  }
}

/** Payload bytes that go into the database. */
function bytesOf(changes: Change[]): number {
  return changes.reduce(
    (bytes, { entry, inline }) =>
      bytes + ((inline ?? entry.payload)?.length ?? 0),
    0,
  );
}
