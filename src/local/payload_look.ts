/**
 * Looks at the payloads of all rows, in the order in which they were saved: a
 * disk that is not in memory is read forwards then. Two threads take part after
 * part, where there are two.
 *
 * @module
 */

import type { CheckThread } from "./check_thread.ts";
import { NEXT, type Shared, STOP } from "./check_worker.ts";
import {
  type Looked,
  newLooked,
  note,
  pagesOf,
  type Parts,
  partsOf,
} from "./look_parts.ts";
import type { OpenStore } from "./open_store.ts";
import { QuickLook } from "./quick_look.ts";
import type { Pacer } from "../async/turn.ts";
import type { Database } from "../sqlite/database.ts";
import { isSurelyAsRead } from "../sqlite/odd_rows.ts";

/** Questions to the thread under way: when it has answered one, it has another. */
const ASKED = 2;

/** Answers that may wait for whoever goes through them. */
const MOST_WAITING = 64;

/** Payloads that are not surely sound: so many are kept for later. */
const MOST_UNSURE = 8_192;

/** A look at all payloads, part by part, in no order. */
export class PayloadLook {
  readonly #rows: Database;
  readonly #quick: QuickLook;
  readonly #pacer: Pacer;
  readonly #parts: Parts;
  readonly #thread: CheckThread | null;
  readonly #signal: AbortSignal | undefined;
  readonly #shared: Shared = new Int32Array(new SharedArrayBuffer(8));
  /** Which parts have been seen. */
  readonly #isSeen: Uint8Array;
  /** What the thread has seen, and what was seen early. */
  readonly #waiting: Looked[] = [];
  readonly #early: Looked[] = [];
  #asked = 0;
  #isThreadDone: boolean;
  #onAnswer = () => {};

  private constructor(
    { files, rows, log }: OpenStore,
    parts: Parts,
    pacer: Pacer,
    thread: CheckThread | null,
    signal?: AbortSignal,
  ) {
    this.#signal = signal;
    this.#rows = rows;
    this.#quick = new QuickLook({ files, dir: log.dir });
    this.#pacer = pacer;
    this.#parts = parts;
    this.#thread = thread;
    this.#isThreadDone = thread === null;
    this.#isSeen = new Uint8Array(parts.count);
    this.#ask();
  }

  /**
   * Begins one; null where rows have no order but that of their ids.
   *
   * @param count How many rows there are, about.
   * @param thread Takes part once it has nothing else to do.
   * @param signal Ends it: what is seen from then on is not all.
   */
  static begin(
    store: OpenStore,
    count: number,
    pacer: Pacer,
    thread: CheckThread | null,
    signal?: AbortSignal,
  ): PayloadLook | null {
    const parts = partsOf(store.rows, count);
    return parts && new PayloadLook(store, parts, pacer, thread, signal);
  }

  /** Looks at some until something else is over, and keeps what it sees. */
  async early(isOver: () => boolean): Promise<void> {
    let unsure = 0;
    while (!isOver() && unsure < MOST_UNSURE) {
      const looked = await this.#next();
      if (!looked) return;
      this.#early.push(looked);
      unsure += looked.unsure.length;
    }
  }

  /** What is seen, of every part once. Whoever has enough calls `stop`. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Looked> {
    for (let next; (next = this.#early.pop());) yield next;
    for (let next; (next = await this.#next());) yield next;
  }

  /** Has the thread take no further part. */
  stop(): void {
    Atomics.store(this.#shared, STOP, 1);
    this.#isThreadDone = true;
  }

  async #next(): Promise<Looked | null> {
    while (true) {
      if (this.#signal?.aborted) return null;
      const looked = this.#waiting.shift();
      if (looked) {
        this.#ask();
        return looked;
      }
      const part = Atomics.add(this.#shared, NEXT, 1);
      if (part < this.#parts.count) return await this.#look(part);
      if (this.#asked === 0) break;
      await new Promise<void>((resolve) => this.#onAnswer = resolve);
    }
    // A thread that died may have taken some.
    const missing = this.#isSeen.indexOf(0);
    return missing < 0 ? null : await this.#look(missing);
  }

  async #look(part: number): Promise<Looked> {
    const looked = newLooked(part);
    for (const page of pagesOf(this.#rows, this.#parts, part)) {
      const sound = await this.#quick.look(page, this.#pacer, this.#signal);
      for (const [i, isSound] of sound.entries()) {
        const found = page[i]!;
        note(looked, found, isSound && isSurelyAsRead(found.info.txId));
      }
      if (this.#signal?.aborted) break;
    }
    this.#isSeen[part] = 1;
    return looked;
  }

  #ask(): void {
    while (
      !this.#isThreadDone && this.#asked < ASKED &&
      this.#waiting.length < MOST_WAITING
    ) {
      this.#asked++;
      this.#thread!.look(this.#parts, this.#shared).then((answer) => {
        this.#asked--;
        if (!answer || answer.length === 0) this.#isThreadDone = true;
        for (const looked of answer ?? []) {
          this.#isSeen[looked.part] = 1;
          this.#waiting.push(looked);
        }
        this.#ask();
        this.#onAnswer();
      });
    }
  }
}
