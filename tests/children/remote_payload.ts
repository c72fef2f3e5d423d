/** The payload that a short text stands for, of up to 100 KiB. */
export function payloadOf(content: string): Uint8Array<ArrayBuffer> {
  const times = [1, 3, 40, 5_000][content.length % 4]!;
  return new TextEncoder().encode(`${content};`.repeat(times));
}
