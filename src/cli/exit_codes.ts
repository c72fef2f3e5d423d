/**
 * The program's exit codes, and which error ends with which.
 *
 * @module
 */

import {
  BackupDamagedError,
  BackupPathError,
  BackupReadOnlyError,
  IntegrityError,
  InvalidTxError,
  MetadataDamagedError,
  PohStorageError,
  SaveTxsError,
  StoreBusyError,
  StoreNotFoundError,
  TxExistsError,
} from "../errors.ts";
import { type HintOptions, UsageError } from "../format/usage_error.ts";
import { ProofError, type ProofErrorCode } from "../proofs/proof_error.ts";

/** Meaning of each exit code. */
export const EXIT_CODES: Readonly<Record<number, string>> = {
  0: "done",
  1: "failed (I/O, unexpected)",
  2: "wrong usage, bad input, or a tx that may not be replaced",
  3: "no such transaction",
  4: "damage found, or repaired under recover --strict; a proof refuted",
  5: "store busy",
  6: "no store there",
  130: "interrupted",
};

/** `--json` codes of errors that have no code of their own. */
export const EXIT_NAMES: Readonly<Record<number, string>> = {
  1: "FAILED",
  2: "USAGE",
  3: "UNKNOWN_TX",
  4: "DAMAGE",
  5: "BUSY",
  6: "NOT_FOUND",
  130: "INTERRUPTED",
};

/** Exit codes by name. */
export const Exit = {
  done: 0,
  failed: 1,
  usage: 2,
  unknownTx: 3,
  damage: 4,
  busy: 5,
  noStore: 6,
  interrupted: 130,
} as const;

/** Ends a command with one line on stderr and an exit code of its own. */
export class CliError extends Error {
  /** The exit code. */
  readonly exitCode: number;
  /** The next step; null if the message says enough. */
  readonly hint: string | null;

  /** Makes an error that ends the program with `exitCode`. */
  constructor(exitCode: number, message: string, options: HintOptions = {}) {
    super(message, options);
    this.name = "CliError";
    this.exitCode = exitCode;
    this.hint = options.hint ?? null;
  }
}

const TLOG_CODES: Readonly<Record<string, number>> = {
  NOT_LOGGED: Exit.unknownTx,
  TLOG_NONE: Exit.usage,
  TLOG_EXISTS: Exit.usage,
  TLOG_FORMAT: Exit.usage,
  KEY_UNKNOWN: Exit.usage,
  TLOG_MISMATCH: Exit.damage,
  TLOG_DAMAGED: Exit.damage,
  TLOG_CONFLICT: Exit.damage,
  NOT_HELD: Exit.damage,
  TLOG_ROLLED_BACK: Exit.damage,
};

const PROOF_CODES: Readonly<Record<ProofErrorCode, number>> = {
  TLOG_FORMAT: Exit.usage,
  KEY_FORMAT: Exit.usage,
  KEY_UNSUPPORTED: Exit.failed,
  PROOF_INVALID: Exit.damage,
  KEY_UNKNOWN: Exit.damage,
  QUORUM: Exit.damage,
  TLOG_ROLLED_BACK: Exit.damage,
  TLOG_FORKED: Exit.damage,
  TLOG_RESTARTED: Exit.damage,
};

/** The exit code that an error ends the program with. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CliError) return error.exitCode;
  if (error instanceof SaveTxsError) return exitCodeOf(error.cause);
  if (
    error instanceof UsageError ||
    error instanceof InvalidTxError || error instanceof TxExistsError ||
    error instanceof BackupPathError || error instanceof BackupReadOnlyError
  ) return Exit.usage;
  if (
    error instanceof IntegrityError || error instanceof MetadataDamagedError ||
    error instanceof BackupDamagedError
  ) return Exit.damage;
  if (error instanceof ProofError) return PROOF_CODES[error.code];
  if (error instanceof PohStorageError) {
    const code = TLOG_CODES[error.code];
    if (code !== undefined) return code;
  }
  if (error instanceof StoreBusyError) return Exit.busy;
  if (error instanceof DOMException && error.name === "AbortError") {
    return Exit.interrupted; // it was waiting
  }
  if (error instanceof StoreNotFoundError) return Exit.noStore;
  return Exit.failed;
}
