/**
 * A store opened for what its metadata knows, and no more: that takes less than
 * to open all of it.
 *
 * @module
 */

import { resolve } from "@std/path";
import type { Engine } from "../engine.ts";
import { queriesOf } from "../local/queries.ts";
import { openForReading } from "../local/read_store.ts";
import { isRemote, remoteStores } from "../remote_url.ts";
import type { DatabaseOptions } from "../sqlite/open_database.ts";

/** Read access to the metadata of a store of any kind. */
export type Listing = Pick<Engine, "queries" | "close">;

/** Opens a store for what its metadata knows. */
export async function openListing(
  base: string,
  db: string,
  options: DatabaseOptions,
): Promise<Listing> {
  if (isRemote(base, db)) {
    const { openRemote } = await remoteStores();
    return await openRemote(base, db, { ...options, readOnly: true });
  }
  const { rows } = await openForReading(resolve(base), resolve(db), options);
  return { queries: queriesOf(rows), close: () => rows.close() };
}
