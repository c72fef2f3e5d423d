/**
 * Transaction id <-> object key.
 *
 * @module
 */

import { fileName, txIdOfFile } from "../files/file_name.ts";

/** Where payloads are whose plain key was taken. */
const VERSIONS = ".poh/versions/";

/**
 * The key of an id's first payload: the name that its file has in a local store
 * on a system where case counts, as it does in buckets.
 *
 * @throws {InvalidTxIdError} If the id is invalid or its name too long.
 */
export function plainKey(txId: string): string {
  return fileName(txId, false);
}

/**
 * A key that nothing ever had, for a payload whose plain key is taken. It tells
 * the id and the digest, so that what it holds can be checked without a row.
 */
export function versionKey(txId: string, digest: string): string {
  return `${VERSIONS}${digest}.${crypto.randomUUID()}/${plainKey(txId)}`;
}

/** The id whose payload an object holds, by its key; null for any other. */
export function txIdOfKey(key: string): string | null {
  const version = /^\.poh\/versions\/[0-9a-f]{64}\.[0-9a-f-]{36}\/([^/]+)$/
    .exec(key);
  const name = version?.[1] ?? key;
  return name.includes("/") ? null : txIdOfFile(name, false);
}

/** Whether a key may have been another payload's, and be used again. */
export function isPlainKey(key: string): boolean {
  return !key.startsWith(VERSIONS);
}
