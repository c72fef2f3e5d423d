/**
 * Another thread that follows the log of a writer that is alone: files and rows
 * are made, and SQLite's log is taken into the database, while the event loop
 * goes on.
 *
 * What it cannot do, the asking thread does, and learns why.
 *
 * @module
 */

import { Thread } from "../async/thread.ts";
import {
  type FileFailure,
  type FollowedStore,
  FOLLOWER,
  type FollowerAnswer,
  type FollowerJob,
  type FollowingPayload,
} from "./follower_worker.ts";
import type { FollowingRow } from "../sqlite/row.ts";

/** A thread with a connection of its own to the database of an open store. */
export class Follower implements AsyncDisposable {
  readonly #store: FollowedStore;
  readonly #thread: Thread<FollowerJob & FollowedStore, FollowerAnswer>;

  private constructor(
    store: FollowedStore,
    thread: Thread<FollowerJob & FollowedStore, FollowerAnswer>,
  ) {
    this.#store = store;
    this.#thread = thread;
  }

  /** Starts one; null where there can be none. */
  static async start(store: FollowedStore): Promise<Follower | null> {
    const module = new URL("./follower_worker.ts", import.meta.url);
    const thread = await Thread.start<
      FollowerJob & FollowedStore,
      FollowerAnswer
    >(module, FOLLOWER);
    return thread && new Follower(store, thread);
  }

  /**
   * Puts payloads in their files, which may be new ones.
   *
   * @returns Those that could not be put there; null: nothing is known of any.
   */
  async makeFiles(payloads: FollowingPayload[]): Promise<FileFailure[] | null> {
    const answer = await this.#ask({ task: "files", payloads });
    return answer as FileFailure[] | null;
  }

  /**
   * Waits until the files of ids, or their absence, are on the disk.
   *
   * @returns Those that the disk refused; null: perhaps any of them.
   */
  async syncFiles(txIds: string[]): Promise<FileFailure[] | null> {
    const answer = await this.#ask({ task: "sync", txIds });
    return answer as FileFailure[] | null;
  }

  /**
   * Puts rows into the table that follow the log up to a position.
   *
   * @returns Whether they are there.
   */
  async makeRows(rows: FollowingRow[], until: number): Promise<boolean> {
    return await this.#ask({ task: "rows", rows, until }) === true;
  }

  /**
   * Takes what SQLite's log holds into the database, but for what readers or
   * other commits keep there.
   *
   * @returns Whether that was all, so that SQLite begins its log anew.
   */
  async checkpoint(): Promise<boolean> {
    return await this.#ask({ task: "checkpoint" }) === true;
  }

  /** Lets go of the store, and ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ask({ task: "close" });
    this.#thread[Symbol.dispose]();
  }

  #ask(job: FollowerJob): Promise<FollowerAnswer> {
    return this.#thread.ask({ ...job, ...this.#store });
  }
}
