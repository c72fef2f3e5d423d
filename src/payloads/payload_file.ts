/**
 * A payload file as its row has it, and a quick look at whether it is so.
 *
 * @module
 */

import { tryReadSync } from "../files/durable_fs.ts";
import { sha256HexSync } from "../files/hash.ts";

/** Where a payload is to be, and what it is to be. */
export interface PayloadFile {
  /** Empty where no file can stand for the id. */
  path: string;
  /** In bytes; -1 when it is not known. */
  size: number;
  /** SHA-256 in hex. */
  digest: string;
}

/** Whether a payload is small and as it is to be; false proves nothing. */
export function isSoundSoon(file: PayloadFile): boolean {
  return readSoon(file) !== null;
}

/**
 * The bytes of a payload that is small and as it is to be; the next call
 * overwrites them. Null proves nothing.
 */
export function readSoon(
  { path, size, digest }: PayloadFile,
): Uint8Array | null {
  const bytes = path === "" ? null : tryReadSync(path, size);
  return bytes && sha256HexSync(bytes) === digest ? bytes : null;
}
