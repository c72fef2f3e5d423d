/**
 * Who writes a log. Each holds `.poh/log/lock` shared; whoever gets it exclusive
 * is the first, or the last.
 *
 * @module
 */

import { LockFile, type StoreLocks } from "../files/locks.ts";
import type { LogDir } from "./log_dir.ts";

/** How often a writer that is not alone looks whether it is by now, in ms. */
const LOOK_FOR_OTHERS = 1_000;

/** The writers of a log, as one of them sees them. */
export class Members {
  readonly #dir: LogDir;
  readonly #locks: StoreLocks;
  readonly #lock: LockFile;
  #hasJoined = false;
  /** How often someone had joined by then, and nobody has since; null: maybe. */
  #aloneSince: number | null = null;
  #lookedForOthers = -Infinity;

  /** Joins nobody yet. */
  constructor(dir: LogDir, locks: StoreLocks) {
    this.#dir = dir;
    this.#locks = locks;
    this.#lock = new LockFile(`${dir.path}/lock`);
  }

  /** Whether this writer has replayed the log, or found it closed. */
  get hasJoined(): boolean {
    return this.#hasJoined;
  }

  /** Whether nobody else writes. */
  get isAlone(): boolean {
    return this.#aloneSince !== null;
  }

  /**
   * Joins. For whoever has the turn.
   *
   * @param replay Has rows and files follow all that was left. Run by the first,
   * and after a sync that failed: those who wrote before refuse to go on.
   * @returns Whether nobody else has joined.
   */
  async join(replay: () => Promise<void>): Promise<boolean> {
    const dir = this.#dir;
    const isFirst = this.#lock.tryLock(true);
    if (isFirst || dir.state().hasFailed) {
      if (isFirst) {
        dir.setState({ joins: 0 }); // readers take from the log what rows lack
        dir.clearLeftovers();
      }
      await replay();
      dir.setState({
        hasFailed: false,
        isCheckpointing: false,
        newest: dir.numbers().at(-1)!,
        // What a crash has left there counts no more.
        ...isFirst && { resolved: 0 },
      });
    }
    const joins = dir.state().joins + 1;
    dir.setState({ joins });
    if (isFirst) this.#aloneSince = joins;
    // Nobody else can take it meanwhile: joining needs the turn.
    if (isFirst) this.#lock.unlock();
    if (!this.#lock.tryLock(false)) throw new Error("The log is locked");
    this.#hasJoined = true;
    return isFirst;
  }

  /**
   * Looks whether others write. They join while they have the turn, and say so.
   * Who leaves does not; but whoever has announced nothing has not joined.
   *
   * @param joins How often someone has joined by now.
   */
  look(joins: number): void {
    if (this.#aloneSince === joins) return;
    this.#aloneSince = null;
    const now = performance.now();
    if (now - this.#lookedForOthers < LOOK_FOR_OTHERS) return;
    this.#lookedForOthers = now;
    if (this.#locks.others().length === 0) this.#aloneSince = joins;
  }

  /**
   * Leaves. For whoever has the turn, who calls `letGo` before its end.
   *
   * @returns Whether nobody else has joined; nobody can until then.
   */
  leave(): boolean {
    this.#lock.unlock();
    return this.#lock.tryLock(true);
  }

  /** Has others join. */
  letGo(): void {
    this.#lock.unlock();
  }

  /** Lets go of the lock file. */
  close(): void {
    this.#lock.close();
  }
}
