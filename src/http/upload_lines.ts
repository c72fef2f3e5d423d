/**
 * NDJSON bodies: many transactions, one a line.
 *
 * @module
 */

import { linesOf } from "../format/lines.ts";
import { savedJson } from "../format/tx_json.ts";
import {
  countSave,
  noSaves,
  type SaveCounts,
  type SavedTx,
} from "../model/if_exists.ts";
import type { StorageManager } from "../storage_manager.ts";
import { conditionsOf, requireNoCondition } from "./conditions.ts";
import type { Exchange } from "./exchange.ts";
import { bodyOf, Budget, type Limits } from "./limits.ts";
import { LineQueue } from "./line_queue.ts";
import { METADATA_HEADERS, NDJSON_TYPES } from "./media_types.ts";
import type { Metrics } from "./metrics.ts";
import { Problem, tooLarge } from "./problem.ts";
import { parsed, saving, txOf, type UploadRoom } from "./uploads.ts";

/** Transactions of one body that may be on their way to the disk. */
const IN_FLIGHT = 1_024;

/** An NDJSON body, and what it is saved with. */
export interface LinesUpload {
  /** Where to. */
  store: StorageManager;
  /** The request. */
  exchange: Exchange;
  /** What uploads share. */
  room: UploadRoom;
  /** Its limits. */
  limits: Limits;
  /** Told of what is saved. */
  metrics: Pick<Metrics, "saved">;
  /** What an error is for a client. */
  problemOf: (error: unknown) => Problem;
}

/**
 * Saves the transactions of an NDJSON body, however many. They share commits
 * with each other and with what other requests save. It takes no more from the
 * client than it can keep up with.
 *
 * @returns What became of them.
 * @throws {Problem} At the first bad line; what stands before it is saved.
 */
export async function saveLines(upload: LinesUpload): Promise<SaveCounts> {
  const release = await takePlace(upload);
  try {
    const counts = noSaves();
    let failure: Failure | null = null;
    const end = await saveEach(upload, {
      saved: (_, saved) => countSave(counts, saved),
      failed: (line, error) => failure ??= { line, error },
      mayGoOn: () => failure === null,
    });
    failure ??= end;
    if (failure) throw problemAt(failure, counts, upload);
    return counts;
  } finally {
    release();
  }
}

/**
 * The same, and the answer has a line for each line as soon as it is saved, in no
 * order: `{"line":…}` with what became of it, or with its `error`, which stops no
 * other line. The last line has no number: it counts them, and its `error` is
 * null where all of the body was read.
 *
 * @throws {Problem} 503 where there is no room for one more body.
 */
export async function saveLinesTellingEach(
  upload: LinesUpload,
): Promise<Response> {
  const release = await takePlace(upload);
  const answers = new LineQueue();
  const source = {
    // deno-lint-ignore require-await -- a stream's cancel is asynchronous
    async cancel() {
      answers.giveUp();
      release();
    },
  };
  return new Response(
    upload.exchange.stream(answersTo(upload, answers, release), source),
    {
      headers: {
        ...METADATA_HEADERS,
        "cache-control": "no-store",
        "content-type": NDJSON_TYPES[0]!,
      },
    },
  );
}

async function* answersTo(
  upload: LinesUpload,
  answers: LineQueue,
  release: () => void,
): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  const counts = { ...noSaves(), failed: 0 };
  const reading = saveEach(upload, {
    saved: (line, saved) => {
      countSave(counts, saved);
      answers.add(`{"line":${line},${savedJson(saved).slice(1)}\n`);
    },
    failed: (line, error) => {
      counts.failed++;
      answers.add(
        `${JSON.stringify({ line, error: upload.problemOf(error) })}\n`,
      );
    },
    mayGoOn: () => answers.taken(),
  });
  const ended = reading.finally(() => answers.end());
  ended.catch(() => {}); // thrown below
  try {
    for await (const text of answers.texts()) yield encoder.encode(text);
    const failure = await reading;
    const error = failure && problemAt(failure, {}, upload);
    yield encoder.encode(`${JSON.stringify({ ...counts, error })}\n`);
  } finally {
    answers.giveUp();
    release();
  }
}

/** An error, and the line at which it was met. */
interface Failure {
  line: number;
  error: unknown;
}

/** Who is told what became of each line. */
interface Told {
  saved(line: number, saved: SavedTx): void;
  failed(line: number, error: unknown): void;
  /** Whether one more line is to be read; may take its time. */
  mayGoOn(): boolean | Promise<boolean>;
}

/** Takes a body's place among those that are read. */
async function takePlace(
  { exchange: { request: { headers } }, room, limits }: LinesUpload,
): Promise<() => void> {
  // A condition on the resource, which is the collection; a digest of all of it,
  // by when much of it is saved.
  requireNoCondition(headers, "if-match", "content-digest", "repr-digest");
  conditionsOf(headers);
  return await room.streams.take(1, limits.patience);
}

/**
 * Saves line by line, many at a time, until the body ends. Resolves when nothing
 * is in flight any more.
 *
 * @returns Why the rest of the body was not read; null: all of it was, or
 * whoever is told did not want more.
 */
async function saveEach(
  { store, exchange: { request }, room, limits, metrics, problemOf }:
    LinesUpload,
  told: Told,
): Promise<Failure | null> {
  const { maxBody } = limits;
  const inFlight = new Budget(IN_FLIGHT);
  let line = 0;
  let failure: Failure | null = null;
  const failed = (line: number, error: unknown) => {
    told.failed(line, error);
    // The next one would fail as well.
    if (problemOf(error).status >= 500) failure ??= { line, error };
  };
  const saveLine = async (line: number, bytes: Uint8Array) => {
    const releaseBytes = await room.bytes.take(bytes.length);
    const releaseTurn = await inFlight.take(1);
    const release = () => {
      releaseBytes();
      releaseTurn();
    };
    try {
      const tx = txOf(parsed(bytes));
      saving(request, (options) => store.saveTx(tx, options))
        .then((saved) => {
          metrics.saved(saved);
          told.saved(line, saved);
        }, (error) => failed(line, error))
        .finally(release);
    } catch (error) {
      release();
      failed(line, error);
    }
  };
  try {
    for await (const next of linesOf(bodyOf(request, limits), maxBody)) {
      line = next.number;
      if (next.bytes.length > maxBody) throw tooLarge("The line", maxBody);
      if (!isBlank(next.bytes)) await saveLine(line, next.bytes);
      if (failure || !await told.mayGoOn()) break;
    }
  } catch (error) {
    failure ??= { line, error };
  }
  await inFlight.take(IN_FLIGHT); // all of it: nothing is in flight
  return failure;
}

function problemAt(
  { line, error }: Failure,
  counts: Partial<SaveCounts>,
  { problemOf }: LinesUpload,
): Problem {
  const { code, message, members, headers } = problemOf(error);
  return new Problem(code, `Line ${line}: ${message}`, {
    members: { ...members, line, ...counts },
    // What follows the line has not been read.
    headers: { ...headers, connection: "close" },
    cause: error,
  });
}

function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 32 || byte === 9 || byte === 13);
}
