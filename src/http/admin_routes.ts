/**
 * The routes of those who operate the service: checks, quarantine, backup.
 *
 * @module
 */

import { descriptionJson } from "../format/report_json.ts";
import { infoJson } from "../format/tx_json.ts";
import { describeStore } from "../describe.ts";
import { backupResponse } from "./backup.ts";
import { checkResponse } from "./checks.ts";
import { bodyOf } from "./limits.ts";
import {
  JSON_TYPE,
  mediaType,
  METADATA_HEADERS,
  NDJSON_TYPES,
  unsupportedType,
} from "./media_types.ts";
import { OF_CHANGES, OF_STORE } from "./openapi.ts";
import { Problem } from "./problem.ts";
import { type Call, jsonContent, ref, type Route } from "./route.ts";
import type { Service } from "./service.ts";

const LINES = {
  200: {
    description:
      "Lines of JSON: progress, findings, and at the end the report or an error",
    content: { "application/x-ndjson": { schema: ref("CheckLine") } },
  },
};

/** These routes. */
export const adminRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/admin/info",
    scope: "admin",
    operation: {
      id: "describeStore",
      summary: "Describe the store, as info --json does",
      answers: {
        200: {
          description: "What it holds, where, and by what",
          content: jsonContent({ type: "object", additionalProperties: true }),
        },
      },
      problems: OF_STORE,
    },
    handle: async (c, service) => {
      const { base, db, storage } = placeOf(service);
      const description = await describeStore(base, db, {
        ...storage,
        readOnly: true,
      });
      return c.body(descriptionJson(description), 200, {
        ...METADATA_HEADERS,
        "content-type": JSON_TYPE,
      });
    },
  },
  {
    method: "POST",
    path: "/admin/verify",
    scope: "admin",
    operation: {
      id: "verify",
      summary: "Read everything, report what is wrong, change nothing",
      description:
        "It ends when the client goes, or the service stops: the report says interrupted then.",
      query: {
        sample: {
          description: "Only a random share, above 0 and up to 1",
          schema: { type: "number", exclusiveMinimum: 0, maximum: 1 },
        },
      },
      body: jsonContent({ type: "object", maxProperties: 0 }),
      answers: LINES,
      problems: [...OF_STORE, "CHECK_RUNNING", "UNSUPPORTED_TYPE"],
    },
    handle: async (c, service) => {
      await requireJson(c, service);
      const text = c.env.query.get("sample");
      const sample = text === null ? undefined : shareOf(text);
      return checkResponse(service, c.env, async (told) => {
        const report = await service.store.verify({
          ...told,
          ...(sample !== undefined && { sample }),
        });
        // One of a share, or of less, says nothing of the rest.
        if (sample === undefined && !report.interrupted) {
          service.verified = { at: new Date(), report };
        }
        return report;
      });
    },
  },
  {
    method: "POST",
    path: "/admin/recover",
    scope: "admin",
    operation: {
      id: "recover",
      summary: "Repair what is proven to be damaged; changes wait meanwhile",
      description:
        "What nothing heals goes to quarantine. Where another process has the store open nothing is repaired: the error is BUSY.",
      query: {
        "dry-run": {
          description: "true: only tell what would be done",
          schema: { type: "string", enum: ["true", "false"] },
        },
      },
      body: jsonContent({ type: "object", maxProperties: 0 }),
      answers: LINES,
      problems: [...OF_CHANGES, "CHECK_RUNNING", "UNSUPPORTED_TYPE"],
    },
    handle: async (c, service) => {
      await requireJson(c, service);
      const dryRun = flagOf("dry-run", c.env.query.get("dry-run"));
      return checkResponse(service, c.env, async (told) => {
        const report = await service.store.recover({ ...told, dryRun });
        if (!dryRun) {
          service.recovery = { kind: "done", at: new Date(), report };
        }
        return report;
      });
    },
  },
  {
    method: "GET",
    path: "/admin/quarantine",
    scope: "admin",
    operation: {
      id: "listQuarantine",
      summary: "What recover took out of service, in no order",
      answers: {
        200: {
          description: "A line of JSON each",
          content: {
            "application/x-ndjson": { schema: ref("QuarantineCase") },
          },
        },
      },
      problems: OF_STORE,
    },
    handle: (c, service) =>
      new Response(c.env.stream(casesOf(service)), {
        headers: { ...METADATA_HEADERS, "content-type": NDJSON_TYPES[0]! },
      }),
  },
  {
    method: "POST",
    path: "/admin/quarantine/{name}/restore",
    scope: "admin",
    operation: {
      id: "restoreQuarantined",
      summary: "Put a case back into service whose bytes have their digest",
      body: jsonContent({ type: "object", maxProperties: 0 }),
      answers: {
        200: {
          description: "It is back in service",
          content: jsonContent(ref("TxInfo")),
        },
      },
      problems: [
        ...OF_CHANGES,
        "EXISTS",
        "INTEGRITY",
        "NOTE_DAMAGED",
        "NOT_IN_QUARANTINE",
        "NO_ROW",
        "UNSUPPORTED_TYPE",
      ],
    },
    handle: async (c, service) => {
      await requireJson(c, service);
      const name = nameOf(c);
      const info = await service.store.restoreQuarantined(name);
      return c.body(infoJson(info), 200, {
        "content-type": JSON_TYPE,
        "cache-control": "no-store",
      });
    },
  },
  {
    method: "GET",
    path: "/admin/backup",
    scope: "admin",
    operation: {
      id: "backup",
      summary: "Back up the store as a tar archive, as backup --tar does",
      description:
        "An archive is whole when the response ends as HTTP says it must; a connection that breaks off leaves none. Damaged transactions are left out, and logged.",
      answers: {
        200: {
          description: "The archive, for restore, and for recover --from",
          content: { "application/x-tar": {} },
        },
      },
      problems: [...OF_STORE, "LOCAL_ONLY"],
    },
    handle: (c, service) => backupResponse(service, c.env),
  },
];

