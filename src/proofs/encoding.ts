/**
 * Bytes as text and back. What is read must be written in the one form there is:
 * nothing here takes two texts for the same bytes.
 *
 * @module
 */

import { malformed } from "./proof_error.ts";

/** Files, notes and challenges are at most this long, in bytes. */
export const MAX_TEXT = 64 * 1024;

// TextDecoder takes a byte order mark off unless told otherwise.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** Bytes of a text; a half of a surrogate pair has none. */
export function utf8(text: string, at: string): Uint8Array<ArrayBuffer> {
  if (hasLoneSurrogate(text)) {
    throw malformed(at, `The ${at} holds half of a surrogate pair`);
  }
  return encoder.encode(text);
}

function hasLoneSurrogate(text: string): boolean {
  return /\p{Surrogate}/u.test(text);
}

/** The text that bytes stand for in UTF-8. */
export function textOf(bytes: Uint8Array, at: string): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw malformed(at, `The ${at} is not UTF-8`);
  }
}

/** Text that was given as text or as bytes, of at most {@linkcode MAX_TEXT} bytes. */
export function boundedText(given: string | Uint8Array, at: string): string {
  // A character takes at least a byte, so nothing long is encoded.
  if (given.length <= MAX_TEXT) {
    const bytes = typeof given === "string" ? utf8(given, at) : given;
    if (bytes.length <= MAX_TEXT) {
      return typeof given === "string" ? given : textOf(given, at);
    }
  }
  throw malformed(at, `The ${at} is longer than ${MAX_TEXT} bytes`);
}

/** Base64 of the language itself, which not every runtime has. */
interface Native {
  fromBase64(
    text: string,
    options: { lastChunkHandling: "strict" },
  ): Uint8Array<ArrayBuffer>;
}
const native = Uint8Array as unknown as Partial<Native>;

/** Bytes in base64, RFC 4648 section 4. */
export function toBase64(
  bytes: Uint8Array & { toBase64?: () => string },
): string {
  if (bytes.toBase64) return bytes.toBase64();
  let binary = "";
  for (let at = 0; at < bytes.length; at += 1024) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 1024));
  }
  return btoa(binary);
}

/** Bytes of a text in base64 with its padding; bits that stand for nothing are 0. */
export function fromBase64(text: string, at: string): Uint8Array<ArrayBuffer> {
  const bytes = native.fromBase64 ? byLanguage(text) : byTable(text);
  if (bytes) return bytes;
  throw malformed(at, `The ${at} holds something else than base64`);
}

function byLanguage(text: string): Uint8Array<ArrayBuffer> | null {
  if (/\s/.test(text)) return null; // which the language skips
  try {
    return native.fromBase64!(text, { lastChunkHandling: "strict" });
  } catch {
    return null;
  }
}

const BASE64 =
  /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const LAST = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** The same where the language has none; null for what is no base64. */
export function byTable(text: string): Uint8Array<ArrayBuffer> | null {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const spare = padding === 0
    ? 0
    : LAST.indexOf(text.at(-1 - padding)!) % (padding === 2 ? 16 : 4);
  if (!BASE64.test(text) || spare !== 0) return null;
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** 32 bytes in base64. */
export function hashFromBase64(
  text: string,
  at: string,
): Uint8Array<ArrayBuffer> {
  const bytes = fromBase64(text, at);
  if (bytes.length === 32) return bytes;
  throw malformed(at, `The ${at} holds ${bytes.length} bytes, not 32`);
}

/** A number below 2^53 in decimal digits, without zeros before it. */
export function numberFrom(text: string, at: string): number {
  const number = /^(?:0|[1-9][0-9]{0,15})$/.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(number)) return number;
  throw malformed(at, `The ${at} is no number below 2^53`);
}

/** Bytes in lower-case hex. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(
    "",
  );
}

/** Compares two byte sequences. They are public: it need not take a constant time. */
export function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Pieces as one. */
export function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
