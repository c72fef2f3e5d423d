/**
 * The text of a checkpoint, C2SP tlog-checkpoint: which log, how many entries, and
 * the root over them.
 *
 * @module
 */

import { hashFromBase64, isEqual, numberFrom, toBase64 } from "./encoding.ts";
import { EMPTY_ROOT } from "./merkle.ts";
import { malformed } from "./proof_error.ts";

/** The state of a log: its name, and the tree over its entries. */
export interface Checkpoint {
  /** Name of the log. */
  readonly origin: string;
  /** How many entries the log has. */
  readonly size: number;
  /** Root over the entries. */
  readonly root: Uint8Array;
}

/** The text that is signed. */
export function formatCheckpoint(checkpoint: Checkpoint): string {
  const { origin, size, root } = checkpoint;
  const text = `${origin}\n${size}\n${toBase64(root)}\n`;
  parseCheckpoint(text);
  return text;
}

/**
 * Reads the text of a checkpoint, without its signatures: it says nothing before
 * they are checked, which `openCheckpoint` does.
 *
 * @throws {ProofError} Code `TLOG_FORMAT`; extension lines are refused, too.
 *
 * @example Usage
 * ```ts
 * import { parseCheckpoint } from "@poh/storage/proofs";
 * import { assertEquals } from "@std/assert";
 *
 * const { origin, size } = parseCheckpoint(
 *   "node7.example/poh\n4\nw5X3sOs1drEA1UCprX/ppHcb7jeXVHcitIRSlsbee3g=\n",
 * );
 * assertEquals([origin, size], ["node7.example/poh", 4]);
 * ```
 */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin, size, root, end, ...more] = text.split("\n", 6);
  if (!origin || size === undefined || !root || end !== "" || more.length > 0) {
    throw malformed("checkpoint", "A checkpoint has three lines, and this not");
  }
  const checkpoint: Checkpoint = {
    origin,
    size: numberFrom(size, "checkpoint"),
    root: hashFromBase64(root, "checkpoint"),
  };
  if (checkpoint.size === 0 && !isEqual(checkpoint.root, EMPTY_ROOT)) {
    throw malformed("checkpoint", "A log without entries has another root");
  }
  return checkpoint;
}
