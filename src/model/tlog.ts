/**
 * What a store can do with its transparency log.
 *
 * @module
 */

import type { Checkpoint } from "../proofs/checkpoint.ts";
import type { Signer } from "../proofs/keys.ts";

/** What a log is, once it has followed all that resolved. */
export interface TlogStatus {
  /** Its name. */
  origin: string;
  /** How many entries it has. */
  size: number;
  /** Root over them, in base64. */
  root: string;
  /** How many of them are live. */
  live: number;
  /** Size of the checkpoint that is published; null for none. */
  published: number | null;
}

/** Something that is not as the log has it. */
export interface TlogFinding {
  /**
   * `altered`: a row is not what its entry has under its seal; `vanished`: an entry
   * is live, and its row is gone; `unlogged`: a row has no entry; `damaged`: the
   * log itself is not whole.
   */
  kind: "altered" | "vanished" | "unlogged" | "damaged";
  /** Which transaction; null for the log itself. */
  txId: string | null;
  /** What was found. */
  details: string;
}

/** The transparency log of an open store. */
export interface StoreLog {
  /**
   * Begins a log with an entry for each transaction, while nobody else has the
   * store open. A crash meanwhile leaves the store without a log. One whose
   * database is lost is named in the first entry.
   *
   * @param origin Its name: a URL without its scheme; default
   * `poh.invalid/<store id>`.
   * @returns Ids that have no entry: their payload is damaged, or they have a
   * time or a digest that is none.
   * @throws {PohStorageError} `TLOG_EXISTS`: there is one.
   */
  init(origin?: string): Promise<string[]>;
  /**
   * What it is by now.
   *
   * @throws {PohStorageError} `TLOG_NONE`: there is none.
   */
  status(): Promise<TlogStatus>;
  /**
   * Signs what it is, and publishes that as `<base>/.poh/tlog/checkpoint`.
   *
   * @param keyPath The key's file: beside it stands what it signed last.
   * @returns The checkpoint, a signed note.
   * @throws {PohStorageError} `TLOG_ROLLED_BACK`: the key has signed what this log
   * does not continue.
   */
  sign(signers: readonly Signer[], keyPath: string): Promise<string>;
  /**
   * Proves that a transaction is in the published checkpoint.
   *
   * @returns A `.tlog-proof`.
   * @throws {PohStorageError} `NOT_LOGGED`: it is not, or not yet.
   */
  proveInclusion(txId: string): Promise<string>;
  /** Proves that the published checkpoint continues an older one, or a size. */
  proveConsistency(from: Checkpoint | number): Promise<string>;
  /** Whether rows, seals and tree agree; changes nothing of them. */
  check(): Promise<TlogFinding[]>;
}
