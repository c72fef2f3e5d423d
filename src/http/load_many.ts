/**
 * Many transactions in one answer.
 *
 * @module
 */

import { concat } from "../format/bytes.ts";
import { txLine } from "../format/tx_json.ts";
import { UsageError } from "../format/usage_error.ts";
import type { Exchange } from "./exchange.ts";
import { gzipped } from "./gzip.ts";
import { METADATA_HEADERS, NDJSON_TYPES } from "./media_types.ts";
import { isSmall, jsonPieces } from "./payload.ts";
import { unknownTx } from "./problem.ts";
import { MOST_IDS } from "./schemas.ts";
import type { Service } from "./service.ts";
import { decoded, withBody } from "./uploads.ts";

/** Longest body: all ids at their longest, escaped. */
const MOST_BYTES = 1024 * 1024;

/** Lines are sent in pieces of about this many characters. */
const PIECE = 32 * 1024;

/**
 * What the body must be. A parser is only given what it has no more to make of
 * than a list of texts.
 */
const SHAPE =
  /^\s*\{\s*"tx_ids"\s*:\s*\[\s*(?:TEXT\s*(?:,\s*TEXT\s*)*)?\]\s*\}\s*$/
    .source;
const BODY = new RegExp(SHAPE.replaceAll("TEXT", '"(?:[^"\\\\]|\\\\.)*"'));

/**
 * The transactions whose ids the body of a request has, a line each.
 *
 * @throws {UsageError} If the body is anything else.
 */
export async function loadTxs(
  service: Service,
  exchange: Exchange,
): Promise<Response> {
  const { request } = exchange;
  const { store, room, limits } = service;
  const ids = await withBody(
    request,
    room,
    { ...limits, maxBody: Math.min(limits.maxBody, MOST_BYTES) },
    (body) => idsOf(decoded(body)),
  );
  const lines = linesFor(service, store, ids);
  return gzipped(
    request,
    new Response(exchange.stream(lines), {
      headers: {
        ...METADATA_HEADERS,
        "cache-control": "no-store",
        "content-type": NDJSON_TYPES[0]!,
      },
    }),
  );
}

function idsOf(text: string): string[] {
  let ids: string[] | null = null;
  try {
    if (BODY.test(text)) ids = JSON.parse(text).tx_ids;
  } catch {
    // No JSON: refused below.
  }
  if (ids === null) {
    throw new UsageError('The body must be {"tx_ids":["…"]}, ids and no more');
  }
  if (ids.length <= MOST_IDS) return ids;
  throw new UsageError(`tx_ids must have at most ${MOST_IDS} ids`);
}

async function* linesFor(
  service: Service,
  store: Service["store"],
  ids: string[],
): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  let text = "";
  for (const txId of ids) {
    const found = await lineOf(service, store, txId);
    if (typeof found === "string") text += found;
    if (text.length < PIECE && typeof found === "string") continue;
    if (text !== "") yield encoder.encode(text);
    text = "";
    if (typeof found !== "string") yield* found;
  }
  if (text !== "") yield encoder.encode(text);
}

/** A transaction's line; in pieces where its payload is large. */
async function lineOf(
  service: Service,
  store: Service["store"],
  txId: string,
): Promise<string | AsyncGenerator<Uint8Array>> {
  try {
    const soon = store.loadTxSoon(txId);
    if (soon) return txLine({ ...soon.info, payload: soon.payload });
    const found = await store.loadTxStream(txId);
    if (!found) throw unknownTx(txId);
    const { info, payload } = found;
    if (!isSmall(info)) return jsonPieces(found);
    const whole = concat(await Array.fromAsync(payload));
    return txLine({ ...info, payload: whole });
  } catch (thrown) {
    const error = service.problemOf(thrown);
    if (error.status >= 500) service.failed("POST /txs/get", thrown);
    return `${JSON.stringify({ tx_id: txId, error })}\n`;
  }
}
