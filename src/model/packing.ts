/**
 * Payloads whose home is the log: how to move them there and back, and how to
 * give back what the dead ones take.
 *
 * @module
 */

import { type OptionsType, optionsType, rule } from "../options.ts";
import { type LongWork, longWorkRules } from "./long_work.ts";

/** Options of moving payloads into the log or out of it. */
export interface MovePackedOptions extends LongWork {
  /**
   * Payloads of at most so many bytes live in the log from now on: 0, for none,
   * to 65,536. Remembered by the store, which stays as it is without this option.
   */
  packBelow?: number;
}

/** Checks {@linkcode MovePackedOptions}. */
export const MOVE_PACKED_OPTIONS: OptionsType = optionsType<MovePackedOptions>(
  "MovePackedOptions",
  { packBelow: rule.size, ...longWorkRules },
);

/** Options of compaction. */
export type CompactOptions = LongWork;

/** Checks {@linkcode CompactOptions}. */
export const COMPACT_OPTIONS: OptionsType = optionsType<CompactOptions>(
  "CompactOptions",
  longWorkRules,
);

/** Result of compaction. */
export interface CompactReport {
  /** Payloads that were written again. */
  moved: number;
  /** Bytes of the log that were given back. */
  freed: number;
  /**
   * Dead bytes that are left: behind a damaged payload, which only `recover`
   * takes out of the log, or as it was interrupted.
   */
  dead: number;
  /** True if it was stopped before its end. */
  interrupted: boolean;
}
