/**
 * Deletes the objects of retired keys, behind the changes that retire them.
 *
 * A key may be used again a grace after its deletion was noted. What was read
 * of it is therefore acted on at once or not at all: a machine that was asleep
 * in between must not delete what others have made since.
 *
 * @module
 */

import type { Catalog, ObjectStore } from "./contracts.ts";

/** Keys looked at together, and deletions at the same time. */
const PAGE = 256;
const IN_FLIGHT = 16;

/** How long deletions that are hardly ever needed wait for each other, in ms. */
const LATER = 1_000;

/** So long, in ms, a node that closes goes on: others may retire without end. */
const LEAVING = 10_000;

/** So long, in ms, what was read of retired keys may be acted on. */
const FRESH = 60_000;

/** Deletes what is retired. */
export class Sweeper {
  readonly #objects: ObjectStore;
  readonly #catalog: Catalog;
  #running: Promise<void> | null = null;
  #again = false;
  #timer: ReturnType<typeof setTimeout> | null = null;
  /** When it is enough, by `performance.now()`. */
  #end = Infinity;

  /** A sweeper of a store's parts. */
  constructor(objects: ObjectStore, catalog: Catalog) {
    this.#objects = objects;
    this.#catalog = catalog;
  }

  /** Deletes by and by; what cannot be deleted now, recover deletes. */
  sweep(): void {
    this.#again = true;
    this.#running ??= this.#run();
  }

  /** The same, after changes that hardly ever retire a key. */
  sweepLater(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.sweep();
    }, LATER);
  }

  /**
   * Deletes an object of one's own that no row came to name. Not by and by: a
   * deletion of its key that is under way may be noted as if it were this one.
   */
  async discard(key: string): Promise<void> {
    try {
      const isFresh = freshness();
      const retired = await this.#catalog.retire([key]);
      if (!retired.has(key) || !isFresh()) return;
      await this.#objects.delete(key);
      await this.#catalog.noteDeleted([key]);
    } catch {
      // Once its grace is over it is an orphan like others.
    }
  }

  /** Waits for the deletions under way, for ten seconds or so; the last call. */
  async end(): Promise<void> {
    this.#end = performance.now() + LEAVING;
    if (this.#timer !== null) {
      clearTimeout(this.#timer);
      this.#timer = null;
      this.sweep();
    }
    while (this.#running) await this.#running;
  }

  async #run(): Promise<void> {
    try {
      while (this.#again) {
        this.#again = false;
        await sweepRetired(this.#objects, this.#catalog, {
          isEnough: () => performance.now() > this.#end,
        });
      }
    } catch {
      // They stay in the list.
    } finally {
      this.#running = null;
    }
  }
}

/** What a sweep can be given. */
export interface SweepOptions {
  /** Told of each key. */
  onDeleted?: (key: string) => void;
  /** Whether to leave the rest; asked now and then. */
  isEnough?: () => boolean;
}

/**
 * Deletes all objects that are retired.
 *
 * @throws What the first one that could not be deleted met.
 */
export async function sweepRetired(
  objects: ObjectStore,
  catalog: Catalog,
  { onDeleted = () => {}, isEnough = () => false }: SweepOptions = {},
): Promise<void> {
  while (!isEnough()) {
    const isFresh = freshness();
    const retired = await catalog.retired(PAGE);
    const left = retired.filter(({ deleted }) => !deleted).map(({ key }) =>
      key
    );
    if (left.length === 0) return;
    // Were the rules broken, a payload that a row names would stay all the same.
    const named = await catalog.named(left);
    const keys = left.filter((key) => !named.has(key));
    if (keys.length === 0) return;
    const deleted: string[] = [], failures: unknown[] = [];
    const pending = keys.values();
    const work = async () => {
      for (const key of pending) {
        if (!isFresh()) return;
        try {
          await objects.delete(key);
          deleted.push(key);
        } catch (error) {
          failures.push(error);
        }
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, work));
    if (deleted.length > 0) await catalog.noteDeleted(deleted);
    deleted.forEach(onDeleted);
    if (failures.length > 0) throw failures[0];
  }
}

/** By both clocks: the one may stand still while a machine sleeps, the other be set. */
function freshness(): () => boolean {
  const [since, at] = [performance.now(), Date.now()];
  return () =>
    performance.now() - since < FRESH && Math.abs(Date.now() - at) < FRESH;
}
