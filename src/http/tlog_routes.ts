/**
 * The routes of the transparency log: C2SP tlog-tiles for auditors and witnesses,
 * proofs for whoever may read, answers to challenges.
 *
 * @module
 */

import { PohStorageError } from "../errors.ts";
import { UsageError } from "../format/usage_error.ts";
import type { StoreLog } from "../model/tlog.ts";
import { type Challenge, parseChallenge } from "../proofs/challenge.ts";
import { parseCheckpoint } from "../proofs/checkpoint.ts";
import { parseNote } from "../proofs/note.ts";
import { ProofError } from "../proofs/proof_error.ts";
import { TILE_WIDTH, tilePath, tileWidth } from "../proofs/tiles.ts";
import { NDJSON_TYPES } from "./media_types.ts";
import { OF_STORE } from "./openapi.ts";
import { Problem } from "./problem.ts";
import type { ProblemCode } from "./problem_codes.ts";
import { idOf, jsonContent, plainText, type Route } from "./route.ts";
import type { Service } from "./service.ts";
import { withBody } from "./uploads.ts";

/** Longest challenge, in bytes. */
const MOST_CHALLENGE = 64 * 1024;

/** Entries times chunks that a challenge may ask for: 32 MiB of chunks. */
const MOST_CHUNKS = 4096;

/** Bytes of payloads that are read for one answer. */
const MOST_READ = 1024 * 1024 * 1024;

/** What was served once under such a path never changes. */
const FOREVER = "public, max-age=31536000, immutable";

/** The problems of what is asked of the log. */
const OF_LOG: readonly ProblemCode[] = [
  ...OF_STORE,
  "NOT_LOGGED",
  "READ_ONLY",
  "TLOG_CONFLICT",
  "TLOG_DAMAGED",
  "TLOG_NONE",
];

const PLAIN = { "content-type": "text/plain; charset=utf-8" };

/** These routes. */
export const tlogRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/tlog/checkpoint",
    scope: "log",
    operation: {
      id: "checkpoint",
      summary: "The checkpoint of the transparency log, a signed note",
      answers: { 200: plainText("C2SP tlog-checkpoint") },
      problems: OF_LOG,
    },
    handle: async (c, service) =>
      c.body(await published(service.store.tlog), 200, {
        ...PLAIN,
        "cache-control": "max-age=5",
      }),
  },
  {
    method: "GET",
    path: "/tlog/tile/{tile}",
    isDeep: true,
    scope: "log",
    operation: {
      id: "tile",
      summary: "A tile of the transparency log, or a bundle of entries",
      description:
        "C2SP tlog-tiles: <level>/<index>, or entries/<index>, with .p/<width> where it is partial. What no checkpoint covers is not there.",
      answers: {
        200: {
          description: "Hashes of 32 bytes, or entries behind their lengths",
          content: { "application/octet-stream": {} },
        },
      },
      problems: [...OF_LOG, "NO_ROUTE"],
    },
    handle: async (c, service) => {
      const rest = c.env.path.slice("/tlog/tile/".length);
      const bytes = await tileAt(service.store.tlog, rest);
      if (!bytes) throw new Problem("NO_ROUTE", "There is no such tile");
      return c.body(bytes.slice(), 200, {
        "content-type": "application/octet-stream",
        "cache-control": FOREVER,
      });
    },
  },
  {
    method: "GET",
    path: "/tlog/consistency",
    scope: "read",
    operation: {
      id: "consistency",
      summary: "Proof that the log continues what it was",
      query: {
        from: {
          description: "The older size",
          schema: { type: "integer", minimum: 1 },
        },
      },
      answers: { 200: plainText("A consistency proof, for check") },
      problems: OF_LOG,
    },
    handle: async (c, service) => {
      const from = c.env.query.get("from") ?? "";
      if (!/^[1-9][0-9]{0,15}$/.test(from)) {
        throw new UsageError("from must be the older size, 1 or more");
      }
      const { tlog } = service.store;
      return c.body(await tlog.proveConsistency(Number(from)), 200, PLAIN);
    },
  },
  {
    method: "GET",
    path: "/txs/{id}/proof",
    scope: "read",
    operation: {
      id: "txProof",
      summary: "Proof that the published checkpoint covers a transaction",
      answers: { 200: plainText("A proof of inclusion, C2SP tlog-proof") },
      problems: [...OF_LOG, "INVALID_TX_ID", "TLOG_MISMATCH"],
    },
    handle: async (c, service) => {
      const { tlog } = service.store;
      return c.body(await tlog.proveInclusion(idOf(c)), 200, PLAIN);
    },
  },
  {
    method: "POST",
    path: "/tlog/holding",
    scope: "read",
    operation: {
      id: "holding",
      summary: "The answer to a challenge: chunks of payloads that it draws",
      description:
        "The body is a challenge as the command challenge prints it; entries times chunks are at most 4096. Only where the service has the log's key.",
      body: jsonContent({ type: "object" }),
      answers: {
        200: {
          description: "Lines of JSON, for check",
          content: { "application/x-ndjson": {} },
        },
      },
      problems: [
        ...OF_LOG,
        "KEY_UNKNOWN",
        "TLOG_MISMATCH",
        "TLOG_ROLLED_BACK",
        "TOO_LARGE",
      ],
    },
    handle: async (c, service) => {
      const challenge = await challengeOf(service, c.env.request);
      const answer = await answerTo(service, challenge);
      return new Response(c.env.stream(answer.pieces, answer), {
        headers: {
          "content-type": NDJSON_TYPES[0]!,
          "cache-control": "no-store",
        },
      });
    },
  },
];

