/**
 * Prints transactions of any size.
 *
 * @module
 */

import type { TxHead } from "../types.ts";
import { base64Of, concat } from "../format/bytes.ts";
import type { Output } from "./output.ts";
import { TX_LINE_END, txLine, txLineStart } from "../format/tx_json.ts";

/** Payloads up to this size are held in memory. */
export const SMALL_BYTES = 8 * 1024 * 1024;

/**
 * Prints a transaction's JSON. A small one is verified before a byte of it is
 * printed; of a larger one, the error comes at the end.
 */
export async function printTx(
  output: Output,
  head: TxHead,
  payload: AsyncIterable<Uint8Array>,
): Promise<void> {
  const chunks = payload[Symbol.asyncIterator]();
  const parts: Uint8Array[] = [];
  try {
    for (let size = 0; size <= SMALL_BYTES;) {
      const { done, value } = await chunks.next();
      if (done) {
        return await output.print(txLine({ ...head, payload: concat(parts) }));
      }
      parts.push(value);
      size += value.length;
    }
    await output.print(txLineStart(head));
    for await (const text of base64Of(following(parts, chunks))) {
      await output.print(text);
    }
    await output.print(TX_LINE_END);
  } finally {
    await chunks.return?.();
  }
}

async function* following(
  parts: Uint8Array[],
  chunks: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  for (let part; (part = parts.shift());) yield part;
  for (let next; !(next = await chunks.next()).done;) yield next.value;
}
