/**
 * The JSON of bodies, as schemas of the description.
 *
 * @module
 */

import { PROBLEM_CODES, TITLES } from "./problem_codes.ts";
import { ref, type Schema, TEXT } from "./route.ts";

/** So many transactions may be asked for at once. */
export const MOST_IDS = 1_000;

const COUNT: Schema = { type: "integer", minimum: 0 };

/** What became of the lines of NDJSON; in a problem, of those before it. */
const counts = {
  txs: { ...COUNT, description: "NDJSON lines that are done" },
  created: { ...COUNT, description: "Of them, new" },
  replaced: { ...COUNT, description: "Of them, in place of others" },
  unchanged: { ...COUNT, description: "Of them, there already" },
  kept: { ...COUNT, description: "Always 0: others are never kept" },
};

const head = {
  tx_id: { type: "string", minLength: 1 },
  holder_id: TEXT,
  timestamp: { type: "number", description: "UNIX time in seconds" },
};

const digest = {
  type: "string",
  description: "SHA-256 of the payload in hex",
};

const info = {
  ...head,
  timestamp: {
    type: ["number", "null"],
    description:
      "UNIX time in seconds; null where another program saved one that is not finite",
  },
  storage_hash: digest,
  size: {
    type: "integer",
    description: "Bytes; -1 where an older package saved none",
  },
};

/** An object that has all of these members. */
function object(properties: Record<string, Schema>): Schema {
  return { type: "object", required: Object.keys(properties), properties };
}

function tx(payload: string): Schema {
  return {
    ...object({ ...head, payload: { ...TEXT, description: payload } }),
    additionalProperties: false,
  };
}

/** All of them by name. */
export const SCHEMAS: Readonly<Record<string, Schema>> = {
  Tx: tx("Standard base64 with padding"),
  Broadcast: tx("One character from U+0000 to U+00FF for each byte"),
  TxInfo: object(info),
  SavedTx: object({
    ...info,
    outcome: { type: "string", enum: ["created", "replaced", "unchanged"] },
    saved: { type: "boolean", description: "Whether the store has changed" },
  }),
  Page: object({
    txs: { type: "array", items: ref("TxInfo") },
    next: { type: ["string", "null"], description: "URL of the next page" },
  }),
  TxIds: {
    ...object({
      tx_ids: { type: "array", items: head.tx_id, maxItems: MOST_IDS },
    }),
    additionalProperties: false,
  },
  LoadedLine: {
    oneOf: [
      ref("Tx"),
      object({ tx_id: head.tx_id, error: ref("Problem") }),
    ],
  },
  CheckLine: {
    oneOf: [
      object({ progress: { type: "object", additionalProperties: true } }),
      object({ finding: { type: "object", additionalProperties: true } }),
      object({ report: { type: "object", additionalProperties: true } }),
      object({ error: ref("Problem") }),
    ],
  },
  QuarantineCase: object({
    name: { type: "string", description: "Names the case" },
    tx_id: { type: ["string", "null"] },
    reason: TEXT,
    at: { type: "string", format: "date-time" },
    expected: { type: ["string", "null"], description: "SHA-256 in hex" },
    found: { type: ["string", "null"], description: "SHA-256 in hex" },
    size: { type: ["integer", "null"] },
    row: { oneOf: [ref("TxInfo"), { type: "null" }] },
  }),
  Problem: {
    type: "object",
    required: ["type", "title", "status", "detail", "code"],
    properties: {
      type: TEXT,
      title: { type: "string", enum: Object.values(TITLES) },
      status: { type: "integer", enum: Object.keys(TITLES).map(Number) },
      detail: { type: "string", description: "For people" },
      code: {
        type: "string",
        description: "Stable name of the problem",
        enum: Object.keys(PROBLEM_CODES),
      },
      field: { type: "string", description: "The field at fault" },
      line: { type: "integer", description: "The NDJSON line at fault" },
      limit: { type: "integer", description: "The limit that was passed" },
      tx_id: { type: "string", description: "The id that is taken" },
      storage_hash: {
        type: ["string", "null"],
        description:
          "SHA-256 of the payload that is there, in hex; null: there is none",
      },
      expected: digest,
      found: {
        type: ["string", "null"],
        description: "SHA-256 of the payload at fault, in hex",
      },
      ...counts,
    },
  },
};
