/**
 * Bytes that come in pieces.
 *
 * @module
 */

/** Turns bytes that come in pieces into base64 that comes in pieces. */
export async function* base64Of(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<string> {
  let rest = new Uint8Array(0);
  for await (const chunk of chunks) {
    const bytes = rest.length === 0 ? chunk : concat([rest, chunk]);
    const whole = bytes.length - bytes.length % 3; // only these need no padding
    if (whole > 0) yield bytes.subarray(0, whole).toBase64();
    rest = bytes.slice(whole);
  }
  if (rest.length > 0) yield rest.toBase64();
}

/** Pieces as one. */
export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
