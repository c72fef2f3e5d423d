/**
 * Checks the answer to a challenge, a line at a time, however long it is.
 *
 * @module
 */

import { type HoldingFault, signedText } from "./answer.ts";
import {
  type Challenge,
  challengeJson,
  challengeOf,
  drawChunks,
  drawEntries,
} from "./challenge.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { chunkCount, chunkLength } from "./chunk_tree.ts";
import {
  fromBase64,
  hashFromBase64,
  isEqual,
  joined,
  MAX_TEXT,
  numberFrom,
  textOf,
  utf8,
} from "./encoding.ts";
import { parseEntry, parseRecord, sealOf, type TxRecord } from "./entry.ts";
import { isConsistent, leafHash, rootOfInclusion } from "./merkle.ts";
import {
  openCheckpoint,
  openSigned,
  type Policy,
  type SignedCheckpoint,
} from "./policy.ts";
import { demandIncluded, MAX_PATH } from "./proof_files.ts";
import { malformed, refuted } from "./proof_error.ts";
import { Sha256, sha256 } from "./sha256_short.ts";

const FAULTS: readonly unknown[] = ["missing", "damaged", "unreadable"];

/** What an answer proves. */
export interface HoldingReport {
  /** The challenge that it answers. */
  readonly challenge: Challenge;
  /** The checkpoint that it is under. */
  readonly checkpoint: SignedCheckpoint;
  /** Live puts of which every chunk that was drawn was shown. */
  readonly held: readonly number[];
  /** Puts that have ended. */
  readonly ended: readonly number[];
  /** Entries that are no puts. */
  readonly nothing: readonly number[];
  /** Live puts that the node says it cannot show: it does not hold them. */
  readonly notHeld: readonly { index: number; fault: HoldingFault }[];
  /** How many chunks were shown. */
  readonly chunks: number;
  /** How many bytes of payloads were shown. */
  readonly bytes: number;
}

/**
 * Checks an answer: the node produced these chunks after it learnt the nonce. It may
 * have fetched them from elsewhere for that, and need not have them any more.
 *
 * What the node itself says it cannot show stands in `notHeld`: whoever checks has to
 * look there. Everything else that is wrong is thrown.
 *
 * @param answer The lines, as text or bytes in whatever pieces they come.
 * @param challenge The challenge that was sent.
 * @param policy Whose signatures are believed.
 * @throws {ProofError} `at` names the step: as for `checkInclusion`, and `"answer"`,
 * `"challenge"`, `"consistency"`, `"draw"`, `"ended"`, `"chunk"`.
 */
export async function checkHolding(
  answer: string | Uint8Array | AsyncIterable<Uint8Array>,
  challenge: Challenge,
  policy: Policy,
): Promise<HoldingReport> {
  const drawn = [...new Set(drawEntries(challenge))];
  const report = {
    ...{ held: [], ended: [], nothing: [], notHeld: [] } as {
      held: number[];
      ended: number[];
      nothing: number[];
      notHeld: { index: number; fault: HoldingFault }[];
    },
    ...{ chunks: 0, bytes: 0 },
  };
  const hash = new Sha256();
  let checkpoint: SignedCheckpoint | undefined;
  let seen = 0, signature: string | undefined;
  for await (const line of linesOf(answer, lineLimit(challenge))) {
    if (signature !== undefined) throw odd("it goes on behind its signature");
    const value = objectOf(line);
    if (!checkpoint) {
      checkpoint = await beginningOf(value, challenge, policy);
    } else if (seen < drawn.length) {
      const index = drawn[seen++]!;
      checkLine(value, index, challenge, checkpoint, report);
    } else {
      signature = stringOf(only(value, "signature").signature);
      continue; // it is not part of what it signs
    }
    hash.update(line).update(NEWLINE);
  }
  if (!checkpoint || signature === undefined) throw odd("it is cut");
  const { text, origin } = await openSigned(signature, policy);
  if (origin !== challenge.origin) {
    throw refuted(
      "origin",
      `${origin} signed an answer for ${challenge.origin}`,
    );
  }
  if (text !== signedText(challenge, hash.digest())) {
    throw refuted("answer", "The signature is not over these lines");
  }
  return { challenge, checkpoint, ...report };
}

