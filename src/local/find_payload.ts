/**
 * Finds the payload of a row, wherever it is, and tells whether it is sound.
 * Where row and payload do not agree, a change is under way, or a crash has cut
 * one off: then the log knows.
 *
 * @module
 */

import { join } from "@std/path";
import { judge, type Reading } from "../check/two_readings.ts";
import {
  digestOfOpen,
  openRegular,
  readWithDigest,
  regularSize,
} from "../files/durable_fs.ts";
import { type MaybePromise, txOf } from "../engine.ts";
import {
  IntegrityError,
  PayloadUnreadableError,
  PohStorageError,
} from "../errors.ts";
import { digestOf } from "../files/hash.ts";
import type { LogReader } from "../log/log_reader.ts";
import { type LogRecord, rowOf } from "../log/record.ts";
import { readSoon } from "../payloads/payload_file.ts";
import type { Database } from "../sqlite/database.ts";
import type { Found } from "../sqlite/row.ts";
import type { PayloadFiles } from "../payloads/payload_files.ts";
import { hasLog } from "../sqlite/open_database.ts";
import { logState } from "../sqlite/log_state.ts";
import { findInfo, findRow, findRowToRead } from "../sqlite/lookups.ts";
import { waitingName } from "../payloads/staged_files.ts";
import type { Tx, TxInfo } from "../types.ts";

/** Where payloads are found. */
export interface Payloads {
  /** The payload files. */
  files: PayloadFiles;
  /** The rows. */
  rows: Database;
  /** The log. */
  log: LogReader;
}

/** The same of an archive, which has no log, or of payload files alone. */
export type Origin =
  & Pick<Payloads, "files">
  & { [Part in "rows" | "log"]: Payloads[Part] | null };

/** A payload's bytes, or the path of the file that has them; unverified. */
export type PayloadSource = Uint8Array | string;

// --- at once ----------------------------------------------------------------

/**
 * Loads a transaction with its payload, verified; null when the id is unknown.
 * Most are small and as their rows say: they come at once.
 *
 * @throws {IntegrityError} If its payload is damaged or gone.
 * @throws {PayloadUnreadableError} If the system would not give it.
 */
export function loadTx(
  payloads: Payloads,
  txId: string,
): MaybePromise<Tx | null> {
  const found = findRowToRead(payloads.rows, txId);
  if (!found) return null;
  const bytes = payloadSoon(payloads, found);
  return bytes
    ? txOf(found.info, bytes.slice())
    : loadInTime(payloads, found.info);
}

/**
 * The payload of a row that is small and as the row says, read without leaving
 * the thread; the next call overwrites it. Null proves nothing.
 */
export function payloadSoon(
  { files, log }: Pick<Payloads, "files" | "log">,
  { info, place }: Found,
): Uint8Array | null {
  return place === null
    ? readSoon(files.expected(info))
    : log.payloadSoon(info, place);
}

// --- in time ----------------------------------------------------------------

async function loadInTime(
  payloads: Payloads,
  info: TxInfo,
): Promise<Tx | null> {
  const judged = await judgePayload(payloads, info, readSource);
  switch (judged?.kind) {
    case undefined:
      return null;
    case "sound":
      return txOf(judged.row, judged.sound.bytes);
    case "damaged": {
      const { row: { txId, storageHash }, found } = judged;
      throw new IntegrityError(txId, storageHash, found?.digest ?? null);
    }
    case "unreadable":
      throw unreadable(info.txId, judged.failure);
  }
}

/**
 * Reads the payload of a row, wherever it is, until it is sound or two readings
 * agree that it is not.
 *
 * @param read Reads what is at one place.
 */
export function judgePayload<T extends { digest: string }>(
  payloads: Payloads,
  info: TxInfo,
  read: (txId: string, source: PayloadSource) => Promise<T | null>,
) {
  return judge(
    info,
    (row) => readPayload(payloads, row, (source) => read(row.txId, source)),
    ({ txId }) => currentRow(payloads, txId),
    (one, other) => one.storageHash === other.storageHash,
  );
}

/**
 * Reads the payload of a row once, at one place after the other.
 *
 * @param read Reads what is there; `PayloadUnreadableError` where the system
 * does not give it, what else it throws is thrown.
 */
export async function readPayload<T extends { digest: string }>(
  origin: Origin,
  info: TxInfo,
  read: (source: PayloadSource) => Promise<T | null>,
): Promise<Reading<T>> {
  let other: T | null = null, failure: Error | null = null;
  for (const place of PLACES) {
    try {
      const source = await lookAt(place, info, origin);
      const found = source === null ? null : await read(source);
      if (!found) continue;
      if (found.digest === info.storageHash) {
        return { sound: found, other, failure };
      }
      other ??= found;
    } catch (error) {
      if (!(error instanceof PayloadUnreadableError)) throw error;
      failure ??= error;
    }
  }
  return { sound: null, other, failure };
}

/** Reads all bytes of a payload; null where they are gone by now. */
export async function readSource(
  txId: string,
  source: PayloadSource,
): Promise<{ bytes: Uint8Array; digest: string } | null> {
  if (typeof source !== "string") {
    return { bytes: source, digest: await digestOf(source) };
  }
  return await readable(txId, () => readWithDigest(source));
}