/** Where the store is, once it is open. */
function placeOf(service: Service): Service["place"] {
  return service.store && service.place;
}

/**
 * Reads a body that must be empty or `{}`, and must be said to be JSON.
 *
 * @throws {Problem} If it is anything else.
 */
async function requireJson(
  { env: { request } }: Call,
  { limits }: Service,
): Promise<void> {
  if (mediaType(request) !== JSON_TYPE) throw unsupportedType([JSON_TYPE]);
  let size = 0, text = "";
  for await (const piece of bodyOf(request, limits)) {
    size += piece.length;
    if (size > 100) break;
    text += new TextDecoder().decode(piece);
  }
  if (size <= 100 && /^\s*(\{\s*\})?\s*$/.test(text)) return;
  throw new Problem(
    "INVALID_REQUEST",
    "The body must be {}: options stand in the query",
  );
}

function shareOf(text: string): number {
  const share = Number(text);
  if (text !== "" && share > 0 && share <= 1) return share;
  throw new Problem(
    "INVALID_REQUEST",
    `sample must be a number above 0 and up to 1, got ${JSON.stringify(text)}`,
  );
}

function flagOf(name: string, text: string | null): boolean {
  if (text === null || text === "true" || text === "false") {
    return text === "true";
  }
  throw new Problem(
    "INVALID_REQUEST",
    `${name} must be true or false, got ${JSON.stringify(text)}`,
  );
}

function nameOf({ env: { path } }: Call): string {
  const segment = path.split("/")[3]!;
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new Problem("NOT_IN_QUARANTINE", "There is no such case");
  }
}

async function* casesOf({ store }: Service): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  for await (const { txId, row, ...entry } of store.listQuarantine()) {
    const start = JSON.stringify({ ...entry, tx_id: txId }).slice(0, -1);
    yield encoder.encode(`${start},"row":${row ? infoJson(row) : null}}\n`);
  }
}
