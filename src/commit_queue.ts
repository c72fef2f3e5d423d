/**
 * Group commit: changes that are in flight together share one transaction, and
 * their files one checkpoint. See `redo.ts` for the order of things.
 *
 * @module
 */

import type { CommitNote } from "./commit_note.ts";
import { crashPoint } from "./crash_points.ts";
import { PohStorageError, StoreMovedError, TxExistsError } from "./errors.ts";
import type { FileStore } from "./file_store.ts";
import { FileThread } from "./file_thread.ts";
import { isDiskFull, type Reserve } from "./full_disk.ts";
import { sha256HexSync } from "./hash.ts";
import { decide, type IfExists, type SavedTx, savedTx } from "./if_exists.ts";
import type { StoreLocks } from "./locks.ts";
import { isSoundSoon } from "./payload_file.ts";
import { type Place, whyMoved } from "./place.ts";
import { carryOut, isVoid } from "./redo.ts";
import { isIoError } from "./sqlite_driver.ts";
import type { RedoEntry } from "./redo_log.ts";
import { isSameRow, type SqliteStore } from "./sqlite_store.ts";
import { nextTurn, Pacer } from "./turn.ts";
import type { TxInfo } from "./types.ts";
import { WalCheckpoints } from "./wal_checkpoints.ts";

/** At most so many changes, and payload bytes, in one transaction. */
const BATCH_CHANGES = 128;
const BATCH_BYTES = 4 * 1024 * 1024;

/** At most so many transactions before others may commit. */
const BATCHES_IN_A_ROW = 8;

/**
 * Another thread makes the files of a batch that has so many, once there were so
 * many in such batches: it takes a while to start.
 */
const MANY_FILES = 32;
const THREAD_AFTER = 512;

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

/** A change that saves a transaction. */
export interface SaveChange extends Omit<Change, "seen"> {
  /** The row to write. */
  info: TxInfo;
}

interface Waiting extends Change {
  /** What a save does where there is another transaction; null: no save. */
  rule: IfExists | null;
  /** Whether the database has changed: known once committed. */
  made: boolean;
  /** What became of a save: known once committed. */
  saved: SavedTx | null;
  /** Why a save was refused: known once committed. */
  refusal: TxExistsError | null;
  /** Whether a file has to follow. */
  follows: boolean;
  settle: PromiseWithResolvers<SavedTx | boolean>;
}

/** Orders and commits the changes of one open writer. */
export class CommitQueue {
  readonly #files: FileStore;
  readonly #rows: SqliteStore;
  readonly #locks: StoreLocks;
  readonly #note: CommitNote;
  readonly #reserve: Reserve;
  readonly #wal: WalCheckpoints;
  readonly #sync: boolean;
  readonly #checkpointAfter: number;
  readonly #base: Place;
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
  /** Payload files that this writer has put in their place so far, or tried to. */
  filesPut = 0;
  /** Files of large batches so far, and the thread that makes them. */
  #manyFiles = 0;
  #thread: FileThread | null = null;
  #starting: Promise<unknown> | null = null;

  /** A queue that commits to these stores under these locks. */
  constructor(
    files: FileStore,
    rows: SqliteStore,
    locks: StoreLocks,
    note: CommitNote,
    reserve: Reserve,
    options: { sync: boolean; checkpointAfter: number; base: Place },
  ) {
    this.#files = files;
    this.#rows = rows;
    this.#locks = locks;
    this.#note = note;
    this.#reserve = reserve;
    this.#wal = new WalCheckpoints(rows, locks);
    this.#sync = options.sync;
    this.#checkpointAfter = options.checkpointAfter;
    this.#base = options.base;
  }

  /**
   * Makes a change; durable when resolved.
   *
   * @returns Whether it was made: false for a deletion without a row, and
   * where the row is not as the change demands.
   */
  submit(change: Change): Promise<boolean> {
    return this.#push(change, null) as Promise<boolean>;
  }

  /**
   * Saves a transaction; durable when resolved. What to do where there is one
   * of that id is decided in the commit, in the order of the calls.
   *
   * @throws {TxExistsError} If the rule forbids it; nothing was changed.
   */
  save(change: SaveChange, rule: IfExists = "replace"): Promise<SavedTx> {
    return this.#push(change, rule) as Promise<SavedTx>;
  }

