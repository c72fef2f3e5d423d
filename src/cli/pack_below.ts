/**
 * The option that says which payloads live in the log.
 *
 * @module
 */

import { UsageError } from "../format/usage_error.ts";
import type { Output } from "./output.ts";
import { requireLocal, type StoreValues } from "./store.ts";

/** It takes no more: larger payloads are better off in files. */
const LARGEST = 64 * 1024;

/** The option, by its two names. */
export interface PackBelowValues extends StoreValues {
  "pack-below"?: number | undefined;
  "inline-below"?: number | undefined;
}

/**
 * The size that the options ask for, by either name; undefined if neither is given.
 *
 * @throws {UsageError} If it is too much, if the names disagree, or if the store
 * is not on this machine.
 */
export function packBelow(
  options: PackBelowValues,
  output: Output,
): number | undefined {
  const { "pack-below": given, "inline-below": former } = options;
  if (former !== undefined) {
    output.notice("--inline-below is deprecated: write --pack-below");
    if (given !== undefined && given !== former) {
      throw new UsageError(
        `--pack-below and --inline-below are one option: got ${given} and ${former} bytes; give --pack-below alone`,
      );
    }
  }
  const below = given ?? former;
  if (below === undefined) return undefined;
  if (below > LARGEST) {
    throw new UsageError(
      `--pack-below takes 64KiB at most, got ${below} bytes`,
    );
  }
  requireLocal("--pack-below", options);
  return below;
}
