/**
 * Rows and the objects that they name.
 *
 * @module
 */

import type { TxInfo } from "../types.ts";
import type { Catalog, CatalogEntry } from "./contracts.ts";
import { plainKey, versionKey } from "./object_key.ts";
import { isSameRow } from "../sqlite/row.ts";

/** Whether two entries say the same. */
export function isSameEntry(a: CatalogEntry, b: CatalogEntry): boolean {
  return a.key === b.key && isSameRow(a.info, b.info);
}

/** Has a row say this; it goes on naming the object that it names. */
export async function saveRow(
  catalog: Pick<Catalog, "find" | "commit">,
  info: TxInfo,
): Promise<void> {
  const { txId, storageHash } = info;
  const [found] = await catalog.find([txId]);
  const put = (key: string) =>
    catalog.commit([{ put: { info, key }, deadline: Infinity }]);
  const [outcome] = await put(found?.key ?? plainKey(txId));
  if (outcome === "retired") await put(versionKey(txId, storageHash));
}
