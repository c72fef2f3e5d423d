/**
 * What a check throws. Every refusal has a stable `code`, and says at which step
 * of the check it was made.
 *
 * @module
 */

/**
 * Why a check refuses:
 *
 * - `TLOG_FORMAT`: a text, an entry or an answer is malformed, or above a limit;
 * - `PROOF_INVALID`: it is well-formed, and does not prove what it should;
 * - `KEY_UNKNOWN`: none of the keys that were pinned has signed it;
 * - `KEY_FORMAT`: a key, or a policy, cannot be used as it is written;
 * - `KEY_UNSUPPORTED`: this runtime has not got the key's algorithm;
 * - `QUORUM`: too few witnesses of the policy have cosigned it;
 * - `TLOG_ROLLED_BACK`: a log has fewer entries than it had signed;
 * - `TLOG_FORKED`: a log has signed two histories;
 * - `TLOG_RESTARTED`: a log begins anew, and names the one before.
 */
export type ProofErrorCode =
  | "TLOG_FORMAT"
  | "PROOF_INVALID"
  | "KEY_UNKNOWN"
  | "KEY_FORMAT"
  | "KEY_UNSUPPORTED"
  | "QUORUM"
  | "TLOG_ROLLED_BACK"
  | "TLOG_FORKED"
  | "TLOG_RESTARTED";

/**
 * A proof, or what belongs to one, that is refused.
 *
 * @example Usage
 * ```ts
 * import { parseEntry, ProofError } from "@poh/storage/proofs";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * const error = assertThrows(() => parseEntry(new Uint8Array(3)), ProofError);
 * assertEquals([error.code, error.at], ["TLOG_FORMAT", "entry"]);
 * ```
 */
export class ProofError extends Error {
  /** Stable, machine-readable kind of the refusal. */
  readonly code: ProofErrorCode;
  /** The step that refused, such as `"signature"`, `"path"` or `"seal"`. */
  readonly at: string;

  /** Makes an error that names its step. */
  constructor(
    code: ProofErrorCode,
    at: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = "ProofError";
    this.code = code;
    this.at = at;
  }
}

/** An error about something that is malformed. */
export function malformed(at: string, message: string): ProofError {
  return new ProofError("TLOG_FORMAT", at, message);
}

/** An error about something that does not prove what it should. */
export function refuted(at: string, message: string): ProofError {
  return new ProofError("PROOF_INVALID", at, message);
}
