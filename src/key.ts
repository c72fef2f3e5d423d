/**
 * Transaction id <-> file name.
 *
 * An id is used verbatim where every file system takes it as it is; what some
 * file system would not take, or would take for something else, is
 * percent-encoded as UTF-8. The mapping is injective: two ids never share a
 * name, and no name has a path in it.
 *
 * @module
 */

import { InvalidTxIdError } from "./errors.ts";
import { validateTxId } from "./tx.ts";

/** What every payload file's name ends with. */
export const PAYLOAD_SUFFIX = ".bin";

/** Longest file name, in bytes, that ext4, APFS and NTFS all take. */
const MAX_NAME_BYTES = 255;

/** Whether `A` and `a` are one file, as they are by default on these systems. */
const FOLDS_CASE = Deno.build.os === "windows" || Deno.build.os === "darwin";

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

/** What Windows has in no name. */
// deno-lint-ignore no-control-regex
const NOT_ON_WINDOWS = /[\u0000-\u001f\\:*?"<>|]/;

/**
 * The name of the file that holds an id's payload.
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
 * All names under which an id's payload may be found, the one to write first:
 * this system's, the one a store from a system with other case rules has, and
 * the verbatim name of the older Python package where it is a plain one. None
 * for an id that no file can stand for, as a row edited by hand may have.
 */
export function fileNames(txId: string, foldsCase = FOLDS_CASE): string[] {
  if (hasPlainName(txId)) return [txId + PAYLOAD_SUFFIX];
  const names = [encode(txId, foldsCase), encode(txId, !foldsCase)]
    .map((stem) => stem + PAYLOAD_SUFFIX)
    .filter((name) => byteLength(name) <= MAX_NAME_BYTES);
  const verbatim = txId + PAYLOAD_SUFFIX;
  if (isPlainComponent(verbatim)) names.push(verbatim);
  return [...new Set(names)];
}

/**
 * The id whose payload a file holds, by its name; null when the name is none
 * of ours. A name that this encoding would not have made is the verbatim one
 * of the older package.
 */
export function txIdOfFile(name: string): string | null {
  if (!name.endsWith(PAYLOAD_SUFFIX)) return null;
  const stem = name.slice(0, -PAYLOAD_SUFFIX.length);
  if (hasPlainName(stem)) return stem;
  if (stem === "" || !stem.isWellFormed()) return null;
  const decoded = decode(stem);
  if (decoded) {
    const isOurs = encode(decoded, true) === stem ||
      encode(decoded, false) === stem;
    if (isOurs) return decoded;
  }
  return stem;
}

/**
 * The ids whose payload a file may hold, by its name, the likelier first; none
 * when the name is none of ours. `a%2Fb.bin` is the file of `a/b`, and may be
 * one that the older package made for the id `a%2Fb`.
 */
export function txIdsOfFile(name: string): string[] {
  const txId = txIdOfFile(name);
  if (txId === null) return [];
  const stem = name.slice(0, -PAYLOAD_SUFFIX.length);
  return txId === stem ? [txId] : [txId, stem];
}

/** Whether an id has one file name only, which no other id has. */
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
  try {
    const txId = decodeURIComponent(stem);
    return txId.includes("\0") ? null : txId;
  } catch {
    return null; // a bare "%": only a verbatim name has that
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

/** Whether a name is one component of a path here, neither hidden nor special. */
function isPlainComponent(name: string): boolean {
  if (name.startsWith(".") || byteLength(name) > MAX_NAME_BYTES) return false;
  if (name.includes("/") || name.includes("\0")) return false;
  return Deno.build.os !== "windows" ||
    !(NOT_ON_WINDOWS.test(name) || DEVICE.test(name));
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}
