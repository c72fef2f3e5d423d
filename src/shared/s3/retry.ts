/**
 * Attempts, and how long to wait between them.
 *
 * @module
 */

import { Failure } from "./failures.ts";

/** How long to try. Times are in ms. */
export interface Patience {
  /** How long nothing at all may happen in an attempt. */
  silence: number;
  /** How many attempts are made at most. */
  attempts: number;
  /** How long after the first failure new ones are made. */
  retryFor: number;
}

/** A server that restarts is waited for; a network that swallows is not, for long. */
export const PATIENCE: Patience = {
  silence: 10_000,
  attempts: Infinity,
  retryFor: 60_000,
};

/** The longest wait before the second attempt, and before any. */
const FIRST_WAIT = 200;
const LONGEST_WAIT = 5_000;

/**
 * Makes attempts until one succeeds. Between them it waits for a random time
 * that may be longer each time ("full jitter"): clients that failed together do
 * not come back together.
 *
 * @param attempt Gets how many have failed. They may have been carried out all
 * the same.
 * @throws What the last failure tells.
 */
export async function retry<T>(
  patience: Patience,
  signal: AbortSignal,
  attempt: (failed: number) => Promise<T>,
): Promise<T> {
  let end = Infinity;
  for (let failed = 0;;) {
    try {
      return await attempt(failed);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      failed++;
      end = Math.min(end, performance.now() + patience.retryFor);
      const isLast = failed >= Math.min(error.attempts, patience.attempts) ||
        performance.now() >= end || signal.aborted;
      if (isLast) throw error.error;
    }
    await wait(waitAfter(failed), signal);
  }
}

/** How long to wait after so many failures, in ms. */
export function waitAfter(failed: number, random = Math.random): number {
  return random() * Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (failed - 1));
}

/** Waits, or until the signal is aborted. */
export function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
