/**
 * What the query of a URL asks for: understood, or refused.
 *
 * @module
 */

import { filterOf } from "../format/filter_values.ts";
import { readValue } from "../format/values.ts";
import { filterFields } from "../model/filter.ts";
import { UsageError } from "../format/usage_error.ts";
import { nearest } from "../text/suggestion.ts";
import { InvalidTxError } from "../errors.ts";
import type { TxFilter, TxHead } from "../types.ts";

/**
 * Makes sure that a query has no parameters but these, each once.
 *
 * @throws {UsageError} If it has; the message names the first of them.
 */
export function requireParameters(
  params: URLSearchParams,
  known: readonly string[],
): void {
  for (const name of params.keys()) {
    const quoted = JSON.stringify(name);
    if (!known.includes(name)) {
      const near = nearest(name, known);
      throw new UsageError(
        `Unknown parameter ${quoted}${
          near !== null
            ? `; did you mean ${JSON.stringify(near)}?`
            : known.length > 0
            ? `; there are ${known.join(", ")}`
            : "; there are none here"
        }`,
      );
    }
    if (params.getAll(name).length > 1) {
      throw new UsageError(`Parameter ${quoted} is given twice`);
    }
  }
}

/** The filter of a query whose parameters are known. */
export function filterOfQuery(params: URLSearchParams): TxFilter {
  return filterOf(Object.fromEntries(
    filterFields
      .filter(([, { option }]) => params.has(option))
      .map(([, { option, kind }]) => [
        option,
        readValue(kind, option, params.get(option)!),
      ]),
  ));
}

/**
 * What is said of a payload that is put: by the query, or by headers. Both must
 * be said, so that the same request again is the same save.
 *
 * @throws {InvalidTxError} If one is missing or malformed; `field` names it.
 */
export function headOf(
  txId: string,
  query: URLSearchParams,
  headers: Headers,
): TxHead {
  const holderId = query.get("holder") ?? decoded(headers.get("poh-holder-id"));
  if (holderId === null) {
    throw new InvalidTxError(
      "holder_id",
      "holder_id is missing: the parameter holder or the header Poh-Holder-Id has it",
    );
  }
  const time = query.get("timestamp") ?? headers.get("poh-timestamp");
  if (time === null) {
    throw new InvalidTxError(
      "timestamp",
      "timestamp is missing: the parameter timestamp or the header Poh-Timestamp has it",
    );
  }
  try {
    const timestamp = readValue("time", "timestamp", time) as number;
    return { txId, holderId, timestamp };
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new InvalidTxError("timestamp", error.message);
  }
}

function decoded(header: string | null): string | null {
  try {
    return header === null ? null : decodeURIComponent(header);
  } catch {
    throw new InvalidTxError(
      "holder_id",
      "Poh-Holder-Id must be percent-encoded UTF-8",
    );
  }
}
