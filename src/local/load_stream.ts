/**
 * Loads payloads as streams.
 *
 * @module
 */

import { ReadAhead, SMALL } from "../files/durable_fs.ts";
import { infoOf } from "../engine.ts";
import { IntegrityError } from "../errors.ts";
import {
  currentRow,
  loadTx,
  openPayload,
  type Payloads,
  payloadSoon,
} from "./find_payload.ts";
import { digestOf } from "../files/hash.ts";
import type { TxInfo, TxStream } from "../types.ts";
import { type Pieces, verified } from "../payloads/verifying_stream.ts";
import { findRowToRead } from "../sqlite/lookups.ts";

/** Times a load looks again when a writer changes what it reads. */
const READ_ATTEMPTS = 5;

/**
 * Loads a transaction as a stream, which ends in an error unless its payload has
 * the digest of its row.
 *
 * @throws {IntegrityError} If the payload is gone.
 * @throws {PayloadUnreadableError} If the system would not give it.
 */
export async function loadStream(
  payloads: Payloads,
  txId: string,
): Promise<TxStream | null> {
  const found = findRowToRead(payloads.rows, txId);
  const soon = found && payloadSoon(payloads, found);
  if (soon) return { info: found.info, payload: streamOf(soon.slice()) };
  const whole = found && isSmall(found.info) && await loadWhole(payloads, txId);
  if (whole) return whole;
  let info = found?.info ?? null;
  for (let attempt = 1; info; attempt++) {
    const opened = await openPayload(payloads, info);
    if (opened) {
      const bytes = opened instanceof Uint8Array
        ? once(opened)
        : piecesOf(opened);
      return { info, payload: verified(info, bytes) };
    }
    if (attempt === READ_ATTEMPTS) {
      throw new IntegrityError(txId, info.storageHash, null);
    }
    info = currentRow(payloads, txId);
  }
  return null;
}

/** A sound payload that is read whole in one go; null when it is none. */
async function loadWhole(
  payloads: Payloads,
  txId: string,
): Promise<TxStream | null> {
  try {
    const tx = await loadTx(payloads, txId);
    if (!tx) return null;
    const { payload, ...head } = tx;
    const info = infoOf(head, await digestOf(payload), payload.length);
    return { info, payload: streamOf(payload) };
  } catch (error) {
    if (error instanceof IntegrityError) return null;
    throw error;
  }
}

/** Whether a payload is read whole, in one go. */
function isSmall({ size }: TxInfo): boolean {
  return size >= 0 && size <= SMALL;
}

function streamOf(payload: Uint8Array) {
  return new Blob([payload as BlobPart]).stream();
}

function once(bytes: Uint8Array): Pieces {
  const pieces = [new Uint8Array(bytes)].values();
  return {
    next: () => Promise.resolve(pieces.next().value ?? null),
    end: () => Promise.resolve(),
  };
}

function piecesOf(file: Deno.FsFile): Pieces {
  const ahead = new ReadAhead(file);
  return { next: () => ahead.next(), end: () => ahead[Symbol.asyncDispose]() };
}
