/**
 * A transaction on its way to a client.
 *
 * No byte of a small payload is sent before all of it is verified. A larger one
 * is verified while it is sent; its last piece is held back until the whole is
 * known to be sound, and the connection is broken off when it is not: a response
 * that ends as HTTP says it must is a verified one.
 *
 * @module
 */

import { base64Of, concat } from "../format/bytes.ts";
import {
  jsonFloat,
  TX_LINE_END,
  txLine,
  txLineStart,
} from "../format/tx_json.ts";
import { requireMatch } from "../model/if_exists.ts";
import type { StorageManager } from "../storage_manager.ts";
import type { TxInfo, TxStream } from "../types.ts";
import { ifMatchOf } from "./conditions.ts";
import type { Exchange } from "./exchange.ts";
import type { Budget, Limits } from "./limits.ts";
import { Problem, unknownTx } from "./problem.ts";

/** Payloads up to this size are verified before they are sent. */
const SMALL = 64 * 1024;

/** A longer holder id is not told in a header. */
const MAX_HEADER = 1_024;

/** What a download needs beside the store. */
export interface Download {
  /** The request: its method and the headers that ask for a part. */
  request: Request;
  /** Verifications under way. */
  verifications: Budget;
  /** How long to wait for one. */
  limits: Limits;
  /** What the response is part of. */
  exchange: Exchange;
}

/**
 * The payload of a transaction, or the part that a request asks for.
 *
 * @throws {Problem} 404 when the id is unknown, 416 when it has no such part.
 * @throws {IntegrityError} If a small payload, or one of which a part is asked
 * for, is damaged.
 */
export function payloadResponse(
  store: StorageManager,
  txId: string,
  download: Download,
): Response | Promise<Response> {
  const soon = isPlain(download.request) ? store.loadTxSoon(txId) : null;
  return soon
    ? new Response(soon.payload, { headers: headersOf(soon.info) })
    : anyPayloadResponse(store, txId, download);
}

/** Whether a request asks for the whole payload, whatever the client has of it. */
function isPlain({ method, headers }: Request): boolean {
  return method === "GET" && !headers.has("range") &&
    !headers.has("if-none-match") && !headers.has("if-match");
}

async function anyPayloadResponse(
  store: StorageManager,
  txId: string,
  download: Download,
): Promise<Response> {
  const { request } = download;
  const known = await store.infoTx(txId);
  if (!known) throw unknownTx(txId);
  const ifMatch = ifMatchOf(request.headers);
  if (ifMatch) requireMatch(ifMatch, txId, known);
  if (matches(request.headers.get("if-none-match"), known)) {
    return new Response(null, { status: 304, headers: headersOf(known) });
  }
  // What the metadata says; the payload is not looked at.
  if (request.method === "HEAD") {
    return new Response(null, {
      headers: { ...headersOf(known), ...length(known) },
    });
  }
  const found = await store.loadTxStream(txId);
  if (!found) throw unknownTx(txId);
  const part = await partOf(request, found);
  if (part) return await partResponse(store, found, part, download);
  const { info } = found;
  if (isSmall(info)) {
    const payload = concat(await Array.fromAsync(found.payload));
    return new Response(payload, { headers: headersOf(info) });
  }
  return new Response(
    download.exchange.stream(heldBack(found.payload), found.payload),
    { headers: { ...headersOf(info), ...length(info) } },
  );
}

/**
 * A transaction as JSON, its payload in base64.
 *
 * @throws {Problem} 404 when the id is unknown.
 * @throws {IntegrityError} If it is a small one and damaged.
 */
export async function jsonResponse(
  store: StorageManager,
  txId: string,
  { request, exchange }: Download,
): Promise<Response> {
  const headers = {
    "content-type": "application/json",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "vary": "accept",
  };
  if (request.method === "HEAD") {
    if (!await store.hasTx(txId)) throw unknownTx(txId);
    return new Response(null, { headers });
  }
  const soon = store.loadTxSoon(txId);
  if (soon) {
    const { info, payload } = soon;
    return new Response(txLine({ ...info, payload }), { headers });
  }
  const found = await store.loadTxStream(txId);
  if (!found) throw unknownTx(txId);
  const { info, payload } = found;
  if (isSmall(info)) {
    const whole = concat(await Array.fromAsync(payload));
    return new Response(txLine({ ...info, payload: whole }), { headers });
  }
  return new Response(exchange.stream(jsonPieces(found), payload), {
    headers,
  });
}

/** Whether a payload is verified before any of it is sent. */
export function isSmall({ size }: TxInfo): boolean {
  return size >= 0 && size <= SMALL;
}

/** The headers of a payload and of what is said about it. */
function headersOf(info: TxInfo): Record<string, string> {
  const holder = encodeURIComponent(info.holderId);
  const headers: Record<string, string> = {
    // Bytes from strangers: never to be shown as a page of this service.
    "content-type": "application/octet-stream",
    "content-disposition": "attachment",
    "x-content-type-options": "nosniff",
    "accept-ranges": "bytes",
    "cache-control": "no-cache", // an id's payload can be replaced
    "vary": "accept",
    "etag": `"${info.storageHash}"`,
    "repr-digest": `sha-256=:${
      Uint8Array.fromHex(info.storageHash).toBase64()
    }:`,
    "poh-timestamp": jsonFloat(info.timestamp),
  };
  if (holder.length <= MAX_HEADER) headers["poh-holder-id"] = holder;
  return headers;
}

