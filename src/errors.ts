/**
 * The errors callers catch. Each has a stable `code`, so that a program can
 * tell them apart without matching on the message. Anything else that a call
 * throws (`Deno.errors.NoSpace`, `Deno.errors.NotCapable`, …) comes from the
 * operating system or the runtime, unchanged.
 *
 * @module
 */

import type { ErrorCode } from "./model/error_codes.ts";

/** Base of all errors that this package defines. */
export class PohStorageError extends Error {
  /** Stable, machine-readable name of the failure. */
  readonly code: ErrorCode;

  /** Makes an error with its `code` and the usual `cause`. */
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.name = new.target.name;
  }
}

/** A transaction, or its JSON form, that cannot be stored. Code `INVALID_TX`. */
export class InvalidTxError extends PohStorageError {
  /** The offending field, by its JSON name, or `""` for the value as a whole. */
  readonly field: string;

  /** Makes an error that blames `field`. */
  constructor(
    field: string,
    message: string,
    code: ErrorCode = "INVALID_TX",
  ) {
    super(code, message);
    this.field = field;
  }
}

/** An id that no file or row can stand for. Code `INVALID_TX_ID`. */
export class InvalidTxIdError extends InvalidTxError {
  /** Makes an error that says why the id is refused. */
  constructor(message: string) {
    super("tx_id", message, "INVALID_TX_ID");
  }
}

/**
 * There is another transaction of that id, which may not be replaced: the save
 * asked for that, or the store is write-once. Nothing was changed. Code
 * `EXISTS`.
 */
export class TxExistsError extends PohStorageError {
  /** The id of both. */
  readonly txId: string;
  /** SHA-256 of the payload that is there, in hex. */
  readonly storageHash: string;
  /** SHA-256 of the payload that was given, in hex. */
  readonly found: string;

  /** Makes an error from the two digests. */
  constructor(txId: string, storageHash: string, found: string) {
    super(
      "EXISTS",
      `Cannot save tx ${JSON.stringify(txId)}: it is there already, ${
        storageHash === found
          ? `with the same payload (SHA-256 ${found}) but another holder or time`
          : `and its payload has SHA-256 ${storageHash}, the given one ${found}`
      }`,
    );
    this.txId = txId;
    this.storageHash = storageHash;
    this.found = found;
  }
}

/**
 * What is there is not what a change demands by `ifMatch`: nothing was changed.
 * Code `PRECONDITION_FAILED`.
 */
export class PreconditionError extends PohStorageError {
  /** The id of the transaction. */
  readonly txId: string;
  /** SHA-256 of the payload that is there, in hex; null where there is none. */
  readonly storageHash: string | null;

  /** Makes an error that says what is there. */
  constructor(txId: string, storageHash: string | null) {
    super(
      "PRECONDITION_FAILED",
      `Cannot change tx ${JSON.stringify(txId)}: ${
        storageHash === null
          ? "it is not there"
          : `its payload has SHA-256 ${storageHash}`
      }`,
    );
    this.txId = txId;
    this.storageHash = storageHash;
  }
}

/**
 * One of many transactions could not be saved; the `cause` is why. Code
 * `NOT_SAVED`.
 */
export class SaveTxsError extends PohStorageError {
  /** The place of the transaction in the iterable, from 0. */
  readonly index: number;
  /** Its id; null where it has none. */
  readonly txId: string | null;

  /** Makes an error that names the transaction. */
  constructor(index: number, txId: string | null, cause: unknown) {
    super(
      "NOT_SAVED",
      `Tx ${index}${txId === null ? "" : ` (${JSON.stringify(txId)})`}: ${
        cause instanceof Error ? cause.message : cause
      }`,
      { cause },
    );
    this.index = index;
    this.txId = txId;
  }
}

/**
 * Payload and digest disagree, or the payload is gone: proven damage. Code
 * `INTEGRITY`.
 */
export class IntegrityError extends PohStorageError {
  /** The damaged transaction. */
  readonly txId: string;
  /** SHA-256 that the metadata promises, in hex. */
  readonly expected: string;
  /** SHA-256 of what is there, in hex, or null when the payload is missing. */
  readonly found: string | null;

  /** Makes an error from the two digests. */
  constructor(txId: string, expected: string, found: string | null) {
    super(
      "INTEGRITY",
      found === null
        ? `Cannot load tx ${JSON.stringify(txId)}: its payload is missing`
        : `Cannot load tx ${
          JSON.stringify(txId)
        }: its payload has SHA-256 ${found}, expected ${expected}`,
    );
    this.txId = txId;
    this.expected = expected;
    this.found = found;
  }
}

/**
 * The operating system would not give the payload (no permission, I/O error,
 * a directory or a symbolic link in its place). Says nothing about damage.
 * Code `UNREADABLE`.
 */
