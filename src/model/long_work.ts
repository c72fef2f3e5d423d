/**
 * Work that takes long: how far it has got, and how to stop it.
 *
 * @module
 */

import { rule, type Rules } from "../options.ts";

/** How far long work has got. */
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

/** What all work that takes long understands. */
export interface LongWork {
  /** Stops it between two transactions; what was done stays done. */
  signal?: AbortSignal;
  /** Told now and then how far it has got. */
  onProgress?: (progress: Progress) => void;
}

/** What the fields of {@linkcode LongWork} may be. */
export const longWorkRules: Rules<LongWork> = {
  signal: rule.signal,
  onProgress: rule.callback,
};
