/**
 * The routes of transactions.
 *
 * @module
 */

import { infoJson, savedJson } from "../format/tx_json.ts";
import type { SavedTx } from "../model/if_exists.ts";
import { ifMatchToDelete } from "./conditions.ts";
import { listTxs } from "./listing.ts";
import {
  JSON_TYPE,
  mediaType,
  METADATA_HEADERS,
  NDJSON_TYPES,
  unsupportedType,
  wants,
} from "./media_types.ts";
import { loadTxs } from "./load_many.ts";
import { OF_CHANGES, OF_STORE } from "./openapi.ts";
import { type Download, jsonResponse, payloadResponse } from "./payload.ts";
import { unknownTx } from "./problem.ts";
import type { ProblemCode } from "./problem_codes.ts";
import { headOf, LIST_QUERY } from "./query.ts";
import {
  type AnswerKind,
  type Call,
  idOf,
  jsonContent,
  type Parameter,
  plainText,
  ref,
  type Route,
} from "./route.ts";
import type { Service } from "./service.ts";
import { saveLines, saveLinesTellingEach } from "./upload_lines.ts";
import { saveOne, savePayload, txOf, txOfBroadcast } from "./uploads.ts";

const ETAG: Parameter = { description: "The payload's SHA-256 in hex, quoted" };

/** What is said of a payload in headers. */
const PAYLOAD_HEADERS: Readonly<Record<string, Parameter>> = {
  "ETag": ETAG,
  "Repr-Digest": { description: "The payload's SHA-256 as of RFC 9530" },
  "Poh-Timestamp": {
    description: "UNIX time in seconds",
    schema: { type: "number" },
  },
  "Poh-Holder-Id": {
    description:
      "Id of the holder, percent-encoded; absent when longer than 1024 characters",
  },
  "Accept-Ranges": { description: "bytes" },
};

const IF_MATCH: Parameter = {
  description:
    "Entity tags, or *: only where the transaction that is there has one of them, else 412",
};

const CONDITIONS: Readonly<Record<string, Parameter>> = {
  "If-Match": IF_MATCH,
  "If-None-Match": {
    description:
      "* saves only where there is no transaction of that id, else 412",
    schema: { type: "string", enum: ["*"] },
  },
};

const DIGEST: Parameter = {
  description:
    "SHA-256 that the body is to have, as of RFC 9530; else nothing is saved",
};

/** What a save came to. */
const SAVED: Readonly<Record<number, AnswerKind>> = {
  200: {
    description: "It has replaced another one, or is unchanged",
    headers: { "ETag": ETAG, "Location": { description: "Its path" } },
    content: jsonContent(ref("SavedTx")),
  },
  201: {
    description: "Saved, new",
    headers: { "ETag": ETAG, "Location": { description: "Its path" } },
    content: jsonContent(ref("SavedTx")),
  },
};

/** The problems of what saves. */
const OF_SAVES: readonly ProblemCode[] = [
  ...OF_CHANGES,
  "DIGEST_MISMATCH",
  "EXISTS",
  "INVALID_DIGEST",
  "INVALID_TX",
  "INVALID_TX_ID",
  "PRECONDITION_FAILED",
];

/** The problems of what saves from JSON. */
const OF_JSON: readonly ProblemCode[] = [
  ...OF_SAVES,
  "NOT_JSON",
  "TOO_LARGE",
  "UNSUPPORTED_TYPE",
];

const BINARY = { "application/octet-stream": {} };

