/**
 * Payload streams that no wrong byte passes unnoticed.
 *
 * @module
 */

import { IntegrityError, PayloadUnreadableError } from "../errors.ts";
import { Sha256 } from "../files/hash.ts";
import type { TxInfo } from "../types.ts";

/** Bytes that come piece by piece. */
export interface Pieces {
  /** The next piece, whose memory is its reader's from then on; null at the end. */
  next(): Promise<Uint8Array<ArrayBuffer> | null>;
  /** Lets go of where they come from. */
  end(): Promise<void>;
}

/**
 * Bytes as a stream, which ends in an error unless they have the row's digest.
 * It fills the reader's own buffer where the reader brings one.
 */
export function verified(
  { txId, storageHash }: TxInfo,
  pieces: Pieces,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const hash = new Sha256();
  const next = async () => {
    try {
      return await pieces.next();
    } catch (error) {
      await pieces.end();
      const { message } = error as Error;
      throw new PayloadUnreadableError(txId, message, { cause: error });
    }
  };
  return new ReadableStream({
    type: "bytes",
    async pull(controller) {
      const piece = await next();
      if (piece) {
        hash.update(piece);
        return controller.enqueue(piece);
      }
      await pieces.end();
      const found = hash.hex();
      if (found !== storageHash) {
        return controller.error(new IntegrityError(txId, storageHash, found));
      }
      controller.close();
      controller.byobRequest?.respond(0);
    },
    cancel: () => pieces.end(),
  });
}
