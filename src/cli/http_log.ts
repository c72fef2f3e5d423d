/**
 * A log that is served over HTTP, C2SP tlog-tiles, as an auditor reads it.
 *
 * @module
 */

import { UsageError } from "../format/usage_error.ts";
import { MAX_TEXT, textOf } from "../proofs/encoding.ts";
import type { PublicLog } from "../proofs/auditor.ts";
import { TILE_WIDTH, tilePath } from "../proofs/tiles.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { requireServers } from "./permissions.ts";

/** How long an answer may take, in ms. */
const DEADLINE = 30_000;

/** A bundle is at most this long: 256 entries of 64 KiB, each behind its length. */
const MAX_BUNDLE = TILE_WIDTH * (MAX_TEXT + 2);

/** A log by its address. */
export class HttpLog implements PublicLog {
  readonly #prefix: string;
  readonly #headers: Record<string, string>;
  readonly #signal: AbortSignal;

  private constructor(
    prefix: string,
    headers: Record<string, string>,
    signal: AbortSignal,
  ) {
    this.#prefix = prefix;
    this.#headers = headers;
    this.#signal = signal;
  }

  /**
   * The log at an address.
   *
   * @param token Bearer token; undefined for none.
   * @throws {UsageError} If it is no address.
   */
  static async at(
    address: string,
    token: string | undefined,
    signal: AbortSignal,
  ): Promise<HttpLog> {
    const url = URL.canParse(address) ? new URL(address) : null;
    if (!url || !/^https?:$/.test(url.protocol) || url.search || url.hash) {
      throw new UsageError(`${address} is no address of a log`);
    }
    const port = url.port || (url.protocol === "http:" ? "80" : "443");
    const hosts = [`${url.hostname}:${port}`];
    await requireServers({ hosts, variables: [] });
    const headers: Record<string, string> = token === undefined
      ? {}
      : { authorization: `Bearer ${token}` };
    return new HttpLog(url.href.replace(/\/*$/, "/"), headers, signal);
  }

  /** {@inheritDoc PublicLog.checkpoint} */
  async checkpoint(): Promise<string> {
    return textOf(await this.#get("checkpoint", MAX_TEXT), "note");
  }

  /** {@inheritDoc PublicLog.bundle} */
  async bundle(index: number, width: number): Promise<Uint8Array> {
    const path = tilePath("entries", index, width);
    // A partial one that has become full since may be gone.
    return await this.#find(path, MAX_BUNDLE) ??
      await this.#get(tilePath("entries", index), MAX_BUNDLE);
  }

  /**
   * The answer to a challenge, as it comes.
   *
   * @param deadline How long all of it may take, in ms.
   */
  async *holding(
    challenge: string,
    deadline: number,
  ): AsyncGenerator<Uint8Array> {
    const response = await this.#ask("holding", deadline, {
      method: "POST",
      headers: { ...this.#headers, "content-type": "application/json" },
      body: challenge,
    });
    try {
      yield* response.body ?? [];
    } catch (error) {
      throw this.#failed("holding", (error as Error).message);
    }
  }

  async #get(path: string, limit: number): Promise<Uint8Array> {
    const bytes = await this.#find(path, limit);
    if (bytes) return bytes;
    throw this.#failed(path, "it is not there");
  }

  /** What is at a path; null where there is nothing. */
  async #find(path: string, limit: number): Promise<Uint8Array | null> {
    const headers = this.#headers;
    const response = await this.#ask(path, DEADLINE, { headers }, 404);
    if (response.status === 404) {
      await response.body?.cancel();
      return null;
    }
    const pieces: Uint8Array[] = [];
    let length = 0;
    try {
      for await (const piece of response.body ?? []) {
        length += piece.length;
        pieces.push(piece);
        if (length > limit) break;
      }
    } catch (error) {
      throw this.#failed(path, (error as Error).message);
    }
    if (length > limit) {
      throw this.#failed(path, `it sends more than ${limit} bytes`);
    }
    return new Uint8Array(await new Blob(pieces as BlobPart[]).arrayBuffer());
  }

  /** Sends a request; fails for any other status than 200 and one more. */
  async #ask(
    path: string,
    deadline: number,
    init: RequestInit,
    also?: number,
  ): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(`${this.#prefix}${path}`, {
        ...init,
        signal: AbortSignal.any([
          this.#signal,
          AbortSignal.timeout(deadline),
        ]),
      });
    } catch (error) {
      throw this.#failed(path, (error as Error).message);
    }
    if (response.ok || response.status === also) return response;
    await response.body?.cancel();
    throw this.#failed(path, `it answers ${response.status}`);
  }

  #failed(path: string, why: string): unknown {
    if (this.#signal.aborted) return this.#signal.reason;
    const what = `Cannot read ${this.#prefix}${path}: ${why}`;
    return new CliError(Exit.failed, what);
  }
}
