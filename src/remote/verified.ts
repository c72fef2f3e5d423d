/**
 * Payload streams that no wrong byte passes unnoticed.
 *
 * @module
 */

import { IntegrityError, PayloadUnreadableError } from "../errors.ts";
import { Sha256 } from "../hash.ts";
import type { TxInfo } from "../types.ts";

/**
 * The bytes of a stream, which ends in an error unless they have the row's
 * digest. It fills the reader's own buffer where the reader brings one.
 */
export function verified(
  { txId, storageHash }: TxInfo,
  bytes: ReadableStream<Uint8Array>,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = bytes.getReader();
  const hash = new Sha256();
  const next = async () => {
    try {
      return await reader.read();
    } catch (error) {
      const { message } = error as Error;
      throw new PayloadUnreadableError(txId, message, { cause: error });
    }
  };
  return new ReadableStream({
    type: "bytes",
    async pull(controller) {
      while (true) {
        const { done, value } = await next();
        if (done) break;
        if (value.length === 0) continue;
        hash.update(value);
        // The stream takes the memory of what it is given, all of it.
        const isWhole = value.length === value.buffer.byteLength;
        controller.enqueue(
          isWhole ? value as Uint8Array<ArrayBuffer> : new Uint8Array(value),
        );
        return;
      }
      const found = hash.hex();
      if (found !== storageHash) {
        controller.error(new IntegrityError(txId, storageHash, found));
        return;
      }
      controller.close();
      controller.byobRequest?.respond(0);
    },
    cancel: (reason) => reader.cancel(reason),
  });
}