export class PayloadUnreadableError extends PohStorageError {
  /** The transaction that could not be read. */
  readonly txId: string;

  /** Makes an error from the reason the system gave. */
  constructor(txId: string, reason: string, options?: ErrorOptions) {
    super(
      "UNREADABLE",
      `Cannot read the payload of tx ${JSON.stringify(txId)}: ${reason}`,
      options,
    );
    this.txId = txId;
  }
}

/** A process that has a store open for writing. */
export interface StoreHolder {
  /** Process id. */
  pid: number;
  /** Host name, or `""` where it may not be read. */
  host: string;
  /** When the process opened the store, ISO 8601. */
  since: string;
  /**
   * True if the process is stopped, as by Ctrl-Z or a debugger; null if that is not
   * known: only Linux shows it, and only with `--allow-all`.
   */
  stopped?: boolean | null;
}

/** Another process holds the store. Code `BUSY`. */
export class StoreBusyError extends PohStorageError {
  /** Who holds it, as far as is known. */
  readonly holders: StoreHolder[];

  /** Makes an error that names the holders. */
  constructor(message: string, holders: StoreHolder[]) {
    const who = holders.map((h) =>
      `pid ${h.pid}${h.host && ` on ${h.host}`} since ${h.since}${
        h.stopped ? ", which is stopped" : ""
      }`
    );
    super("BUSY", who.length ? `${message}: ${who.join("; ")}` : message);
    this.holders = holders;
  }
}

/**
 * There is no room on the disk. Deletions go on, from a reserve that the store
 * keeps for them; saves are refused until it is whole again. Code `DISK_FULL`.
 */
export class DiskFullError extends PohStorageError {
  /** Makes an error from what the system said. */
  constructor(reason: string, options?: ErrorOptions) {
    super(
      "DISK_FULL",
      `The disk is full (${reason}): delete or prune transactions, or empty the quarantine, which works all the same`,
      options,
    );
  }
}

/** The manager was closed before the call. Code `CLOSED`. */
export class StoreClosedError extends PohStorageError {
  /** Makes an error for a closed manager. */
  constructor() {
    super("CLOSED", "The storage manager is closed");
  }
}

/** There is no store, and the call may not make one. Code `NOT_FOUND`. */
export class StoreNotFoundError extends PohStorageError {
  /** Makes an error that names the place where it would be. */
  constructor(path: string) {
    super("NOT_FOUND", `There is no store at ${path}`);
  }
}

/** Base and database do not belong together. Code `MISMATCH`. */
export class StoreMismatchError extends PohStorageError {
  /** Makes an error that says why. */
  constructor(message: string) {
    super("MISMATCH", message);
  }
}

/**
 * The base or the database was moved away, or replaced, while the store was
 * open: what would be saved might go to another store. Nothing more is saved;
 * the change that met it was not acknowledged. Code `STORE_MOVED`.
 */
export class StoreMovedError extends PohStorageError {
  /** Makes an error that names what is not in its place any more. */
  constructor(path: string) {
    super(
      "STORE_MOVED",
      `${path} was moved or replaced while the store was open: nothing more is saved until the store is opened again`,
    );
  }
}

/**
 * A folder or file is not what a backup or a restoration needs: a target that
 * holds something else, a source that is no backup. Nothing was changed. Code
 * `BACKUP_PATH`.
 */
export class BackupPathError extends PohStorageError {
  /** Makes an error that says what is wrong with which path. */
  constructor(message: string, options?: ErrorOptions) {
    super("BACKUP_PATH", message, options);
  }
}

/**
 * The folder is a backup, which the next one would bring back to what the store
 * has: nothing may be saved there. Code `IS_BACKUP`.
 */
export class BackupReadOnlyError extends PohStorageError {
  /** Makes an error that names the folder. */
  constructor(path: string) {
    super("IS_BACKUP", `${path} is a backup: restore it first`);
  }
}

/** A backup is not whole, so that nothing was restored. Code `BACKUP_DAMAGED`. */
export class BackupDamagedError extends PohStorageError {
  /** Makes an error that says what is wrong with the backup. */
  constructor(message: string, options?: ErrorOptions) {
    super("BACKUP_DAMAGED", message, options);
  }
}

/** SQLite says that the database is malformed. Code `METADATA_DAMAGED`. */
export class MetadataDamagedError extends PohStorageError {
  /** Makes an error from what SQLite said. */
  constructor(path: string, reason: string, options?: ErrorOptions) {
    super(
      "METADATA_DAMAGED",
      `The database ${path} is damaged (${reason})`,
      options,
    );
  }
}

/** The SQLite binding that was asked for is not available. Code `DRIVER_UNAVAILABLE`. */
export class DriverUnavailableError extends PohStorageError {
  /** Makes an error that says why. */
  constructor(message: string, options?: ErrorOptions) {
    super("DRIVER_UNAVAILABLE", message, options);
  }
}
