/**
 * What a store holds, by holder, day and size: computed in the background, a page
 * of rows at a time, and kept for a while.
 *
 * @module
 */

import type { StorageManager } from "../storage_manager.ts";

/** How many holders, and how many days, a summary names. */
const TOP_HOLDERS = 10;
const NEWEST_DAYS = 30;

/** Where the first class of sizes ends, in bytes, and how much wider each next one is. */
const LEAST_SIZE = 64;
const SIZE_STEP = 4;

/** A summary is good for so long, in ms, and for so many times what it took. */
const LIFE = 30_000;
const LIFE_PER_MS = 10;

/** After so long at work requests have the service for themselves, in ms. */
const STRETCH = 5;
const REST = 10;

const SECONDS_A_DAY = 86_400;

/** Transactions and their bytes. */
export interface Tally {
  /** How many transactions. */
  txs: number;
  /** Bytes of those payloads whose size is known. */
  bytes: number;
}

/** What a store held when it was looked through. */
export interface Summary extends Tally {
  /** When that was done. */
  at: Date;
  /** How long it took, in ms. */
  ms: number;
  /** How many holders there are. */
  holders: number;
  /** Those with the most transactions, most first. */
  top: (Tally & { holderId: string })[];
  /** The newest days (UTC) that have any, newest first; `day` counts from 1970. */
  days: (Tally & { day: number })[];
  /**
   * Classes of sizes, smallest first: each has the payloads of up to `upTo` bytes
   * that the one before it has not. One in the middle may be empty.
   */
  sizes: (Tally & { upTo: number })[];
  /** How many transactions have no known size. */
  unknownSizes: number;
}

/** Looks through all of a store; memory does not grow with it. */
export async function summarise(
  store: Pick<StorageManager, "iterateByHolder">,
  signal: AbortSignal,
): Promise<Summary> {
  const start = performance.now();
  const sums = new Sums();
  let since = start;
  for await (const info of store.iterateByHolder()) {
    signal.throwIfAborted();
    sums.add(info.holderId, info.timestamp, info.size);
    if (performance.now() - since < STRETCH) continue;
    await new Promise((resolve) => setTimeout(resolve, REST));
    since = performance.now();
  }
  return sums.result(Math.round(performance.now() - start));
}

class Sums {
  #all: Tally = { txs: 0, bytes: 0 };
  #unknownSizes = 0;
  #holders = 0;
  #holder: (Tally & { holderId: string }) | null = null;
  #top: (Tally & { holderId: string })[] = [];
  #days = new Map<number, Tally & { day: number }>();
  #oldestDay = -Infinity;
  readonly #sizes: (Tally & { upTo: number })[] = [];

  /** Counts a transaction; those of a holder come one after the other. */
  add(holderId: string, timestamp: number, size: number): void {
    if (this.#holder?.holderId !== holderId) {
      this.#endHolder();
      this.#holder = { holderId, txs: 0, bytes: 0 };
      this.#holders++;
    }
    const bytes = Math.max(size, 0);
    if (size < 0) this.#unknownSizes++;
    const tallies = [
      this.#all,
      this.#holder!,
      this.#day(timestamp),
      this.#sizeClass(size),
    ];
    for (const tally of tallies) {
      if (!tally) continue;
      tally.txs++;
      tally.bytes += bytes;
    }
  }

  result(ms: number): Summary {
    this.#endHolder();
    return {
      ...this.#all,
      at: new Date(),
      ms,
      holders: this.#holders,
      top: this.#top,
      days: this.#newestDays(),
      sizes: this.#sizes.slice(this.#sizes.findIndex(({ txs }) => txs > 0)),
      unknownSizes: this.#unknownSizes,
    };
  }

  #endHolder(): void {
    if (!this.#holder) return;
    this.#top.push(this.#holder);
    this.#top.sort((a, b) => b.txs - a.txs);
    this.#top.length = Math.min(this.#top.length, TOP_HOLDERS);
  }

  /** The day's sums; null for one that is older than those to be told. */
  #day(timestamp: number): Tally | null {
    const day = Math.floor(timestamp / SECONDS_A_DAY);
    if (day < this.#oldestDay) return null;
    let tally = this.#days.get(day);
    if (!tally) {
      tally = { day, txs: 0, bytes: 0 };
      this.#days.set(day, tally);
      if (this.#days.size > 2 * NEWEST_DAYS) this.#dropOldDays();
    }
    return tally;
  }

  /** The sums of a class of sizes; null when the size is not known. */
  #sizeClass(size: number): Tally | null {
    if (size < 0) return null;
    let index = 0;
    for (let upTo = LEAST_SIZE; upTo < size; upTo *= SIZE_STEP) index++;
    for (let i = this.#sizes.length; i <= index; i++) {
      this.#sizes.push({ upTo: LEAST_SIZE * SIZE_STEP ** i, txs: 0, bytes: 0 });
    }
    return this.#sizes[index]!;
  }

  #dropOldDays(): void {
    const kept = this.#newestDays();
    this.#days = new Map(kept.map((tally) => [tally.day, tally]));
    this.#oldestDay = kept.at(-1)!.day;
  }

  #newestDays(): (Tally & { day: number })[] {
    return [...this.#days.values()]
      .sort((a, b) => b.day - a.day)
      .slice(0, NEWEST_DAYS);
  }
}

/** Keeps the newest summary, and makes a new one when it has grown old. */
export class Summaries {
  readonly #store: StorageManager;
  readonly #signal: AbortSignal;
  readonly #onError: (error: unknown) => void;
  #newest: Summary | null = null;
  #work: Promise<void> | null = null;

  /** Begins with the first one. */
  constructor(
    store: StorageManager,
    signal: AbortSignal,
    onError: (error: unknown) => void,
  ) {
    this.#store = store;
    this.#signal = signal;
    this.#onError = onError;
    this.#refresh();
  }

  /** The newest summary; null before the first. A new one is begun when it is old. */
  get newest(): Summary | null {
    if (!this.#newest || isOld(this.#newest)) this.#refresh();
    return this.#newest;
  }

  /** Waits for the one that is being made. */
  async idle(): Promise<void> {
    await this.#work;
  }

  #refresh(): void {
    if (this.#signal.aborted) return;
    this.#work ??= this.#make().finally(() => this.#work = null);
  }

  async #make(): Promise<void> {
    try {
      this.#newest = await summarise(this.#store, this.#signal);
    } catch (error) {
      if (!this.#signal.aborted) this.#onError(error);
    }
  }
}

function isOld({ at, ms }: Summary): boolean {
  return Date.now() - at.getTime() > Math.max(LIFE, ms * LIFE_PER_MS);
}
