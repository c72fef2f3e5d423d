/**
 * Lists of transactions.
 *
 * @module
 */

import { infoJson, jsonFloat } from "../format/tx_json.ts";
import { UsageError } from "../format/usage_error.ts";
import type { StorageManager } from "../storage_manager.ts";
import type { TxInfo } from "../types.ts";
import type { Exchange } from "./exchange.ts";
import {
  JSON_TYPE,
  METADATA_HEADERS,
  NDJSON_TYPES,
  wants,
} from "./media_types.ts";
import { gzipped } from "./gzip.ts";
import { listQueryOf } from "./query.ts";

/** Transactions of one JSON page. */
const PAGE = { usual: 100, most: 1_000 };

/** NDJSON is sent in pieces of about this many characters. */
const PIECE = 32 * 1024;

/**
 * The transactions that a query selects: a page as JSON, or all as NDJSON.
 *
 * @throws {UsageError} If the query is malformed, or the page too long.
 */
export async function listTxs(
  store: StorageManager,
  exchange: Exchange,
): Promise<Response> {
  const { request, query: params } = exchange;
  const query = listQueryOf(params);
  if (NDJSON_TYPES.some((type) => wants(request, type))) {
    const lines = exchange.stream(ndjson(store.iterateTxs(query)));
    const headers = { ...METADATA_HEADERS, "content-type": NDJSON_TYPES[0]! };
    return gzipped(request, new Response(lines, { headers }));
  }
  const limit = query.limit ?? PAGE.usual;
  if (limit > PAGE.most) {
    throw new UsageError(
      `limit must be at most ${PAGE.most} unless NDJSON is asked for`,
    );
  }
  const found = await Array.fromAsync(
    store.iterateTxs({ ...query, limit: limit + 1 }),
  );
  const txs = found.slice(0, limit);
  const next = found.length > limit ? nextPage(params, txs.at(-1)!) : null;
  const body = `{"txs":[${txs.map(infoJson).join(",")}],"next":${
    JSON.stringify(next)
  }}`;
  const response = new Response(body, {
    headers: {
      ...METADATA_HEADERS,
      "content-type": JSON_TYPE,
      ...(next !== null && { link: `<${next}>; rel="next"` }),
    },
  });
  return gzipped(request, response, body.length);
}

function nextPage(
  params: URLSearchParams,
  { txId, timestamp }: TxInfo,
): string {
  const next = new URLSearchParams(params);
  next.set("after", txId);
  next.delete("after-time");
  if (params.get("sort") === "time" && Number.isFinite(timestamp)) {
    next.set("after-time", jsonFloat(timestamp));
  }
  return `/txs?${next}`;
}

async function* ndjson(
  infos: AsyncIterable<TxInfo>,
): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  let text = "";
  for await (const info of infos) {
    text += `${infoJson(info)}\n`;
    if (text.length < PIECE) continue;
    yield encoder.encode(text);
    text = "";
  }
  if (text !== "") yield encoder.encode(text);
}
