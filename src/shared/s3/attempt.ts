/**
 * One request, sent once: the body with its progress watched, and the answer.
 *
 * @module
 */

import { type Body, PIECE, slices } from "./body.ts";
import { SizedBody } from "./sized_body.ts";

/** What the system takes from a program before the network has taken it. */
const MAX_BUFFERED = 4 * 1024 * 1024;

/** Slower than this, in bytes per ms, counts as silence. */
const SLOWEST = 128;

/** Breaks a request off when nothing happens for too long. */
export class Watch {
  readonly #controller = new AbortController();
  readonly #silence: number;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Nothing is expected yet. */
  constructor(silence: number) {
    this.#silence = silence;
  }

  /** Breaks off what it is given to. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /**
   * From now on something has to happen. So many bytes may still be on their
   * way through the system's buffers, which nobody sees.
   */
  expect(buffered = 0): void {
    this.rest();
    const ms = this.#silence + Math.min(buffered, MAX_BUFFERED) / SLOWEST;
    this.#timer = setTimeout(() => {
      const message = `no answer within ${Math.round(ms)} ms`;
      this.abort(new DOMException(message, "TimeoutError"));
    }, ms);
  }

  /** Nothing is expected: it is the program's own turn. */
  rest(): void {
    clearTimeout(this.#timer);
  }

  /** Breaks off. */
  abort(reason: unknown): void {
    this.rest();
    this.#controller.abort(reason);
  }
}

/** A body on its way. */
export class Sending {
  readonly #pieces: AsyncIterator<Uint8Array> | Iterator<Uint8Array> | null;
  readonly #size: number;
  readonly #watch: Watch;
  #sent = 0;
  /** Why there are no more pieces, when that is not the network's fault. */
  failure: { error: unknown } | null = null;
  /** What `fetch` takes. */
  readonly init: BodyInit | null;

  /** Sends nothing before it is asked. */
  constructor(body: Body | undefined, watch: Watch) {
    this.#watch = watch;
    this.#size = body?.size ?? 0;
    if (!body || (body.content instanceof Uint8Array && body.size <= PIECE)) {
      this.#pieces = null;
      this.init = (body?.content ?? null) as Uint8Array<ArrayBuffer> | null;
      return;
    }
    const { content } = body;
    this.#pieces = content instanceof Uint8Array
      ? slices(content)
      : content()[Symbol.asyncIterator]();
    this.init = new SizedBody(
      body.size,
      () =>
        new ReadableStream({ pull: (controller) => this.#pull(controller) }, {
          highWaterMark: 0,
        }),
    );
  }

  /** Lets go of the source. */
  async end(): Promise<void> {
    await this.#pieces?.return?.();
  }

  async #pull(
    controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>,
  ): Promise<void> {
    this.#watch.rest();
    try {
      const { done, value } = await this.#pieces!.next();
      if (done) {
        if (this.#sent !== this.#size) throw new Error("the body is too short");
        controller.close();
      } else {
        this.#sent += value.length;
        controller.enqueue(value as Uint8Array<ArrayBuffer>);
      }
    } catch (error) {
      this.failure ??= { error };
      this.#watch.abort(error);
      controller.error(error);
    }
    if (!this.failure) this.#watch.expect(this.#sent);
  }
}

/** An answer whose body is still to be read. */
export class Answer {
  readonly #response: Response;
  readonly #watch: Watch;
  readonly #release: () => void;
  #isRead = false;
  /**
   * What the server calls it when it is not success: `NoSuchKey` and the like.
   */
  code: string | null = null;

  /** Takes over the response; `release` is called when it has been read. */
  constructor(response: Response, watch: Watch, release: () => void) {
    this.#response = response;
    this.#watch = watch;
    this.#release = release;
  }

  /** The HTTP status. */
  get status(): number {
    return this.#response.status;
  }

  /** The headers. */
  get headers(): Headers {
    return this.#response.headers;
  }

  /** Size of its body in bytes; null when that is not told. */
  get size(): number | null {
    const length = this.headers.get("content-length");
    return length === null ? null : Number(length);
  }

  /** All of its body, which is small. */
  async bytes(): Promise<Uint8Array> {
    try {
      this.#watch.expect(this.size ?? MAX_BUFFERED);
      const bytes = await this.#response.bytes();
      this.#isRead = true;
      return bytes;
    } finally {
      this.end();
    }
  }

  /** Reads to its end what is of no interest, so that the connection stays. */
  async finish(): Promise<this> {
    if (!this.#isRead) await this.bytes();
    return this;
  }

  /** Its body as text. It may take long, as long as it goes on. */
  async text(): Promise<string> {
    const decoder = new TextDecoder();
    let text = "";
    for await (const chunk of this.chunks()) {
      text += decoder.decode(chunk, { stream: true });
    }
    return text + decoder.decode();
  }

  /** Its body piece by piece. */
  async *chunks(): AsyncGenerator<Uint8Array> {
    const reader = this.#response.body?.getReader();
    try {
      while (reader) {
        this.#watch.expect();
        const { done, value } = await reader.read();
        this.#watch.rest();
        if (done) break;
        yield value;
      }
      this.#isRead = true;
    } finally {
      this.end();
    }
  }

  /** Lets go of it, read or not. */
  end(): void {
    this.#watch.rest();
    if (!this.#isRead) {
      this.#watch.abort(new DOMException("left", "AbortError"));
    }
    this.#release();
  }
}