/** Tells digest and size of a payload; null where it is gone by now. */
export async function digestOfSource(
  txId: string,
  source: PayloadSource,
): Promise<{ digest: string; size: number } | null> {
  if (typeof source !== "string") {
    return { digest: await digestOf(source), size: source.length };
  }
  return await readable(txId, async () => {
    const opened = openRegular(source);
    return opened && await digestOfOpen(opened);
  });
}

/**
 * The bytes of a row's payload, or its open file, to be verified as they are
 * read; null: none, or the row is another one by now.
 *
 * @throws {PayloadUnreadableError} If the system would not give it.
 */
export async function openPayload(
  payloads: Payloads,
  info: TxInfo,
): Promise<Uint8Array | Deno.FsFile | null> {
  for (const place of SUREST_FIRST) {
    const source = await lookAt(place, info, payloads);
    if (source === null) continue;
    const opened = typeof source === "string"
      ? await readable(info.txId, () => openRegular(source)?.file ?? null)
      : source;
    if (!opened) continue;
    // The same row before and after: then this is the payload it refers to.
    const now = findInfo(payloads.rows, info.txId);
    if (now?.storageHash === info.storageHash) return opened;
    if (!(opened instanceof Uint8Array)) opened.close();
    return null;
  }
  return null;
}

/**
 * The row of an id as it is to be once it has followed the log; null for none. A
 * file goes and comes before its row does: a writer may be between the two, or
 * may have died there.
 */
export function currentRow(
  { rows, log }: Pick<Payloads, "rows" | "log">,
  txId: string,
): TxInfo | null {
  const record = hasLog(rows) ? log.find(txId) : null;
  const isAhead = record && record.position >= logState(rows).applied;
  return isAhead ? rowOf(record) : findInfo(rows, txId);
}

/**
 * What is in the log in the place of a payload whose home it is, sound or not;
 * null where its home is a file.
 */
export function bytesInLog(
  { rows, log }: Pick<Payloads, "rows" | "log">,
  txId: string,
): Uint8Array | null {
  const found = findRow(rows, txId);
  if (!found || found.place === null) return null;
  const { info, place } = found;
  const record = log.at(place);
  if (record) return record.txId === txId ? record.payload : null;
  return log.payloadAt(place, info);
}

// --- the places -------------------------------------------------------------

/** Tells what is at one place, unverified; null: nothing. */
type Place = (
  info: TxInfo,
  origin: Origin,
) => MaybePromise<PayloadSource | null>;

/** Every place where the payload of a row may be, the likeliest first. */
const PLACES: readonly Place[] = [inLog, inFile, waiting, underWay, inTable];

/** The same for who takes the first: what waits has its digest in its name. */
const SUREST_FIRST: readonly Place[] = [
  inLog,
  waiting,
  inFile,
  underWay,
  inTable,
];

/**
 * Lists what is at each place; what cannot be read there is left out.
 *
 * @param onUnread Told that something was.
 */
export async function* sourcesOf(
  origin: Origin,
  info: TxInfo,
  onUnread: (error: unknown) => void = () => {},
): AsyncGenerator<PayloadSource> {
  for (const place of PLACES) {
    try {
      const source = await lookAt(place, info, origin);
      if (source !== null) yield source;
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      onUnread(error);
    }
  }
}

function lookAt(place: Place, info: TxInfo, origin: Origin) {
  return readable(info.txId, () => place(info, origin));
}

/**
 * What the log is the home of. Damage to the record around it takes nothing from
 * a payload that has the digest of its row.
 */
function inLog(info: TxInfo, { files, rows, log }: Origin) {
  const place = rows && (findRow(rows, info.txId)?.place ?? null);
  if (place === null || !log) return null;
  const record = log.at(place);
  if (!record) return log.payloadAt(place, info);
  return record.txId === info.txId ? sourceIn(record, files) : null;
}

/** What a backup, cut off behind its new database, has not put in its place. */
function waiting(info: TxInfo, { files }: Origin) {
  const path = join(files.staged.path, waitingName(info));
  return regularSize(path) === null ? null : path;
}

function inFile({ txId }: TxInfo, { files }: Origin) {
  const place = files.find(txId);
  return place === null ? null : join(files.basePath, place);
}

/** What a crash, or a writer that is at it, has not put in its place yet. */
function underWay(info: TxInfo, { files, rows, log }: Origin) {
  const record = rows && hasLog(rows) ? log?.find(info.txId) : null;
  const isIts = record?.storageHash === info.storageHash;
  return isIts ? sourceIn(record, files) : null;
}

/** What the database of an older version has, which is open read-only. */
async function inTable(info: TxInfo, { files, rows }: Origin) {
  if (!rows || hasLog(rows)) return null;
  const { tablePayload } = await import("../log/from_redo.ts");
  const found = tablePayload(rows, info);
  return typeof found === "string" ? join(files.staged.path, found) : found;
}

function sourceIn(
  record: LogRecord,
  files: PayloadFiles,
): PayloadSource | null {
  if (record.kind === "put-staged") return join(files.staged.path, record.name);
  return record.payload;
}

/** What keeps a payload from being read is no damage: it is told as it is. */
async function readable<T>(
  txId: string,
  read: () => MaybePromise<T>,
): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw unreadable(txId, error);
  }
}

/** What the system's refusal to give a payload is told as. */
export function unreadable(txId: string, error: unknown): Error {
  const isOther = error instanceof Deno.errors.NotCapable ||
    error instanceof PohStorageError;
  if (isOther) return error;
  const cause = error as Error;
  return new PayloadUnreadableError(txId, cause.message, { cause });
}
