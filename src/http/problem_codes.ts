/**
 * The codes of problems: what a client can tell them apart by.
 *
 * @module
 */

/** Every code that an answer may have, and the status that it comes with. */
export const PROBLEM_CODES = {
  AMBIGUOUS_LENGTH: 400,
  CUT_SHORT: 400,
  DIGEST_MISMATCH: 400,
  INVALID_DIGEST: 400,
  INVALID_REQUEST: 400,
  INVALID_TX: 400,
  INVALID_TX_ID: 400,
  NOT_JSON: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  NO_ROUTE: 404,
  NOT_IN_QUARANTINE: 404,
  NOT_LOGGED: 404,
  TLOG_NONE: 404,
  UNKNOWN_TX: 404,
  METHOD_NOT_ALLOWED: 405,
  TOO_SLOW: 408,
  CHECK_RUNNING: 409,
  EXISTS: 409,
  NO_ROW: 409,
  KEY_UNKNOWN: 409,
  REPLACED: 409,
  TLOG_MISMATCH: 409,
  CURSOR_GONE: 410,
  PRECONDITION_FAILED: 412,
  TOO_LARGE: 413,
  UNSUPPORTED_CODING: 415,
  UNSUPPORTED_TYPE: 415,
  NO_SUCH_RANGE: 416,
  WRONG_HOST: 421,
  DATABASE: 500,
  FILE_STUCK: 500,
  INTEGRITY: 500,
  INTERNAL: 500,
  LOG_DAMAGED: 500,
  METADATA_DAMAGED: 500,
  NOTE_DAMAGED: 500,
  OBJECT_STORE: 500,
  READ_ONLY: 500,
  TLOG_CONFLICT: 500,
  TLOG_DAMAGED: 500,
  TLOG_ROLLED_BACK: 500,
  UNREACHABLE: 500,
  UNREADABLE: 500,
  LOCAL_ONLY: 501,
  UNSUPPORTED_TRANSFER: 501,
  BUSY: 503,
  CLOSED: 503,
  DISK_FAILED: 503,
  DISK_FULL: 503,
  LOCK_STUCK: 503,
  NOT_READY: 503,
  OVERLOADED: 503,
  STOPPING: 503,
  STORE_MOVED: 503,
} as const;

/** A code. */
export type ProblemCode = keyof typeof PROBLEM_CODES;

/** The status of an answer with a problem. */
export type ProblemStatus = typeof PROBLEM_CODES[ProblemCode];

/** The titles of statuses. */
export const TITLES: Readonly<Record<ProblemStatus, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  409: "Conflict",
  410: "Gone",
  412: "Precondition Failed",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  416: "Range Not Satisfiable",
  421: "Misdirected Request",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
};

/** Whether an error's code is one that clients are told. */
export function isProblemCode(code: string): code is ProblemCode {
  return Object.hasOwn(PROBLEM_CODES, code);
}
