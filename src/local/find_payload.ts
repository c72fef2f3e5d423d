/**
 * The payload of a row: in its file, or in the log. Where the two do not agree,
 * a change is under way, or a crash has cut one off: then the log knows.
 *
 * @module
 */

import { SMALL } from "../files/durable_fs.ts";
import { type MaybePromise, txOf } from "../engine.ts";
import { IntegrityError, PayloadUnreadableError } from "../errors.ts";
import { digestOf } from "../files/hash.ts";
import type { LogReader } from "../log/log_reader.ts";
import { type LogRecord, rowOf } from "../log/record.ts";
import { readSoon } from "../payloads/payload_file.ts";
import type { Tx, TxInfo } from "../types.ts";
import type { Database } from "../sqlite/database.ts";
import type { Found } from "../sqlite/row.ts";
import type { PayloadFiles } from "../payloads/payload_files.ts";
import { hasLog } from "../sqlite/open_database.ts";
import { logState } from "../sqlite/log_state.ts";
import { findInfo, findRow, findRowToRead } from "../sqlite/lookups.ts";
import { waitingName } from "../payloads/staged_files.ts";

/** Times a load looks again when a writer changes what it reads. */
const READ_ATTEMPTS = 5;

/** Where payloads are found. */
export interface Payloads {
  /** The payload files. */
  files: PayloadFiles;
  /** The rows. */
  rows: Database;
  /** The log. */
  log: LogReader;
}

/**
 * A transaction with its payload, verified; null when the id is unknown. Most
 * are small and as their rows say: they come at once.
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
  return bytes ? txOf(found.info, bytes.slice()) : loadInTime(payloads, found);
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

/** Looks again as long as a writer changes what is read. */
async function loadInTime(
  { files, rows, log }: Payloads,
  first: Found,
): Promise<Tx | null> {
  const { txId } = first.info;
  let found: Found | null = first;
  for (let attempt = 1; found; attempt++) {
    const { info, place }: Found = found;
    const { found: read, failure } = await attemptRead(() =>
      place === null
        ? files.loadWithDigest(txId)
        : atPlace(place, info, { files, log })
    );
    if (read?.digest === info.storageHash) return txOf(info, read.bytes);
    const newest = hasLog(rows)
      ? await lastChange(info, { files, rows, log })
      : await inTables(info, { files, rows });
    if (newest === "removed") return null;
    if (newest) return newest;
    const waiting = await waitingPayload(info, files);
    if (waiting) return txOf(info, waiting);
    if (failure) throw unreadable(txId, failure);
    if (attempt === READ_ATTEMPTS) {
      throw new IntegrityError(txId, info.storageHash, read?.digest ?? null);
    }
    found = findRow(rows, txId);
  }
  return null;
}

/** What the log knows of an id whose row and payload do not agree. */
async function lastChange(
  info: TxInfo,
  { files, rows, log }: Payloads,
): Promise<Tx | "removed" | null> {
  const { applied } = logState(rows);
  const record = log.find(info.txId);
  if (!record) return null;
  const isAhead = record.position >= applied;
  const row = rowOf(record);
  if (!row) return isAhead ? "removed" : null;
  if (!isAhead && row.storageHash !== info.storageHash) return null;
  const { found } = await attemptRead(() => inLog(record, files));
  if (found?.digest === row.storageHash) return txOf(row, found.bytes);
  const { found: read } = await attemptRead(() =>
    files.loadWithDigest(info.txId)
  );
  return read?.digest === row.storageHash ? txOf(row, read.bytes) : null;
}

/**
 * The payload that a backup, cut off behind its new database, has not put in its
 * place; null: none that is sound.
 */
async function waitingPayload(
  info: TxInfo,
  files: PayloadFiles,
): Promise<Uint8Array | null> {
  const { found } = await attemptRead(() =>
    files.staged.load(waitingName(info))
  );
  return found && await digestOf(found) === info.storageHash ? found : null;
}

