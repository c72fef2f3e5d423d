/**
 * Who may do what at the same time, over all processes that use a store.
 *
 * `.poh/lock`: writers hold it shared while they are open, repairs hold it
 * exclusive. `.poh/commit.lock`: held for the moments in which one batch is
 * committed and its files follow, so that rows and files change in one order;
 * and around SQLite's checkpoints, since below 3.51.3 two processes that write
 * and checkpoint one WAL at the same instant can corrupt it.
 * `.poh/checkpoint.lock`: held by the one that makes a checkpoint of the log.
 * `.poh/waiting`:
 * held shared by those who wait for it, so that who commits all the time gives
 * way to them.
 * `.poh/holders/`: a file for each open writer, locked while it lives, that
 * says who it is. The operating system drops all of these with the process, so
 * none can be stale.
 *
 * @module
 */

import { join } from "@std/path";
import { makeDir, regularSize, removeFileSync } from "./durable_fs.ts";
import { StoreBusyError, type StoreHolder } from "../errors.ts";
import { hostname } from "./hostname.ts";
import type { LockWait } from "../options.ts";
import { pauseFor, waitFor } from "../async/wait_for.ts";
import { isStopped } from "./process_state.ts";

/**
 * Who has had the commit lock for so many ms, with pauses of no more than `SOON`
 * ms, gives way to those who wait: each change of hands has SQLite read anew
 * what the other one has changed.
 */
const LONGEST_TURN = 50, SOON = 20;

/** How long it gives way, in ms: they ask more often. */
const COURTESY = 2;

/** Looks at an announcement before it is taken for that of a live writer. */
const LOOKS = 5;

/** The locks of one open writer. */
export class StoreLocks {
  readonly #dir: string;
  readonly #store: LockFile;
  readonly #commit: LockFile;
  readonly #holder: { path: string; file: Deno.FsFile };
  readonly #waiting: WaitingLine;
  readonly #wait: LockWait;
  /** Settles when this process has done with the commit lock. */
  #committing: Promise<unknown> = Promise.resolve();
  #isCommitting = false;
  /** How many here wait for the commit lock, or have it. */
  #askers = 0;
  /** Told when one more here waits for the commit lock. */
  onWanted = (): void => {};
  /** Since when it has had the commit lock, but for short pauses. */
  #turnBegan = -Infinity;
  /** When it last gave the commit lock back, and when it last gave up on it. */
  #gaveBack = -Infinity;
  #gaveUp = -Infinity;
  /** Why the commit lock could not be had; null once it could. */
  #stuck: StoreBusyError | null = null;
  /** Why its share of the store is lost. */
  #lost: StoreBusyError | null = null;

  private constructor(
    dir: string,
    store: LockFile,
    commit: LockFile,
    holder: { path: string; file: Deno.FsFile },
    wait: LockWait,
  ) {
    this.#dir = dir;
    this.#store = store;
    this.#commit = commit;
    this.#holder = holder;
    this.#waiting = new WaitingLine(join(dir, "waiting"));
    this.#wait = wait;
  }

  /**
   * Takes a writer's share of the store.
   *
   * @param wait How long this and all later waits last at most.
   * @throws {StoreBusyError} If a repair holds it for longer.
   */
  static async acquire(
    basePath: string,
    wait: LockWait = {},
  ): Promise<StoreLocks> {
    const dir = join(basePath, ".poh");
    await makeDir(join(dir, "holders"), false);
    const store = new LockFile(join(dir, "lock"));
    try {
      await lockShared(store, dir, wait);
      const commit = new LockFile(join(dir, "commit.lock"));
      try {
        return new StoreLocks(dir, store, commit, announce(dir), wait);
      } catch (error) {
        commit.close();
        throw error;
      }
    } catch (error) {
      store.close();
      throw error;
    }
  }