  #push(change: Change, rule: IfExists | null): Promise<SavedTx | boolean> {
    const settle = Promise.withResolvers<SavedTx | boolean>();
    this.#waiting.push({
      ...change,
      rule,
      made: false,
      saved: null,
      refusal: null,
      follows: false,
      settle,
    });
    this.#draining ??= this.#drain();
    return settle.promise;
  }

  /**
   * Makes the log empty, and lets go of what it has; takes no more changes. The
   * log of a store that was moved stays, for whoever opens it next.
   */
  async close(): Promise<void> {
    try {
      await this.flush();
    } catch (error) {
      if (!(error instanceof StoreMovedError)) throw error;
    } finally {
      await this.#wal.close();
      await this.#starting;
      this.#thread?.[Symbol.dispose]();
    }
  }

  /** The error to tell when base or database is not where it was; else null. */
  moved(): StoreMovedError | null {
    if (this.#failure instanceof StoreMovedError) return this.#failure;
    return whyMoved(this.#base, this.#rows);
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
      try {
        await this.#locks.whileCommitting(() => this.#makeSome());
      } catch (error) {
        this.#refuse(this.#waiting.splice(0), error);
      }
      if (!this.#isLogFull()) continue;
      await this.#checkpointing; // not more than two logs' worth at a time
      this.#checkpointing = this.#checkpointQuietly();
    }
    this.#draining = null;
  }

  /**
   * Makes some of the changes that wait. While another thread makes the files
   * of one batch, this one commits the next.
   */
  async #makeSome(): Promise<void> {
    let following: Promise<void> | null = null;
    for (let n = 0; n < BATCHES_IN_A_ROW && this.#waiting.length > 0; n++) {
      if (n > 0 && this.#isLogFull()) break;
      const batch = this.#takeBatch();
      const thread = this.#threadFor(batch);
      if (!thread) await following;
      if (!await this.#commitDurably(batch)) continue;
      const before = following;
      following = this.#apply(batch, thread);
      if (!thread) await following;
      await before;
      await nextTurn();
    }
    await following;
  }

  /** Commits a batch; false where that cannot be done, and everyone is told. */
  async #commitDurably(batch: Waiting[], attempt = 0): Promise<boolean> {
    let isCommitted = false;
    try {
      if (this.#sync && batch.some((change) => change.entry.staged)) {
        await this.#files.syncStaged();
        crashPoint("staged names synced");
      }
      await this.#commit(batch);
      isCommitted = true;
      await this.#flush();
      this.#requireInPlace();
      const made = batch.filter((change) => change.made);
      this.#wal.onCommit(made.length, bytesOf(made));
      this.#reserve.makeOnce();
      return true;
    } catch (error) {
      const reason = this.moved() ?? error;
      if (!isCommitted && isDiskFull(reason)) {
        return await this.#commitRemovals(batch, reason, attempt);
      }
      // After an I/O error a crash may yet find it committed: recover will tell.
      if (isCommitted || isIoError(error)) {
        for (const { settle } of batch) settle.reject(reason);
      } else this.#refuse(batch, reason);
      return false;
    }
  }

  /**
   * Commits the removals of a batch for which the disk has no room, once the
   * reserve is given up for them, or SQLite's log. Refuses the other changes,
   * and takes them out of the batch.
   */
  async #commitRemovals(
    batch: Waiting[],
    error: unknown,
    attempt: number,
  ): Promise<boolean> {
    const removals = batch.filter(({ entry }) => entry.action === "remove");
    const hasRoom = removals.length > 0 &&
      (this.#reserve.giveUp() || attempt === 0 && this.#rows.shrinkLog());
    const kept = hasRoom ? removals : [];
    this.#refuse(batch.filter((change) => !kept.includes(change)), error);
    batch.splice(0, Infinity, ...kept);
    return hasRoom && await this.#commitDurably(batch, attempt + 1);
  }

  #refuse(batch: Waiting[], error: unknown): void {
    for (const { entry, settle } of batch) {
      if (entry.action === "put" && entry.staged) {
        this.#files.unstage(entry.staged);
      }
      settle.reject(error);
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
    this.#note.write(this.#rows.redo.newest());
    crashPoint("commit flushed");
  }

  /**
   * Refuses to go on where the base or the database is another one by now. The
   * batch is committed in the database that is open, wherever that has gone; but
   * its files would be put into the other store.
   */
  #requireInPlace(): void {
    const moved = this.moved();
    if (!moved) return;
    this.#failure = moved;
    throw moved;
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

  async #commit(batch: Waiting[]): Promise<void> {
    if (this.#failure) throw this.#failure;
    await this.#rows.change(() => {
      // Without syncs a file is as good as it gets once it is written.
      if (!this.#sync && this.#hasEntries) this.#trim(Number.MAX_SAFE_INTEGER);
      const hasInline = this.#rows.hasInline() ||
        batch.some(({ inline }) => inline);
      for (const change of batch) this.#write(change, hasInline);
      const entries = lastEntries(batch);
      if (entries.size > 0) {
        this.#rows.redo.append(entries.values(), this.#writer);
      } else if (batch.some(({ made }) => made)) {
        this.#rows.redo.advance(1);
      }
      crashPoint("rows written");
    });
    crashPoint("committed");
    for (const { entry, follows } of batch) {
      if (!follows) continue;
      this.#behind.add(entry.txId);
      this.#hasEntries = true;
      this.#logged.entries++;
      this.#logged.bytes += entry.payload?.length ?? 0;
    }
  }

  /** Makes the files follow, and tells everyone; never rejects. */
  async #apply(batch: Waiting[], thread: FileThread | null): Promise<void> {
    const failures = await this.#follow(batch, thread);
    crashPoint("batch applied");
    for (const { entry, follows, made, saved, refusal, settle } of batch) {
      const failure = follows && failures.get(entry.txId);
      if (failure) settle.reject(failure);
      else if (refusal) settle.reject(refusal);
      else settle.resolve(saved ?? made);
    }
  }

  /** @param hasInline Whether any payload may live in the database. */
  #write(change: Waiting, hasInline: boolean): void {
    // The transaction may be tried again.
    change.made = change.follows = false;
    change.saved = change.refusal = null;
    if (change.rule !== null) this.#writeSave(change, hasInline);
    else this.#writeIfAsSeen(change, hasInline);
  }

  /** A new id costs one statement: it is looked up only where it is not new. */
  #writeSave(change: Waiting, hasInline: boolean): void {
    const info = change.info!;
    if (this.#rows.insert(info)) {
      change.saved = savedTx(info, "created");
      return this.#writePayload(change, null, hasInline);
    }
    const there = this.#rows.get(info.txId)!;
    try {
      const outcome = decide(there, info, change.rule!);
      change.saved = savedTx(outcome === "kept" ? there : info, outcome);
      if (outcome === "kept") return;
      // The same again mends a payload that is damaged or gone.
      const isThere = isSameRow(there, info) && this.#isSound(info, hasInline);
      if (isThere) return;
    } catch (error) {
      if (!(error instanceof TxExistsError)) throw error;
      change.refusal = error;
      return;
    }
    this.#writePayload(change, there, hasInline);
    this.#rows.put(info);
  }

  #writeIfAsSeen(change: Waiting, hasInline: boolean): void {
    const { info, entry, seen } = change;
    const before = this.#rows.get(entry.txId);
    if (before === null && info === null) return;
    if (seen && !(before && isSameRow(before, seen))) return;
    this.#writePayload(change, before, hasInline);
    if (info) this.#rows.put(info);
    else this.#rows.delete(entry.txId);
  }

  /** What goes with the row, while the row before it, if any, is still there. */
  #writePayload(
    change: Waiting,
    before: TxInfo | null,
    hasInline: boolean,
  ): void {
    const { info, entry, inline } = change;
    const rows = this.#rows;
    change.made = true;
    change.follows = entry.action === "put" ||
      before !== null && !rows.isInline(before);
    if (change.follows && entry.action !== "put") {
      entry.storageHash = before!.storageHash;
    }
    if (info && inline) rows.putInline(info, inline);
    else if (info && hasInline) rows.dropInline(entry.txId);
  }

  /** Fast path: true if a small payload matches its row. False proves nothing. */
  #isSound(info: TxInfo, hasInline: boolean): boolean {
    const inline = hasInline ? this.#rows.inlinePayload(info) : null;
    return inline
      ? sha256HexSync(inline) === info.storageHash
      : isSoundSoon(this.#files.expected(info));
  }

  /**
   * The thread that can make a batch's files: where they are many, new for all
   * that is known, and of nothing that it is still at work on.
   */
  #threadFor(batch: Waiting[]): FileThread | null {
    const isPlain = batch.length >= MANY_FILES &&
      batch.every(({ entry, rule }) =>
        entry.payload && rule !== null && !this.#behind.has(entry.txId)
      );
    if (!isPlain) return null;
    this.#manyFiles += batch.length;
    if (this.#manyFiles > THREAD_AFTER) {
      this.#starting ??= FileThread.start().then((thread) =>
        this.#thread = thread
      );
    }
    return this.#liveThread();
  }

  #liveThread(): FileThread | null {
    return this.#thread?.hasDied === false ? this.#thread : null;
  }

  /** The errors of the files that could not follow. */
  async #follow(
    batch: Waiting[],
    thread: FileThread | null,
  ): Promise<Map<string, unknown>> {
    const entries = lastEntries(batch);
    for (const { entry } of batch) {
      const isLeft = entries.get(entry.txId) !== entry;
      if (isLeft && entry.action === "put" && entry.staged) {
        this.#files.unstage(entry.staged);
      }
    }
    if (thread) await this.#createFiles(entries, thread);
    const failures = new Map<string, unknown>();
    const pacer = new Pacer();
    for (const [txId, entry] of entries) {
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

  /** Has the thread make files, and forgets those that it has made. */
  async #createFiles(
    entries: Map<string, RedoEntry>,
    thread: FileThread,
  ): Promise<void> {
    const files = [...entries.values()].map((entry) => ({
      txId: entry.txId,
      path: this.#files.pathOf(entry.txId),
      payload: entry.payload!,
    }));
    const left = new Set(await thread.create(files));
    for (const { txId, path } of files) {
      if (left.has(path)) continue;
      crashPoint("file written");
      this.filesPut++;
      this.#behind.delete(txId);
      entries.delete(txId);
    }
  }

  async #carryOut(entry: RedoEntry): Promise<void> {
    try {
      await carryOut(entry, this.#files);
    } finally {
      // Afterwards: who has counted the files by then has to be told.
      if (entry.action === "put") this.filesPut++;
    }
  }

  /** Drops entries up to `seq`, but for those whose file has not followed. */
  #trim(seq: number, behind = this.#behind): void {
    this.#rows.redo.trim(this.#writer, seq, [...behind]);
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
    this.#requireInPlace();
    this.#logged = { entries: 0, bytes: 0 };
    const until = this.#rows.redo.newest();
    await this.#catchUp();
    const behind = new Set(this.#behind);
    for (let seq = 0; seq < until;) {
      const page = this.#rows.redo.idsAfter(seq, SYNC_PAGE, this.#writer);
      if (page.length === 0) break;
      const ids = page.map(({ txId }) => txId);
      await this.#files.sync(
        ids.filter((txId) => !behind.has(txId)),
        (txId) => { // written anew, from the log
          behind.add(txId);
          this.#behind.add(txId);
        },
        this.#liveThread(),
      );
      crashPoint("files synced");
      seq = Math.min(until, page.at(-1)!.seq);
      await this.#locks.whileCommitting(() =>
        this.#rows.change(() => this.#trim(seq, behind))
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
        const entry = this.#rows.redo.of(txId);
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

/** What follows from a batch: of each id what came last. */
function lastEntries(batch: Waiting[]): Map<string, RedoEntry> {
  const entries = new Map<string, RedoEntry>();
  for (const { entry, follows } of batch) {
    if (follows) entries.set(entry.txId, entry);
  }
  return entries;
}

/** Payload bytes that go into the database. */
function bytesOf(changes: Change[]): number {
  return changes.reduce(
    (bytes, { entry, inline }) =>
      bytes + ((inline ?? entry.payload)?.length ?? 0),
    0,
  );
}
