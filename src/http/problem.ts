/**
 * Errors as RFC 9457 problem details.
 *
 * @module
 */

import {
  IntegrityError,
  InvalidTxError,
  InvalidTxIdError,
  PayloadUnreadableError,
  PohStorageError,
  PreconditionError,
  StoreBusyError,
  StoreClosedError,
  StoreMovedError,
  TxExistsError,
} from "../errors.ts";
import {
  isProblemCode,
  PROBLEM_CODES,
  type ProblemCode,
  type ProblemStatus,
  TITLES,
} from "./problem_codes.ts";
import { UsageError } from "../format/usage_error.ts";
import { isDiskFull } from "../files/full_disk.ts";

/** How long a client should wait before it tries again, in seconds. */
const RETRY_AFTER = { soon: "1", later: "30" };

/** What else a problem says: members of its JSON, headers of its response. */
export interface ProblemOptions {
  /** Further members of the JSON object. */
  members?: Record<string, unknown>;
  /** Further headers. */
  headers?: Record<string, string>;
  /** What led to it. */
  cause?: unknown;
}

/** An error that is told to the client. */
export class Problem extends Error {
  /** The HTTP status. */
  readonly status: ProblemStatus;
  /** Stable, machine-readable name of the problem. */
  readonly code: ProblemCode;
  /** Further members of its JSON. */
  readonly members: Record<string, unknown>;
  /** Further headers of its response. */
  readonly headers: Record<string, string>;

  /** Makes a problem; `detail` is shown to the client. */
  constructor(
    code: ProblemCode,
    detail: string,
    { members = {}, headers = {}, cause }: ProblemOptions = {},
  ) {
    super(detail, { cause });
    this.name = "Problem";
    this.status = PROBLEM_CODES[code];
    this.code = code;
    this.members = members;
    this.headers = headers;
  }

  /** It as an object, for JSON. */
  toJSON(): Record<string, unknown> {
    const { status, code, message, members } = this;
    return {
      type: "about:blank",
      title: TITLES[status],
      status,
      detail: message,
      code,
      ...members,
    };
  }

  /** The response that tells it. */
  toResponse(): Response {
    const { status, headers } = this;
    return Response.json(this, {
      status,
      headers: {
        ...headers,
        "content-type": "application/problem+json",
        "cache-control": "no-store, no-transform",
        "x-content-type-options": "nosniff",
      },
    });
  }
}

/** A problem that goes away by itself. */
export function unavailable(
  code: ProblemCode,
  detail: string,
  { when = "soon", cause }: {
    when?: keyof typeof RETRY_AFTER;
    cause?: unknown;
  } = {},
): Problem {
  return new Problem(code, detail, {
    headers: { "retry-after": RETRY_AFTER[when] },
    cause,
  });
}

/** What may be sent twice without harm, told after the connection is given up. */
export function tooSlow(): Problem {
  return new Problem("TOO_SLOW", "The request came too slowly", {
    headers: { connection: "close" },
  });
}

/** A body of more than `limit` bytes. */
export function tooLarge(what: string, limit: number): Problem {
  return new Problem(
    "TOO_LARGE",
    `${what} is longer than ${limit} bytes`,
    { members: { limit }, headers: { connection: "close" } },
  );
}

/** No transaction has that id. */
export function unknownTx(txId: string): Problem {
  return new Problem(
    "UNKNOWN_TX",
    `No transaction ${JSON.stringify(txId)}`,
  );
}

/** What is there is not what the request demands; null: nothing is there. */
export function preconditionFailed(
  txId: string,
  storageHash: string | null,
): Problem {
  const id = JSON.stringify(txId);
  return new Problem(
    "PRECONDITION_FAILED",
    storageHash === null
      ? `There is no transaction ${id}`
      : `There is a transaction ${id}, its payload has SHA-256 ${storageHash}`,
    {
      members: { tx_id: txId, storage_hash: storageHash },
      ...(storageHash !== null && {
        headers: { etag: `"${storageHash}"` },
      }),
    },
  );
}

/** The problem that an error is for a client. What is not foreseen says little. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof InvalidTxError) {
    const { field } = error;
    const code = error instanceof InvalidTxIdError
      ? "INVALID_TX_ID"
      : "INVALID_TX";
    return new Problem(code, error.message, {
      ...(field !== "" && { members: { field } }),
    });
  }
  if (error instanceof UsageError) {
    return new Problem("INVALID_REQUEST", error.message);
  }
  if (error instanceof PreconditionError) {
    return preconditionFailed(error.txId, error.storageHash);
  }
  if (error instanceof TxExistsError) {
    const { txId, storageHash, found } = error;
    return new Problem("EXISTS", error.message, {
      members: { tx_id: txId, storage_hash: storageHash, found },
    });
  }
  if (error instanceof IntegrityError) {
    const { expected, found } = error;
    return new Problem("INTEGRITY", error.message, {
      members: { expected, found },
    });
  }
  if (error instanceof PayloadUnreadableError) {
    return new Problem(
      "UNREADABLE",
      `The payload of tx ${JSON.stringify(error.txId)} cannot be read`,
      { cause: error },
    );
  }
  if (error instanceof StoreBusyError || error instanceof StoreClosedError) {
    const code = error instanceof StoreBusyError ? "BUSY" : "CLOSED";
    return unavailable(code, "The store is busy", { cause: error });
  }
  if (error instanceof StoreMovedError) {
    const detail = "The store was moved or replaced: start the service anew";
    return unavailable("STORE_MOVED", detail, { when: "later", cause: error });
  }
  if (error instanceof PohStorageError && error.code === "DISK_FAILED") {
    const detail = "The disk failed: look at it, and start the service anew";
    return unavailable("DISK_FAILED", detail, { when: "later", cause: error });
  }
  if (isDiskFull(error)) {
    return unavailable("DISK_FULL", "The disk is full", {
      when: "later",
      cause: error,
    });
  }
  if (error instanceof PohStorageError && error.code === "CURSOR_GONE") {
    return new Problem(
      "CURSOR_GONE",
      `${error.message}: after-time does, as the next page of a list has it`,
    );
  }
  if (error instanceof PohStorageError && TOLD.has(error.code)) {
    return new Problem(error.code as ProblemCode, error.message);
  }
  return new Problem(codeOf(error), "The service failed", { cause: error });
}

/** Codes of errors whose message is for clients. */
const TOLD: ReadonlySet<string> = new Set<ProblemCode>([
  "KEY_UNKNOWN",
  "LOCAL_ONLY",
  "NOT_IN_QUARANTINE",
  "NOT_LOGGED",
  "NO_ROW",
  "TLOG_MISMATCH",
  "TLOG_NONE",
  "TOO_LARGE",
]);

/** A code of 500 that says what failed, where it is a known one. */
function codeOf(error: unknown): ProblemCode {
  const code = error instanceof PohStorageError ? error.code : "";
  return isProblemCode(code) && PROBLEM_CODES[code] === 500 ? code : "INTERNAL";
}