  /**
   * Runs `work` while nobody else commits or checkpoints, here or elsewhere.
   *
   * @throws {StoreBusyError} If another process commits for too long, or this
   * one has lost its share of the store; nothing was run.
   */
  whileCommitting<T>(work: () => T | Promise<T>): Promise<T> {
    const asked = performance.now();
    this.#askers++;
    this.onWanted();
    const turn = this.#committing.then(async () => {
      if (this.#lost) throw this.#lost;
      await this.#takeCommitLock(asked);
      try {
        return await work();
      } finally {
        this.#isCommitting = false;
        this.#commit.unlock();
        this.#gaveBack = performance.now();
      }
    });
    this.#committing = turn.catch(() => {}).finally(() => this.#askers--);
    return turn;
  }

  /** How long its waits last at most. */
  get wait(): LockWait {
    return this.#wait;
  }

  /** Whether somebody here waits for the commit lock behind whoever has it. */
  get isWanted(): boolean {
    return this.#askers > 1;
  }

  /** As `isWanted`, or whether another process waits: a system call. */
  isWantedAnywhere(): boolean {
    return this.isWanted || !this.#waiting.isEmpty();
  }

  /** The uncontended case is one system call. */
  async #takeCommitLock(asked: number): Promise<void> {
    const now = performance.now();
    if (now - this.#gaveBack > SOON) this.#turnBegan = now;
    const isLong = now - this.#turnBegan > LONGEST_TURN;
    if (isLong && !this.#waiting.isEmpty()) await pauseFor(COURTESY);
    else if (this.#tryCommitLock()) return;
    // Those that wait together give up together.
    const wait = asked < this.#gaveUp
      ? { ...this.#wait, lockTimeout: 0 }
      : this.#wait;
    using line = this.#waiting.join();
    try {
      await waitFor(
        () => {
          line.tryEnter();
          return this.#tryCommitLock() || null;
        },
        wait,
        () =>
          this.#stuck = this.#busy(
            "Another process is committing and does not get done; if it is stopped or hangs, resume or end it",
          ),
      );
      this.#turnBegan = performance.now();
    } catch (error) {
      this.#gaveUp = performance.now();
      throw error;
    }
  }

  #tryCommitLock(): boolean {
    if (!this.#commit.tryLock(true)) return false;
    this.#isCommitting = true;
    this.#stuck = null;
    return true;
  }

  /**
   * Why changes cannot be committed now: an earlier one waited too long for the
   * commit lock, and it is still held. Null when they can, as far as is known;
   * a lock that is held now is waited for, and the next call tells.
   */
  whyStuck(): StoreBusyError | null {
    if (this.#lost) return this.#lost;
    if (this.#isCommitting) return null;
    if (this.#commit.tryLock(true)) {
      this.#commit.unlock();
      return this.#stuck = null;
    }
    if (!this.#stuck) this.whileCommitting(() => {}).catch(() => {});
    return this.#stuck;
  }

  /**
   * Runs `work` while nobody else has the store open for writing; null, and
   * nothing run, when somebody has.
   *
   * @throws {StoreBusyError} If the writer's share could not be had again, since
   * another process repairs the store for too long. From then on this writer
   * changes nothing: it has to be opened again.
   */
  async whileAlone<T>(work: () => Promise<T>): Promise<{ value: T } | null> {
    if (this.#lost) throw this.#lost;
    // Windows cannot turn a shared lock into an exclusive one.
    this.#store.unlock();
    const alone = this.#store.tryLock(true);
    try {
      if (!alone || await this.#isAnyoneElseHere()) return null;
      return { value: await work() };
    } finally {
      if (alone) this.#store.unlock();
      await this.#takeShareAgain();
    }
  }

  async #takeShareAgain(): Promise<void> {
    try {
      await lockShared(this.#store, this.#dir, this.#wait);
    } catch (error) {
      this.#lost = this.#busy(
        "The store was repaired by another process meanwhile and has to be opened again",
      );
      throw error;
    }
  }

  /**
   * Whether another writer is at work that this lock does not show, as its lock
   * file was deleted and made anew since: its announcement is locked as well.
   * Two who look at the announcement of a dead one at the same instant keep each
   * other from seeing that, hence several looks.
   */
  async #isAnyoneElseHere(): Promise<boolean> {
    for (let look = 1; this.others().length > 0; look++) {
      if (look === LOOKS) return true;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return false;
  }

  /** The other writers. Removes the traces of those that died. */
  others(): StoreHolder[] {
    return holdersIn(this.#dir, this.#holder.path);
  }

  /** Gives everything back. */
  release(): void {
    this.#holder.file.close();
    removeFileSync(this.#holder.path);
    this.#waiting.close();
    this.#commit.close();
    this.#store.close();
  }

  #busy(what: string): StoreBusyError {
    return busy(what, this.others());
  }
}

/** Those who wait for the commit lock, over all processes. */
class WaitingLine {
  readonly #path: string;
  /** Opened when it is first needed: who is alone never does. */
  #file: LockFile | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  /** Whether nobody waits. */
  isEmpty(): boolean {
    const file = this.#open();
    if (!file) return true;
    if (!file.tryLock(true)) return false;
    file.unlock();
    return true;
  }

  /** A place in the line, to be entered; disposing of it leaves the line. */
  join(): { tryEnter(): void } & Disposable {
    const file = this.#open();
    if (!file) return { tryEnter() {}, [Symbol.dispose]() {} };
    let isIn = false;
    return {
      // Somebody may be looking whether the line is empty.
      tryEnter: () => void (isIn ||= file.tryLock(false)),
      [Symbol.dispose]: () => isIn ? file.unlock() : undefined,
    };
  }

  close(): void {
    this.#file?.close();
  }

  /** Null where the store was moved away: what is committed next tells that. */
  #open(): LockFile | null {
    try {
      return this.#file ??= new LockFile(this.#path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw error;
    }
  }
}

/**
 * Keeps repairs away while a reader goes through a store that it must find
 * whole. It writes nothing, and where no writer ever was, there is no lock to
 * take.
 *
 * @throws {StoreBusyError} If a repair holds the store for too long.
 */
export async function keepRepairsAway(
  basePath: string,
  wait: LockWait = {},
): Promise<Disposable> {
  const dir = join(basePath, ".poh");
  let lock: LockFile;
  try {
    lock = new LockFile(join(dir, "lock"), true);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return { [Symbol.dispose]() {} };
  }
  try {
    await lockShared(lock, dir, wait, false);
  } catch (error) {
    lock.close();
    throw error;
  }
  return { [Symbol.dispose]: () => lock.close() };
}

/** A file that is there to be locked. */
export class LockFile implements Disposable {
  readonly #path: string;
  readonly #readOnly: boolean;
  #file: Deno.FsFile;

  /** Opens the file, and makes it where it is not there, unless read-only. */
  constructor(path: string, readOnly = false) {
    this.#path = path;
    this.#readOnly = readOnly;
    this.#file = this.#open();
  }

  /** Takes the lock if it is free; false when it is not. */
  tryLock(exclusive: boolean): boolean {
    return this.#file.tryLockSync(exclusive);
  }

  /**
   * Waits for the lock.
   *
   * @throws {StoreBusyError} If another process holds it for too long.
   */
  async lockExclusive(wait: LockWait): Promise<void> {
    await waitFor(
      () => this.tryLock(true) || null,
      wait,
      () => busy(`Another process holds ${this.#path}`, []),
    );
  }

  /** Closing drops a lock wherever unlocking is not to be had. */
  unlock(): void {
    try {
      this.#file.unlockSync();
    } catch {
      this.#file.close();
      this.#file = this.#open();
    }
  }

  /** Drops the lock and lets go of the file. */
  close(): void {
    this.#file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #open(): Deno.FsFile {
    const write = !this.#readOnly;
    return Deno.openSync(this.#path, { read: true, write, create: write });
  }
}

/** Who has a store open for writing; changes nothing. */
export function listHolders(basePath: string): StoreHolder[] {
  return holdersIn(join(basePath, ".poh"), undefined, false);
}

async function lockShared(
  file: LockFile,
  dir: string,
  wait: LockWait,
  sweep = true,
): Promise<void> {
  await waitFor(
    () => file.tryLock(false) || null,
    wait,
    () => busy("The store is being repaired", holdersIn(dir, undefined, sweep)),
  );
}

/** The error of a wait that was too long: it tells which holders are stopped. */
function busy(what: string, holders: StoreHolder[]): StoreBusyError {
  const here = hostname();
  return new StoreBusyError(
    what,
    holders.map((holder) => ({
      ...holder,
      // Another host's processes, or another container's, have other numbers.
      stopped: here !== "" && holder.host === here
        ? isStopped(holder.pid)
        : null,
    })),
  );
}

function announce(dir: string): { path: string; file: Deno.FsFile } {
  const path = join(dir, "holders", `${crypto.randomUUID()}.json`);
  const file = Deno.openSync(path, { write: true, createNew: true });
  const holder: StoreHolder = {
    pid: Deno.pid,
    host: hostname(),
    since: new Date().toISOString(),
  };
  try {
    file.lockSync(false); // shared: Windows lets others read it then
    file.writeSync(new TextEncoder().encode(JSON.stringify(holder)));
    return { path, file };
  } catch (error) {
    file.close();
    removeFileSync(path);
    throw error;
  }
}

function holdersIn(dir: string, except?: string, sweep = true): StoreHolder[] {
  const holders: StoreHolder[] = [];
  for (const name of namesIn(join(dir, "holders"))) {
    const path = join(dir, "holders", name);
    const holder = path === except ? null : readHolder(path, sweep);
    if (holder) holders.push(holder);
  }
  return holders;
}

function namesIn(dir: string): string[] {
  try {
    return [...Deno.readDirSync(dir)].map((entry) => entry.name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function readHolder(path: string, sweep: boolean): StoreHolder | null {
  try {
    // What is no regular file is nobody's, and to open a FIFO may never end.
    if (regularSize(path) === null) return null;
    using file = Deno.openSync(path, { read: true });
    if (file.tryLockSync(true)) {
      // Nobody holds it: its process is gone, or has not written it yet.
      if (sweep && file.statSync().size > 0) removeFileSync(path);
      return null;
    }
    return holderOf(JSON.parse(Deno.readTextFileSync(path)));
  } catch {
    return null; // just made, or just gone
  }
}

/** What a holder wrote of itself; null when it is something else. */
function holderOf(value: unknown): StoreHolder | null {
  const { pid, host, since } = Object(value);
  const isHolder = typeof pid === "number" && typeof host === "string" &&
    typeof since === "string";
  return isHolder ? { pid, host, since } : null;
}
