/**
 * What an error of the driver or the server means: whether it passes, whether
 * the connection can be used again, and how to tell people.
 *
 * @module
 */

import { PohStorageError, StoreNotFoundError } from "../../errors.ts";
import type { Target } from "./target.ts";

/**
 * SQLSTATEs after which the same is done again: a transaction that could not be
 * put in an order with others, a server that is going, coming, full of
 * connections or a standby, a lock or a statement that took too long.
 */
const PASSING =
  /^(08...|40001|40003|40P01|25006|53000|53200|53300|55006|55P03|57014|57P0[1235])$/;

/** Those after which a transaction is done again on the same connection. */
const OF_TRANSACTION = /^(40...|55P03|57014|55006)$/;

/** Two nodes have made a table or schema at the same moment. */
const MADE_BY_ANOTHER = /^(23505|42P06|42P07|42710)$/;

/** What the network says. */
const OF_NETWORK = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "EHOSTDOWN",
  "ENETUNREACH",
  "ENETDOWN",
  "EADDRNOTAVAIL",
  "EAI_AGAIN",
]);

/** What the driver says without a code. */
const OF_DRIVER =
  /Connection terminated|timeout expired|Query read timeout|timeout exceeded when trying to connect|not queryable|secure TLS connection|error establishing an SSL connection/;

/** A SQLSTATE, or the network's code. */
function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

/** Whether the server has answered: the connection is as good as before. */
export function isAnswer(error: unknown): boolean {
  const code = codeOf(error);
  return /^[0-9A-Z]{5}$/.test(code) && !OF_NETWORK.has(code) &&
    (!PASSING.test(code) || OF_TRANSACTION.test(code));
}

/** Whether the same may succeed a little later. */
export function isPassing(error: unknown): boolean {
  if (error instanceof PohStorageError || !(error instanceof Error)) {
    return false;
  }
  const code = codeOf(error);
  return PASSING.test(code) || OF_NETWORK.has(code) ||
    OF_DRIVER.test(error.message);
}

/** Whether the driver has given up waiting for an answer. */
export function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.message === "Query read timeout";
}

/** Whether another node has made what this one was making. */
export function isMadeByAnother(error: unknown): boolean {
  return MADE_BY_ANOTHER.test(codeOf(error));
}

/** Whether the server has no TLS. */
export function isWithoutTls(error: unknown): boolean {
  return error instanceof Error &&
    /does not support SSL connections/.test(error.message);
}

/** An error as this package's, with a message that names the database. */
export function translate({ url, schema }: Target, error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof PohStorageError) {
    return error;
  }
  if (error instanceof RangeError || error instanceof TypeError) return error;
  if (error instanceof Deno.errors.NotCapable) return error;
  const code = codeOf(error);
  if (code === "3D000") return new StoreNotFoundError(url);
  if (code === "42P01" || code === "3F000") {
    return new StoreNotFoundError(`${url}, schema ${schema}`);
  }
  const options = { cause: error };
  if (/^(28...|42501)$/.test(code)) {
    return new PohStorageError(
      "DENIED",
      `${url} refuses: ${error.message}`,
      options,
    );
  }
  if (isAnswer(error)) {
    return new PohStorageError(
      "DATABASE",
      `${url} answers: ${error.message}`,
      options,
    );
  }
  return new PohStorageError(
    "UNREACHABLE",
    `Cannot reach ${url}: ${error.message || code}`,
    options,
  );
}
