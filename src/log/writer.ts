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
 * A save is decided and logged in `batch_maker.ts`, written and synced by
 * `log_turn.ts`, and followed by files and rows in `following.ts`.
 *
 * @module
 */

import type { CompactOptions, CompactReport } from "../model/packing.ts";
import type { StoreMovedError } from "../errors.ts";
import { isDiskFull, type Reserve } from "../files/full_disk.ts";
import type { IfExists, SavedTx } from "../model/if_exists.ts";
import type { StoreLocks } from "../files/locks.ts";
import type { Place } from "../files/place.ts";
import { nextTurn } from "../async/turn.ts";
import { logState } from "../sqlite/log_state.ts";
import { type Result, takeBatch, type Waiting } from "./batch.ts";
import { BatchMaker } from "./batch_maker.ts";
import type { LogParts } from "./checkpoint.ts";
import { Checkpointer } from "./checkpointer.ts";
import { Compaction } from "./compaction.ts";
import { rememberDamage } from "./damage.ts";
import { DiskRoom } from "./disk_room.ts";
import { DurableParts } from "./durable_parts.ts";
import { Following } from "./following.ts";
import { LogHealth } from "./health.ts";
import { LogReader } from "./log_reader.ts";
import { LogTurn } from "./log_turn.ts";
import { Members } from "./members.ts";
import { type Change, requireLoggable } from "./record.ts";
import { isClosed, replay, type Replayed } from "./replay.ts";
import type { WriterParts } from "./writer_parts.ts";

/** At most so many batches before others may have the turn. */
const BATCHES_IN_A_ROW = 8;

/** How often a writer that is alone looks whether somebody wants its turn, in ms. */
const LONGEST_TURN = 40;

/** How long it waits for more changes before the rows follow, in ms. */
const IDLE = 8;

/** Orders and makes the changes of one open writer. */
export class LogWriter {
  readonly #parts: WriterParts;
  readonly #following: Following;
  readonly #turn: LogTurn;
  readonly #checkpoints: Checkpointer;
  readonly #batches: BatchMaker;
  readonly #compaction: Compaction;
  #waiting: Waiting[] = [];
  /** Ends a wait for more changes. */
  #onMore = () => {};
  #draining: Promise<void> | null = null;
  /** Settles when all changes so far have. */
  #newest: Promise<unknown> = Promise.resolve();

