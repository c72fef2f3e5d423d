/**
 * What proofs prove, in words and for programs.
 *
 * @module
 */

import { toBase64 } from "../proofs/encoding.ts";
import type { HoldingReport } from "../proofs/holding.ts";
import type { SignedCheckpoint } from "../proofs/policy.ts";

/** Which log a checkpoint is of, and who has seen it. */
export function logOf(checkpoint: SignedCheckpoint): string {
  const { origin, cosignedBy, witnesses } = checkpoint;
  const seen = witnesses > 0
    ? `; cosigned by ${cosignedBy.length} of ${witnesses}`
    : "";
  return `${origin}${seen}`;
}

/** A checkpoint for programs. */
export function checkpointJson(checkpoint: SignedCheckpoint) {
  const { origin, size, root, cosignedBy, witnesses } = checkpoint;
  return {
    origin,
    size,
    root: toBase64(root),
    cosigned_by: cosignedBy,
    witnesses,
  };
}

/** What an answer to a challenge shows. */
export function holdingWords(report: HoldingReport): string {
  const { held, ended, nothing, notHeld, chunks, bytes, checkpoint } = report;
  const gone = notHeld.map(({ index, fault }) => `entry ${index} ${fault}`);
  const shown = [
    `${held.length} held`,
    ...ended.length > 0 ? [`${ended.length} ended`] : [],
    ...nothing.length > 0 ? [`${nothing.length} without a payload`] : [],
    ...gone.length > 0 ? [`${gone.length} not held: ${gone.join(", ")}`] : [],
  ].join(", ");
  return `${shown}; ${chunks} chunks, ${bytes} bytes; ` +
    `${checkpoint.size} entries in ${logOf(checkpoint)}`;
}

/** The same for programs. */
export function holdingJson(report: HoldingReport) {
  const { held, ended, nothing, notHeld, chunks, bytes, checkpoint } = report;
  return {
    ...{ held, ended, nothing, not_held: notHeld, chunks, bytes },
    checkpoint: checkpointJson(checkpoint),
  };
}
