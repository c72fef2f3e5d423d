/**
 * A transaction, its JSON form and what makes either valid.
 *
 * @module
 */

import { InvalidTxError, InvalidTxIdError } from "./errors.ts";
import { nearest } from "./text/suggestion.ts";

/** A transaction of the proof-of-holding network. */
export interface Tx {
  /** Unique id: 1 or more characters, no NUL, no unpaired surrogate. */
  txId: string;
  /** Id of the holder; may be empty. */
  holderId: string;
  /** UNIX time in seconds, fractions allowed. */
  timestamp: number;
  /** The bytes themselves. */
  payload: Uint8Array;
}

/** The JSON form of a {@linkcode Tx}: what the command line reads and prints. */
export interface TxJson {
  /** {@linkcode Tx.txId} */
  tx_id: string;
  /** {@linkcode Tx.holderId} */
  holder_id: string;
  /** {@linkcode Tx.timestamp} */
  timestamp: number;
  /** {@linkcode Tx.payload} in standard base64 with padding. */
  payload: string;
}

const JSON_FIELDS: readonly string[] = [
  "tx_id",
  "holder_id",
  "timestamp",
  "payload",
];

/** What can be said of a transaction without its payload. */
export type TxHead = Omit<Tx, "payload">;

/**
 * Checks that a transaction can be stored.
 *
 * @throws {InvalidTxIdError} If the id is empty or is not well-formed text.
 * @throws {InvalidTxError} If another field is wrong; `field` names it.
 *
 * @example Usage
 * ```ts
 * import { validateTx } from "@poh/storage";
 *
 * validateTx({ txId: "a", holderId: "alice", timestamp: 0, payload: new Uint8Array() });
 * ```
 */
export function validateTx(tx: Tx): void {
  validateTxHead(tx);
  if (!(tx.payload instanceof Uint8Array)) {
    throw new InvalidTxError("payload", "payload must be bytes (a Uint8Array)");
  }
}

/** {@linkcode validateTx} for all but the payload. */
export function validateTxHead(head: TxHead): void {
  validateTxId(head.txId);
  requireText("holder_id", head.holderId);
  if (typeof head.timestamp !== "number" || !Number.isFinite(head.timestamp)) {
    throw new InvalidTxError(
      "timestamp",
      `timestamp must be a finite number of seconds, got ${
        describe(head.timestamp)
      }`,
    );
  }
}

/**
 * Checks that a row that is there can be handled. Rows that the older Python
 * package saved may have what no new transaction can: the empty id, an infinite
 * timestamp.
 *
 * @throws {InvalidTxError} If it cannot; `field` names what is wrong.
 */
export function validateRow(row: TxHead): void {
  requireText("tx_id", row.txId);
  requireText("holder_id", row.holderId);
  if (typeof row.timestamp !== "number" || Number.isNaN(row.timestamp)) {
    throw new InvalidTxError(
      "timestamp",
      `timestamp must be a number of seconds, got ${describe(row.timestamp)}`,
    );
  }
}

/**
 * Checks that an id can be stored. Whether its file name fits is a matter of
 * the payload store.
 *
 * @throws {InvalidTxIdError} If it cannot.
 */
export function validateTxId(txId: unknown): asserts txId is string {
  if (typeof txId !== "string") {
    throw new InvalidTxIdError(`tx_id must be text, got ${describe(txId)}`);
  }
  if (txId === "") throw new InvalidTxIdError("tx_id must not be empty");
  const flaw = textFlaw(txId);
  if (flaw) throw new InvalidTxIdError(`tx_id must not contain ${flaw}`);
}

/** In seconds this is the year 5138, in milliseconds it was 1973. */
const LIKELY_MILLISECONDS = 1e11;

/** Whether a timestamp is plainly one in milliseconds, where seconds are meant. */
export function looksLikeMilliseconds(timestamp: number): boolean {
  return timestamp > LIKELY_MILLISECONDS;
}