async function published(tlog: StoreLog): Promise<string> {
  const note = await tlog.published();
  if (note !== null) return note;
  throw new PohStorageError("NOT_LOGGED", "No checkpoint is published");
}

/** A tile by its path below `tile/`; null where the checkpoint covers none. */
async function tileAt(
  tlog: StoreLog,
  rest: string,
): Promise<Uint8Array | null> {
  const [, first, groups, cut] =
    /^(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/){0,5}[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/
      .exec(rest) ?? [];
  if (first === undefined || groups === undefined) return null;
  const level = first === "entries" ? first : Number(first);
  const index = Number(groups.replace(/[x/]/g, ""));
  const width = cut === undefined ? TILE_WIDTH : Number(cut);
  // There is one way to write each.
  if (tilePath(level, index, width) !== `tile/${rest}`) return null;
  const { size } = parseCheckpoint(parseNote(await published(tlog)).text);
  const covered = tileWidth(level, index, size);
  if (width > covered) return null;
  const bytes = await tlog.tile(level, index);
  if (!bytes) return null;
  return level === "entries"
    ? firstEntries(bytes, width)
    : bytes.subarray(0, width * 32);
}

/** The first entries of a bundle, behind their lengths. */
function firstEntries(bundle: Uint8Array, count: number): Uint8Array {
  let end = 0;
  for (let n = 0; n < count; n++) {
    end += 2 + (bundle[end]! << 8 | bundle[end + 1]!);
  }
  return bundle.subarray(0, end);
}

/** The challenge that a request brings. */
async function challengeOf(
  service: Service,
  request: Request,
): Promise<Challenge> {
  const limits = { ...service.limits, maxBody: MOST_CHALLENGE };
  return await withBody(request, service.room, limits, (body) => {
    try {
      const challenge = parseChallenge(body);
      const { entries, chunks } = challenge;
      const drawn = typeof entries === "number" ? entries : entries.length;
      if (drawn * chunks <= MOST_CHUNKS) return challenge;
    } catch (error) {
      if (!(error instanceof ProofError)) throw error;
      throw new UsageError(error.message);
    }
    throw new UsageError(`entries times chunks are at most ${MOST_CHUNKS}`);
  });
}

/** An answer, which has one of the turns until it ends or is cancelled. */
interface HoldingAnswer {
  pieces: AsyncGenerator<Uint8Array>;
  cancel(): Promise<void>;
}

/** The answer; what keeps it from being made is told before it begins. */
async function answerTo(
  { store, logKey, holdings, limits }: Service,
  challenge: Challenge,
): Promise<HoldingAnswer> {
  if (!logKey) {
    throw new Problem("KEY_UNKNOWN", "The service has no key of the log");
  }
  const release = await holdings.take(1, limits.patience);
  const how = { ...logKey, maxRead: MOST_READ };
  const pieces = store.tlog.proveHolding(challenge, how);
  let isOver = false;
  const cancel = async () => {
    if (isOver) return;
    isOver = true;
    try {
      await pieces.return?.();
    } finally {
      release();
    }
  };
  try {
    const first = await pieces.next();
    return { pieces: goingOn(first, pieces, cancel), cancel };
  } catch (error) {
    await cancel();
    throw error;
  }
}

async function* goingOn(
  first: IteratorResult<Uint8Array>,
  rest: AsyncIterableIterator<Uint8Array>,
  end: () => Promise<void>,
): AsyncGenerator<Uint8Array> {
  try {
    if (first.done) return;
    yield first.value;
    yield* rest;
  } finally {
    await end();
  }
}
