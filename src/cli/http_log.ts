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

/**
 * A log by its address.
 *
 * @param token Bearer token; undefined for none.
 * @throws {UsageError} If it is no address.
 */
export async function httpLog(
  address: string,
  token: string | undefined,
  signal: AbortSignal,
): Promise<PublicLog> {
  const url = URL.canParse(address) ? new URL(address) : null;
  if (!url || !/^https?:$/.test(url.protocol) || url.search || url.hash) {
    throw new UsageError(`${address} is no address of a log`);
  }
  const port = url.port || (url.protocol === "http:" ? "80" : "443");
  const hosts = [`${url.hostname}:${port}`];
  await requireServers({ hosts, variables: [] });
  const prefix = url.href.replace(/\/*$/, "/");
  const get = async (path: string, limit: number) => {
    const bytes = await read(`${prefix}${path}`, token, limit, signal);
    if (bytes) return bytes;
    throw failed(`${prefix}${path}`, "it is not there");
  };
  return {
    async checkpoint() {
      return textOf(await get("checkpoint", MAX_TEXT), "note");
    },
    async bundle(index, width) {
      const path = tilePath("entries", index, width);
      const bytes = await read(`${prefix}${path}`, token, MAX_BUNDLE, signal);
      // A partial one that has become full since may be gone.
      return bytes ?? await get(tilePath("entries", index), MAX_BUNDLE);
    },
  };
}

/** What is at an address; null where there is nothing. */
async function read(
  url: string,
  token: string | undefined,
  limit: number,
  signal: AbortSignal,
): Promise<Uint8Array | null> {
  try {
    const response = await fetch(url, {
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      signal: AbortSignal.any([signal, AbortSignal.timeout(DEADLINE)]),
    });
    if (response.status === 404) {
      await response.body?.cancel();
      return null;
    }
    if (!response.ok) {
      await response.body?.cancel();
      throw failed(url, `it answers ${response.status}`);
    }
    const pieces: Uint8Array[] = [];
    let length = 0;
    for await (const piece of response.body ?? []) {
      length += piece.length;
      if (length > limit) {
        throw failed(url, `it sends more than ${limit} bytes`);
      }
      pieces.push(piece);
    }
    return new Uint8Array(await new Blob(pieces as BlobPart[]).arrayBuffer());
  } catch (error) {
    if (error instanceof CliError) throw error;
    if (signal.aborted) throw signal.reason;
    throw failed(url, (error as Error).message);
  }
}

function failed(url: string, why: string): CliError {
  return new CliError(Exit.failed, `Cannot read ${url}: ${why}`);
}
