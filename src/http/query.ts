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
import type { Parameter } from "./route.ts";
import type { TxHead, TxQuery } from "../types.ts";

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

/** In which order, beside the parameters of the filter. */
const ORDER: Readonly<Record<string, Parameter>> = {
  "sort": {
    description: "id, or time: the oldest first",
    schema: { type: "string", enum: ["id", "time"] },
  },
  "reverse": {
    description: "true: the other way round, by time the newest first",
    schema: { type: "string", enum: ["true", "false"] },
  },
  "after-time": {
    description:
      "In an order of time, the time of the transaction that after names: then it may be gone by now",
  },
};

/** What a list may be asked. */
export const LIST_QUERY: Readonly<Record<string, Parameter>> = {
  ...Object.fromEntries(
    filterFields.map(([name, { option, kind, help }]) => [option, {
      description: name === "limit"
        ? "At most so many; of JSON at most 1000, and 100 unless given"
        : name === "after"
        ? "Only what comes after this id in the order of the list"
        : help,
      schema: { type: kind === "count" ? "integer" : "string" },
    }]),
  ),
  ...ORDER,
};

/**
 * What a list is asked, whose parameters are known.
 *
 * @throws {UsageError} If a value is malformed.
 */
export function listQueryOf(params: URLSearchParams): TxQuery {
  const { after, ...filter } = filterOf(Object.fromEntries(
    filterFields
      .filter(([, { option }]) => params.has(option))
      .map(([, { option, kind }]) => [
        option,
        readValue(kind, option, params.get(option)!),
      ]),
  ));
  const sort = wordOf(params, "sort") ?? "id";
  const reverse = wordOf(params, "reverse") === "true";
  const time = params.get("after-time");
  if (time !== null && (sort !== "time" || after === undefined)) {
    throw new UsageError("after-time is for sort=time, beside after");
  }
  const timestamp = time === null
    ? null
    : readValue("time", "after-time", time) as number;
  return {
    ...filter,
    ...after !== undefined && {
      after: timestamp === null ? after : { txId: after, timestamp },
    },
    sort: sort as "id" | "time",
    reverse,
  };
}

function wordOf(params: URLSearchParams, name: string): string | null {
  const word = params.get(name);
  const words = ORDER[name]!.schema!.enum as string[];
  if (word === null || words.includes(word)) return word;
  throw new UsageError(
    `${name} must be ${words.join(" or ")}, got ${JSON.stringify(word)}`,
  );
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
