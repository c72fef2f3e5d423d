/**
 * Transactions that clients send.
 *
 * @module
 */

import { concat } from "../format/bytes.ts";
import { linesOf } from "../format/lines.ts";
import { readTxJson } from "../format/read_tx_json.ts";
import { InvalidTxError } from "../errors.ts";
import {
  countSave,
  noSaves,
  type SaveCounts,
  type SavedTx,
} from "../model/if_exists.ts";
import { fileName } from "../files/file_name.ts";
import type { StorageManager } from "../storage_manager.ts";
import { txFromJson } from "../tx.ts";
import type { Tx } from "../types.ts";
import {
  announcedLength,
  bodyOf,
  Budget,
  type Limits,
  wholeBody,
} from "./limits.ts";
import { Problem, problemOf, tooLarge } from "./problem.ts";

/** Transactions of one NDJSON body that may be on their way to the disk. */
const IN_FLIGHT = 1_024;

/** What uploads share. */
export interface UploadRoom {
  /** Bytes of bodies in memory. */
  bytes: Budget;
  /** NDJSON bodies being read. */
  streams: Budget;
}

/** How a body describes transactions. */
export type Read = (fields: Record<string, unknown>) => Tx;

/**
 * Saves the one transaction that a body holds. Bodies that do not fit into
 * memory together wait unread.
 */
export async function saveOne(
  store: StorageManager,
  request: Request,
  read: Read,
  room: UploadRoom,
  limits: Limits,
): Promise<SavedTx> {
  const length = announcedLength(request, limits.maxBody) ?? limits.maxBody;
  const release = await room.bytes.take(length, limits.patience);
  try {
    const body = concat(await wholeBody(request, limits));
    return await store.saveTx(read(parsed(body)));
  } finally {
    release();
  }
}

/**
 * Saves the transactions of an NDJSON body, however many. They share commits
 * with each other and with what other requests save. It takes no more from the
 * client than it can keep up with.
 *
 * @returns What became of them.
 * @throws {Problem} At the first bad line; what stands before it is saved.
 */
export async function saveLines(
  store: StorageManager,
  request: Request,
  room: UploadRoom,
  limits: Limits,
  onSaved: (saved: SavedTx) => void,
): Promise<SaveCounts> {
  const release = await room.streams.take(1, limits.patience);
  try {
    return await new Lines(store, room, limits, onSaved).save(request);
  } finally {
    release();
  }
}

class Lines {
  readonly #store: StorageManager;
  readonly #room: UploadRoom;
  readonly #limits: Limits;
  readonly #onSaved: (saved: SavedTx) => void;
  readonly #inFlight = new Budget(IN_FLIGHT);
  readonly #counts = noSaves();
  #failure: { line: number; error: unknown } | null = null;

  constructor(
    store: StorageManager,
    room: UploadRoom,
    limits: Limits,
    onSaved: (saved: SavedTx) => void,
  ) {
    this.#store = store;
    this.#room = room;
    this.#limits = limits;
    this.#onSaved = onSaved;
  }

  async save(request: Request): Promise<SaveCounts> {
    let line = 0;
    try {
      const { maxBody } = this.#limits;
      for await (
        const next of linesOf(bodyOf(request, this.#limits), maxBody)
      ) {
        line = next.number;
        if (next.bytes.length > maxBody) throw tooLarge("The line", maxBody);
        if (!isBlank(next.bytes)) await this.#begin(line, next.bytes);
        if (this.#failure) break;
      }
    } catch (error) {
      this.#failure ??= { line, error };
    }
    await this.#inFlight.take(IN_FLIGHT); // all of it: nothing is in flight
    if (this.#failure) throw this.#problem(this.#failure);
    return this.#counts;
  }

  /** Begins to save a line once there is room for it. */
  async #begin(line: number, bytes: Uint8Array): Promise<void> {
    const releaseBytes = await this.#room.bytes.take(bytes.length);
    const releaseTurn = await this.#inFlight.take(1);
    this.#saveLine(bytes)
      .catch((error) => this.#failure ??= { line, error })
      .finally(() => {
        releaseBytes();
        releaseTurn();
      });
  }

  async #saveLine(bytes: Uint8Array): Promise<void> {
    const saved = await this.#store.saveTx(txOf(parsed(bytes)));
    countSave(this.#counts, saved);
    this.#onSaved(saved);
  }

  #problem({ line, error }: { line: number; error: unknown }): Problem {
    const { status, code, message, members, headers } = problemOf(error);
    return new Problem(status, code, `Line ${line}: ${message}`, {
      members: { ...members, line, ...this.#counts },
      // What follows the line has not been read.
      headers: { ...headers, connection: "close" },
      cause: error,
    });
  }
}

/** A transaction in the JSON form of the whole program. */
export function txOf(value: unknown): Tx {
  const tx = txFromJson(value);
  fileName(tx.txId); // refuses what no file can stand for
  return tx;
}

/** The same with the payload as latin-1 text: one character, one byte. */
export function txOfBroadcast(fields: Record<string, unknown>): Tx {
  const { payload } = fields;
  if (typeof payload !== "string") return txOf(fields); // says what is wrong
  const tx = txOf({ ...fields, payload: "" });
  // deno-lint-ignore no-control-regex
  if (/[^\u0000-\u00ff]/.test(payload)) {
    throw new InvalidTxError(
      "payload",
      "payload must be latin-1 text, without a character above U+00FF",
    );
  }
  const bytes = new Uint8Array(payload.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = payload.charCodeAt(i);
  return { ...tx, payload: bytes };
}

function parsed(bytes: Uint8Array): Record<string, unknown> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Problem(400, "NOT_JSON", "not UTF-8 text");
  }
  try {
    return readTxJson(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new Problem(400, "NOT_JSON", `not JSON: ${error.message}`);
  }
}

function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 32 || byte === 9 || byte === 13);
}
