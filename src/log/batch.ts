/**
 * Changes that wait to be made together, and how those who asked for them are
 * told what was made of each.
 *
 * @module
 */

import { PohStorageError } from "../errors.ts";
import type { IfExists, SavedTx } from "../model/if_exists.ts";
import type { Stuck } from "./follow.ts";
import { type Change, type LogEntry, type LogRecord, rowOf } from "./record.ts";
import type { PayloadFiles } from "../payloads/payload_files.ts";

/** At most so many changes, and payload bytes, are written at once. */
const BATCH_CHANGES = 128;
const BATCH_BYTES = 4 * 1024 * 1024;

/** A change that waits to be made, and whoever asked for it. */
export interface Waiting extends Change {
  /** What a save does where there is another transaction; null: no save. */
  rule: IfExists | null;
  /** What was decided: known then. */
  result: Result;
  settle: PromiseWithResolvers<Result>;
}

/** What was made of a change. */
export interface Result {
  /** Whether the store has changed. */
  made: boolean;
  /** Of a save: what became of it. */
  saved?: SavedTx;
  /** Why it was refused, or why its file could not follow. */
  failure?: Error;
}

/** Takes those that are written next out of the changes that wait. */
export function takeBatch(waiting: Waiting[]): Waiting[] {
  let bytes = 0, count = 0;
  for (const { entry } of waiting) {
    bytes += entry.payload?.length ?? 0;
    if (count === BATCH_CHANGES || (count > 0 && bytes > BATCH_BYTES)) break;
    count++;
  }
  return waiting.splice(0, count);
}

/** Tells all who asked what was made of their changes. */
export function settleAll(batch: Waiting[]): void {
  for (const { result, settle } of batch) {
    if (result.failure) settle.reject(result.failure);
    else settle.resolve(result);
  }
}

/** Tells all who asked why nothing is known of their changes. */
export function rejectAll(batch: Waiting[], reason: unknown): void {
  for (const { settle } of batch) settle.reject(reason);
}

/** Of each id its last change has a file to follow, for all of them. */
export function tellFailures(
  batch: Waiting[],
  records: LogRecord[],
  stuck: Stuck,
): void {
  if (stuck.size === 0) return;
  const failures = new Map<string, Error>();
  for (const { txId, position } of records) {
    const failure = stuck.get(position);
    if (failure) failures.set(txId, failure);
  }
  for (const { entry, result } of batch) {
    const failure = failures.get(entry.txId);
    if (failure) result.failure ??= fileStuck(entry, failure);
  }
}

/** Removes the staged payload of a save that is not made. */
export function dropStaged({ entry }: Waiting, files: PayloadFiles): void {
  if (entry.kind === "put-staged") files.staged.remove(entry.name);
}

function fileStuck(
  { kind, txId }: LogEntry,
  { message }: Error,
): PohStorageError {
  const id = JSON.stringify(txId);
  const free = "recover does it once the way is free";
  return new PohStorageError(
    "FILE_STUCK",
    rowOf({ kind } as LogEntry) === null
      ? `Tx ${id} is deleted, but its payload file cannot be removed (${message}): ${free}`
      : `Tx ${id} is saved, but its payload file cannot be put in its place (${message}): the log keeps the payload, and ${free}`,
  );
}
