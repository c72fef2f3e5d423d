/**
 * Work that takes long: how far it has got, and how to stop it.
 *
 * @module
 */

import { rule, type Rules } from "../options.ts";

/** Progress of long work. */
export interface Progress {
  /** The step under way. */
  step: string;
  /** Things looked at in this step. */
  done: number;
  /** Things there are, or null when that is not known. */
  total: number | null;
  /** Bytes read in this step. */
  bytes: number;
}

/** Options of all long work. */
export interface LongWork {
  /** Stops it between two transactions; what was done stays done. */
  signal?: AbortSignal;
  /** Called now and then with the progress. */
  onProgress?: (progress: Progress) => void;
}

/** What the fields of {@linkcode LongWork} may be. */
export const longWorkRules: Rules<LongWork> = {
  signal: rule.signal,
  onProgress: rule.callback,
};
