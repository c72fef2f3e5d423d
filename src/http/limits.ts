/**
 * What keeps the service's memory flat: how much may be under way at once, and
 * how slow a client may be.
 *
 * @module
 */

import { Problem, tooLarge, tooSlow, unavailable } from "./problem.ts";

/** The limits of a service. */
export interface Limits {
  /** Longest JSON body, and longest line of an NDJSON body, in bytes. */
  maxBody: number;
  /** Bytes of bodies that may be in memory at once; more wait unread. */
  bodyBudget: number;
  /** NDJSON bodies that may be read at once; each may hold a whole line. */
  streams: number;
  /** Whole-payload verifications that may run at once. */
  verifications: number;
  /** Challenges that may be answered at once. */
  holdings: number;
  /** Requests that may be under way at once; more are refused. */
  requests: number;
  /** How long a request waits for its turn before it is refused, in ms. */
  patience: number;
  /** How long for a body, in ms, beside what its length takes at `minRate`. */
  bodyGrace: number;
  /** Slowest body, in bytes per second. */
  minRate: number;
  /** How long a client may send nothing of a body, or take nothing of an answer, in ms. */
  idle: number;
  /** How long it serves on after it was told to stop, in ms. */
  drain: number;
  /** How long a shutdown then waits for what is in flight, in ms. */
  shutdown: number;
}

/** Limits for a machine of ordinary size. */
export const DEFAULT_LIMITS: Limits = {
  maxBody: 16 * 1024 * 1024,
  bodyBudget: 64 * 1024 * 1024,
  streams: 8,
  verifications: 4,
  holdings: 2,
  requests: 256,
  patience: 10_000,
  bodyGrace: 10_000,
  minRate: 1_024,
  idle: 30_000,
  drain: 0,
  shutdown: 10_000,
};

/** Gives back what was taken. */
export type Release = () => void;

interface Waiting {
  amount: number;
  admit: () => void;
}

/** An amount of something that requests share, first come, first served. */
export class Budget {
  readonly #size: number;
  #used = 0;
  #waiting: Waiting[] = [];

  /** A budget of `size` units. */
  constructor(size: number) {
    this.#size = size;
  }

  /** Units taken at the moment. */
  get used(): number {
    return this.#used;
  }

  /**
   * Takes so many units, all at most; waits for its turn.
   *
   * @throws {Problem} 503 when none came within `patience` ms.
   */
  async take(units: number, patience = Infinity): Promise<Release> {
    const amount = Math.min(units, this.#size);
    if (this.#waiting.length > 0 || !this.#fits(amount)) {
      await this.#turn(amount, patience);
    } else this.#used += amount;
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.#used -= amount;
      this.#admit();
    };
  }

  #fits(amount: number): boolean {
    return this.#used + amount <= this.#size;
  }

  #turn(amount: number, patience: number): Promise<void> {
    return new Promise((resolve, reject) => {
      let timer: ReturnType<typeof setTimeout> | null = null;
      const waiting = {
        amount,
        admit: () => {
          if (timer !== null) clearTimeout(timer);
          resolve();
        },
      };
      this.#waiting.push(waiting);
      if (patience === Infinity) return;
      timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((other) => other !== waiting);
        this.#admit();
        reject(unavailable("OVERLOADED", "Too much is under way"));
      }, patience);
    });
  }

  #admit(): void {
    while (this.#waiting[0] && this.#fits(this.#waiting[0].amount)) {
      const { amount, admit } = this.#waiting.shift()!;
      this.#used += amount;
      admit();
    }
  }
}

/**
 * The pieces of a request's body, as they are asked for: what is not asked for
 * stays with the client.
 *
 * @throws {Problem} 408 when they come too slowly, 400 when they end early.
 */
export async function* bodyOf(
  request: Request,
  limits: BodyLimits,
): AsyncGenerator<Uint8Array> {
  if (!request.body) return;
  const reader = request.body.getReader();
  let waited = 0, received = 0;
  try {
    while (true) {
      const start = performance.now();
      const late = start - waited + timeFor(received, limits);
      const stalled = start + limits.idle;
      const { done, value } = await before(Math.min(late, stalled), reader);
      if (done) return;
      waited += performance.now() - start;
      received += value.length;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {}); // the connection may be gone
  }
}

/** What limits a body's time. */
type BodyLimits = Pick<Limits, "bodyGrace" | "minRate" | "idle">;

/** How long a client may take for so many bytes, in ms. */
function timeFor(bytes: number, { bodyGrace, minRate }: BodyLimits): number {
  return bodyGrace + bytes * 1000 / minRate;
}

/** The next piece, which is late after a time. */
async function before(
  late: number,
  reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>,
): Promise<ReadableStreamReadResult<Uint8Array<ArrayBuffer>>> {
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    reader.cancel().catch(() => {}); // which ends the read
  }, Math.max(0, late - performance.now()));
  try {
    const next = await reader.read();
    if (isLate) throw tooSlow();
    return next;
  } catch (cause) {
    if (cause instanceof Problem) throw cause;
    if (isLate) throw tooSlow();
    throw new Problem("CUT_SHORT", "The request ended early", { cause });
  } finally {
    clearTimeout(timer);
  }
}

/**
 * A request's whole body.
 *
 * @param length How long it says it is; null when it does not say.
 * @throws {Problem} 413 when it is longer than `limits.maxBody`.
 */
export async function wholeBody(
  request: Request,
  length: number | null,
  limits: Limits,
): Promise<Uint8Array> {
  // Filled as it comes: pieces, and then a copy of all, would take it twice.
  let body = new Uint8Array(length ?? 0);
  let size = 0;
  for await (const piece of bodyOf(request, limits)) {
    if (piece.length === length) return piece; // all of it
    const end = size + piece.length;
    if (end > limits.maxBody) throw tooLarge("The body", limits.maxBody);
    if (end > body.length) {
      const larger = new Uint8Array(Math.min(end * 2, limits.maxBody));
      larger.set(body.subarray(0, size));
      body = larger;
    }
    body.set(piece, size);
    size = end;
  }
  return body.subarray(0, size);
}

/**
 * How long a request says its body is; null when it does not say.
 *
 * @throws {Problem} 413 when that is too long: nothing of it is read.
 */
export function announcedLength(
  request: Request,
  maxBody: number,
): number | null {
  const header = request.headers.get("content-length");
  if (header === null) return null;
  const length = Number(header);
  if (length > maxBody) throw tooLarge("The body", maxBody);
  return length;
}