/**
 * The JSON form of a transaction.
 *
 * @example Usage
 * ```ts
 * import { txToJson } from "@poh/storage";
 * import { assertEquals } from "@std/assert";
 *
 * const payload = new TextEncoder().encode("hi");
 * assertEquals(
 *   txToJson({ txId: "a", holderId: "alice", timestamp: 1.5, payload }),
 *   { tx_id: "a", holder_id: "alice", timestamp: 1.5, payload: "aGk=" },
 * );
 * ```
 */
export function txToJson(tx: Tx): TxJson {
  return {
    tx_id: tx.txId,
    holder_id: tx.holderId,
    timestamp: tx.timestamp,
    payload: tx.payload.toBase64(),
  };
}

/**
 * The transaction that a parsed JSON value describes.
 *
 * @throws {InvalidTxError} If a field is missing, unknown or of the wrong type;
 * `field` names it.
 *
 * @example Usage
 * ```ts
 * import { txFromJson } from "@poh/storage";
 * import { assertEquals } from "@std/assert";
 *
 * const tx = txFromJson({ tx_id: "a", holder_id: "", timestamp: 0, payload: "aGk=" });
 * assertEquals(new TextDecoder().decode(tx.payload), "hi");
 * ```
 */
export function txFromJson(value: unknown): Tx {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InvalidTxError(
      "",
      `a transaction must be a JSON object, got ${describe(value)}`,
    );
  }
  const fields = value as Record<string, unknown>;
  requireTxFields(fields);
  for (const name of JSON_FIELDS) {
    if (!Object.hasOwn(fields, name)) {
      throw name === "tx_id"
        ? new InvalidTxIdError("tx_id is missing")
        : new InvalidTxError(name, `${name} is missing`);
    }
  }
  const head = {
    txId: fields.tx_id as string,
    holderId: fields.holder_id as string,
    timestamp: fields.timestamp as number,
  };
  validateTxHead(head);
  return { ...head, payload: decodePayload(fields.payload) };
}

/**
 * Checks that an object has no other fields than a transaction's JSON form.
 *
 * @throws {InvalidTxError} If it has one, which it names, and the nearest known.
 */
export function requireTxFields(fields: object): void {
  for (const name of Object.keys(fields)) {
    if (JSON_FIELDS.includes(name)) continue;
    const near = nearest(name, JSON_FIELDS);
    throw new InvalidTxError(
      name,
      `${JSON.stringify(name)} is not a field of a transaction${
        near === null ? "" : `; did you mean ${JSON.stringify(near)}?`
      }`,
    );
  }
}

function decodePayload(value: unknown): Uint8Array {
  if (typeof value !== "string") {
    throw new InvalidTxError(
      "payload",
      `payload must be base64 text, got ${describe(value)}`,
    );
  }
  try {
    const bytes = Uint8Array.fromBase64(value, { lastChunkHandling: "strict" });
    // It passes over blanks; without them there are four characters for three bytes.
    if (value.length === Math.ceil(bytes.length / 3) * 4) return bytes;
  } catch {
    // Refused below.
  }
  throw new InvalidTxError(
    "payload",
    "payload must be standard base64 with padding",
  );
}

function requireText(field: string, value: unknown): void {
  if (typeof value !== "string") {
    throw new InvalidTxError(
      field,
      `${field} must be text, got ${describe(value)}`,
    );
  }
  const flaw = textFlaw(value);
  if (flaw) {
    throw new InvalidTxError(field, `${field} must not contain ${flaw}`);
  }
}

/** Whether a value is text that rows can hold. */
export function isText(value: unknown): value is string {
  return typeof value === "string" && textFlaw(value) === null;
}

/** SQLite's C API ends text at NUL; an unpaired surrogate has no UTF-8 form. */
function textFlaw(text: string): string | null {
  if (text.includes("\0")) return "NUL";
  if (!text.isWellFormed()) return "an unpaired surrogate";
  return null;
}

function describe(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "number") return String(value);
  return typeof value === "object" ? "an object" : typeof value;
}
