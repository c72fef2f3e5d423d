/**
 * Lines of a stream, however long: a short one comes whole, a long one comes
 * as its beginning and a stream of the rest.
 *
 * @module
 */

import { concat } from "./bytes.ts";

/** A line, without its line feed. */
export interface Line {
  /** Its number, from 1. */
  number: number;
  /** All of it, or its beginning when `rest` is there. */
  bytes: Uint8Array;
  /** What follows `bytes`; what is not read of it is skipped. */
  rest: AsyncIterable<Uint8Array> | null;
}

const LINE_FEED = 10;

/** Splits bytes into lines; a line of more than `long` bytes comes in pieces. */
export async function* linesOf(
  source: AsyncIterable<Uint8Array>,
  long: number,
): AsyncGenerator<Line> {
  const chunks = source[Symbol.asyncIterator]();
  let ahead: Uint8Array = new Uint8Array(0);
  let ended = false;
  let number = 0;

  /** The next piece of the current line, and whether it is the last one. */
  async function piece(): Promise<{ bytes: Uint8Array; last: boolean }> {
    if (ahead.length === 0 && !ended) {
      const { done, value } = await chunks.next();
      if (done) ended = true;
      else ahead = value;
    }
    const end = ahead.indexOf(LINE_FEED);
    const bytes = end < 0 ? ahead : ahead.subarray(0, end);
    ahead = end < 0 ? new Uint8Array(0) : ahead.subarray(end + 1);
    return { bytes, last: end >= 0 || ended };
  }

  async function* restOfLine(): AsyncGenerator<Uint8Array> {
    for (let last = false; !last;) {
      const next = await piece();
      last = next.last;
      unread = !last;
      yield next.bytes;
    }
  }

  let unread = false;
  try {
    while (true) {
      const parts: Uint8Array[] = [];
      let size = 0;
      let last = false;
      while (!last && size <= long) {
        const next = await piece();
        parts.push(next.bytes);
        size += next.bytes.length;
        last = next.last;
      }
      if (size === 0 && ended) return;
      const bytes = parts.length === 1 ? parts[0]! : concat(parts);
      unread = !last;
      yield { number: ++number, bytes, rest: last ? null : restOfLine() };
      while (unread) unread = !(await piece()).last;
    }
  } finally {
    await chunks.return?.();
  }
}
