/**
 * Chunks of a payload that are hashed for the transparency log as they pass.
 *
 * @module
 */

import type { Extension } from "../log/record.ts";
import { PayloadHasher } from "../proofs/chunk_tree.ts";
import { CHUNK_ROOT } from "../tlog/tlog.ts";

/** Gives pieces on, and hashes them. */
export class HashedOnTheWay implements AsyncIterable<Uint8Array> {
  readonly #pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  readonly #hasher = new PayloadHasher();

  /** Of the pieces of a payload. */
  constructor(pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) {
    this.#pieces = pieces;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for await (const piece of this.#pieces) {
      this.#hasher.update(piece);
      yield piece;
    }
  }

  /** What a record tells of all that has passed. */
  extension(): Extension {
    return { type: CHUNK_ROOT, bytes: this.#hasher.finish().chunkRoot };
  }
}