/** Unknown for what an older package saved. */
function length({ size }: TxInfo): Record<string, string> {
  return size < 0 ? {} : { "content-length": String(size) };
}

/** Whether a list of entity tags, as `If-None-Match` has it, names the payload. */
function matches(tags: string | null, { storageHash }: TxInfo): boolean {
  return tags !== null && tags.split(",").some((tag) => {
    const bare = tag.trim().replace(/^W\//, "");
    return bare === "*" || bare === `"${storageHash}"`;
  });
}

// --- parts ------------------------------------------------------------------

/** From byte `start` up to but not including `end`. */
interface Part {
  start: number;
  end: number;
}

/** The part that is asked for; null for all of it. */
async function partOf(
  { headers }: Request,
  { info, payload }: TxStream,
): Promise<Part | null> {
  const range = headers.get("range");
  const condition = headers.get("if-range");
  if (range === null || info.size < 0) return null;
  if (condition !== null && condition !== `"${info.storageHash}"`) return null;
  const part = parseRange(range, info.size);
  if (part !== "unsatisfiable") return part;
  await payload.cancel();
  throw new Problem("NO_SUCH_RANGE", `There are ${info.size} bytes`, {
    headers: { "content-range": `bytes */${info.size}` },
  });
}

/**
 * One range of bytes. Several, and what is no range, are ignored, as RFC 9110
 * allows: the answer is the whole then.
 */
export function parseRange(
  header: string,
  size: number,
): Part | null | "unsatisfiable" {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/i.exec(header.trim()) ?? [];
  if (!first && !last) return null;
  if (!first) {
    const count = Math.min(Number(last), size);
    return count === 0 ? "unsatisfiable" : { start: size - count, end: size };
  }
  const start = Number(first);
  const end = last ? Math.min(Number(last) + 1, size) : size;
  if (last && Number(last) < start) return null;
  return start < size ? { start, end } : "unsatisfiable";
}

async function partResponse(
  store: StorageManager,
  found: TxStream,
  part: Part,
  download: Download,
): Promise<Response> {
  const { info } = found;
  return new Response(await bodyOfPart(store, found, part, download), {
    status: 206,
    headers: {
      ...headersOf(info),
      "content-length": String(part.end - part.start),
      "content-range": `bytes ${part.start}-${part.end - 1}/${info.size}`,
    },
  });
}

async function bodyOfPart(
  store: StorageManager,
  found: TxStream,
  part: Part,
  download: Download,
): Promise<BodyInit> {
  if (isSmall(found.info)) {
    const whole = concat(await Array.fromAsync(found.payload));
    return whole.subarray(part.start, part.end);
  }
  const payload = await verifiedStream(store, found, download);
  return download.exchange.stream(cut(payload, part), payload);
}

/** The stream once more, after all of it has been verified. */
async function verifiedStream(
  store: StorageManager,
  { info, payload }: TxStream,
  { verifications, limits }: Download,
): Promise<ReadableStream<Uint8Array>> {
  const release = await verifications.take(1, limits.patience)
    .catch(async (error) => {
      await payload.cancel();
      throw error;
    });
  try {
    await drain(payload);
  } finally {
    release();
  }
  const again = await store.loadTxStream(info.txId);
  if (again?.info.storageHash === info.storageHash) return again.payload;
  await again?.payload.cancel();
  throw new Problem("REPLACED", "The payload has just been replaced");
}

/**
 * Reads a payload to its end.
 *
 * @returns How many bytes there were.
 * @throws {IntegrityError} If they do not have the promised digest.
 */
export async function drain(
  payload: ReadableStream<Uint8Array>,
): Promise<number> {
  let size = 0;
  for await (const piece of payload) size += piece.length;
  return size;
}

// --- streams ----------------------------------------------------------------

/** All but the last piece as they come; the last one when the stream has ended well. */
async function* heldBack(
  payload: ReadableStream<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let last: Uint8Array | null = null;
  for await (const piece of payload) {
    if (last) yield last;
    last = piece;
  }
  if (last) yield last;
}

async function* cut(
  payload: ReadableStream<Uint8Array>,
  { start, end }: Part,
): AsyncGenerator<Uint8Array> {
  let at = 0;
  for await (const piece of payload) {
    const from = Math.max(0, start - at), to = Math.min(end - at, piece.length);
    if (from < to) yield piece.subarray(from, to);
    at += piece.length;
    if (at >= end) return; // which cancels the rest
  }
}

/** The JSON of a transaction, line feed and all, whose payload is large. */
export async function* jsonPieces(
  { info, payload }: TxStream,
): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  yield encoder.encode(txLineStart(info));
  for await (const text of base64Of(payload)) yield encoder.encode(text);
  yield encoder.encode(TX_LINE_END);
}
