/**
 * From options to a filter.
 *
 * @module
 */

import type { TxFilter } from "../types.ts";
import type { OptionValues } from "./table.ts";

/** The options that choose transactions. */
export type FilterValues =
  & Pick<
    OptionValues<"list">,
    | "prefix"
    | "holder"
    | "since"
    | "before"
    | "min-size"
    | "max-size"
    | "limit"
  >
  & { after?: string | undefined };

/** The filter that the options describe; absent options do not appear in it. */
export function filterOf(options: FilterValues): TxFilter {
  const { prefix, holder, since, before, after, limit } = options;
  const { "min-size": minSize, "max-size": maxSize } = options;
  return {
    ...(prefix !== undefined && { idPrefix: prefix }),
    ...(holder !== undefined && { holderId: holder }),
    ...(since !== undefined && { since }),
    ...(before !== undefined && { before }),
    ...(minSize !== undefined && { minSize }),
    ...(maxSize !== undefined && { maxSize }),
    ...(after !== undefined && { after }),
    ...(limit !== undefined && { limit }),
  };
}