/** These routes. */
export const txRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/txs",
    scope: "read",
    operation: {
      id: "listTxs",
      summary: "Transactions, in the order of their ids unless asked",
      description:
        "With Accept: application/x-ndjson all of them, a TxInfo a line.",
      query: LIST_QUERY,
      answers: {
        200: {
          description: "A page of them",
          headers: { "Link": { description: "The next page, as of RFC 8288" } },
          content: jsonContent(ref("Page")),
        },
      },
      problems: [...OF_STORE, "CURSOR_GONE"],
    },
    handle: (c, service) => listTxs(service.store, c.env),
  },
  {
    method: "POST",
    path: "/txs/get",
    scope: "read",
    operation: {
      id: "loadTxs",
      summary: "Many transactions by their ids, verified",
      description:
        "The answer has a line for each id, in this order: a Tx, or its tx_id with an error. A connection that breaks off before the end means that a large payload proved to be damaged.",
      body: jsonContent(ref("TxIds")),
      answers: {
        200: {
          description: "Lines of JSON",
          content: { "application/x-ndjson": { schema: ref("LoadedLine") } },
        },
      },
      problems: [...OF_STORE, "TOO_LARGE", "UNSUPPORTED_TYPE"],
    },
    handle: (c, service) => {
      if (mediaType(c.env.request) !== JSON_TYPE) {
        throw unsupportedType([JSON_TYPE]);
      }
      return loadTxs(service, c.env);
    },
  },
  {
    method: "POST",
    path: "/txs",
    scope: "write",
    operation: {
      id: "saveTx",
      summary: "Save one transaction, or many as NDJSON",
      description:
        "Another one of the same id is replaced; in a write-once store it is kept, and the answer is 409. The same one again changes nothing. With Content-Type: application/x-ndjson a line is a Tx, and the answer counts them; it stops at the first bad line; what stands before it is saved. With Accept: application/x-ndjson as well the answer has a line for each, and a bad line stops no other.",
      headers: { ...CONDITIONS, "Content-Digest": DIGEST },
      body: jsonContent(ref("Tx")),
      answers: SAVED,
      problems: OF_JSON,
    },
    handle: postTxs,
  },
  {
    method: "GET",
    path: "/txs/{id}",
    scope: "read",
    operation: {
      id: "loadTx",
      summary: "A transaction's payload, verified",
      description:
        "A connection that breaks off before the end means that the payload proved to be damaged. One range of bytes may be asked for; it is sent after the whole payload has been verified. With Accept: application/json the answer is a Tx.",
      headers: {
        "If-Match": IF_MATCH,
        "If-None-Match": { description: "Entity tags: 304 for one of them" },
        "Range": { description: "bytes=<first>-<last>" },
        "If-Range": { description: "The entity tag of which a range is meant" },
      },
      answers: {
        200: {
          description: "The payload",
          headers: PAYLOAD_HEADERS,
          content: BINARY,
        },
        206: {
          description: "The range that was asked for",
          headers: {
            ...PAYLOAD_HEADERS,
            "Content-Range": { description: "Which bytes, of how many" },
          },
          content: BINARY,
        },
        304: {
          description: "As If-None-Match has it",
          headers: { ETag: ETAG },
        },
      },
      problems: [
        ...OF_STORE,
        "INTEGRITY",
        "INVALID_TX_ID",
        "NO_SUCH_RANGE",
        "PRECONDITION_FAILED",
        "REPLACED",
        "UNKNOWN_TX",
        "UNREADABLE",
      ],
      head: {
        id: "headTx",
        summary: "What the metadata says; the payload is not looked at",
      },
    },
    handle: getTx,
  },
  {
    method: "PUT",
    path: "/txs/{id}",
    scope: "write",
    operation: {
      id: "putTx",
      summary: "Save a transaction whose payload is the body, of any size",
      description:
        "Holder and time are said in the query or in the headers Poh-Holder-Id and Poh-Timestamp. Otherwise as saveTx.",
      query: {
        holder: { description: "Id of the holder" },
        timestamp: { description: "UNIX seconds or an ISO 8601 date" },
      },
      headers: {
        ...CONDITIONS,
        "Content-Digest": DIGEST,
        "Repr-Digest": DIGEST,
        "Poh-Holder-Id": { description: "Id of the holder, percent-encoded" },
        "Poh-Timestamp": { description: "UNIX seconds or an ISO 8601 date" },
      },
      body: BINARY,
      answers: SAVED,
      problems: OF_SAVES,
    },
    handle: putTx,
  },
  {
    method: "DELETE",
    path: "/txs/{id}",
    scope: "write",
    operation: {
      id: "deleteTx",
      summary: "Delete a transaction",
      headers: { "If-Match": IF_MATCH },
      answers: { 204: { description: "Deleted" } },
      problems: [
        ...OF_CHANGES,
        "INVALID_TX_ID",
        "PRECONDITION_FAILED",
        "UNKNOWN_TX",
      ],
    },
    handle: deleteTx,
  },
  {
    method: "GET",
    path: "/txs/{id}/info",
    scope: "read",
    operation: {
      id: "txInfo",
      summary: "What the metadata says, as JSON; the payload is not looked at",
      answers: {
        200: {
          description: "It is known",
          content: jsonContent(ref("TxInfo")),
        },
      },
      problems: [...OF_STORE, "INVALID_TX_ID", "UNKNOWN_TX"],
    },
    handle: async (c, service) => {
      const txId = idOf(c);
      const info = await service.store.infoTx(txId);
      if (!info) throw unknownTx(txId);
      return c.body(infoJson(info), 200, {
        ...METADATA_HEADERS,
        "content-type": JSON_TYPE,
      });
    },
  },
  {
    method: "POST",
    path: "/broadcast",
    scope: "write",
    operation: {
      id: "broadcast",
      summary: "Save one transaction whose payload is latin-1 text",
      headers: { ...CONDITIONS, "Content-Digest": DIGEST },
      body: jsonContent(ref("Broadcast")),
      answers: { 200: plainText("OK") },
      problems: OF_JSON,
    },
    handle: broadcast,
  },
];

