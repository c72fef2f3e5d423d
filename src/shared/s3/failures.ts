/**
 * What an answer of the server, or its silence, means: whether it passes, and
 * how to tell people.
 *
 * @module
 */

import { PohStorageError, StoreNotFoundError } from "../../errors.ts";
import type { Target } from "./target.ts";

/** Codes of answers that say that bytes were lost or damaged on the way. */
const DAMAGED_ON_THE_WAY = new Set([
  "XAmzContentSHA256Mismatch",
  "BadDigest",
  "IncompleteBody",
  "RequestTimeout",
]);

/**
 * Codes of answers to requests that were damaged on the way, or sent by one who
 * may not: these are not worth more than a few attempts.
 */
const DAMAGED_OR_DENIED = new Set([
  "SignatureDoesNotMatch",
  "InvalidAccessKeyId",
  "RequestTimeTooSkewed",
]);
const FEW = 3;

/** As long as a server has never answered, the URL may be a wrong one. */
const FIRST = 6;

/** What the network says of a server that is not the one that is meant. */
const OF_TLS = /invalid peer certificate|received corrupt message/;

/** Why one attempt has failed. */
export class Failure extends Error {
  /** What to tell when no attempt is left. */
  readonly error: unknown;
  /** How many attempts in all such a failure is worth. */
  readonly attempts: number;
  /** Makes a failure; without attempts it is final. */
  constructor(error: unknown, attempts = 1) {
    super("attempt failed", { cause: error });
    this.error = error;
    this.attempts = attempts;
  }
}

/** What an answer says that is neither success nor expected. */
export function failureOf(
  { url, region }: Target,
  status: number,
  code: string,
  message: string,
  headers: Headers,
): Failure {
  if (code === "NoSuchBucket") return new Failure(new StoreNotFoundError(url));
  const other = headers.get("x-amz-bucket-region");
  const hint = other && other !== region ? `; try region=${other}` : "";
  const said = `${status} ${code}`.trim() + (message && `: ${message}`) + hint;
  if (status >= 300 && status < 400) {
    return new Failure(
      new PohStorageError("OBJECT_STORE", `${url} is elsewhere: ${said}`),
    );
  }
  if (status === 401 || status === 403) {
    const error = new PohStorageError("DENIED", `${url} refuses: ${said}`);
    return new Failure(error, DAMAGED_OR_DENIED.has(code) ? FEW : 1);
  }
  const isBusy = status >= 500 && status !== 501;
  if (isBusy || status === 429 || status === 408) {
    const error = new PohStorageError("UNREACHABLE", `${url} answers: ${said}`);
    return new Failure(error, Infinity);
  }
  const error = new PohStorageError("OBJECT_STORE", `${url} answers: ${said}`);
  // A conflict says that another one is at it, not how that ends.
  if (status === 409 || DAMAGED_ON_THE_WAY.has(code)) {
    return new Failure(error, Infinity);
  }
  // Without a code it is not the store that answers.
  return new Failure(error, code === "" ? FEW : 1);
}

/** What it means that there was no whole answer. */
export function failureOfNetwork(
  { url }: Target,
  error: unknown,
  hasAnswered: boolean,
): Failure {
  if (!(error instanceof Error)) return new Failure(error);
  const isNetwork = error instanceof TypeError ||
    error.name === "TimeoutError" ||
    error instanceof Deno.errors.Http ||
    error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.UnexpectedEof;
  if (!isNetwork) return new Failure(error);
  const { message } = error.cause instanceof Error ? error.cause : error;
  const [, reason = message] = /client error \(\w+\): (.*)/s.exec(message) ??
    [];
  return new Failure(
    new PohStorageError("UNREACHABLE", `Cannot reach ${url}: ${reason}`, {
      cause: error,
    }),
    OF_TLS.test(reason) ? FEW : hasAnswered ? Infinity : FIRST,
  );
}
