/**
 * Group commit: changes that are in flight together are written to the log at
 * once, and one sync makes all of them durable. Then files and rows follow, and
 * the saves resolve.
 *
 * One process at a time has the turn, `.poh/commit.lock`, from the look at where
 * the log ends until files and rows have followed. So all processes' changes have
 * one order, that of the log, and whoever has the turn finds rows that have
 * followed everyone's records.
 *
 * Rows follow before a save resolves; but a writer that is alone in the store
 * has another thread make those of new ids, many in one transaction, by the end
 * of its turn. Until then its own reads know them, and readers in other processes
 * look at the log for an id without a row, and before a query. The files of many
 * new ids are made by a further thread, while this one logs the next batch.
 *
 * @module
 */

import { join } from "@std/path";
import { crashPoint } from "../async/crash_points.ts";
import type { CompactOptions, CompactReport } from "../model/packing.ts";
import { PohStorageError, StoreMovedError } from "../errors.ts";
import { isDiskFull, type Reserve } from "../files/full_disk.ts";
import type { IfExists, SavedTx } from "../model/if_exists.ts";
import { LockFile, type StoreLocks } from "../files/locks.ts";
import { type Place, whyMoved } from "../files/place.ts";
import { nextTurn } from "../async/turn.ts";
import { pauseFor } from "../async/wait_for.ts";
import type { TxInfo } from "../types.ts";
import {
  CHECKPOINT_DUE,
  dropSegments,
  filesOf,
  findStuck,
  keepInLog,
  type LogParts,
  makeAgain,
  retry,
  type Stretch,
  stretchOf,
  type SyncFiles,
  syncFollowed,
} from "./checkpoint.ts";
import {
  dropStaged,
  rejectAll,
  type Result,
  settleAll,
  tellFailures,
  type Waiting,
} from "./batch.ts";
import { Compaction } from "./compaction.ts";
import { decideAll } from "./decide.ts";
import { rememberDamage } from "./damage.ts";
import {
  followingRow,
  isVoid,
  makeFile,
  makeFiles,
  makeRows,
  type Stuck,
} from "./follow.ts";
import { Follower } from "./follower.ts";
import type { FileFailure } from "./follower_worker.ts";
import { LogEnd } from "./log_end.ts";
import { LogReader } from "./log_reader.ts";
import {
  type Change,
  type LogRecord,
  requireLoggable,
  rowOf,
} from "./record.ts";
import { isClosed, replay, type Replayed } from "./replay.ts";
import { scanLog } from "./scan.ts";
import { FIRST_RECORD, positionOf, segmentOf } from "./segment.ts";
import { type FollowingFile, Unsynced } from "./unsynced.ts";
import { WalCheckpoints } from "./wal_checkpoints.ts";
import { logState, setLogState } from "../sqlite/log_state.ts";
import { hasPlaces } from "../sqlite/places.ts";
import { shrinkWal } from "../sqlite/wal_mode.ts";

/** At most so many changes, and payload bytes, are written at once. */
const BATCH_CHANGES = 128;
const BATCH_BYTES = 4 * 1024 * 1024;

/** At most so many batches before others may have the turn. */
const BATCHES_IN_A_ROW = 8;

/** How often a writer that is alone looks whether somebody wants its turn, in ms. */
const LONGEST_TURN = 40;

/** How long it waits for more changes before the rows follow, in ms. */
const IDLE = 8;

/** So many rows that have not followed are told to another thread. */
const ROWS_AT_ONCE = 512;

/** At the end of a turn fewer are made here, sooner than a thread would answer. */
const FEW_ROWS = 64;

/** Another thread makes so many files at a time; fewer are made here. */
const FILES_AT_ONCE = 32;

/** Saves wait for the rows when so many have not followed. */
const MOST_DEFERRED = 16_384;

/** How often a writer that is not alone looks whether it is by now, in ms. */
const LOOK_FOR_OTHERS = 1_000;

/** Times that room is made on a full disk for one batch. */
const ATTEMPTS = 3;

/** How long SQLite's log may be in use before it can be shortened, in ms. */
const LONGEST_SHRINKING = 2_000;

/** More bytes than any batch has. */
const ROOM = 16 * 1024 * 1024;

/** Records that a dead writer left are followed so many at a time. */
const PAGE = 512;

