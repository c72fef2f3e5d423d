/**
 * Another node's service as a source: `GET /txs/{id}`.
 *
 * @module
 */

import { PohStorageError } from "../../errors.ts";
import type { TxInfo } from "../../types.ts";
import {
  type HealSource,
  type OnUnread,
  Pieces,
  searchEach,
  type Take,
} from "../../check/source.ts";

/** How long a node may be silent, in ms. */
const SILENCE_MS = 30_000;

/** Times that a request is made, and the wait after the first, in ms. */
const ATTEMPTS = 4;
const WAIT_MS = 250;

/** Times that a payload is asked for whose transfer breaks off. */
const DOWNLOADS = 2;

/** A page of one transaction is shorter, in characters. */
const PAGE_LIMIT = 1024 * 1024;

/** Answers by which a node has no such payload: it may not know such ids. */
const ABSENT: ReadonlySet<number> = new Set([400, 404, 410, 414]);

/** Answers that say "later", not "no". */
const BUSY: ReadonlySet<number> = new Set([408, 429, 502, 503, 504]);

/**
 * Asks a node by HTTP. Needs `--allow-net` for its host and port.
 */
export class NodeSource implements HealSource {
  readonly name: string;
  readonly #url: URL;
  readonly #headers: Record<string, string>;

  private constructor(name: string, url: URL, token: string | undefined) {
    this.name = name;
    this.#url = url;
    this.#headers = {
      accept: "application/octet-stream",
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    };
  }

  /**
   * Asks a node whether it gives transactions.
   *
   * @param address `http://host:port` or `https://…`, also with a path.
   * @param token What it asks for, if it does.
   * @throws {PohStorageError} `NO_SOURCE` if it does not.
   */
  static async open(
    address: string,
    token: string | undefined,
    signal: AbortSignal,
  ): Promise<NodeSource> {
    const url = urlOf(address);
    const source = new NodeSource(url.href, url, token);
    let response: Response, isPage: boolean;
    try {
      response = await source.#ask("txs?limit=1", signal);
      isPage = response.ok && await holdsPage(response);
      if (!response.bodyUsed) await response.body?.cancel();
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      throw noNode(url, (error as Error).message, error);
    }
    if (isPage) return source;
    // Any other server would be taken for a node that has nothing.
    if (response.ok) throw noNode(url, "it lists no transactions");
    throw noNode(
      url,
      response.status !== 401
        ? `it answers ${response.status}`
        : token === undefined
        ? "it asks for a token: see --from-token-file and POH_FROM_TOKEN"
        : "it refuses the token",
    );
  }

  search(
    wanted: readonly TxInfo[],
    take: Take,
    signal: AbortSignal,
    onUnread: OnUnread,
  ): Promise<void> {
    return searchEach(wanted, signal, async (info) => {
      if (!hasPath(info.txId)) return;
      for (let attempt = 1; attempt <= DOWNLOADS; attempt++) {
        if (!await this.#tryTake(info, take, signal)) return;
      }
      onUnread(info);
    });
  }

  /** Whether the payload may be there and could not be read. */
  async #tryTake(
    info: TxInfo,
    take: Take,
    signal: AbortSignal,
  ): Promise<boolean> {
    const response = await this.#ask(pathOf(info), signal);
    if (BUSY.has(response.status) || response.status === 401) {
      await response.body?.cancel();
      throw new Error(`it answers ${response.status}`);
    }
    // It has another version under this id: spare both the transfer.
    const tag = response.headers.get("etag");
    const isOther = tag !== null && /^"[0-9a-f]{64}"$/.test(tag) &&
      tag !== `"${info.storageHash}"`;
    if (!response.ok) return await mayBeThere(response);
    if (isOther || !response.body) {
      await response.body?.cancel();
      return false;
    }
    const pieces = new Pieces(piecesOf(response.body));
    if (await take(info, pieces) || !pieces.hasBroken) return false;
    return await this.#isSoundThere(info, signal);
  }

  /**
   * Whether the node has a payload of which it broke off the transfer, as it
   * does with a damaged one: it verifies all of it before it gives a part.
   */
  async #isSoundThere(info: TxInfo, signal: AbortSignal): Promise<boolean> {
    const part = { range: "bytes=0-0" };
    const response = await this.#ask(pathOf(info), signal, part);
    if (!response.ok) return await mayBeThere(response);
    await response.body?.cancel();
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** Asks again while the node is busy or cannot be reached. */
  async #ask(
    path: string,
    signal: AbortSignal,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    for (let attempt = 1, wait = WAIT_MS;; attempt++, wait *= 2) {
      try {
        const response = await this.#askOnce(path, signal, headers);
        if (!BUSY.has(response.status) || attempt === ATTEMPTS) return response;
        await response.body?.cancel();
      } catch (error) {
        const isLast = error instanceof Deno.errors.NotCapable ||
          signal.aborted || attempt === ATTEMPTS;
        if (isLast) throw error;
      }
      await pause(wait, signal);
    }
  }

  async #askOnce(
    path: string,
    signal: AbortSignal,
    headers: Record<string, string>,
  ): Promise<Response> {
    const late = new AbortController();
    const timer = setTimeout(
      () => late.abort(new Error(`no answer for ${SILENCE_MS / 1000} s`)),
      SILENCE_MS,
    );
    try {
      return await fetch(new URL(path, this.#url), {
        headers: { ...this.#headers, ...headers },
        // The token is for this host.
        redirect: "error",
        signal: AbortSignal.any([late.signal, signal]),
      });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Returns whether an answer is a page of a node's list. */
async function holdsPage(response: Response): Promise<boolean> {
  return Array.isArray(Object(await jsonOf(response)).txs);
}

/** The JSON of an answer; null: it has none, as a page for people. */
async function jsonOf(response: Response): Promise<unknown> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const piece of piecesOf(response.body!)) {
    text += decoder.decode(piece, { stream: true });
    if (text.length > PAGE_LIMIT) return null;
  }
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function pathOf({ txId }: TxInfo): string {
  return `txs/${encodeURIComponent(txId)}`;
}

/** Whether a node that refuses a payload may have it all the same. */
async function mayBeThere(response: Response): Promise<boolean> {
  if (ABSENT.has(response.status)) {
    await response.body?.cancel();
    return false;
  }
  const problem = response.body ? await jsonOf(response) : null;
  return Object(problem).code !== "INTEGRITY"; // it is damaged there as well
}

/** Whether an id can stand in a path: `.` and `..` are taken away from one. */
function hasPath(txId: string): boolean {
  return !/^\.{0,2}$/.test(txId) && txId.isWellFormed();
}

/** The pieces of a body; an error when the next one is too long in coming. */
async function* piecesOf(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  try {
    while (true) {
      const { done, value } = await inTime(reader.read());
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {}); // its error has been told
  }
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`no byte for ${SILENCE_MS / 1000} s`)),
      SILENCE_MS,
    );
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const wake = () => resolve();
  signal.addEventListener("abort", wake, { once: true });
  await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", wake);
}

/** The address of a node, ending in a slash so that paths go below it. */
function urlOf(address: string): URL {
  if (!URL.canParse(address)) {
    throw new PohStorageError(
      "NO_SOURCE",
      `Cannot heal from ${address}: it is no URL`,
    );
  }
  const url = new URL(address);
  if (url.username || url.password) {
    throw new PohStorageError(
      "NO_SOURCE",
      `Cannot heal from ${url.origin}: a token belongs into --from-token-file or POH_FROM_TOKEN, not into the URL`,
    );
  }
  url.search = url.hash = "";
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return url;
}

function noNode(url: URL, why: string, cause?: unknown): PohStorageError {
  return new PohStorageError(
    "NO_SOURCE",
    `Cannot heal from ${url.href}: ${why}`,
    { cause },
  );
}
