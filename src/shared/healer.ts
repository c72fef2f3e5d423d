/**
 * How payloads from elsewhere get into a store that machines share: verified
 * first, then as new objects, which commits under the lease give to their rows.
 *
 * @module
 */

import { SMALL } from "../files/durable_fs.ts";
import { PohStorageError } from "../errors.ts";
import { isPossible, isRight, readFrom, type Take } from "../check/source.ts";
import type { Sources } from "../check/sources.ts";
import type { TxInfo } from "../types.ts";
import {
  type CatalogChange,
  type CatalogEntry,
  type CatalogOutcome,
  isMade,
  type ObjectStore,
} from "./contracts.ts";
import { versionKey } from "./object_key.ts";
import { spool, type Spooled } from "./spool.ts";

/** A payload that is to be healed. */
export interface LostObject {
  /** The row as it is to be. */
  info: TxInfo;
  /** The row as it was seen; null: there is none. */
  seen: CatalogEntry | null;
  /**
   * Keeps what is damaged, before its row names another object; false when it is
   * not as it was seen any more.
   */
  keep?: () => Promise<boolean>;
}

/** The store that is healed. */
export interface HealedStore {
  /** Its payloads. */
  objects: ObjectStore;
  /** Until when an object that is made now may get its row. */
  deadline(): Promise<number>;
  /** Makes a change under the lease. */
  commit(change: CatalogChange): Promise<CatalogOutcome>;
  /** Deletes an object that did not get its row. */
  discard(key: string): Promise<void>;
}

/**
 * Looks for payloads of different ids, and gives those that are found to their
 * rows.
 *
 * @param store Null: only looks whether they are there.
 * @returns The sources that had the payloads, by the ids of the transactions.
 */
export async function healRemote(
  store: HealedStore | null,
  sources: Sources,
  lost: readonly LostObject[],
  signal: AbortSignal | undefined,
  onFound: (info: TxInfo) => void,
): Promise<Map<string, string>> {
  const byId = new Map(lost.map((one) => [one.info.txId, one]));
  const infos = lost.map(({ info }) => info).filter(isPossible);
  if (!store) return await sources.find(infos, isRight, signal, onFound);
  const changed: string[] = [];
  const take: Take = async (info, bytes) => {
    await using payload = await takeIn(info, bytes);
    if (payload === null) return false;
    const isPut = await put(store, byId.get(info.txId)!, payload);
    if (!isPut) changed.push(info.txId);
    return true;
  };
  const found = await sources.find(infos, take, signal, onFound);
  // Others have changed these rows meanwhile: they are healed by that, or gone.
  for (const txId of changed) found.delete(txId);
  return found;
}

/** Takes a payload in; null when it is not the right one, or breaks off. */
async function takeIn(
  info: TxInfo,
  bytes: AsyncIterable<Uint8Array>,
): Promise<Spooled | null> {
  const spooled = await readFrom(bytes, info, (all) => spool(all, SMALL));
  if (!spooled || spooled.digest === info.storageHash) return spooled;
  await spooled[Symbol.asyncDispose]();
  return null;
}

/** False where the row is not as it was seen any more. */
async function put(
  store: HealedStore,
  { info, seen, keep }: LostObject,
  { source, size }: Spooled,
): Promise<boolean> {
  if (keep && !await keep()) return false;
  const { txId, storageHash } = info;
  // Under the plain key there is what is damaged, or was.
  const key = versionKey(txId, storageHash);
  const deadline = await store.deadline();
  if (!await store.objects.create(key, source, storageHash)) {
    throw new PohStorageError("KEY_TAKEN", `The new key ${key} is taken`);
  }
  const change = { put: { info: { ...info, size }, key }, deadline, seen };
  if (isMade(await store.commit(change))) return true;
  await store.discard(key);
  return false;
}
