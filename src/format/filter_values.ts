/**
 * From values by the names of options, as the command line and the query of a
 * URL have them, to a filter.
 *
 * @module
 */

import { type FilterFields, filterFields } from "../model/filter.ts";
import type { TxFilter } from "../types.ts";

/** Values of filter fields by the names of their options. */
export type FilterValues = {
  [K in keyof FilterFields as FilterFields[K]["option"]]?:
    | TxFilter[K]
    | undefined;
};

/** The filter that the options describe; absent options do not appear in it. */
export function filterOf(options: FilterValues): TxFilter {
  const values: Record<string, unknown> = options;
  return Object.fromEntries(
    filterFields
      .map(([name, { option }]) => [name, values[option]])
      .filter(([, value]) => value !== undefined),
  );
}
