/**
 * Which stores lie elsewhere, and the way to what works on them.
 *
 * @module
 */

import type { RecoveryOptions, VerifyOptions } from "./check/check.ts";
import type { Engine } from "./engine.ts";
import type { StoreReport } from "./model/report.ts";
import type { DriverChoice } from "./model/driver_info.ts";
import type { StorageOptions } from "./model/storage_options.ts";
import type { StoreDescription } from "./model/store_description.ts";
import type { TxInfo } from "./types.ts";

/**
 * Deno fetches whatever an import names when the program starts; packages for
 * stores elsewhere are fetched when one is opened, as this is no literal.
 * `deno compile` is told to include it.
 */
const REMOTE: string = "./shared/open.ts";

/** The payloads of a shared store, for reading. */
export interface SharedPayloads {
  /** The bytes for a row, unverified; null when there are none. */
  find(info: TxInfo): Promise<ReadableStream<Uint8Array> | null>;
  /** Lets go of the store. */
  close(): Promise<void>;
}

/** What works on stores of which a part lies elsewhere. */
export interface RemoteStores {
  /** Opens one, or makes it; see {@linkcode StorageManager.create}. */
  openRemote(
    base: string,
    db: string,
    options: StorageOptions,
    create?: boolean,
  ): Promise<Engine>;
  /** {@linkcode performRecovery} for them. */
  recoverRemoteStore(
    base: string,
    db: string,
    options: RecoveryOptions,
  ): Promise<StoreReport>;
  /** {@linkcode verifyStore} for them. */
  verifyRemoteStore(
    base: string,
    db: string,
    options: StorageOptions & VerifyOptions,
  ): Promise<StoreReport>;
  /** What it takes to reach their servers: `host:port`, and variables. */
  accessTo(
    base: string,
    db: string,
  ): Promise<{ hosts: string[]; variables: string[] }>;
  /** Ids that cut all rows into so many ranges of about the same length. */
  boundaries(
    base: string,
    db: string,
    ranges: number,
    options: StorageOptions,
  ): Promise<string[]>;
  /** Opens the payloads of one, or of a bucket without a database, for reading. */
  openPayloads(
    base: string,
    db: string | null,
    driver: DriverChoice,
  ): Promise<SharedPayloads>;
  /** {@linkcode describeStore} for them. */
  describeRemoteStore(
    base: string,
    db: string,
    options: StorageOptions,
  ): Promise<StoreDescription>;
}

/** Whether payloads are in a bucket. */
export function isBucket(base: string): boolean {
  return /^s3:\/\//i.test(base);
}

/** Whether metadata is on a database server. */
export function isServer(db: string): boolean {
  return /^postgres(ql)?:\/\//i.test(db);
}

/** Whether a store has a part that lies elsewhere. */
export function isRemote(base: string, db: string): boolean {
  return isBucket(base) || isServer(db);
}

/** Loads what works on such stores. */
export async function remoteStores(): Promise<RemoteStores> {
  return await import(REMOTE);
}