type Report = {
  -readonly [key in keyof HoldingReport]: HoldingReport[key] extends
    readonly (infer T)[] ? T[] : HoldingReport[key];
};

const NEWLINE = Uint8Array.of(10);

function odd(what: string) {
  return malformed("answer", `An answer is malformed: ${what}`);
}

/** Longest line that an answer to a challenge can have, in bytes. */
function lineLimit(challenge: Challenge): number {
  const indexes = typeof challenge.entries === "number"
    ? 0
    : challenge.entries.length * 17;
  return 3 * MAX_TEXT + indexes + challenge.chunks * 16 * 1024;
}

async function* piecesOf(
  answer: string | Uint8Array | AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (typeof answer === "string") yield utf8(answer, "answer");
  else if (answer instanceof Uint8Array) yield answer;
  else yield* answer;
}

/** Whole lines, without their line feeds. */
async function* linesOf(
  answer: string | Uint8Array | AsyncIterable<Uint8Array>,
  limit: number,
): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [], length = 0;
  for await (const piece of piecesOf(answer)) {
    for (let at = 0; at < piece.length;) {
      const end = piece.indexOf(10, at);
      const part = piece.slice(at, end < 0 ? piece.length : end);
      if (part.length > 0) parts.push(part);
      length += part.length;
      if (length > limit) throw odd(`a line is longer than ${limit} bytes`);
      if (end < 0) break;
      at = end + 1;
      yield parts.length === 1 ? parts[0]! : joined(parts);
      parts = [];
      length = 0;
    }
  }
  if (length > 0) throw odd("its last line does not end");
}

type Fields = Record<string, unknown>;

function objectOf(line: Uint8Array): Fields {
  let value: unknown;
  try {
    value = JSON.parse(textOf(line, "answer"));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw odd("a line is no JSON");
  }
  return fieldsOf(value);
}

function fieldsOf(value: unknown): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Fields;
  }
  throw odd("an object is missing");
}

/** Demands that an object has these fields, and no others. */
function only(fields: Fields, ...names: string[]): Fields {
  const found = Object.keys(fields);
  if (found.length === names.length && names.every((n) => found.includes(n))) {
    return fields;
  }
  throw odd(`a line has ${found.join(", ")} instead of ${names.join(", ")}`);
}

function stringOf(value: unknown): string {
  if (typeof value === "string") return value;
  throw odd("a text is missing");
}

function listOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw odd("a list is missing");
}

function pathFrom(value: unknown): Uint8Array[] {
  const hashes = listOf(value);
  if (hashes.length > MAX_PATH + 1) {
    throw malformed("path", "A path is too long");
  }
  return hashes.map((hash) => hashFromBase64(stringOf(hash), "path"));
}

/** The first line: what is answered, and under which checkpoint. */
async function beginningOf(
  fields: Fields,
  challenge: Challenge,
  policy: Policy,
): Promise<SignedCheckpoint> {
  only(fields, "challenge", "checkpoint", "consistency");
  const answered = challengeJson(challengeOf(fields.challenge));
  if (JSON.stringify(answered) !== JSON.stringify(challengeJson(challenge))) {
    throw refuted("challenge", "The answer is one to another challenge");
  }
  const note = stringOf(fields.checkpoint);
  const checkpoint = await openCheckpoint(note, policy);
  if (checkpoint.origin !== challenge.origin) {
    throw refuted(
      "origin",
      `The answer is by ${checkpoint.origin}, the challenge for ${challenge.origin}`,
    );
  }
  const path = pathFrom(fields.consistency);
  const { size, root } = challenge;
  if (isConsistent(size, root, checkpoint.size, checkpoint.root, path)) {
    return checkpoint;
  }
  throw refuted(
    "consistency",
    `The log of ${checkpoint.size} entries does not continue that of ${size}`,
  );
}

