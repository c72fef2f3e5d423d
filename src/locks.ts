/**
 * Who may do what at the same time, over all processes that use a store.
 *
 * `.poh/lock`: writers hold it shared while they are open, repairs hold it
 * exclusive. `.poh/commit.lock`: held for the moments in which one batch is
 * committed and its files follow, so that rows and files change in one order;
 * and around SQLite's checkpoints, since below 3.51.3 two processes that write
 * and checkpoint one WAL at the same instant can corrupt it.
 * `.poh/holders/`: a file for each open writer, locked while it lives, that
 * says who it is. The operating system drops all of these with the process, so
 * none can be stale.
 *
 * @module
 */

import { join } from "@std/path";
import { makeDir, removeFileSync } from "./durable_fs.ts";
import { StoreBusyError, type StoreHolder } from "./errors.ts";
import { hostname } from "./hostname.ts";

/** How long a writer waits for a running repair before it gives up, in ms. */
const PATIENCE = 5_000;

/** The locks of one open writer. */
export class StoreLocks {
  readonly #dir: string;
  readonly #store: LockFile;
  readonly #commit: LockFile;
  readonly #holder: { path: string; file: Deno.FsFile };
  /** Settles when this process has done with the commit lock. */
  #committing: Promise<unknown> = Promise.resolve();

  private constructor(
    dir: string,
    store: LockFile,
    commit: LockFile,
    holder: { path: string; file: Deno.FsFile },
  ) {
    this.#dir = dir;
    this.#store = store;
    this.#commit = commit;
    this.#holder = holder;
  }

  /**
   * Takes a writer's share of the store.
   *
   * @throws {StoreBusyError} If a repair holds it for longer than five seconds.
   */
  static async acquire(basePath: string): Promise<StoreLocks> {
    const dir = join(basePath, ".poh");
    await makeDir(join(dir, "holders"), false);
    const store = new LockFile(join(dir, "lock"));
    try {
      await lockShared(store, dir);
      const commit = new LockFile(join(dir, "commit.lock"));
      try {
        return new StoreLocks(dir, store, commit, announce(dir));
      } catch (error) {
        commit.close();
        throw error;
      }
    } catch (error) {
      store.close();
      throw error;
    }
  }

  /** Runs `work` while nobody else commits or checkpoints, here or elsewhere. */
  whileCommitting<T>(work: () => T | Promise<T>): Promise<T> {
    const turn = this.#committing.then(async () => {
      await this.#commit.lockExclusive();
      try {
        return await work();
      } finally {
        this.#commit.unlock();
      }
    });
    this.#committing = turn.catch(() => {});
    return turn;
  }

  /**
   * Runs `work` while nobody else has the store open for writing; null, and
   * nothing run, when somebody has.
   */
  async whileAlone<T>(work: () => Promise<T>): Promise<{ value: T } | null> {
    // Windows cannot turn a shared lock into an exclusive one.
    this.#store.unlock();
    const alone = this.#store.tryLock(true);
    try {
      if (!alone) return null;
      this.others(); // whoever else is announced here died
      return { value: await work() };
    } finally {
      if (alone) this.#store.unlock();
      // However long somebody else's repair takes: a writer without its share
      // would change the store beside it.
      await lockShared(this.#store, this.#dir, { patience: Infinity });
    }
  }

  /** The other writers. Removes the traces of those that died. */
  others(): StoreHolder[] {
    return holdersIn(this.#dir, this.#holder.path);
  }

  /** Gives everything back. */
  release(): void {
    this.#holder.file.close();
    removeFileSync(this.#holder.path);
    this.#commit.close();
    this.#store.close();
  }
}

/**
 * Keeps repairs away while a reader goes through a store that it must find
 * whole. It writes nothing, and where no writer ever was, there is no lock to
 * take.
 *
 * @throws {StoreBusyError} If a repair holds the store for longer than five
 * seconds.
 */
export async function keepRepairsAway(basePath: string): Promise<Disposable> {
  const dir = join(basePath, ".poh");
  let lock: LockFile;
  try {
    lock = new LockFile(join(dir, "lock"), true);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return { [Symbol.dispose]() {} };
  }
  try {
    await lockShared(lock, dir, { sweep: false });
  } catch (error) {
    lock.close();
    throw error;
  }
  return { [Symbol.dispose]: () => lock.close() };
}

/** A file that is there to be locked. */
export class LockFile {
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

  /** Waits for the lock. */
  async lockExclusive(): Promise<void> {
    if (!this.tryLock(true)) await this.#file.lock(true);
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
  { patience = PATIENCE, sweep = true } = {},
): Promise<void> {
  const deadline = Date.now() + patience;
  while (!file.tryLock(false)) {
    if (Date.now() > deadline) {
      const holders = holdersIn(dir, undefined, sweep);
      throw new StoreBusyError("The store is being repaired", holders);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function announce(dir: string): { path: string; file: Deno.FsFile } {
  const path = join(dir, "holders", `${crypto.randomUUID()}.json`);
  const file = Deno.openSync(path, { write: true, createNew: true });
  const holder: StoreHolder = {
    pid: Deno.pid,
    host: hostname(),
    since: new Date().toISOString(),
  };
  file.lockSync(false); // shared: Windows lets others read it then
  file.writeSync(new TextEncoder().encode(JSON.stringify(holder)));
  return { path, file };
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
    using file = Deno.openSync(path, { read: true });
    if (file.tryLockSync(true)) {
      // Nobody holds it: its process is gone, or has not written it yet.
      if (sweep && file.statSync().size > 0) removeFileSync(path);
      return null;
    }
    return JSON.parse(Deno.readTextFileSync(path));
  } catch {
    return null; // just made, or just gone
  }
}
