/**
 * The checkpoints of a live writer, beside its changes; `checkpoint.ts` has their
 * steps.
 *
 * @module
 */

import { join } from "@std/path";
import { LockFile } from "../files/locks.ts";
import { setLogState } from "../sqlite/log_state.ts";
import type { WalFile } from "../sqlite/wal_file.ts";
import {
  CHECKPOINT_DUE,
  dropSegments,
  filesOf,
  findStuck,
  keepInLog,
  makeAgain,
  retry,
  type Stretch,
  stretchOf,
  syncFollowed,
} from "./checkpoint.ts";
import { DurableParts } from "./durable_parts.ts";
import { isVoid, makeFile, type Stuck } from "./follow.ts";
import type { Following } from "./following.ts";
import type { LogTurn } from "./log_turn.ts";
import type { LogRecord } from "./record.ts";
import type { FollowingFile, Unsynced } from "./unsynced.ts";
import type { WriterParts } from "./writer_parts.ts";

/** Runs work while this writer has the turn, once rows have followed the log. */
type InTurn = <T>(work: () => Promise<T>) => Promise<T>;

/** Makes the checkpoints of one writer. */
export class Checkpointer {
  readonly #parts: WriterParts;
  readonly #following: Following;
  readonly #turn: LogTurn;
  /** Held exclusive by the one that makes a checkpoint. */
  readonly #lock: LockFile;
  #running: Promise<void> | null = null;
  /** Changes and bytes logged since the last checkpoint began. */
  #logged = { changes: 0, bytes: 0 };

  /** Makes none yet. */
  constructor(parts: WriterParts, following: Following, turn: LogTurn) {
    this.#parts = parts;
    this.#following = following;
    this.#turn = turn;
    this.#lock = new LockFile(
      join(parts.files.basePath, ".poh", "checkpoint.lock"),
    );
  }

  /** To be told of all that is logged. */
  onLogged(records: LogRecord[]): void {
    this.#logged.changes += records.length;
    for (const { length } of records) this.#logged.bytes += length;
  }

  /** Whether the log is long enough for a checkpoint. */
  get isDue(): boolean {
    const { changes, bytes } = this.#logged;
    return changes >= CHECKPOINT_DUE.changes || bytes >= CHECKPOINT_DUE.bytes;
  }

  /** Waits for the one under way. */
  async whenMade(): Promise<void> {
    await this.#running;
  }

  /**
   * Makes a checkpoint, once the one under way has ended.
   *
   * @param how `seals`: whether to go on in a new segment, whatever lives in this
   * one; `waits`: whether to wait where another process makes one.
   */
  make({ seals = false, waits = true } = {}): Promise<void> {
    const before = this.#running;
    const next = (async () => {
      await before;
      if (waits) await this.#lock.lockExclusive(this.#parts.locks.wait);
      else if (!this.#lock.tryLock(true)) return;
      try {
        await this.#checkpoint(seals);
      } finally {
        this.#lock.unlock();
      }
    })();
    this.#running = next.catch(() => {}); // whoever asked is told
    return next;
  }

  /**
   * Makes the files durable that have followed by now, and drops their segments.
   * Changes go on meanwhile: in a new segment, unless payloads live in this one.
   */
  async #checkpoint(seals: boolean): Promise<void> {
    this.#logged = { changes: 0, bytes: 0 };
    const inTurn: InTurn = (work) =>
      this.#parts.locks.whileCommitting(async () => {
        await this.#turn.enter();
        return await work();
      });
    const { end, own } = await inTurn(async () => {
      await this.#turn.seal(seals);
      const end = this.#turn.position;
      return { end, own: this.#following.takeUnsynced(end) };
    });
    const { reader, tree } = this.#parts;
    const hasTree = await tree?.follow(end);
    if (end > reader.start()) await this.#cover(end, own, inTurn);
    else {
      // All is covered; whoever did it may have died before it dropped these.
      await inTurn(async () => {
        if (hasTree) await this.#syncRows();
        await dropSegments(this.#parts, end);
      });
    }
    await tree?.writeFiles();
  }

  /**
   * The last one, for whoever has the turn and is alone.
   *
   * @returns False when another process makes one.
   */
  async makeLast(): Promise<boolean> {
    if (!this.#lock.tryLock(true)) return false;
    const end = this.#turn.position;
    const own = this.#following.takeUnsynced(end);
    const { tree } = this.#parts;
    await tree?.follow(end);
    await this.#cover(end, own, (work) => work());
    await tree?.writeFiles();
    this.#lock.unlock();
    return true;
  }

  /**
   * For whoever holds the lock of checkpoints.
   *
   * @param own What this writer has had follow since the checkpoint before.
   */
  async #cover(end: number, own: Unsynced, inTurn: InTurn): Promise<void> {
    const parts = this.#parts;
    const { dir, rows } = parts;
    const isDoubtful = dir.state().isCheckpointing;
    dir.setState({ isCheckpointing: true });
    const { left, files, stretch } = await this.#toCover(
      end,
      isDoubtful ? null : own,
    );
    const isOthers = stretch !== undefined;
    using durable = isOthers && !parts.sync ? new DurableParts(parts) : null;
    const stuck: Stuck = left.length > 0
      ? await inTurn(() => retry(parts, left))
      : new Map();
    if (parts.sync || durable) {
      const again = (record: LogRecord) =>
        inTurn(async () => {
          // It may have been replaced since, by a file that is newer.
          if (!isVoid(record, parts)) await makeFile(record, parts);
        });
      if (isDoubtful) await makeAgain(parts, stretch!, stuck, again);
      await syncFollowed(
        durable?.parts ?? parts,
        files,
        stuck,
        again,
        durable
          ? undefined
          : (txIds, onRefused) => this.#following.syncFiles(txIds, onRefused),
      );
    }
    await inTurn(async () => {
      this.#parts.health.requireTrust();
      await keepInLog(stuck, parts);
      await this.#syncRows(durable?.parts.wal);
      const filesSynced = Math.min(end, ...stuck.keys());
      await rows.change(() => setLogState(rows, { filesSynced }));
      await dropSegments(parts, filesSynced);
    });
    dir.setState({ isCheckpointing: false });
  }

  /** SQLite, too, syncs its log, and tells nobody of a failure. */
  async #syncRows(wal: WalFile = this.#parts.rows.wal): Promise<void> {
    const { rows, health } = this.#parts;
    await health.orFail(async () => {
      await wal.writeAgain((work) => rows.change(work));
      await wal.flush();
    }, wal);
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
    const start = this.#parts.reader.start();
    if (own?.isAll(start, end)) {
      return { left: own.stuck, files: own.files() };
    }
    const { dir } = this.#parts;
    const stretch = await stretchOf(dir, start, end);
    const left = await findStuck(this.#parts, stretch);
    return { left, files: filesOf(dir, stretch), stretch };
  }

  /** Lets go of the lock. */
  close(): void {
    this.#lock.close();
  }
}
