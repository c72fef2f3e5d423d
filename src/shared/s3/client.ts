/**
 * Requests to a bucket: signed, with progress watched, made again when their
 * failure may pass.
 *
 * @module
 */

import { StoreClosedError } from "../../errors.ts";
import { Slots } from "../../async/slots.ts";
import { Answer, Sending, Watch } from "./attempt.ts";
import { type Body, requireDigest } from "./body.ts";
import { Failure, failureOf, failureOfNetwork } from "./failures.ts";
import { AwsV4Signer } from "./packages.ts";
import { type Patience, retry, wait } from "./retry.ts";
import type { Credentials, Target } from "./target.ts";
import { textOf } from "./xml.ts";

/** SHA-256 of nothing. */
const EMPTY =
  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/** Requests in flight at once: more are not faster, and each takes a socket. */
const IN_FLIGHT = 64;

/**
 * How long a connection may wait for its next request, in ms: less than servers
 * wait, so that none is used that is just being closed.
 */
const IDLE = 15_000;

/** So far, in ms, the server's clock and that of signatures may be apart. */
const SKEW = 60_000;

/** What to ask of the server. */
export interface S3Request {
  /** HTTP method. */
  method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** Key below the store's prefix; without one it is about the bucket. */
  key?: string;
  /** What stands behind the question mark. */
  query?: Record<string, string>;
  /** More headers. */
  headers?: Record<string, string>;
  /** What is sent. */
  body?: Body;
  /** Codes of answers that are no failure. */
  accepts?: string[];
  /** How many attempts it is worth; by default as many as the client makes. */
  attempts?: number;
}

/** Speaks with a bucket. */
export class S3Client {
  /** Which bucket. */
  readonly target: Target;
  /** How long it tries. */
  readonly patience: Patience;
  readonly #credentials: Credentials;
  readonly #http = Deno.createHttpClient({ poolIdleTimeout: IDLE });
  readonly #slots = new Slots(IN_FLIGHT);
  readonly #signingKeys = new Map<string, ArrayBuffer>();
  readonly #active = new Set<Watch>();
  readonly #closing = new AbortController();
  #hasAnswered = false;
  /** How far the server's clock is ahead, in ms: signatures have a time. */
  #ahead = 0;

  /** Connects when it is asked for something. */
  constructor(target: Target, credentials: Credentials, patience: Patience) {
    this.target = target;
    this.patience = patience;
    this.#credentials = credentials;
  }

  /** Sends a request, again if need be, and reads its answer. */
  async call<T>(
    request: S3Request,
    read: (answer: Answer) => Promise<T>,
  ): Promise<T> {
    // One that waits for a source, which may be this store, is not in line.
    const inLine = request.body === undefined ||
      request.body.content instanceof Uint8Array;
    const send = () => this.#call(request, read);
    return inLine ? await this.#slots.run(send) : await send();
  }

  /** Sends a request whose answer says all in its head. */
  async ask(request: S3Request): Promise<Answer> {
    return await this.call(request, (answer) => answer.finish());
  }

  /** Sends a request whose answer is read later, and has to be ended. */
  async open(request: S3Request): Promise<Answer> {
    return await this.call(request, (answer) => Promise.resolve(answer));
  }

  /** Waits for so many ms, unless it is closed. */
  async pause(ms: number): Promise<void> {
    await wait(ms, this.#closing.signal);
  }

  /** Breaks off what is under way. */
  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    for (const watch of this.#active) watch.abort(new StoreClosedError());
    this.#http.close();
  }

  async #call<T>(
    request: S3Request,
    read: (answer: Answer) => Promise<T>,
  ): Promise<T> {
    const { attempts = Infinity } = request;
    return await retry(
      {
        ...this.patience,
        attempts: Math.min(attempts, this.patience.attempts),
      },
      this.#closing.signal,
      async (failed) => {
        if (failed === 1) await checkBody(request.body);
        const answer = await this.#attempt(request);
        try {
          return await read(answer);
        } catch (error) {
          throw this.failureOf(error);
        }
      },
    );
  }

