/**
 * The contracts of the two halves of a store. Every implementation passes the
 * suite of the same name in `tests/contract/`.
 *
 * @module
 */

import type { TxInfo } from "../types.ts";

/** Keeps payload bytes by transaction id. Knows nothing of digests. */
export interface PayloadStore {
  /** Keeps a payload, durable and whole once resolved; replaces an older one. */
  save(txId: string, payload: Uint8Array): Promise<void>;
  /** The payload, or null when there is none. */
  load(txId: string): Promise<Uint8Array | null>;
  /** Whether there is a payload. */
  exists(txId: string): Promise<boolean>;
  /** Removes a payload; false when there was none. */
  remove(txId: string): Promise<boolean>;
  /** The ids of all payloads, in no order, all at once. */
  listKeys(): Promise<string[]>;
}

/** Keeps the facts about transactions. Knows nothing of payloads. */
export interface MetadataStore {
  /** Makes ready what the store needs; harmless when it is. */
  init(): Promise<void>;
  /** Keeps facts, durable once resolved; replaces older ones of that id. */
  save(info: TxInfo): Promise<void>;
  /** The facts, or null when the id is unknown. */
  load(txId: string): Promise<TxInfo | null>;
  /** Forgets an id; false when it was unknown. */
  remove(txId: string): Promise<boolean>;
  /** All ids, in the order of their UTF-8 bytes, all at once. */
  listIds(): Promise<string[]>;
  /** Lets go of the store. */
  close(): Promise<void>;
}
