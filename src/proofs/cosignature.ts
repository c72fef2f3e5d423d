/**
 * What witnesses sign, C2SP tlog-cosignature: a time, of which the first 8 bytes of
 * a cosignature are, and a checkpoint.
 *
 * @module
 */

import { type Checkpoint, parseCheckpoint } from "./checkpoint.ts";
import { joined, utf8 } from "./encoding.ts";
import { ProofError } from "./proof_error.ts";

/** The text that an Ed25519 cosignature is over; null for a time above 2^53. */
export function cosignedText(
  text: string,
  time: Uint8Array,
): Uint8Array | null {
  const seconds = cosignedAt(time);
  if (seconds === null) return null;
  return utf8(`cosignature/v1\ntime ${seconds}\n${text}`, "note");
}

/** The `cosigned_message` of a whole tree, C2SP tlog-cosignature. */
export function cosignedTree(
  name: string,
  text: string,
  time: Uint8Array,
): Uint8Array | null {
  let checkpoint: Checkpoint;
  try {
    checkpoint = parseCheckpoint(text);
  } catch (error) {
    if (error instanceof ProofError) return null;
    throw error;
  }
  const cosigner = utf8(name, "key");
  const origin = utf8(checkpoint.origin, "checkpoint");
  if (cosigner.length > 255 || origin.length > 255) return null;
  const range = new DataView(new ArrayBuffer(16)); // from entry 0
  range.setBigUint64(8, BigInt(checkpoint.size));
  return joined([
    utf8("subtree/v1\n\0", "note"),
    Uint8Array.of(cosigner.length),
    cosigner,
    time,
    Uint8Array.of(origin.length),
    origin,
    new Uint8Array(range.buffer),
    checkpoint.root,
  ]);
}

/**
 * When a cosignature was made, in seconds since 1970: the time stands before the
 * signature. 0 where the witness says no time; null for one above 2^53.
 */
export function cosignedAt(signature: Uint8Array): number | null {
  if (signature.length < 8) return null;
  const view = new DataView(signature.buffer, signature.byteOffset, 8);
  const time = Number(view.getBigUint64(0));
  return Number.isSafeInteger(time) ? time : null;
}
