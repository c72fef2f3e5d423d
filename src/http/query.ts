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
import type { TxFilter } from "../types.ts";

/** The parameters that list transactions, which are the options of `list`. */
export const LIST_PARAMETERS: readonly string[] = filterFields.map(
  ([, { option }]) => option,
);

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