function getTx(c: Call, service: Service): Response | Promise<Response> {
  const { verifications, limits, store } = service;
  const { request } = c.env;
  const download: Download = {
    request,
    exchange: c.env,
    verifications,
    limits,
  };
  const respond = wants(request, JSON_TYPE) ? jsonResponse : payloadResponse;
  return respond(store, idOf(c), download);
}

// --- changes ----------------------------------------------------------------

async function postTxs(c: Call, service: Service): Promise<Response> {
  const { store, room, limits, metrics } = service;
  const type = mediaType(c.env.request);
  if (NDJSON_TYPES.includes(type)) {
    const upload = {
      store,
      exchange: c.env,
      room,
      limits,
      metrics,
      problemOf: (error: unknown) => service.problemOf(error),
    };
    return NDJSON_TYPES.some((type) => wants(c.env.request, type))
      ? await saveLinesTellingEach(upload)
      : c.json(await saveLines(upload));
  }
  if (type !== JSON_TYPE) throw unsupportedType([JSON_TYPE, ...NDJSON_TYPES]);
  const saved = await saveOne(store, c.env.request, txOf, room, limits);
  metrics.saved(saved);
  return savedResponse(c, saved);
}

async function putTx(c: Call, service: Service): Promise<Response> {
  const { store, room, limits, metrics } = service;
  const { request, query } = c.env;
  const head = headOf(idOf(c), query, request.headers);
  const saved = await savePayload(store, head, request, room, limits);
  metrics.saved(saved);
  return savedResponse(c, saved);
}

function savedResponse(c: Call, saved: SavedTx): Response {
  return c.body(savedJson(saved), saved.outcome === "created" ? 201 : 200, {
    "content-type": JSON_TYPE,
    // Deno 2.7 would compress it, and make the entity tag a weak one.
    "cache-control": "no-store, no-transform",
    "location": `/txs/${encodeURIComponent(saved.txId)}`,
    "etag": `"${saved.storageHash}"`,
  });
}

async function deleteTx(c: Call, service: Service): Promise<Response> {
  const txId = idOf(c);
  const ifMatch = ifMatchToDelete(c.env.request.headers);
  const options = ifMatch === undefined ? {} : { ifMatch };
  if (!await service.store.deleteTx(txId, options)) throw unknownTx(txId);
  service.metrics.deleted();
  return c.body(null, 204);
}

async function broadcast(c: Call, service: Service): Promise<Response> {
  const { store, room, limits, metrics } = service;
  if (mediaType(c.env.request) !== JSON_TYPE) {
    throw unsupportedType([JSON_TYPE]);
  }
  metrics.saved(
    await saveOne(store, c.env.request, txOfBroadcast, room, limits),
  );
  return c.text("OK");
}
