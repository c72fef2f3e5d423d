/**
 * One request under way: when it began, and the slot that it holds until the
 * last byte of its answer is given away.
 *
 * @module
 */

import { requestIdOf } from "./log.ts";
import { Problem } from "./problem.ts";
import type { Service } from "./service.ts";

/** A request and its slot. */
export class Exchange {
  readonly #service: Service;
  /** The request: Hono's own costs more than all else that a small answer takes. */
  readonly request: Request;
  /** The path as the client wrote it, and its query. */
  readonly path: string;
  readonly #query: string;
  /** The path of its route; null until it has come to one. */
  route: string | null = null;
  /** The name of its token; `""`: none. */
  user = "";
  #requestId: string | null = null;
  #params: URLSearchParams | null = null;
  /** Gives up the stream that the answer is, unless it has ended; null: none. */
  #giveUp: (() => void) | null = null;

  /** Takes a slot. */
  constructor(service: Service, request: Request, target: Target) {
    this.#service = service;
    this.request = request;
    this.path = target.path;
    this.#query = target.query;
    service.requests++;
  }

  /** Its id: the one that it came with, or one of its own. */
  get requestId(): string {
    return this.#requestId ??= requestIdOf(this.request.headers);
  }

  /** The parameters of its query. */
  get query(): URLSearchParams {
    return this.#params ??= new URLSearchParams(this.#query);
  }

  /** Whether it has a query at all. */
  get hasQuery(): boolean {
    return this.#query !== "";
  }

  /**
   * Gives the slot back, unless the answer is a stream: that does so at its end,
   * or when the server is done with the request and may have left it unread.
   */
  end(info: Pick<Deno.ServeHandlerInfo, "completed">): void {
    if (!this.#giveUp) this.#service.requests--;
    else info.completed.then(this.#giveUp, this.#giveUp);
  }

  /**
   * A body that is read as the client takes it. Where its source fails, or the
   * client takes nothing for too long, the connection is broken off: a body that
   * ends as HTTP says it must is a whole one.
   *
   * @param source What the pieces are made from, to be cancelled with them where
   * they do not come to their end, even if the first one was never asked for.
   */
  stream(
    pieces: AsyncGenerator<Uint8Array>,
    source?: { cancel(): Promise<void> },
  ): ReadableStream<Uint8Array> {
    const { idle } = this.#service.limits;
    let ended = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const end = () => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      this.#service.requests--;
    };
    const release = async () => {
      await pieces.return(undefined);
      await source?.cancel(); // for pieces that nobody had asked for yet
    };
    this.#giveUp = () => {
      if (ended) return;
      end();
      release().catch(() => {});
    };
    const watch = (controller: ReadableStreamDefaultController) => {
      timer = setTimeout(() => {
        this.#service.rejected("TOO_SLOW");
        this.#giveUp!();
        controller.error(new Error("the client takes nothing"));
      }, idle);
    };
    return new ReadableStream<Uint8Array>({
      start: watch,
      pull: async (controller) => {
        clearTimeout(timer);
        try {
          const { done, value } = await pieces.next();
          if (ended) return;
          if (done) {
            end();
            controller.close();
          } else {
            controller.enqueue(value);
            if (!ended) watch(controller); // the client may have gone at that
          }
        } catch (error) {
          if (ended) return;
          end();
          const { method } = this.request;
          this.#service.failed(`${method} ${this.path} broken off`, error, {
            request_id: this.requestId,
          });
          controller.error(error);
        }
      },
      async cancel() {
        end();
        await release();
      },
    }, { highWaterMark: 0 });
  }
}

/** What a request is for, as the client wrote it. */
export interface Target {
  /** The path, still percent-encoded. */
  path: string;
  /** What follows `?`; `""` for none. */
  query: string;
}

/**
 * The target of a request's URL, which a URL parser would change: an id may hold
 * what such a parser takes for a way up.
 */
export function targetOf(url: string): Target {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  if (start < 0) return { path: "*", query: "" }; // of CONNECT
  const hash = url.indexOf("#", start);
  const end = hash < 0 ? url.length : hash;
  const mark = url.indexOf("?", start);
  return mark < 0 || mark > end
    ? { path: url.slice(start, end), query: "" }
    : { path: url.slice(start, mark), query: url.slice(mark + 1, end) };
}

/**
 * Refuses a body whose framing or coding the service does not read.
 *
 * @throws {Problem} 400, 415 or 501.
 */
export function requireReadableBody(headers: Headers): void {
  const transfer = headers.get("transfer-encoding");
  if (transfer !== null) {
    if (transfer.trim().toLowerCase() !== "chunked") {
      throw new Problem(
        "UNSUPPORTED_TRANSFER",
        "The only transfer coding is chunked",
        { headers: { connection: "close" } },
      );
    }
    if (headers.has("content-length")) {
      throw new Problem(
        "AMBIGUOUS_LENGTH",
        "A body has a length or comes in chunks, not both",
        { headers: { connection: "close" } },
      );
    }
  }
  const coding = headers.get("content-encoding");
  if (coding !== null && coding.trim().toLowerCase() !== "identity") {
    throw new Problem(
      "UNSUPPORTED_CODING",
      "The body must not be encoded",
      { headers: { "accept-encoding": "identity" } },
    );
  }
}