/**
 * What the row of an id is to be once it has followed the log, null for none;
 * undefined where it has. A file goes and comes before its row does: a writer
 * may be between the two, or may have died there.
 */
export function rowAhead(
  txId: string,
  { rows, log }: Pick<Payloads, "rows" | "log">,
): TxInfo | null | undefined {
  if (!hasLog(rows)) return undefined;
  const record = log.find(txId);
  if (!record || record.position < logState(rows).applied) return undefined;
  return rowOf(record);
}

/** What the database of an older version has, which is open read-only. */
async function inTables(
  info: TxInfo,
  { files, rows }: Pick<Payloads, "files" | "rows">,
): Promise<Tx | null> {
  const { tablePayload } = await import("../log/from_redo.ts");
  const found = tablePayload(rows, info);
  const bytes = typeof found === "string"
    ? await files.staged.load(found)
    : found;
  const isSound = bytes && await digestOf(bytes) === info.storageHash;
  return isSound ? txOf(info, bytes) : null;
}

/**
 * The payload whose home is the log, and its digest. Damage to the record around
 * it takes nothing from a payload that has the digest of its row.
 */
export async function atPlace(
  place: number,
  info: TxInfo,
  { files, log }: Pick<Payloads, "files" | "log">,
): Promise<{ bytes: Uint8Array; digest: string } | null> {
  const record = log.at(place);
  if (record) {
    return record.txId === info.txId ? await inLog(record, files) : null;
  }
  const bytes = log.payloadAt(place, info);
  return bytes && { bytes, digest: await digestOf(bytes) };
}

/** The payload that a record holds or names, and its digest. */
export async function inLog(
  record: LogRecord | null,
  files: PayloadFiles,
): Promise<{ bytes: Uint8Array; digest: string } | null> {
  if (!record) return null;
  const bytes = record.payload ??
    (record.kind === "put-staged"
      ? await files.staged.load(record.name)
      : null);
  return bytes && { bytes, digest: await digestOf(bytes) };
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

/**
 * The payload of a row that is not in its place yet: in the log, or staged; null:
 * none that is sound. Goes through the log, and reads a staged payload whole.
 */
export async function payloadUnderWay(
  info: TxInfo,
  { files, rows, log }: Payloads,
): Promise<Uint8Array | null> {
  if (!hasLog(rows)) {
    return (await inTables(info, { files, rows }))?.payload ?? null;
  }
  const record = log.find(info.txId);
  const found = record?.storageHash === info.storageHash
    ? await inLog(record, files)
    : null;
  return found?.digest === info.storageHash
    ? found.bytes
    : await waitingPayload(info, files);
}

/**
 * The open payload file of a row, to be read in pieces; null: none, or not of
 * this row.
 *
 * @throws {PayloadUnreadableError} If the system would not give it.
 */
export function openPayloadOf(
  { files, rows, log }: Payloads,
  { info, place }: { info: TxInfo; place: number | null },
): { file: Deno.FsFile; size: number } | null {
  const { txId, storageHash } = info;
  try {
    const record = place === null ? null : log.at(place);
    const staged = record?.kind === "put-staged" ? record.name : null;
    const opened = staged === null
      ? files.staged.open(waitingName(info)) ?? files.open(txId)
      : files.staged.open(staged);
    // The same row before and after: then this is the file it refers to.
    if (opened && findInfo(rows, txId)?.storageHash === storageHash) {
      return opened;
    }
    opened?.file.close();
    return null;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw unreadable(txId, error as Error);
  }
}

/** Whether a payload is read whole, in one go. */
export function isSmall({ size }: TxInfo): boolean {
  return size >= 0 && size <= SMALL;
}

/** What keeps a file from being read is no damage: it is told as it is. */
async function attemptRead<T>(
  read: () => Promise<T | null>,
): Promise<{ found: T | null; failure?: Error }> {
  try {
    return { found: await read() };
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return { found: null, failure: error as Error };
  }
}

function unreadable(txId: string, cause: Error): PayloadUnreadableError {
  return new PayloadUnreadableError(txId, cause.message, { cause });
}
