/**
 * From changes that are in flight together to the log, and to files and rows.
 *
 * @module
 */

import { crashPoint } from "../async/crash_points.ts";
import { isDiskFull } from "../files/full_disk.ts";
import {
  dropStaged,
  rejectAll,
  settleAll,
  tellFailures,
  type Waiting,
} from "./batch.ts";
import type { Checkpointer } from "./checkpointer.ts";
import { decideAll } from "./decide.ts";
import type { Following } from "./following.ts";
import type { LogTurn } from "./log_turn.ts";
import type { LogRecord } from "./record.ts";
import type { WriterParts } from "./writer_parts.ts";

/** A batch that is in the log. */
interface Logged {
  records: LogRecord[];
  /** Whether each record saves an id that was unknown. */
  isNew: boolean;
}

/** Makes batches of changes, for whoever has the turn. */
export class BatchMaker {
  readonly #parts: WriterParts;
  readonly #following: Following;
  readonly #turn: LogTurn;
  readonly #checkpoints: Checkpointer;

  /** Of one writer. */
  constructor(
    parts: WriterParts,
    following: Following,
    turn: LogTurn,
    checkpoints: Checkpointer,
  ) {
    this.#parts = parts;
    this.#following = following;
    this.#turn = turn;
    this.#checkpoints = checkpoints;
  }

  /** Makes a batch. Never rejects: those who asked are told. */
  async make(batch: Waiting[], attempt = 0): Promise<void> {
    let logged: Logged;
    try {
      logged = await this.#write(batch);
    } catch (error) {
      const reason = this.#parts.health.moved() ?? error;
      if (!isDiskFull(reason)) return this.refuse(batch, reason);
      return await this.#makeRemovals(batch, reason, attempt);
    }
    const { records, isNew } = logged;
    const following = this.#following;
    try {
      if (records.length > 0) {
        await this.#turn.sync();
        this.#parts.health.requireInPlace();
        this.#parts.reserve.makeOnce();
        if (await following.followElsewhere(batch, records, isNew)) return;
      }
      await following.whenFilesMade();
      if (records.length > 0) {
        const stuck = await following.follow(records, isNew);
        tellFailures(batch, records, stuck);
      }
    } catch (error) {
      // It is in the log, and follows before anything behind it does.
      if (records.length > 0) following.leave(error);
      return rejectAll(batch, this.#parts.health.moved() ?? error);
    }
    settleAll(batch);
  }

  /** Decides what is made of a batch, and writes that. */
  async #write(batch: Waiting[]): Promise<Logged> {
    if (this.#following.hasLeft) {
      await this.#following.whenFilesMade();
      await this.#turn.enter();
    }
    const { entries, isNew } = decideAll(
      batch,
      this.#following.underWay,
      this.#parts,
      this.#parts.reader,
    );
    if (entries.length === 0) return { records: [], isNew };
    if (entries.some(({ kind }) => kind === "put-staged")) {
      await this.#parts.files.staged.sync();
      crashPoint("staged names synced");
    }
    const ahead = !this.#parts.reserve.isGivenUp;
    const records = await this.#turn.append(entries, ahead);
    this.#checkpoints.onLogged(records);
    return { records, isNew };
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
    const hasRoom = removals.length > 0 && await this.#parts.room.make(attempt);
    const kept = hasRoom ? removals : [];
    this.refuse(batch.filter((change) => !kept.includes(change)), error);
    if (hasRoom) await this.make(kept, attempt + 1);
  }

  /** Tells those who asked why nothing was made. */
  refuse(batch: Waiting[], error: unknown): void {
    for (const change of batch) dropStaged(change, this.#parts.files);
    rejectAll(batch, error);
  }
}
