/**
 * Rows and the objects that they name.
 *
 * @module
 */

import { isSameRow } from "../sqlite_store.ts";
import type { CatalogEntry } from "./contracts.ts";

/** Whether two entries say the same. */
export function isSameEntry(a: CatalogEntry, b: CatalogEntry): boolean {
  return a.key === b.key && isSameRow(a.info, b.info);
}
