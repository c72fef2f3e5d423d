/**
 * Waiting for what another process holds: always with an end.
 *
 * Nothing here blocks the event loop, and nothing waits in a system call, which
 * could not be called off: it asks again and again, with pauses that grow.
 *
 * @module
 */

import { StoreBusyError } from "../errors.ts";
import type { LockWait } from "../options.ts";

/** How long a lock is waited for unless the caller says otherwise, in ms. */
export const LOCK_TIMEOUT = 5_000;

/** What is left of a wait once it is to end, in ms: a live holder is done by then. */
const AFTER_ABORT = 250;

/** The pauses between two attempts, in ms, and the growth from one to the other. */
const SHORTEST_PAUSE = 1, LONGEST_PAUSE = 4, GROWTH = 1 / 32;

/**
 * Calls `attempt` until it returns something other than null.
 *
 * @param onTimeout The error of a wait that has lasted too long.
 * @throws {DOMException} `AbortError` if the signal ended the wait.
 */
export async function waitFor<T>(
  attempt: () => T | null | Promise<T | null>,
  { lockTimeout = LOCK_TIMEOUT, signal }: LockWait,
  onTimeout: () => Error,
): Promise<T> {
  const start = performance.now();
  let end = start + lockTimeout, isAborted = false;
  while (true) {
    const result = await attempt();
    if (result !== null) return result;
    const now = performance.now();
    if (signal?.aborted && !isAborted) {
      isAborted = true;
      end = Math.min(end, now + AFTER_ABORT);
    }
    if (now >= end) throw isAborted ? interrupted(onTimeout()) : onTimeout();
    const pause = Math.max(SHORTEST_PAUSE, (now - start) * GROWTH);
    await pauseFor(Math.min(pause, LONGEST_PAUSE, end - now));
  }
}

/**
 * Does what may find the database locked by another program, until it does not.
 *
 * @throws {StoreBusyError} If it is locked for too long.
 */
export async function retryBusy<T>(
  work: () => T | Promise<T>,
  wait: LockWait,
): Promise<T> {
  let busy: StoreBusyError;
  const attempt = async () => {
    try {
      return { value: await work() };
    } catch (error) {
      if (!(error instanceof StoreBusyError)) throw error;
      busy = error;
      return null;
    }
  };
  return (await waitFor(attempt, wait, () => busy)).value;
}

/** Lets others have their turn for so many ms. */
export function pauseFor(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function interrupted(cause: Error): DOMException {
  return new DOMException(
    `Interrupted while waiting: ${cause.message}`,
    "AbortError",
  );
}
