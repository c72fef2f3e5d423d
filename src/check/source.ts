/**
 * Where recovery looks for payloads that a store has lost.
 *
 * The digest of every payload is known from its row, so a source need not be
 * trusted: whatever it gives is verified before it is used.
 *
 * @module
 */

import { InvalidTxError } from "../errors.ts";
import { digestOfPieces } from "../files/hash.ts";
import { fileName } from "../files/file_name.ts";
import { workThrough } from "../async/pool.ts";
import { validateTxHead } from "../tx.ts";
import type { TxInfo } from "../types.ts";

/**
 * Takes the bytes that a source has for a transaction.
 *
 * @returns True if they are the payload that the row promises. False if they are
 * others, or if reading them failed: the source may have more candidates.
 */
export type Take = (
  info: TxInfo,
  bytes: AsyncIterable<Uint8Array>,
) => Promise<boolean>;

/** Told of a payload that a source may have, and could not give. */
export type OnUnread = (info: TxInfo) => void;

/** A place that may have payloads. */
export interface HealSource extends AsyncDisposable {
  /** How it was named, for messages. */
  readonly name: string;
  /**
   * Looks for the payloads of these rows, each row once, and hands over what it
   * finds. A payload that it does not have is passed over.
   *
   * @param signal Ends the search between two payloads.
   * @param onUnread Receives each that it may have and could not read to its end:
   * that must not be given up.
   * @throws If the source can be asked no more, or if `take` throws.
   */
  search(
    wanted: readonly TxInfo[],
    take: Take,
    signal: AbortSignal,
    onUnread: OnUnread,
  ): Promise<void>;
  /**
   * The row that it has for a payload, for one who has lost the row; null where
   * it has none, or another payload. Not there where a source has no rows.
   */
  rowFor?(txId: string, storageHash: string): TxInfo | null;
}

/** Whether a store can have a row: one edited by hand may have an id that none can. */
export function isPossible(info: TxInfo): boolean {
  try {
    validateTxHead(info);
    fileName(info.txId);
    return true;
  } catch (error) {
    if (!(error instanceof InvalidTxError)) throw error;
    return false;
  }
}

/**
 * Hands the bytes of a source to a reader.
 *
 * @returns What the reader makes of them; null when the source broke off, or gave
 * more than the row promises.
 * @throws What the reader throws by itself.
 */
export async function readFrom<T>(
  bytes: AsyncIterable<Uint8Array>,
  { size }: TxInfo,
  read: (pieces: AsyncGenerator<Uint8Array>) => Promise<T>,
): Promise<T | null> {
  let failure: { error: unknown } | null = null;
  const guarded = async function* () {
    try {
      yield* atMost(bytes, size);
    } catch (error) {
      failure = { error };
      throw error;
    }
  };
  const pieces = guarded();
  try {
    return await read(pieces);
  } catch (error) {
    const known = failure as { error: unknown } | null;
    const isOfSource = known?.error === error &&
      !(error instanceof Deno.errors.NotCapable);
    if (isOfSource) return null;
    throw error;
  } finally {
    await pieces.return(undefined);
  }
}

/** The bytes of a source, which may break off. */
export class Pieces implements AsyncIterable<Uint8Array> {
  /** Whether they broke off. */
  hasBroken = false;
  readonly #bytes: AsyncIterable<Uint8Array>;

  /** Reads nothing yet. */
  constructor(bytes: AsyncIterable<Uint8Array>) {
    this.#bytes = bytes;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      yield* this.#bytes;
    } catch (error) {
      this.hasBroken = true;
      throw error;
    }
  }
}

/** Whether a source gives the payload; keeps nothing of it. */
export const isRight: Take = async (info, bytes) => {
  const found = await readFrom(bytes, info, digestOfPieces);
  return found?.digest === info.storageHash;
};

/** Payloads that one source is asked for at the same time. */
const IN_FLIGHT = 16;

/** Looks for each row on its own, several at the same time. */
export async function searchEach(
  wanted: readonly TxInfo[],
  signal: AbortSignal,
  look: (info: TxInfo) => Promise<void>,
): Promise<void> {
  await workThrough(wanted, look, { most: { tasks: IN_FLIGHT }, signal });
}

/**
 * The bytes of a source, no more than the row promises: a source must not fill
 * the disk. A size that the row does not know (-1) sets no limit.
 *
 * @throws {Deno.errors.InvalidData} If there are more.
 */
async function* atMost(
  bytes: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<Uint8Array> {
  let seen = 0;
  for await (const piece of bytes) {
    seen += piece.length;
    if (size >= 0 && seen > size) {
      throw new Deno.errors.InvalidData("it has more bytes than its row says");
    }
    yield piece;
  }
}
