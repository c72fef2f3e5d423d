/**
 * Transaction id <-> file name.
 *
 * An id is used verbatim where every file system takes it as it is; what some
 * file system would not take, or would take for something else, is
 * percent-encoded as UTF-8. The mapping is injective: two ids never share a
 * name, and no name has a path in it.
 *
 * Stores of the older Python package may have ids that no new transaction can
 * have: the empty one, and those whose names would be too long. Their rows are
 * kept, and their files are named by digest: `%=` and 64 hex digits, which the
 * encoding of no id produces.
 *
 * @module
 */

import { InvalidTxIdError } from "../errors.ts";
import { sha256HexSync } from "./hash.ts";
import { validateTxId } from "../tx.ts";

/** What every payload file's name ends with. */
export const PAYLOAD_SUFFIX = ".bin";

/** Longest file name, in bytes, that ext4, APFS and NTFS all take. */
export const MAX_NAME_BYTES = 255;

/** Whether `A` and `a` are one file, as they are by default on these systems. */
export const FOLDS_CASE: boolean = Deno.build.os === "windows" ||
  Deno.build.os === "darwin";

/**
 * Ids that are their own file name everywhere, devices' names left out: most, so
 * these cost little.
 */
const PLAIN =
  /^(?!(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$))[0-9a-z_-][0-9a-z._-]{0,200}$/;

/** Separators, controls, and what Windows refuses or the encoding needs. */
// deno-lint-ignore no-control-regex
const UNSAFE = /[\u0000-\u001f\u007f-\u009f/\\:*?"<>|%]/u;

/** Names that Windows takes for devices, whatever follows the first dot. */
const DEVICE =
  /^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)/iu;

/** A name by digest. */
const BY_DIGEST = /^%=[0-9a-f]{64}\.bin$/;

/**
 * The name of the file that holds the payload of a new transaction.
 *
 * @throws {InvalidTxIdError} If the id is invalid or its name would be longer
 * than 255 bytes.
 */
export function fileName(txId: string, foldsCase = FOLDS_CASE): string {
  if (hasPlainName(txId)) return txId + PAYLOAD_SUFFIX;
  validateTxId(txId);
  const name = encode(txId, foldsCase) + PAYLOAD_SUFFIX;
  if (byteLength(name) > MAX_NAME_BYTES) {
    throw new InvalidTxIdError(
      `tx_id is too long: its file name would be ${
        byteLength(name)
      } bytes, at most ${MAX_NAME_BYTES} fit`,
    );
  }
  return name;
}

/**
 * The name of the file that holds the payload of a row, whatever its id: the
 * one that `fileName` gives, or one by digest where it refuses the id.
 */
export function storedName(txId: string, foldsCase = FOLDS_CASE): string {
  if (hasPlainName(txId)) return txId + PAYLOAD_SUFFIX;
  const name = encode(txId, foldsCase) + PAYLOAD_SUFFIX;
  const isRefused = txId === "" || txId.includes("\0") ||
    !txId.isWellFormed() || byteLength(name) > MAX_NAME_BYTES;
  if (!isRefused) return name;
  const digest = sha256HexSync(new TextEncoder().encode(txId));
  return `%=${digest}${PAYLOAD_SUFFIX}`;
}

/** Whether a name is one by digest, which does not tell its id. */
export function isNameByDigest(name: string): boolean {
  return BY_DIGEST.test(name);
}

/**
 * The id whose payload a file holds, by its name; null when `fileName` gives
 * that name to no id.
 */
export function txIdOfFile(
  name: string,
  foldsCase = FOLDS_CASE,
): string | null {
  if (!name.endsWith(PAYLOAD_SUFFIX)) return null;
  const stem = name.slice(0, -PAYLOAD_SUFFIX.length);
  if (hasPlainName(stem)) return stem;
  const txId = decode(stem);
  return txId && storedName(txId, foldsCase) === name ? txId : null;
}

/** Whether an id is its own file name on every system. */
export function hasPlainName(txId: string): boolean {
  return PLAIN.test(txId);
}

function encode(txId: string, foldsCase: boolean): string {
  const isNfc = txId.normalize("NFC") === txId;
  let name = "";
  for (const char of txId) {
    const safe = !UNSAFE.test(char) &&
      (isNfc || char <= "\u007f") &&
      !(foldsCase && hasCaseVariant(char));
    name += safe ? char : percentEncode(char);
  }
  if (txId.startsWith(".") || DEVICE.test(txId)) {
    const [first = ""] = txId;
    if (name.startsWith(first)) {
      name = percentEncode(first) + name.slice(first.length);
    }
  }
  return name;
}

function decode(stem: string): string | null {
  if (!stem.isWellFormed()) return null;
  try {
    const txId = decodeURIComponent(stem);
    return txId.includes("\0") ? null : txId;
  } catch {
    return null; // a bare "%"
  }
}

/**
 * ASCII capitals give way to small letters. Beyond ASCII systems differ in what
 * they fold (`ß` and `ss`, the Kelvin sign and `k`), so every cased letter does.
 */
function hasCaseVariant(char: string): boolean {
  if (char <= "\u007f") return char >= "A" && char <= "Z";
  return char.toLowerCase() !== char || char.toUpperCase() !== char;
}

function percentEncode(char: string): string {
  let text = "";
  for (const byte of new TextEncoder().encode(char)) {
    text += "%" + byte.toString(16).toUpperCase().padStart(2, "0");
  }
  return text;
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}
