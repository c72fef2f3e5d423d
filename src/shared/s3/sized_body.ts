/**
 * A body that is sent piece by piece with a `content-length`: `fetch` sends
 * other streams in chunks of which nobody knows the sum, which AWS refuses and
 * Ceph stores short. Of a blob it asks size and stream.
 *
 * @module
 */

/** See above. */
export class SizedBody extends Blob {
  readonly #size: number;
  readonly #open: () => ReadableStream<Uint8Array<ArrayBuffer>>;

  /** A body of so many bytes, which the stream gives. */
  constructor(
    size: number,
    open: () => ReadableStream<Uint8Array<ArrayBuffer>>,
  ) {
    super();
    this.#size = size;
    this.#open = open;
  }

  /** What becomes the `content-length`. */
  override get size(): number {
    return this.#size;
  }

  /** What is sent. */
  override stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#open();
  }
}
