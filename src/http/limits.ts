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
  /** Requests that may be under way at once; more are refused. */
  requests: number;
  /** How long a request waits for its turn before it is refused, in ms. */
  patience: number;
  /** How long for a body, in ms, beside what its length takes at `minRate`. */
  bodyGrace: number;
  /** Slowest body, in bytes per second. */
  minRate: number;
  /** How long a client may take nothing of a response, in ms. */
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
  limits: Pick<Limits, "bodyGrace" | "minRate">,
): AsyncGenerator<Uint8Array> {
  if (!request.body) return;
  const reader = request.body.getReader();
  let waited = 0, received = 0;
  try {
    while (true) {
      const allowed = limits.bodyGrace + received * 1000 / limits.minRate;
      const start = performance.now();
      const { done, value } = await inTime(reader.read(), allowed - waited);
      if (done) return;
      waited += performance.now() - start;
      received += value.length;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {}); // the connection may be gone
  }
}

async function inTime<T>(read: Promise<T>, ms: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(tooSlow()), Math.max(0, ms));
  });
  try {
    return await Promise.race([read, late]);
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem(400, "CUT_SHORT", "The request ended early", {
      cause: error,
    });
  } finally {
    clearTimeout(timer);
  }
}

/**
 * A request's whole body.
 *
 * @throws {Problem} 413 when it is longer than `limits.maxBody`.
 */
export async function wholeBody(
  request: Request,
  limits: Limits,
): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of bodyOf(request, limits)) {
    size += part.length;
    if (size > limits.maxBody) throw tooLarge("The body", limits.maxBody);
    parts.push(part);
  }
  return parts;
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