  /** What an error means that came while an answer was read. */
  failureOf(error: unknown): Failure {
    return error instanceof Failure
      ? error
      : failureOfNetwork(this.target, error, this.#hasAnswered);
  }

  async #attempt(request: S3Request): Promise<Answer> {
    if (this.#closing.signal.aborted) throw new StoreClosedError();
    const { url, headers } = await this.#sign(request);
    const watch = new Watch(this.patience.silence);
    const sending = new Sending(request.body, watch);
    const release = () => this.#active.delete(watch);
    this.#active.add(watch);
    try {
      watch.expect(request.body?.size);
      const response = await fetch(url, {
        method: request.method,
        headers,
        body: sending.init,
        signal: watch.signal,
        redirect: "manual",
        client: this.#http,
      });
      watch.rest();
      this.#hasAnswered = true;
      return await this.#judge(request, new Answer(response, watch, release));
    } catch (error) {
      watch.rest();
      release();
      if (this.#closing.signal.aborted) throw new StoreClosedError();
      if (sending.failure) throw sending.failure.error;
      throw this.failureOf(error);
    } finally {
      await sending.end();
    }
  }

  /** An answer, unless it is a failure. */
  async #judge(request: S3Request, answer: Answer): Promise<Answer> {
    const { status, headers } = answer;
    if (status >= 200 && status < 300) return answer;
    const xml = await answer.text();
    const isHead = request.method === "HEAD";
    let code = textOf(xml, "Code") ??
      (isHead || status === 412 ? NAMES[status] : "") ?? "";
    answer.code = code;
    if (request.accepts?.includes(code)) return answer;
    const ahead = aheadOf(headers);
    if (isHead && status === 403 && Math.abs(ahead - this.#ahead) > SKEW) {
      code = "RequestTimeTooSkewed";
    }
    if (code === "RequestTimeTooSkewed") this.#ahead = ahead;
    const message = textOf(xml, "Message") ?? "";
    throw failureOf(this.target, status, code, message, headers);
  }

  async #sign(
    { method, key, query = {}, headers = {}, body }: S3Request,
  ): Promise<{ url: URL; headers: Headers }> {
    const { origin, prefix, region } = this.target;
    const path = key === undefined ? "" : `/${encodePath(prefix + key)}`;
    const search = Object.entries(query)
      .map((pair) => pair.map(encodePart).join("=")).join("&");
    const now = new Date(Date.now() + this.#ahead).toISOString();
    const signed = await new AwsV4Signer({
      method,
      url: `${origin}${path}${search && `?${search}`}`,
      headers: { ...headers, "x-amz-content-sha256": body?.digest ?? EMPTY },
      service: "s3",
      region,
      ...this.#credentials,
      cache: this.#signingKeys,
      datetime: now.replace(/[:-]|\.\d{3}/g, ""),
    }).sign();
    // Objects as they are. Not signed: there are proxies that change it.
    signed.headers.set("accept-encoding", "identity");
    return { url: signed.url, headers: signed.headers };
  }
}

/** What answers are called that cannot have a body. */
const NAMES: Record<number, string> = {
  404: "NotFound",
  412: "PreconditionFailed",
};

/** After a failure: whether the bytes are at fault, and not the way. */
async function checkBody(body: Body | undefined): Promise<void> {
  if (!(body?.content instanceof Uint8Array)) return;
  await requireDigest(body.content, body.digest);
}

function aheadOf(headers: Headers): number {
  const date = Date.parse(headers.get("date") ?? "");
  return Number.isNaN(date) ? 0 : date - Date.now();
}

function encodePath(path: string): string {
  return path.split("/").map(encodePart).join("/");
}

/** As signatures have it: all but letters, digits and `-._~`. */
function encodePart(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
