/**
 * The transparency log of a store.
 *
 * @module
 */

import type { Challenge } from "../proofs/challenge.ts";
import type { Checkpoint } from "../proofs/checkpoint.ts";
import type { Signer } from "../proofs/keys.ts";

/** What a log is, once it has followed all that resolved. */
export interface TlogStatus {
  /** Its name. */
  origin: string;
  /** Number of entries. */
  size: number;
  /** Root over them, in base64. */
  root: string;
  /** Number of live entries. */
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
  /** Description of the finding. */
  details: string;
}

/** Options for checking a log. */
export interface TlogCheck {
  /** A checkpoint that somebody kept: the log has to continue it. */
  kept?: Checkpoint;
  /** Told of every finding. */
  onFinding?: (finding: TlogFinding) => void;
}

/** Signs the answer to a challenge. */
export interface HoldingKey {
  /** Keys of the log; the first signs the answer. */
  signers: readonly Signer[];
  /** The key's file: beside it stands what it signed last. */
  keyPath: string;
  /** Bytes of payloads that may be read for it; any number unless given. */
  maxRead?: number;
  /** Ends it between two entries. */
  signal?: AbortSignal;
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
  /** The checkpoint that is published, a signed note; null for none. */
  published(): Promise<string | null>;
  /**
   * A tile, or a bundle of entries, as far as the log has it: C2SP tlog-tiles.
   *
   * @param level From 0 up, or `"entries"`.
   * @returns Whole hashes or entries, up to 256; null where there is none.
   */
  tile(level: number | "entries", index: number): Promise<Uint8Array | null>;
  /**
   * Proves that a transaction is in the published checkpoint.
   *
   * @returns A `.tlog-proof`.
   * @throws {PohStorageError} `NOT_LOGGED`: it is not, or not yet.
   */
  proveInclusion(txId: string): Promise<string>;
  /** Proves that the published checkpoint continues an older one, or a size. */
  proveConsistency(from: Checkpoint | number): Promise<string>;
  /**
   * Answers a challenge with the chunks that it draws. The answer is under the
   * published checkpoint, or under one that is signed and published for it where a
   * drawn transaction has ended since.
   *
   * @returns Lines of JSON.
   * @throws {PohStorageError} `TLOG_MISMATCH`: the log does not continue what the
   * challenge is about; `TOO_LARGE`: it draws more than may be read;
   * `TLOG_DAMAGED`; as {@linkcode sign}.
   */
  proveHolding(
    challenge: Challenge,
    key: HoldingKey,
  ): AsyncIterableIterator<Uint8Array>;
  /**
   * Proves that all bytes of a payload are there.
   *
   * @param nonce 32 bytes that whoever asks has drawn.
   * @returns A signed note.
   * @throws {PohStorageError} `NOT_LOGGED`: it has no entry; `NOT_HELD`: its
   * payload is missing or damaged; `TLOG_MISMATCH`: its row was altered.
   */
  provePossession(
    txId: string,
    nonce: Uint8Array,
    signer: Signer,
  ): Promise<string>;
  /**
   * Makes tiles that are missing or altered anew, from the bundles of entries,
   * while nobody else has the store open. Nothing is written unless these are whole.
   *
   * @returns How many it made.
   * @throws {PohStorageError} `TLOG_DAMAGED`: bundles are missing or altered.
   */
  rebuildTiles(): Promise<number>;
  /**
   * Whether rows, seals and tree agree, and the log continues the published
   * checkpoint; changes nothing of them.
   *
   * @returns What was found, the first 1,000.
   */
  check(options?: TlogCheck): Promise<TlogFinding[]>;
}
