/**
 * How files and rows follow the log of a live writer: `follow.ts` here, or on
 * another thread.
 *
 * Rows follow before a save resolves; but a writer that is alone in the store
 * has another thread make those of new ids, many in one transaction, by the end
 * of its turn. Until then its own reads know them, and readers in other processes
 * look at the log for an id without a row, and before a query. The files of many
 * new ids are made by a further thread, while this one logs the next batch.
 *
 * @module
 */

import { logState } from "../sqlite/log_state.ts";
import type { TxInfo } from "../types.ts";
import { rejectAll, settleAll, tellFailures, type Waiting } from "./batch.ts";
import { followingRow, makeFiles, makeRows, type Stuck } from "./follow.ts";
import { Follower } from "./follower.ts";
import type { FileFailure } from "./follower_worker.ts";
import { type LogRecord, rowOf } from "./record.ts";
import { Unsynced } from "./unsynced.ts";
import { WalCheckpoints } from "./wal_checkpoints.ts";
import type { WriterParts } from "./writer_parts.ts";

/** So many rows that have not followed are told to another thread. */
const ROWS_AT_ONCE = 512;

/** At the end of a turn fewer are made here, sooner than a thread would answer. */
const FEW_ROWS = 64;

/** Another thread makes so many files at a time; fewer are made here. */
const FILES_AT_ONCE = 32;

/** Saves wait for the rows when so many have not followed. */
const MOST_DEFERRED = 16_384;

/** Some of a batch, whose files another thread makes. */
interface Part {
  /** The change of each record. */
  changes: Waiting[];
  records: LogRecord[];
  /** Those that could not be made; null: nothing is known of any. */
  failures: Promise<FileFailure[] | null>;
}

/** What follows the log of one writer. */
export class Following {
  readonly #parts: WriterParts;
  readonly #wal: WalCheckpoints;
  /** The thread that makes rows, and the one that makes files. */
  #rowMaker: Promise<Follower | null> | null = null;
  #fileMaker: Promise<Follower | null> | null = null;
  /** Rows of new ids that are durable, whose files another thread makes. */
  readonly #underWay = new Map<string, TxInfo>();
  /** Ends when all of them have followed. */
  #filesMade: Promise<void> = Promise.resolve();
  /** Ends when another thread has made the rows that it was told to. */
  #rowsMade: Promise<void> | null = null;
  /** What has followed since the last checkpoint, where nobody else wrote. */
  #unsynced = new Unsynced(-1);
  /** Why something could not follow; null: nothing is left behind. */
  #whyLeft: unknown = null;
  /** Payload files that were put in their place so far, or tried to. */
  filesPut = 0;