/** A batch that is in the log. */
interface Logged {
  records: LogRecord[];
  /** Whether each record saves an id that was unknown. */
  isNew: boolean;
}

/** Some of a batch, whose files another thread makes. */
interface Part {
  /** The change of each record. */
  changes: Waiting[];
  records: LogRecord[];
  /** Those that could not be made; null: nothing is known of any. */
  failures: Promise<FileFailure[] | null>;
}

/** Orders and makes the changes of one open writer. */
export class LogWriter {
  readonly #parts: LogParts;
  readonly #locks: StoreLocks;
  readonly #end: LogEnd;
  readonly #reader: LogReader;
  readonly #wal: WalCheckpoints;
  readonly #compaction: Compaction;
  readonly #sync: boolean;
  readonly #reserve: Reserve;
  readonly #base: Place;
  /** Held shared by every writer that has replayed the log, or found it closed. */
  readonly #joined: LockFile;
  /** Held exclusive by the one that makes a checkpoint. */
  readonly #checkpoints: LockFile;
  #hasJoined = false;
  /** Nobody else has joined since; null: others may write. */
  #aloneSince: { joins: number } | null = null;
  #lookedForOthers = -Infinity;
  #waiting: Waiting[] = [];
  /** Ends a wait for more changes. */
  #onMore = () => {};
  #draining: Promise<void> | null = null;
  #checkpointing: Promise<void> | null = null;
  /** The thread that makes rows, and the one that makes files. */
  #rowMaker: Promise<Follower | null> | null = null;
  #fileMaker: Promise<Follower | null> | null = null;
  /** Rows of new ids that are durable, whose files another thread makes. */
  readonly #underWay = new Map<string, TxInfo>();
  /** Ends when all of them have followed. */
  #finishing: Promise<void> = Promise.resolve();
  /** Ends when another thread has made the rows that it was told to. */
  #following: Promise<void> | null = null;
  /** What has followed since the last checkpoint, where nobody else wrote. */
  #unsynced: Unsynced | null = null;
  /** Changes and bytes logged since the last checkpoint began. */
  #logged = { changes: 0, bytes: 0 };
  /** Why nothing can be trusted any more. */
  #failure: Error | null = null;
  /** Payload files that this writer has put in their place so far, or tried to. */
  filesPut = 0;

