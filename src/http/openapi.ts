/**
 * The description of the interface, for programs.
 *
 * @module
 */

import { filterFields } from "../model/filter.ts";
import type { Limits } from "./limits.ts";
import { PAGE_PARAMETERS } from "./page.ts";

const TX_ID = {
  name: "id",
  in: "path",
  required: true,
  description:
    "Id of the transaction, percent-encoded as encodeURIComponent does. Clients that resolve . and .. in paths cannot name transactions with those two ids.",
  schema: { type: "string", minLength: 1 },
};

const digestHeaders = {
  "ETag": {
    description: "The payload's SHA-256 in hex",
    schema: { type: "string" },
  },
  "Repr-Digest": {
    description: "The payload's SHA-256 as of RFC 9530",
    schema: { type: "string" },
  },
  "Poh-Timestamp": {
    description: "UNIX time in seconds",
    schema: { type: "number" },
  },
  "Poh-Holder-Id": {
    description:
      "Id of the holder, percent-encoded; absent when longer than 1024 characters",
    schema: { type: "string" },
  },
};

const PROBLEM = { $ref: "#/components/responses/Problem" };

/** What each request may be answered with: 401 or 421 by who asks, 503 for now. */
function problems(...statuses: number[]): Record<string, unknown> {
  return Object.fromEntries(
    [401, 421, 503, ...statuses].map((status) => [status, PROBLEM]),
  );
}

function query(
  name: string,
  description: string,
  type: "string" | "integer" = "string",
): Record<string, unknown> {
  return { name, in: "query", description, schema: { type } };
}

function json(schema: string): Record<string, unknown> {
  return { "application/json": { schema: ref(schema) } };
}

function ref(schema: string): { $ref: string } {
  return { $ref: `#/components/schemas/${schema}` };
}

function plain(description: string): Record<string, unknown> {
  return {
    description,
    content: { "text/plain": { schema: { type: "string" } } },
  };
}

function digestHeader(name: string): Record<string, unknown> {
  return {
    name,
    in: "header",
    description: "SHA-256 that the payload is to have, as of RFC 9530",
    schema: { type: "string" },
  };
}

const ifMatch = {
  name: "If-Match",
  in: "header",
  description:
    "Entity tags, or *: makes the change only where the transaction that is there has one of them, else 412",
  schema: { type: "string" },
};

const createOnly = {
  name: "If-None-Match",
  in: "header",
  description:
    "* saves only where there is no transaction of that id, else 412",
  schema: { type: "string", enum: ["*"] },
};

const payload = {
  description:
    "The payload. A connection that breaks off before its end means that the payload proved to be damaged.",
  headers: digestHeaders,
  content: {
    "application/octet-stream": {
      schema: { type: "string", format: "binary" },
    },
    "application/json": { schema: ref("Tx") },
  },
};