/** An entry of the log, whose path leads to the root of the checkpoint. */
function placedEntry(fields: Fields, checkpoint: Checkpoint) {
  const index = numberFrom(String(fields.index), "index");
  const bytes = fromBase64(stringOf(fields.entry), "entry");
  demandIncluded(bytes, index, pathFrom(fields.path), checkpoint);
  return { index, entry: parseEntry(bytes) };
}

/** The line of an entry that was drawn. */
function checkLine(
  fields: Fields,
  drawn: number,
  challenge: Challenge,
  checkpoint: SignedCheckpoint,
  report: Pick<
    Report,
    "held" | "ended" | "nothing" | "notHeld" | "chunks" | "bytes"
  >,
): void {
  const base = ["index", "entry", "path"];
  const { index, entry } = placedEntry(fields, checkpoint);
  if (index !== drawn) {
    throw refuted("draw", `Entry ${drawn} was drawn, the answer has ${index}`);
  }
  if (entry.kind !== "put") {
    only(fields, ...base);
    report.nothing.push(index);
  } else if ("ended" in fields) {
    only(fields, ...base, "ended");
    const ended = fieldsOf(fields.ended);
    const by = placedEntry(only(ended, ...base), checkpoint);
    if (by.entry.kind === "begin" || by.entry.prev !== index) {
      throw refuted("ended", `Entry ${by.index} does not end entry ${index}`);
    }
    report.ended.push(index);
  } else if ("fault" in fields) {
    const { fault } = only(fields, ...base, "fault");
    if (!FAULTS.includes(fault)) throw odd("a fault is unknown");
    report.notHeld.push({ index, fault: fault as HoldingFault });
  } else {
    only(fields, ...base, "record", "chunks");
    const bytes = fromBase64(stringOf(fields.record), "record");
    if (!isEqual(sealOf(bytes), entry.seal)) {
      throw refuted(
        "seal",
        `The record of entry ${index} is not under its seal`,
      );
    }
    const record = parseRecord(bytes);
    const chunks = listOf(fields.chunks);
    const numbers = drawChunks(challenge, index, chunkCount(record.size));
    if (chunks.length !== numbers.length) {
      throw refuted("draw", `Entry ${index} shows ${chunks.length} chunks`);
    }
    for (const [at, n] of numbers.entries()) {
      checkChunk(fieldsOf(chunks[at]), n, index, record);
      report.bytes += chunkLength(record.size, n);
    }
    report.chunks += numbers.length;
    report.held.push(index);
  }
}

/** A chunk that was drawn: its bytes are those of the payload. */
function checkChunk(
  fields: Fields,
  drawn: number,
  index: number,
  { size, digest, chunkRoot }: TxRecord,
): void {
  only(fields, "n", "bytes", "path");
  if (fields.n !== drawn) {
    throw refuted("draw", `Chunk ${drawn} of entry ${index} was drawn`);
  }
  const bytes = fromBase64(stringOf(fields.bytes), "chunk");
  const path = pathFrom(fields.path);
  const wrong = () =>
    refuted(
      "chunk",
      `Chunk ${drawn} of entry ${index} is not that of its payload`,
    );
  if (bytes.length !== chunkLength(size, drawn)) throw wrong();
  const count = chunkCount(size);
  if (count === 1) {
    if (path.length > 0) {
      throw refuted("path", "The path of a chunk is too long");
    }
    if (!isEqual(sha256(bytes), digest)) throw wrong();
    return;
  }
  const root = rootOfInclusion(leafHash(bytes), drawn, count, path);
  if (!isEqual(root, chunkRoot)) throw wrong();
}