  /** A writer of this log under these locks. Its folder is there. */
  constructor(
    parts: LogParts,
    locks: StoreLocks,
    reserve: Reserve,
    { sync, base }: { sync: boolean; base: Place },
  ) {
    const { dir, rows } = parts;
    const own = this.#parts = {
      ...parts,
      locks,
      sync,
      reserve,
      reader: new LogReader(dir, rows),
      health: new LogHealth(parts, base),
      members: new Members(dir, locks),
      room: new DiskRoom(reserve, rows),
    };
    const following = this.#following = new Following(own);
    const turn = this.#turn = new LogTurn(own, following);
    const checkpoints = this.#checkpoints = new Checkpointer(
      own,
      following,
      turn,
    );
    this.#batches = new BatchMaker(own, following, turn, checkpoints);
    this.#compaction = new Compaction(parts, {
      submit: (change) => this.submit(change),
      checkpoint: (seals) => checkpoints.make({ seals }),
    });
  }

  /** Payload files that this writer has put in their place so far, or tried to. */
  get filesPut(): number {
    return this.#following.filesPut;
  }

  /** The error to tell when base or database is not where it was; else null. */
  moved(): StoreMovedError | null {
    return this.#parts.health.moved();
  }

  /** Why no change is made any more, as a disk that failed; null: none is known. */
  failure(): Error | null {
    return this.#parts.health.failure();
  }

  // --- joining ----------------------------------------------------------------

  /**
   * Joins those who write this log, once rows and files have followed all that
   * was left: what a writer has not done that died before never comes to pass
   * behind the back of whoever opens the store.
   */
  async join(): Promise<void> {
    await this.#parts.locks.whileCommitting(() => this.#join());
  }

  /**
   * Has rows and files follow whatever the log has, and tells what it did. For
   * whoever is alone.
   */
  async replay(onReplayed: (replayed: Replayed) => void): Promise<void> {
    await this.#parts.locks.whileCommitting(async () => {
      await this.#replay(onReplayed);
      await this.#join();
    });
  }

  async #join(): Promise<void> {
    if (this.#parts.members.hasJoined) return;
    this.#compaction.observe();
    const isFirst = await this.#parts.members.join(() => this.#replay());
    if (!isFirst) return await this.#turn.enter();
    // One who is killed again and again never comes to a checkpoint.
    this.#compaction.start();
  }

  async #replay(onReplayed?: (replayed: Replayed) => void): Promise<void> {
    const { dir, rows, health } = this.#parts;
    const { hasFailed } = dir.state();
    // Who left it may have waited for the disk.
    using durable = this.#parts.sync ? null : new DurableParts(this.#parts);
    const parts = durable?.parts ?? this.#parts;
    const damage = await health.orFail(
      () => replay(parts, onReplayed, hasFailed),
      parts.wal,
    );
    await rememberDamage(rows, damage);
  }

  // --- changes ----------------------------------------------------------------

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
   * @throws {PreconditionError} If what is there is not what the change demands.
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
    this.#newest = settle.promise;
    this.#onMore();
    this.#draining ??= this.#drain();
    return settle.promise;
  }

  /** Never rejects: what goes wrong is told to those whom it concerns. */
  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      await nextTurn(); // what is submitted in this turn goes together
      try {
        await this.#parts.locks.whileCommitting(() => this.#makeSome());
      } catch (error) {
        this.#batches.refuse(this.#waiting.splice(0), error);
      }
      if (!this.#checkpoints.isDue) continue;
      await this.#checkpoints.whenMade(); // not more than two logs' worth at a time
      void this.#checkpointQuietly();
    }
    this.#draining = null;
  }

  async #makeSome(): Promise<void> {
    if (!this.#parts.members.hasJoined) {
      this.#parts.health.requireTrust();
      this.#parts.health.requireInPlace();
      await this.#join();
    }
    await this.#turn.enter();
    try {
      if (this.#parts.members.isAlone) return await this.#makeManyAlone();
      for (let n = 0; n < BATCHES_IN_A_ROW && this.#waiting.length > 0; n++) {
        if (n > 0 && this.#checkpoints.isDue) break;
        if (n > 0) await nextTurn();
        this.#parts.health.requireTrust();
        await this.#batches.make(takeBatch(this.#waiting));
      }
    } finally {
      await this.#following.endTurn();
    }
  }

  /** Goes on for as long as there are changes and nobody waits for the turn. */
  async #makeManyAlone(): Promise<void> {
    let end = performance.now() + LONGEST_TURN;
    while (this.#waiting.length > 0) {
      await this.#batches.make(takeBatch(this.#waiting));
      if (!await this.#following.keepUp()) return;
      if (this.#checkpoints.isDue) return;
      if (performance.now() > end) {
        if (this.#parts.locks.isWantedAnywhere()) return;
        end = performance.now() + LONGEST_TURN;
      }
      await nextTurn();
      this.#parts.health.requireTrust();
      const isIdle = this.#waiting.length === 0 && this.#following.isBehind;
      if (isIdle) await this.#moreOrIdle();
    }
  }

  /** Waits for more changes, unless somebody waits for this turn to end. */
  async #moreOrIdle(): Promise<void> {
    if (this.#parts.locks.isWanted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, IDLE);
    this.#onMore = this.#parts.locks.onWanted = resolve;
    await promise;
    clearTimeout(timer);
    this.#onMore = this.#parts.locks.onWanted = () => {};
  }

  /** Waits for the changes in flight. */
  async #whenDrained(): Promise<void> {
    while (this.#draining) {
      this.#onMore();
      await this.#draining;
    }
  }

  // --- checkpoints and the end ------------------------------------------------

  /** Nothing is lost when a checkpoint fails: the log is only longer. */
  async #checkpointQuietly(): Promise<void> {
    try {
      await this.#checkpoints.make({ waits: false });
      this.#compaction.start();
    } catch {
      // It is tried again after as many changes more.
    }
  }

  /**
   * Waits for the changes in flight, not for those that come meanwhile, then makes
   * all durable that followed.
   */
  async flush(): Promise<void> {
    await this.#newest.catch(() => {}); // they are made in turn; whoever asked is told
    await this.#checkpoints.whenMade();
    if (!this.#parts.members.hasJoined || this.#parts.health.hasFailed) return;
    this.#parts.health.requireInPlace();
    await this.#checkpoints.make();
  }

  /** Gives back the dead bytes of the log. */
  async compact(options: CompactOptions): Promise<CompactReport> {
    this.#parts.health.requireInPlace();
    if (!this.#parts.members.hasJoined) await this.join();
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
      await this.#checkpoints.whenMade();
      const { hasJoined } = this.#parts.members;
      if (hasJoined && !this.#parts.health.hasFailed && !this.moved()) {
        await this.#compaction.finish();
        await this.#parts.locks.whileCommitting(() => this.#leave());
      }
    } catch (error) {
      // Whoever opens the store next does what the disk has no room for now.
      if (!isDiskFull(error)) throw error;
    } finally {
      await this.#following.close();
      this.abandon();
    }
  }

  /** Closes the log, if nobody else has it open. For whoever has the turn. */
  async #leave(): Promise<void> {
    const { members } = this.#parts;
    try {
      if (members.leave()) await this.#closeLog();
    } finally {
      members.letGo(); // whoever has the turn next may be about to join
    }
  }

  async #closeLog(): Promise<void> {
    const { dir, rows } = this.#parts;
    if (dir.state().hasFailed) return;
    const { applied } = logState(rows);
    if (!isClosed(dir, dir.numbers(), applied, this.#parts.reader.start())) {
      await this.#turn.enter();
      await this.#turn.seal(false);
      this.#turn.trim();
      await this.#turn.sync();
      if (!await this.#checkpoints.makeLast()) return;
    }
    dir.clearState();
  }

  /** Lets go of what it has, and leaves the log as it is. */
  abandon(): void {
    void this.#compaction.stop();
    this.#parts.members.close();
    this.#checkpoints.close();
    this.#parts.dir[Symbol.dispose]();
  }
}