  /** A writer of this log under these locks. Its folder is there. */
  constructor(
    parts: LogParts,
    locks: StoreLocks,
    reserve: Reserve,
    options: { sync: boolean; base: Place },
  ) {
    this.#parts = parts;
    this.#locks = locks;
    this.#end = new LogEnd(parts.dir, options.sync);
    this.#reader = new LogReader(parts.dir, parts.rows);
    this.#wal = new WalCheckpoints(
      parts.rows,
      locks,
      () => this.#rowMaker ??= this.#startThread(),
    );
    this.#joined = new LockFile(`${parts.dir.path}/lock`);
    this.#checkpoints = new LockFile(
      join(parts.files.basePath, ".poh", "checkpoint.lock"),
    );
    this.#sync = options.sync;
    this.#reserve = reserve;
    this.#base = options.base;
    this.#compaction = new Compaction(parts, {
      submit: (change) => this.submit(change),
      checkpoint: (seals) => this.#checkpointNext({ seals }),
    });
  }

  /**
   * Joins those who write this log. Whoever is the first has rows and files
   * follow all that was left.
   */
  async join(): Promise<void> {
    await this.#locks.whileCommitting(() => this.#join());
  }

  /**
   * Has rows and files follow whatever the log has, and tells what it did. For
   * whoever is alone.
   */
  async replay(onReplayed: (replayed: Replayed) => void): Promise<void> {
    await this.#locks.whileCommitting(async () => {
      await this.#replay(onReplayed);
      await this.#join();
    });
  }

  /**
   * Makes a change; durable when resolved.
   *
   * @returns Whether it was made: false for a deletion without a row, and
   * where the row is not as the change demands.
   */
  async submit(change: Change): Promise<boolean> {
    return (await this.#push(change, null)).made;
  }

  /**
   * Saves a transaction; durable when resolved. What to do where there is one
   * of that id is decided when the log is written, in its order.
   *
   * @throws {TxExistsError} If the rule forbids it; nothing was changed.
   */
  async save(
    change: Omit<Change, "seen">,
    rule: IfExists = "replace",
  ): Promise<SavedTx> {
    return (await this.#push(change, rule)).saved!;
  }

  // deno-lint-ignore require-await -- what it throws, it rejects with
  async #push(change: Change, rule: IfExists | null): Promise<Result> {
    requireLoggable(change.entry);
    const settle = Promise.withResolvers<Result>();
    this.#waiting.push({ ...change, rule, result: { made: false }, settle });
    this.#onMore();
    this.#draining ??= this.#drain();
    return settle.promise;
  }

  /** The error to tell when base or database is not where it was; else null. */
  moved(): StoreMovedError | null {
    if (this.#failure instanceof StoreMovedError) return this.#failure;
    return whyMoved(this.#base, this.#parts.rows);
  }

  /**
   * Refuses to go on where the base or the database is another one by now: files
   * would be put into the other store.
   */
  #requireInPlace(): void {
    const moved = this.moved();
    if (!moved) return;
    this.#failure = moved;
    throw moved;
  }

  /** Waits for the changes in flight, then makes all durable that followed. */
  async flush(): Promise<void> {
    await this.#whenDrained();
    await this.#checkpointing;
    if (!this.#hasJoined || this.#failure) return;
    this.#requireInPlace();
    await this.#checkpointNext();
  }

  /** Gives back the dead bytes of the log. */
  async compact(options: CompactOptions): Promise<CompactReport> {
    this.#requireInPlace();
    return await this.#compaction.compact(options);
  }

  /**
   * Leaves the log closed, unless others go on with it, and lets go of what it
   * has; takes no more changes. The log of a store that was moved stays as it is,
   * for whoever opens it next.
   */
  async close(): Promise<void> {
    try {
      await this.#compaction.stop();
      await this.#whenDrained();
      await this.#checkpointing;
      const stays = !this.#hasJoined || this.#failure || this.moved();
      if (!stays) {
        await this.#compaction.finish();
        await this.#leave();
      }
    } catch (error) {
      // Whoever opens the store next does what the disk has no room for now.
      if (!isDiskFull(error)) throw error;
    } finally {
      await this.#wal.close();
      await (await this.#rowMaker)?.[Symbol.asyncDispose]();
      await (await this.#fileMaker)?.[Symbol.asyncDispose]();
      this.abandon();
    }
  }

  /** Waits for the changes in flight. */
  async #whenDrained(): Promise<void> {
    while (this.#draining) {
      this.#onMore();
      await this.#draining;
    }
  }

  /** Lets go of what it has, and leaves the log as it is. */
  abandon(): void {
    void this.#compaction.stop();
    this.#joined.close();
    this.#checkpoints.close();
    this.#parts.dir[Symbol.dispose]();
  }

  // --- turns ------------------------------------------------------------------

  async #join(): Promise<void> {
    if (this.#hasJoined) return;
    const { dir } = this.#parts;
    const isFirst = this.#joined.tryLock(true);
    this.#compaction.observe();
    const { hasFailed } = dir.state();
    // Those who wrote before a sync failed refuse to go on.
    if (isFirst || hasFailed) {
      if (isFirst) dir.clearLeftovers();
      await this.#replay();
      dir.setState({
        hasFailed: false,
        isCheckpointing: false,
        newest: dir.numbers().at(-1)!,
        // What a crash has left there counts no more.
        ...isFirst && { joins: 0, resolved: 0 },
      });
    }
    const { joins } = dir.state();
    dir.setState({ joins: joins + 1 });
    if (isFirst) this.#aloneSince = { joins: joins + 1 };
    // Nobody else can take it meanwhile: joining needs the turn.
    if (isFirst) this.#joined.unlock();
    if (!this.#joined.tryLock(false)) throw new Error("The log is locked");
    this.#hasJoined = true;
    // One who is killed again and again never comes to a checkpoint.
    if (isFirst) this.#compaction.start();
  }

  async #replay(onReplayed?: (replayed: Replayed) => void): Promise<void> {
    const { dir, rows } = this.#parts;
    const { hasFailed } = dir.state();
    const damage = await this.#orFail(() =>
      replay(this.#parts, onReplayed, hasFailed)
    );
    await rememberDamage(rows, damage);
  }

  /** Runs work after which nobody writes if SQLite's log was refused. */
  async #orFail<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const { failure } = this.#parts.rows.wal;
      throw failure ? this.#fail(failure) : error;
    }
  }

  /** Goes to the end of the log, once rows have followed up to there. */
  async #enter(): Promise<void> {
    if (this.#failure) throw this.#failure;
    this.#requireInPlace();
    await this.#join();
    const { dir, rows } = this.#parts;
    const { hasFailed, newest, joins } = dir.state();
    if (hasFailed) throw diskFailed("as another process was told");
    this.#lookForOthers(joins);
    if (rows.deferred.size > 0) await this.#makeRowsFollow();
    const { applied } = logState(rows);
    this.#end.seek(applied);
    if (newest > this.#end.segment || this.#end.isTaken()) {
      await this.#catchUp(applied);
    }
    const { position } = this.#end;
    if (this.#unsynced?.end !== position) {
      this.#unsynced = new Unsynced(position); // others have written
    }
  }

  /**
   * Others join while they have the turn, and say so. Who leaves does not; but
   * whoever has announced nothing has not joined.
   */
  #lookForOthers(joins: number): void {
    if (this.#aloneSince?.joins === joins) return;
    this.#aloneSince = null;
    const now = performance.now();
    if (now - this.#lookedForOthers < LOOK_FOR_OTHERS) return;
    this.#lookedForOthers = now;
    if (this.#locks.others().length === 0) this.#aloneSince = { joins };
  }

  /**
   * What a writer left that died, or whose rows could not follow. The disk may
   * have refused its last batch, or the name of a segment.
   */
  async #catchUp(applied: number): Promise<void> {
    const { dir } = this.#parts;
    const records: LogRecord[] = [];
    let lastBatch = applied;
    const scan = scanLog(dir, applied);
    let next = scan.next();
    for (; !next.done; next = scan.next()) {
      const { record, gap } = next.value;
      if (gap) throw logDamaged(gap.from);
      records.push(record);
      if (record.startsBatch) lastBatch = record.position;
    }
    this.#end.seek(next.value);
    this.#end.wipe();
    dir.setState({ newest: this.#end.segment });
    await dir.syncNames();
    await this.#makeDurable(async () => {
      // Whoever made a new segment had all before it on the disk.
      const isLast = segmentOf(lastBatch) === this.#end.segment;
      if (isLast) await dir.writeAgain(lastBatch, this.#end.position);
      await this.#end.sync();
    });
    for (let at = 0; at < records.length; at += PAGE) {
      await this.#follow(records.slice(at, at + PAGE));
    }
    await makeRows([], next.value, this.#parts.rows);
  }

  // --- changes ----------------------------------------------------------------

  /** Never rejects: what goes wrong is told to those whom it concerns. */
  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      await nextTurn(); // what is submitted in this turn goes together
      try {
        await this.#locks.whileCommitting(() => this.#makeSome());
      } catch (error) {
        this.#refuse(this.#waiting.splice(0), error);
      }
      if (!this.#isLogLong()) continue;
      await this.#checkpointing; // not more than two logs' worth at a time
      void this.#checkpointQuietly();
    }
    this.#draining = null;
  }

  async #makeSome(): Promise<void> {
    await this.#enter();
    try {
      if (this.#aloneSince) return await this.#makeManyAlone();
      for (let n = 0; n < BATCHES_IN_A_ROW && this.#waiting.length > 0; n++) {
        if (n > 0 && this.#isLogLong()) break;
        if (n > 0) await nextTurn();
        if (this.#failure) throw this.#failure;
        await this.#makeBatch(this.#takeBatch());
      }
    } finally {
      await this.#endTurn();
    }
  }

  /** Goes on for as long as there are changes and nobody waits for the turn. */
  async #makeManyAlone(): Promise<void> {
    const { rows } = this.#parts;
    let end = performance.now() + LONGEST_TURN;
    while (this.#waiting.length > 0) {
      await this.#makeBatch(this.#takeBatch());
      if (rows.deferred.size >= ROWS_AT_ONCE) {
        this.#following ??= this.#followElsewhere();
        if (rows.deferred.size >= MOST_DEFERRED) {
          await this.#following;
          if (rows.deferred.size >= MOST_DEFERRED) return; // they cannot
        }
      }
      if (this.#isLogLong()) return;
      if (performance.now() > end) {
        if (this.#locks.isWantedAnywhere()) return;
        end = performance.now() + LONGEST_TURN;
      }
      await nextTurn();
      if (this.#failure) throw this.#failure;
      const isMoreToCome = rows.deferred.size > 0 || this.#underWay.size > 0;
      if (this.#waiting.length === 0 && isMoreToCome) await this.#moreOrIdle();
    }
  }

  /** Waits for more changes, unless somebody waits for this turn to end. */
  async #moreOrIdle(): Promise<void> {
    if (this.#locks.isWanted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, IDLE);
    this.#onMore = this.#locks.onWanted = resolve;
    await promise;
    clearTimeout(timer);
    this.#onMore = this.#locks.onWanted = () => {};
  }

  /** Whoever has the turn next finds rows that have followed all records. */
  async #endTurn(): Promise<void> {
    const { rows } = this.#parts;
    await this.#finishing;
    await this.#following;
    if (rows.deferred.size >= FEW_ROWS) await this.#followElsewhere();
    if (rows.deferred.size === 0) return;
    try {
      await this.#makeRowsFollow();
    } catch (error) {
      rows.deferred.hold(error); // their saves have resolved; it is tried again
    }
  }

  /**
   * Has another thread put the rows into the table that are not there yet. Those
   * that it could not are made here, at the end of the turn at the latest.
   */
  async #followElsewhere(): Promise<void> {
    const { rows } = this.#parts;
    const thread = await (this.#rowMaker ??= this.#startThread());
    const following = rows.deferred.all();
    const until = rows.deferred.position?.applied ?? 0;
    if (await thread?.makeRows(following, until)) {
      rows.deferred.haveFollowed(until);
      this.#wal.onCommit(following.length);
    } else await this.#makeRowsFollow().catch(() => {}); // tried again then
    this.#following = null;
  }

  /** Another thread for this store; null where there can be none. */
  #startThread(): Promise<Follower | null> {
    const { files: { basePath: base }, rows: { path, driver } } = this.#parts;
    const { name } = driver;
    return Follower.start({ base, path, driver: name, sync: this.#sync });
  }

  /** Puts the rows into the table that are not there yet. */
  async #makeRowsFollow(): Promise<void> {
    const { rows } = this.#parts;
    const { size } = rows.deferred;
    await this.#evenIfFull(() => makeRows([], 0, rows));
    this.#wal.onCommit(size);
  }

  async #makeBatch(batch: Waiting[], attempt = 0): Promise<void> {
    let logged: Logged;
    try {
      logged = await this.#write(batch);
    } catch (error) {
      const reason = this.moved() ?? error;
      if (!isDiskFull(reason)) return this.#refuse(batch, reason);
      return await this.#makeRemovals(batch, reason, attempt);
    }
    const { records } = logged;
    try {
      if (records.length > 0) {
        await this.#makeDurable();
        this.#requireInPlace();
        this.#reserve.makeOnce();
        if (await this.#finishElsewhere(batch, logged)) return;
      }
      await this.#finishing;
      if (records.length > 0) {
        const stuck = await this.#follow(records, logged.isNew);
        tellFailures(batch, records, stuck);
      }
    } catch (error) {
      // It is in the log, and may yet follow.
      return rejectAll(batch, this.moved() ?? error);
    }
    settleAll(batch);
  }

  /**
   * Has another thread make the files of a batch, if it is one of many new files,
   * while this one goes on; saves resolve as theirs are made. Waits for the batch
   * before.
   */
  async #finishElsewhere(
    batch: Waiting[],
    { records, isNew }: Logged,
  ): Promise<boolean> {
    const isMuch = records.length >= FILES_AT_ONCE || this.#underWay.size > 0;
    const areMany = isMuch && isNew &&
      this.#aloneSince !== null &&
      records.every(({ kind, isPacked }) => kind === "put" && !isPacked);
    if (!areMany) return false;
    const thread = await (this.#fileMaker ??= this.#startThread());
    if (!thread) return false;
    for (const record of records) {
      this.#underWay.set(record.txId, rowOf(record)!);
    }
    const logged = batch.filter(({ result }) => result.made);
    const parts: Part[] = [];
    for (let at = 0; at < records.length; at += FILES_AT_ONCE) {
      const some = records.slice(at, at + FILES_AT_ONCE);
      const payloads = some.map(({ txId, payload }) => ({
        txId,
        payload: payload!,
      }));
      parts.push({
        changes: logged.slice(at, at + FILES_AT_ONCE),
        records: some,
        failures: thread.makeFiles(payloads),
      });
    }
    const before = this.#finishing;
    this.#finishing = (async () => {
      await before;
      for (const part of parts) await this.#finishPart(part);
      settleAll(batch.filter(({ result }) => !result.made));
    })();
    await before;
    return true;
  }

  /** Never rejects. */
  async #finishPart({ changes, records, failures }: Part): Promise<void> {
    try {
      const stuck = await this.#stuckOf(records, await failures);
      await this.#followWithRows(records, true, stuck);
      tellFailures(changes, records, stuck);
      settleAll(changes);
    } catch (error) {
      rejectAll(changes, this.moved() ?? error);
    } finally {
      for (const { txId } of records) this.#underWay.delete(txId);
    }
  }

  /** What another thread says of the files of records; else they are made here. */
  async #stuckOf(
    records: LogRecord[],
    failures: FileFailure[] | null,
  ): Promise<Stuck> {
    if (!failures) return await this.#makeFiles(records);
    this.filesPut += records.length;
    return new Map(failures.map(({ at, message }) => [
      records[at]!.position,
      new Error(message),
    ]));
  }

  /**
   * Makes the removals of a batch for which the disk has no room, once the
   * reserve is given up for them, or SQLite's log. Refuses the other changes.
   */
  async #makeRemovals(
    batch: Waiting[],
    error: unknown,
    attempt: number,
  ): Promise<void> {
    const removals = batch.filter(({ entry }) => entry.kind === "remove");
    const hasRoom = removals.length > 0 && await this.#makeRoom(attempt);
    const kept = hasRoom ? removals : [];
    this.#refuse(batch.filter((change) => !kept.includes(change)), error);
    if (hasRoom) await this.#makeBatch(kept, attempt + 1);
  }

  /** What is in the log has to follow, though the disk is full. */
  async #evenIfFull<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 0;; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (!isDiskFull(error) || !await this.#makeRoom(attempt)) throw error;
      }
    }
  }

  /** Makes room on a full disk; false when there is none to be made. */
  async #makeRoom(attempt: number): Promise<boolean> {
    if (this.#reserve.giveUp()) return true;
    if (attempt >= ATTEMPTS) return false;
    // A checkpoint on another thread keeps this one from the log while it lasts.
    const end = performance.now() + LONGEST_SHRINKING;
    while (!shrinkWal(this.#parts.rows)) {
      if (performance.now() > end) return false;
      await pauseFor(IDLE);
    }
    return true;
  }

  /** Decides what is made of a batch, and writes that. */
  async #write(batch: Waiting[]): Promise<Logged> {
    const { files } = this.#parts;
    const { entries, isNew } = decideAll(
      batch,
      this.#underWay,
      this.#parts,
      this.#reader,
    );
    if (entries.length === 0) return { records: [], isNew };
    if (entries.some(({ kind }) => kind === "put-staged")) {
      await files.staged.sync();
      crashPoint("staged names synced");
    }
    if (!this.#end.hasRoom(ROOM)) {
      await this.#finishing;
      this.#requireInPlace(); // a segment is made by name
      await this.#roll();
    }
    const before = this.#end.used;
    const records = this.#end.append(entries, !this.#reserve.isGivenUp);
    this.#logged.changes += records.length;
    this.#logged.bytes += this.#end.used - before;
    return { records, isNew };
  }

  /**
   * Waits for the disk. What it does not take may be lost, and so may be all that
   * follows: nobody writes behind it.
   */
  async #makeDurable(sync = () => this.#end.sync()): Promise<void> {
    try {
      await sync();
    } catch (error) {
      throw this.#fail(error as Error);
    }
    crashPoint("log synced");
  }

  /** From now on nobody writes, until the store is opened anew. */
  #fail(error: Error): Error {
    this.#failure ??= diskFailed(error.message, error);
    const { dir } = this.#parts;
    dir.setState({ hasFailed: true });
    return this.#failure;
  }

  /** Makes files and rows follow durable records. */
  async #follow(records: LogRecord[], isNew = false): Promise<Stuck> {
    const stuck = isNew && records.every(({ isPacked }) => isPacked)
      ? new Map() // no file is to come, and none to go
      : await this.#makeFiles(records);
    await this.#followWithRows(records, isNew, stuck);
    return stuck;
  }

  #makeFiles(records: LogRecord[]): Promise<Stuck> {
    return makeFiles(records, this.#parts, ({ kind }) => {
      // Afterwards: who has counted the files by then has to be told.
      if (kind === "put" || kind === "put-staged") this.filesPut++;
    });
  }

  /** Rows of new ids follow later, where this writer is alone. */
  async #followWithRows(
    records: LogRecord[],
    isNew: boolean,
    stuck: Stuck,
  ): Promise<void> {
    const { dir, rows } = this.#parts;
    this.#unsynced?.add(records, stuck);
    const { position, length } = records.at(-1)!;
    const end = position + length;
    if (isNew && stuck.size === 0 && this.#aloneSince) {
      rows.deferred.add(records.map(followingRow), end, logState(rows));
      dir.setState({ resolved: end });
    } else {
      const { size } = rows.deferred;
      await this.#evenIfFull(() => makeRows(records, end, rows, stuck));
      this.#wal.onCommit(size + records.length);
    }
  }

  #refuse(batch: Waiting[], error: unknown): void {
    for (const change of batch) {
      dropStaged(change, this.#parts.files);
      change.settle.reject(error);
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

  // --- checkpoints ------------------------------------------------------------

  #isLogLong(): boolean {
    return this.#logged.changes >= CHECKPOINT_DUE.changes ||
      this.#logged.bytes >= CHECKPOINT_DUE.bytes;
  }

  /** Nothing is lost when a checkpoint fails: the log is only longer. */
  async #checkpointQuietly(): Promise<void> {
    try {
      await this.#checkpointNext({ waits: false });
      this.#compaction.start();
    } catch {
      // It is tried again after as many changes more.
    }
  }

  /**
   * A checkpoint, once the one under way has ended.
   *
   * @param how `seals`: whether to go on in a new segment, whatever lives in this
   * one; `waits`: whether to wait where another process makes one.
   */
  #checkpointNext({ seals = false, waits = true } = {}): Promise<void> {
    const before = this.#checkpointing;
    const next = (async () => {
      await before;
      if (waits) await this.#checkpoints.lockExclusive(this.#locks.wait);
      else if (!this.#checkpoints.tryLock(true)) return;
      await this.#checkpoint(seals);
    })();
    this.#checkpointing = next.catch(() => {}); // whoever asked is told
    return next;
  }

  /**
   * Makes the files durable that have followed by now, and drops their segments.
   * Changes go on meanwhile: in a new segment, unless payloads live in this one.
   */
  async #checkpoint(seals: boolean): Promise<void> {
    try {
      this.#logged = { changes: 0, bytes: 0 };
      const { end, own } = await this.#locks.whileCommitting(async () => {
        await this.#enter();
        const isUsed = this.#end.used > FIRST_RECORD;
        if (isUsed && (seals || !this.#isHome())) await this.#roll();
        return { end: this.#end.position, own: this.#takeUnsynced() };
      });
      const inTurn = <T>(work: () => Promise<T>) =>
        this.#locks.whileCommitting(work);
      if (end > this.#reader.start()) {
        return await this.#cover(end, own, inTurn);
      }
      // All is covered; whoever did it may have died before it dropped these.
      await inTurn(() => dropSegments(this.#parts, end));
    } finally {
      this.#checkpoints.unlock();
    }
  }

  /**
   * For whoever holds the lock of checkpoints.
   *
   * @param own What this writer has had follow since the checkpoint before.
   * @param inTurn Runs work while this writer has the turn.
   */
  async #cover(
    end: number,
    own: Unsynced | null,
    inTurn: <T>(work: () => Promise<T>) => Promise<T>,
  ): Promise<void> {
    const parts = this.#parts;
    const { dir, rows } = parts;
    const isDoubtful = dir.state().isCheckpointing;
    dir.setState({ isCheckpointing: true });
    const { left, files, stretch } = await this.#toCover(
      end,
      isDoubtful ? null : own,
    );
    const stuck: Stuck = left.length > 0
      ? await inTurn(() => retry(parts, left))
      : new Map();
    if (this.#sync) {
      const again = (record: LogRecord) =>
        inTurn(async () => {
          // It may have been replaced since, by a file that is newer.
          if (!isVoid(record, parts)) await makeFile(record, parts);
        });
      if (isDoubtful) await makeAgain(parts, stretch!, stuck, again);
      await syncFollowed(parts, files, stuck, again, this.#syncFiles);
    }
    await inTurn(async () => {
      if (this.#failure) throw this.#failure;
      await keepInLog(stuck, parts);
      await this.#orFail(async () => {
        // SQLite, too, syncs its log, and tells nobody of a failure.
        await rows.wal.writeAgain((work) => rows.change(work));
        await rows.wal.flush();
      });
      const filesSynced = Math.min(end, ...stuck.keys());
      await rows.change(() => setLogState(rows, { filesSynced }));
      await dropSegments(parts, filesSynced);
    });
    dir.setState({ isCheckpointing: false });
  }

  /**
   * By the thread that makes rows, if there is one: to ask for a sync takes a
   * thread as long as many a disk takes for it. What became of those that it
   * does not answer for is not known: they count as refused.
   */
  #syncFiles: SyncFiles = async (txIds, onRefused) => {
    const thread = await this.#rowMaker;
    if (!thread) return await this.#parts.files.sync(txIds, onRefused);
    const failures = await thread.syncFiles(txIds);
    if (!failures) return txIds.forEach(onRefused);
    for (const { at } of failures) onRefused(txIds[at]!);
  };

  /** Whether payloads live in the segment that is written to. */
  #isHome(): boolean {
    const { segment } = this.#end;
    const [from, to] = [positionOf(segment, 0), positionOf(segment + 1, 0)];
    return hasPlaces(this.#parts.rows, from, to);
  }

  /** What followed since the last call; those that follow later begin anew. */
  #takeUnsynced(): Unsynced | null {
    const taken = this.#unsynced;
    this.#unsynced = new Unsynced(this.#end.position);
    return taken;
  }

  /**
   * What a checkpoint up to a position has to see to: this writer's own, if that
   * is all; else it goes through the log.
   */
  async #toCover(end: number, own: Unsynced | null): Promise<{
    left: number[];
    files: Iterable<FollowingFile>;
    stretch?: Stretch;
  }> {
    const start = this.#reader.start();
    if (own?.isAll(start, end)) {
      return { left: own.stuck, files: own.files() };
    }
    const { dir } = this.#parts;
    const stretch = await stretchOf(dir, start, end);
    const left = await findStuck(this.#parts, stretch);
    return { left, files: filesOf(dir, stretch), stretch };
  }

  async #roll(): Promise<void> {
    const { rows } = this.#parts;
    const before = this.#end.position;
    this.#end.trim();
    await this.#end.roll(logState(rows).changes);
    await makeRows([], this.#end.position, rows);
    if (this.#unsynced?.end === before) this.#unsynced.roll(this.#end.position);
  }

  /** Closes the log, if nobody else has it open. */
  async #leave(): Promise<void> {
    await this.#locks.whileCommitting(async () => {
      this.#joined.unlock();
      if (!this.#joined.tryLock(true)) return;
      const { dir, rows } = this.#parts;
      if (dir.state().hasFailed) return;
      const { applied } = logState(rows);
      if (isClosed(dir, dir.numbers(), applied, this.#reader.start())) {
        return dir.clearState();
      }
      await this.#enter();
      const isUsed = this.#end.used > FIRST_RECORD;
      if (isUsed && !this.#isHome()) await this.#roll();
      this.#end.trim();
      await this.#makeDurable();
      if (!this.#checkpoints.tryLock(true)) return;
      const own = this.#takeUnsynced();
      await this.#cover(this.#end.position, own, (work) => work());
      this.#checkpoints.unlock();
      dir.clearState();
    });
  }
}

function diskFailed(why: string, cause?: unknown): PohStorageError {
  return new PohStorageError(
    "DISK_FAILED",
    `The disk did not take a commit (${why}): what was saved last may be lost in a power cut; close the store everywhere and open it again`,
    { cause },
  );
}

function logDamaged(at: number): PohStorageError {
  return new PohStorageError(
    "LOG_DAMAGED",
    `The log is damaged at ${at}: close the store everywhere and recover it`,
  );
}
