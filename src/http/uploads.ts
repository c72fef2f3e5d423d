/**
 * Transactions that clients send.
 *
 * @module
 */

import { readTxJson } from "../format/read_tx_json.ts";
import { IntegrityError, InvalidTxError, TxExistsError } from "../errors.ts";
import { SMALL } from "../files/durable_fs.ts";
import { sha256HexSync } from "../files/hash.ts";
import type { SavedTx, SaveOptions } from "../model/if_exists.ts";
import { fileName } from "../files/file_name.ts";
import type { StorageManager } from "../storage_manager.ts";
import { txFromJson } from "../tx.ts";
import type { Tx, TxHead } from "../types.ts";
import { conditionsOf, digestMismatch, promisedDigest } from "./conditions.ts";
import {
  announcedLength,
  bodyOf,
  type Budget,
  type Limits,
  wholeBody,
} from "./limits.ts";
import { preconditionFailed, Problem } from "./problem.ts";

const UTF8 = new TextDecoder("utf-8", { fatal: true });

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
  return await withBody(request, room, limits, (body) => {
    const digest = request.headers.get("content-digest") === null
      ? undefined
      : promisedDigest(request.headers);
    if (digest !== undefined) requireDigest(body, digest);
    return saving(
      request,
      (options) => store.saveTx(read(parsed(body)), options),
    );
  });
}

/**
 * Saves a transaction whose payload is the body, of any size: a small one in
 * memory, a larger one by way of a file.
 *
 * @throws {Problem} 400 if it has not the promised digest; nothing is saved then.
 */
export async function savePayload(
  store: StorageManager,
  head: TxHead,
  request: Request,
  room: UploadRoom,
  limits: Limits,
): Promise<SavedTx> {
  const expected = promisedDigest(request.headers);
  const length = request.headers.get("content-length");
  if (length !== null && Number(length) <= SMALL) {
    return await withBody(request, room, limits, (payload) => {
      if (expected !== undefined) requireDigest(payload, expected);
      return saving(
        request,
        (options) => store.saveTx({ ...head, payload }, options),
      );
    });
  }
  const release = await room.streams.take(1, limits.patience);
  try {
    return await saving(
      request,
      (options) =>
        store.saveTxStream(head, bodyOf(request, limits), {
          ...options,
          ...(expected !== undefined && { expected }),
        }),
    );
  } catch (error) {
    if (!(error instanceof IntegrityError)) throw error;
    throw digestMismatch(error.expected, error.found);
  } finally {
    release();
  }
}

/** Does something with a whole body, for which there is room in memory. */
export async function withBody<T>(
  request: Request,
  room: UploadRoom,
  limits: Limits,
  work: (body: Uint8Array) => T | Promise<T>,
): Promise<T> {
  const length = announcedLength(request, limits.maxBody);
  const release = await room.bytes.take(
    length ?? limits.maxBody,
    limits.patience,
  );
  try {
    return await work(await wholeBody(request, length, limits));
  } finally {
    release();
  }
}

/** Saves under the conditions of a request. */
export async function saving(
  { headers }: Pick<Request, "headers">,
  save: (options: SaveOptions) => Promise<SavedTx>,
): Promise<SavedTx> {
  const { createsOnly, ifMatch } = conditionsOf(headers);
  const options = ifMatch === undefined ? {} : { ifMatch };
  if (!createsOnly) return await save(options);
  try {
    const saved = await save({ ...options, ifExists: "fail" });
    if (saved.outcome === "created") return saved;
    throw preconditionFailed(saved.txId, saved.storageHash);
  } catch (error) {
    if (!(error instanceof TxExistsError)) throw error;
    throw preconditionFailed(error.txId, error.storageHash);
  }
}

function requireDigest(bytes: Uint8Array, expected: string): void {
  const found = sha256HexSync(bytes);
  if (found !== expected) throw digestMismatch(expected, found);
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

/** The fields of a transaction as JSON. */
export function parsed(bytes: Uint8Array): Record<string, unknown> {
  const text = decoded(bytes);
  try {
    return readTxJson(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new Problem("NOT_JSON", `not JSON: ${error.message}`);
  }
}

/** JSON is UTF-8. */
export function decoded(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new Problem("NOT_JSON", "not UTF-8 text");
  }
}
