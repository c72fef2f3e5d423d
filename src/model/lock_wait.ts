/**
 * How long locks are waited for: options that many calls share.
 *
 * @module
 */

import { rule, type Rules } from "../options.ts";

/** How long to wait, and what ends the wait early. */
export interface LockWait {
  /** The most that is waited, in ms; default 5,000. */
  lockTimeout?: number;
  /** Ends waits within a quarter of a second when it is aborted. */
  signal?: AbortSignal;
}

/** What the fields of a {@linkcode LockWait} may be. */
export const waitRules: Rules<LockWait> = {
  lockTimeout: rule.duration,
  signal: rule.signal,
};

/** The part of some options that says how to wait. */
export function waitOf({ lockTimeout, signal }: LockWait): LockWait {
  return {
    ...(lockTimeout !== undefined && { lockTimeout }),
    ...(signal && { signal }),
  };
}
