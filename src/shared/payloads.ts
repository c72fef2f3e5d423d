/**
 * The payloads of a shared store by the rows of another one.
 *
 * @module
 */

import type { SharedPayloads } from "../remote_url.ts";
import type { TxInfo } from "../types.ts";
import type { Catalog, ObjectStore } from "./contracts.ts";
import { plainKey } from "./object_key.ts";

/**
 * Looks payloads up by the rows of their store, or, where there is no catalog or
 * no such row in it, by the keys that their ids have.
 */
export function payloadsOf(
  objects: ObjectStore,
  catalog: Catalog | null,
): SharedPayloads {
  return {
    async find({ txId, storageHash }: TxInfo) {
      const [entry] = await catalog?.find([txId]) ?? [];
      const isIt = entry?.info.storageHash === storageHash;
      return await objects.stream(isIt ? entry.key : plainKey(txId));
    },
    async close() {
      try {
        await objects.close();
      } finally {
        await catalog?.close();
      }
    },
  };
}