  /** Of a log of which nothing has followed yet. */
  constructor(parts: WriterParts) {
    this.#parts = parts;
    this.#wal = new WalCheckpoints(
      parts.rows,
      parts.locks,
      () => this.#rowMaker ??= this.#startThread(),
    );
  }

  /** Rows that are durable, and that no table has yet. */
  get underWay(): ReadonlyMap<string, TxInfo> {
    return this.#underWay;
  }

  /** Whether anything is left to follow. */
  get isBehind(): boolean {
    return this.#parts.rows.deferred.size > 0 || this.#underWay.size > 0;
  }

  // --- what could not follow --------------------------------------------------

  /**
   * Notes that records in the log could not follow. No row of a later one does
   * from then on: the position up to which rows have followed would pass them,
   * and nobody would ever have them follow.
   */
  leave(why: unknown): void {
    this.#whyLeft = why;
  }

  /** Whether records were left behind. */
  get hasLeft(): boolean {
    return this.#whyLeft !== null;
  }

  /** Throws why records were left behind, if any were. */
  requireNoneLeft(): void {
    if (this.#whyLeft !== null) throw this.#whyLeft;
  }

  /** Goes back to where rows have followed to: whoever has the turn goes there. */
  goBack(): void {
    this.#whyLeft = null;
  }

  // --- here -------------------------------------------------------------------

  /**
   * Makes files and rows follow durable records.
   *
   * @param isNew Whether each saves an id that was unknown.
   * @returns Those whose file could not follow.
   */
  async follow(records: LogRecord[], isNew = false): Promise<Stuck> {
    const stuck = isNew && records.every(({ isPacked }) => isPacked)
      ? new Map() // no file is to come, and none to go
      : await this.#makeFiles(records);
    await this.#followWithRows(records, isNew, stuck);
    return stuck;
  }

  #makeFiles(records: LogRecord[]): Promise<Stuck> {
    return makeFiles(records, this.#parts, ({ kind }) => {
      // Increment only after the write, so a concurrent count sees the change.
      if (kind === "put" || kind === "put-staged") this.filesPut++;
    });
  }

  /** Rows of new ids follow later, where this writer is alone. */
  async #followWithRows(
    records: LogRecord[],
    isNew: boolean,
    stuck: Stuck,
  ): Promise<void> {
    this.requireNoneLeft();
    const { dir, rows } = this.#parts;
    this.#unsynced.add(records, stuck);
    const { position, length } = records.at(-1)!;
    const end = position + length;
    if (isNew && stuck.size === 0 && this.#parts.members.isAlone) {
      rows.deferred.add(records.map(followingRow), end, logState(rows));
      dir.setState({ resolved: end });
    } else await this.#makeRows(records, end, stuck);
  }

  /** Puts the rows into the table that are not there yet. */
  makeDeferredRows(): Promise<void> {
    return this.#makeRows([], 0, new Map());
  }

  async #makeRows(
    records: LogRecord[],
    end: number,
    stuck: Stuck,
  ): Promise<void> {
    const { rows } = this.#parts;
    const { size } = rows.deferred;
    await this.#parts.room.evenIfFull(() =>
      makeRows(records, end, rows, stuck)
    );
    this.#wal.onCommit(size + records.length);
  }

  // --- on other threads -------------------------------------------------------

  /**
   * Has another thread make the files of a batch, if it is one of many new files,
   * while this one goes on; saves resolve as theirs are made. Waits for the batch
   * before.
   *
   * @param batch The changes, of which those that were made have a record each.
   */
  async followElsewhere(
    batch: Waiting[],
    records: LogRecord[],
    isNew: boolean,
  ): Promise<boolean> {
    const isMuch = records.length >= FILES_AT_ONCE || this.#underWay.size > 0;
    const areMany = isMuch && isNew && this.#parts.members.isAlone &&
      records.every(({ kind, isPacked }) => kind === "put" && !isPacked);
    if (!areMany) return false;
    const thread = await (this.#fileMaker ??= this.#startThread());
    if (!thread) return false;
    for (const record of records) {
      this.#underWay.set(record.txId, rowOf(record)!);
    }
    const made = batch.filter(({ result }) => result.made);
    const parts: Part[] = [];
    for (let at = 0; at < records.length; at += FILES_AT_ONCE) {
      const some = records.slice(at, at + FILES_AT_ONCE);
      const payloads = some.map(({ txId, payload }) => ({
        txId,
        payload: payload!,
      }));
      parts.push({
        changes: made.slice(at, at + FILES_AT_ONCE),
        records: some,
        failures: thread.makeFiles(payloads),
      });
    }
    const before = this.#filesMade;
    this.#filesMade = (async () => {
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
      this.leave(error);
      rejectAll(changes, this.#parts.health.moved() ?? error);
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

  /** Waits for the files that another thread makes. */
  async whenFilesMade(): Promise<void> {
    await this.#filesMade;
  }

  /**
   * Has another thread put rows into the table, once there are many.
   *
   * @returns False when there are too many, and they cannot be put there.
   */
  async keepUp(): Promise<boolean> {
    const { deferred } = this.#parts.rows;
    if (deferred.size < ROWS_AT_ONCE) return true;
    this.#rowsMade ??= this.#makeRowsElsewhere();
    if (deferred.size < MOST_DEFERRED) return true;
    await this.#rowsMade;
    return deferred.size < MOST_DEFERRED;
  }

  /** Whoever has the turn next finds rows that have followed all records. */
  async endTurn(): Promise<void> {
    const { deferred } = this.#parts.rows;
    await this.#filesMade;
    await this.#rowsMade;
    if (deferred.size >= FEW_ROWS) await this.#makeRowsElsewhere();
    if (deferred.size === 0) return;
    try {
      await this.makeDeferredRows();
    } catch (error) {
      deferred.hold(error); // their saves have resolved; it is tried again
    }
  }

  /**
   * Has another thread put the rows into the table that are not there yet. Those
   * that it could not are made here, at the end of the turn at the latest.
   */
  async #makeRowsElsewhere(): Promise<void> {
    const { deferred } = this.#parts.rows;
    const thread = await (this.#rowMaker ??= this.#startThread());
    const following = deferred.all();
    const until = deferred.position?.applied ?? 0;
    if (await thread?.makeRows(following, until)) {
      deferred.haveFollowed(until);
      this.#wal.onCommit(following.length);
    } else await this.makeDeferredRows().catch(() => {}); // tried again then
    this.#rowsMade = null;
  }

  /**
   * Waits for the files of ids, by the thread that makes rows, if there is one: to
   * ask for a sync takes a thread as long as many a disk takes for it.
   *
   * @param onRefused Receives those that the disk refused. What became of those
   * that the thread does not answer for is not known: they count as refused.
   */
  async syncFiles(
    txIds: string[],
    onRefused: (txId: string) => void,
  ): Promise<void> {
    const thread = await this.#rowMaker;
    // For the folder alone no id could tell that the disk refused it.
    if (!thread || txIds.length === 0) {
      return await this.#parts.files.sync(txIds, onRefused);
    }
    const failures = await thread.syncFiles(txIds);
    if (!failures) return txIds.forEach(onRefused);
    for (const { at } of failures) onRefused(txIds[at]!);
  }

  /** Another thread for this store; null where there can be none. */
  #startThread(): Promise<Follower | null> {
    const { files: { basePath: base }, rows: { path, driver } } = this.#parts;
    const { name } = driver;
    return Follower.start({ base, path, driver: name, sync: this.#parts.sync });
  }

  // --- what no checkpoint has covered -----------------------------------------

  /** Goes on from a position; what is before it may have been another's. */
  goOnFrom(position: number): void {
    if (this.#unsynced.end === position) return;
    this.#unsynced = new Unsynced(position);
  }

  /** Goes on in a new segment. */
  rolled(before: number, after: number): void {
    if (this.#unsynced.end === before) this.#unsynced.roll(after);
  }

  /** What followed since the last call; those that follow later begin anew. */
  takeUnsynced(position: number): Unsynced {
    const taken = this.#unsynced;
    this.#unsynced = new Unsynced(position);
    return taken;
  }

  /** Ends the threads, once they have done what they were told to. */
  async close(): Promise<void> {
    await this.#wal.close();
    await (await this.#rowMaker)?.[Symbol.asyncDispose]();
    await (await this.#fileMaker)?.[Symbol.asyncDispose]();
  }
}