/** The OpenAPI document of a service with these limits. */
export function openApi({ maxBody }: Pick<Limits, "maxBody">) {
  return {
    openapi: "3.1.0",
    info: {
      title: "poh-storage",
      version: "1",
      description:
        "Verified, crash-safe storage of transactions. A save that was answered survives power loss.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    security: [{ token: [] }, { password: [] }, {}],
    paths: {
      "/txs": {
        get: {
          operationId: "listTxs",
          summary: "Transactions in the order of their ids",
          parameters: filterFields.map(([name, { option, kind, help }]) =>
            query(
              option,
              name === "limit"
                ? "At most so many; of JSON at most 1000, and 100 unless given"
                : help,
              kind === "count" ? "integer" : "string",
            )
          ),
          responses: {
            200: {
              description: "A page of them, or with NDJSON all of them",
              content: {
                ...json("Page"),
                "application/x-ndjson": { schema: ref("TxInfo") },
              },
            },
            ...problems(400),
          },
        },
        post: {
          operationId: "saveTxs",
          summary: "Save one transaction, or many as NDJSON",
          description:
            `Another one of the same id is replaced; in a write-once store it is kept, and the answer is 409. The same one again changes nothing. A transaction may be ${maxBody} bytes long as JSON. NDJSON stops at the first bad line; what stands before it is saved.`,
          parameters: [createOnly, ifMatch],
          requestBody: {
            required: true,
            content: {
              ...json("Tx"),
              "application/x-ndjson": { schema: ref("Tx") },
            },
          },
          responses: {
            200: {
              description:
                "It has replaced another one, or is unchanged; or all lines of NDJSON are done",
              content: {
                "application/json": {
                  schema: { oneOf: [ref("SavedTx"), ref("SaveCounts")] },
                },
              },
            },
            201: { description: "Saved, new", content: json("SavedTx") },
            ...problems(400, 408, 409, 412, 413, 415, 501),
          },
        },
      },
      "/txs/{id}": {
        parameters: [TX_ID],
        get: {
          operationId: "loadTx",
          summary: "A transaction's payload, or all of it as JSON; verified",
          description:
            "One range of bytes may be asked for; it is sent after the whole payload has been verified.",
          responses: {
            200: payload,
            206: { ...payload, description: "The range that was asked for" },
            304: { description: "As If-None-Match has it" },
            ...problems(400, 404, 409, 416, 500),
          },
        },
        head: {
          operationId: "infoTx",
          summary: "What the metadata says; the payload is not looked at",
          responses: {
            200: { description: "It is known", headers: digestHeaders },
            304: { description: "As If-None-Match has it" },
            ...problems(400, 404),
          },
        },
        put: {
          operationId: "putTx",
          summary: "Save a transaction whose payload is the body, of any size",
          description:
            "What is said in the query can be said in the headers Poh-Holder-Id (percent-encoded) and Poh-Timestamp instead. Otherwise as saveTxs.",
          parameters: [
            query("holder", "Id of the holder"),
            query("timestamp", "UNIX seconds or an ISO 8601 date"),
            digestHeader("Repr-Digest"),
            digestHeader("Content-Digest"),
            createOnly,
            ifMatch,
          ],
          requestBody: {
            required: true,
            content: {
              "application/octet-stream": {
                schema: { type: "string", format: "binary" },
              },
            },
          },
          responses: {
            200: {
              description: "It has replaced another one, or is unchanged",
              content: json("SavedTx"),
            },
            201: { description: "Saved, new", content: json("SavedTx") },
            ...problems(400, 408, 409, 412, 415, 501),
          },
        },
        delete: {
          operationId: "deleteTx",
          summary: "Delete a transaction",
          parameters: [ifMatch],
          responses: {
            204: { description: "Deleted" },
            ...problems(400, 404, 412),
          },
        },
      },
      "/txs/{id}/info": {
        parameters: [TX_ID],
        get: {
          operationId: "txInfo",
          summary:
            "What the metadata says, as JSON; the payload is not looked at",
          responses: {
            200: { description: "It is known", content: json("TxInfo") },
            ...problems(400, 404),
          },
        },
      },
      "/broadcast": {
        post: {
          operationId: "broadcast",
          summary: "Save one transaction whose payload is latin-1 text",
          requestBody: { required: true, content: json("Broadcast") },
          responses: {
            200: plain("OK"),
            ...problems(400, 408, 409, 413, 415),
          },
        },
      },
      "/healthz": {
        get: {
          operationId: "health",
          summary: "Whether the process answers",
          security: [],
          responses: { 200: plain("OK") },
        },
      },
      "/readyz": {
        get: {
          operationId: "ready",
          summary: "Whether transactions are served: recovery is done",
          security: [],
          responses: { 200: plain("OK"), 503: PROBLEM },
        },
      },
      "/metrics": {
        get: {
          operationId: "metrics",
          summary: "Figures for Prometheus",
          responses: { 200: plain("Text format 0.0.4"), ...problems() },
        },
      },
      "/openapi.json": {
        get: {
          operationId: "describe",
          summary: "This description",
          responses: {
            200: {
              description: "OpenAPI 3.1",
              content: { "application/json": { schema: { type: "object" } } },
            },
            ...problems(),
          },
        },
      },
      "/": {
        get: {
          operationId: "page",
          summary: "The page for people",
          parameters: Object.entries(PAGE_PARAMETERS)
            .map(([name, description]) => query(name, description)),
          responses: {
            200: {
              description: "HTML",
              content: { "text/html": { schema: { type: "string" } } },
            },
            ...problems(400, 404),
          },
        },
      },
      "/style.css": {
        get: {
          operationId: "style",
          summary: "The page's style sheet",
          responses: {
            200: {
              description: "CSS",
              content: { "text/css": { schema: { type: "string" } } },
            },
            ...problems(),
          },
        },
      },
    },
    components: {
      securitySchemes: {
        token: { type: "http", scheme: "bearer" },
        password: {
          type: "http",
          scheme: "basic",
          description: "The token as the password of any user, for browsers",
        },
      },
      responses: {
        Problem: {
          description: "What is wrong, as of RFC 9457",
          content: {
            "application/problem+json": { schema: ref("Problem") },
          },
        },
      },
      schemas: {
        Tx: txSchema("Standard base64 with padding"),
        Broadcast: txSchema(
          "One character from U+0000 to U+00FF for each byte",
        ),
        TxInfo: {
          type: "object",
          required: ["tx_id", "holder_id", "timestamp", "storage_hash", "size"],
          properties: {
            ...head,
            timestamp: {
              type: ["number", "null"],
              description:
                "UNIX time in seconds; null where another program saved one that is not finite",
            },
            storage_hash: {
              type: "string",
              description: "SHA-256 of the payload in hex",
            },
            size: {
              type: "integer",
              description: "Bytes; -1 where an older package saved none",
            },
          },
        },
        SavedTx: {
          allOf: [ref("TxInfo"), {
            type: "object",
            required: ["outcome", "saved"],
            properties: {
              outcome: {
                type: "string",
                enum: ["created", "replaced", "unchanged"],
              },
              saved: {
                type: "boolean",
                description: "Whether the store has changed",
              },
            },
          }],
        },
        SaveCounts: {
          type: "object",
          required: Object.keys(counts),
          properties: counts,
        },
        Page: {
          type: "object",
          required: ["txs", "next"],
          properties: {
            txs: { type: "array", items: ref("TxInfo") },
            next: {
              type: ["string", "null"],
              description: "URL of the next page",
            },
          },
        },
        Problem: {
          type: "object",
          required: ["type", "title", "status", "detail", "code"],
          properties: {
            type: { type: "string" },
            title: { type: "string" },
            status: { type: "integer" },
            detail: { type: "string" },
            code: { type: "string", description: "Stable name of the problem" },
            field: { type: "string", description: "The field at fault" },
            line: { type: "integer", description: "The NDJSON line at fault" },
            tx_id: { type: "string", description: "The id that is taken" },
            storage_hash: {
              type: "string",
              description: "SHA-256 of the payload that is there, in hex",
            },
            found: {
              type: ["string", "null"],
              description: "SHA-256 of the payload at fault, in hex",
            },
            ...counts,
          },
        },
      },
    },
  };
}

/** What became of the lines of NDJSON; in a problem, of those before it. */
const counts = {
  txs: { type: "integer", description: "NDJSON lines that are done" },
  created: { type: "integer", description: "Of them, new" },
  replaced: { type: "integer", description: "Of them, in place of others" },
  unchanged: { type: "integer", description: "Of them, there already" },
  kept: { type: "integer", description: "Always 0: others are never kept" },
};

const head = {
  tx_id: { type: "string", minLength: 1 },
  holder_id: { type: "string" },
  timestamp: { type: "number", description: "UNIX time in seconds" },
};

function txSchema(payload: string): Record<string, unknown> {
  return {
    type: "object",
    additionalProperties: false,
    required: ["tx_id", "holder_id", "timestamp", "payload"],
    properties: { ...head, payload: { type: "string", description: payload } },
  };
}
