/**
 * Copies all transactions of one store to another, of whatever kind the two
 * are. It needs nothing but what every store offers.
 *
 * @module
 */

import {
  IntegrityError,
  InvalidTxError,
  PayloadUnreadableError,
  TxExistsError,
} from "./errors.ts";
import type { SavedTx } from "./model/if_exists.ts";
import { fileName } from "./files/file_name.ts";
import {
  type OptionsType,
  optionsType,
  requireKnown,
  rule,
} from "./options.ts";
import { workThrough } from "./async/pool.ts";
import type { StorageManager } from "./storage_manager.ts";
import { compareText } from "./text/text_order.ts";
import { validateTxHead } from "./tx.ts";
import type { Tx, TxInfo } from "./types.ts";

/** Transactions in flight, and the bytes that they hold. */
const IN_FLIGHT = { tasks: 128, bytes: 64 * 1024 * 1024 };

/** Larger payloads, and those of unknown size, are never held whole. */
const WHOLE = 1024 * 1024;

/** What the largest take on their way: parts of an upload, and buffers. */
const IN_PIECES = 16 * 1024 * 1024;

/** How far a migration has got. */
export interface MigrateProgress {
  /** Transactions of the source that are settled. */
  done: number;
  /** Transactions that the source had at the beginning. */
  total: number;
  /** Bytes of payloads copied. */
  bytes: number;
}

/** Why a transaction is left out. */
export type LeftOutReason =
  | IntegrityError
  | PayloadUnreadableError
  | InvalidTxError
  | TxExistsError;

/** How to migrate. */
export interface MigrateOptions {
  /** Stops between two transactions; what was copied stays. */
  signal?: AbortSignal;
  /** Told after each transaction. */
  onProgress?: (progress: MigrateProgress) => void;
  /**
   * Told of each transaction that is left out: damaged, not to be read, one
   * that no store may save, or refused by a write-once target that has another
   * one of its id; `id` is as SQL writes it where it is no text.
   */
  onLeftOut?: (error: LeftOutReason, id: string) => void;
  /** Reads those that the target has already as well; else rows are compared. */
  verify?: boolean;
}

/** Checks {@linkcode MigrateOptions}. */
const MIGRATE_OPTIONS: OptionsType = optionsType<MigrateOptions>(
  "MigrateOptions",
  {
    signal: rule.signal,
    onProgress: rule.callback,
    onLeftOut: rule.callback,
    verify: rule.flag,
  },
);

/** What came of it. */
export interface MigrateReport {
  /** Transactions copied, and read back. */
  copied: number;
  /** Bytes of their payloads. */
  bytes: number;
  /** Those of them that took the place of another one of that id. */
  replaced: number;
  /** Transactions that the target had already. */
  present: number;
  /** Transactions left out because they are damaged. */
  damaged: number;
  /** Transactions left out because they could not be read. */
  unreadable: number;
  /** Rows left out because no store may save them, such as one without an id. */
  odd: number;
  /** Transactions left out because a write-once target has others of their ids. */
  refused: number;
  /** Whether it was stopped before its end. */
  interrupted: boolean;
}

/**
 * Copies what the target has not got: a transaction with the same row is there
 * already. Each payload is verified as it is read from the source, and read
 * back from the target. What only the target has stays.
 *
 * Others may use both meanwhile; what they do may or may not be copied. Run
 * again, it goes on.
 *
 * @throws {IntegrityError} If the target gives back other bytes than it was
 * given, or none.
 *
 * @example Usage
 * ```ts
 * import { migrateStore, StorageManager } from "@poh/storage";
 * import { assertEquals } from "@std/assert";
 *
 * const base = await Deno.makeTempDir();
 * {
 *   await using from = await StorageManager.create(base, `${base}/poh.db`);
 *   await using to = await StorageManager.create(`${base}/to`, `${base}/to.db`);
 *   const payload = new TextEncoder().encode("hello");
 *   await from.saveTx({ txId: "a", holderId: "b", timestamp: 0, payload });
 *   assertEquals((await migrateStore(from, to)).copied, 1);
 *   assertEquals((await migrateStore(from, to)).present, 1);
 * }
 * await Deno.remove(base, { recursive: true });
 * ```
 */
export async function migrateStore(
  from: StorageManager,
  to: StorageManager,
  options: MigrateOptions = {},
): Promise<MigrateReport> {
  requireKnown(options, MIGRATE_OPTIONS);
  return await new Migration(from, to, options).run();
}

class Migration {
  readonly #from: StorageManager;
  readonly #to: StorageManager;
  readonly #options: MigrateOptions;
  readonly #report: MigrateReport = {
    copied: 0,
    bytes: 0,
    replaced: 0,
    present: 0,
    damaged: 0,
    unreadable: 0,
    odd: 0,
    refused: 0,
    interrupted: false,
  };
  #done = 0;
  #total = 0;

  constructor(
    from: StorageManager,
    to: StorageManager,
    options: MigrateOptions,
  ) {
    this.#from = from;
    this.#to = to;
    this.#options = options;
  }

  async run(): Promise<MigrateReport> {
    this.#total = await this.#from.countTxs();
    const isWhole = await workThrough(
      this.#rows(),
      ({ info, isThere }) => this.#settle(info, isThere),
      {
        most: IN_FLIGHT,
        bytesOf: ({ info }) => heldBy(info),
        signal: this.#options.signal,
      },
    );
    this.#report.interrupted = !isWhole;
    if (isWhole) await this.#tellOdd();
    return this.#report;
  }

  /** The rows of the source, and whether the target has them as well. */
  async *#rows(): AsyncGenerator<{ info: TxInfo; isThere: boolean }> {
    const there = new Cursor(this.#to.iterateTxs());
    try {
      for await (const info of this.#from.iterateTxs()) {
        yield { info, isThere: isSame(info, await there.find(info.txId)) };
      }
    } finally {
      await there.end();
    }
  }

  /** Rows that were in no list, or in it as something else. */
  async #tellOdd(): Promise<void> {
    for (const { id, reason } of await this.#from.oddRows()) {
      this.#leaveOut(new InvalidTxError("", `Row ${id}: ${reason}`), id);
    }
  }

  async #settle(info: TxInfo, isThere: boolean): Promise<void> {
    const report = this.#report;
    const { verify } = this.#options;
    if (isThere && (!verify || await this.#readBack(info))) report.present++;
    else await this.#copy(info);
    this.#done++;
    this.#options.onProgress?.({
      done: this.#done,
      total: this.#total,
      bytes: report.bytes,
    });
  }

  #leaveOut(reason: LeftOutReason, id: string): void {
    if (reason instanceof IntegrityError) this.#report.damaged++;
    else if (reason instanceof InvalidTxError) this.#report.odd++;
    else if (reason instanceof TxExistsError) this.#report.refused++;
    else this.#report.unreadable++;
    this.#options.onLeftOut?.(reason, id);
  }

  async #copy(info: TxInfo): Promise<void> {
    const { txId, size } = info;
    let copied: SavedTx | null;
    try {
      requireStorable(info);
      copied = isWhole(size)
        ? await this.#copySmall(txId)
        : await this.#copyLarge(txId);
    } catch (error) {
      if (error instanceof TxExistsError) {
        return this.#leaveOut(error, txId); // the target is write-once
      }
      if (!(error instanceof LeftOut)) throw error;
      this.#leaveOut(error.reason, txId);
      return;
    }
    if (!copied) return; // deleted meanwhile
    if (!await this.#readBack(copied)) {
      throw new IntegrityError(txId, copied.storageHash, null);
    }
    this.#report.copied++;
    if (copied.outcome === "replaced") this.#report.replaced++;
    this.#report.bytes += copied.size;
  }

  async #copySmall(txId: string): Promise<SavedTx | null> {
    const tx = await leavingOut<Tx | null>(() => this.#from.loadTx(txId));
    return tx && await this.#to.saveTx(tx);
  }

  async #copyLarge(txId: string): Promise<SavedTx | null> {
    const from = await leavingOut(() => this.#from.loadTxStream(txId));
    if (!from) return null;
    const { info, payload } = from;
    const reader = payload.getReader();
    const pieces = async function* () {
      while (true) {
        const { done, value } = await leavingOut(() => reader.read());
        if (done) return;
        yield value;
      }
    };
    try {
      return await this.#to.saveTxStream(info, pieces(), {
        expected: info.storageHash,
      });
    } finally {
      await reader.cancel().catch(() => {}); // its error is on its way
    }
  }

  /** Whether the target has it; it verifies what it gives. */
  async #readBack({ txId, size }: TxInfo): Promise<boolean> {
    if (isWhole(size)) return await this.#to.loadTx(txId) !== null;
    const back = await this.#to.loadTxStream(txId);
    for await (const _ of back?.payload ?? []);
    return back !== null;
  }
}

function isWhole(size: number): boolean {
  return size >= 0 && size <= WHOLE;
}

/** The bytes that a transaction holds as it is copied. */
function heldBy({ size }: TxInfo): number {
  return size < 0 ? IN_PIECES : Math.min(size, IN_PIECES);
}

/** What keeps one transaction from being copied, and no other. */
class LeftOut extends Error {
  readonly reason: LeftOutReason;

  constructor(reason: LeftOutReason) {
    super(reason.message);
    this.reason = reason;
  }
}

/** What another program has left in a row may be nothing that is saved here. */
function requireStorable(info: TxInfo): void {
  try {
    validateTxHead(info);
    fileName(info.txId);
  } catch (error) {
    if (!(error instanceof InvalidTxError)) throw error;
    throw new LeftOut(
      new InvalidTxError(
        error.field,
        `Cannot copy tx ${JSON.stringify(info.txId)}: ${error.message}`,
        error.code,
      ),
    );
  }
}

/** Tells the source's errors from the target's. */
async function leavingOut<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (
      error instanceof IntegrityError || error instanceof PayloadUnreadableError
    ) throw new LeftOut(error);
    throw error;
  }
}

/** Rows in the order of their ids, in which others are looked up in order. */
class Cursor {
  readonly #rows: AsyncIterator<TxInfo>;
  #next: IteratorResult<TxInfo> | null = null;

  constructor(rows: AsyncIterableIterator<TxInfo>) {
    this.#rows = rows;
  }

  /** The row of an id that is greater than the one before; null: none. */
  async find(txId: string): Promise<TxInfo | null> {
    while (true) {
      this.#next ??= await this.#rows.next();
      if (this.#next.done) return null;
      const order = compareText(this.#next.value.txId, txId);
      if (order === 0) return this.#next.value;
      if (order > 0) return null;
      this.#next = null;
    }
  }

  async end(): Promise<void> {
    await this.#rows.return?.();
  }
}

/** Whether the target has the row; its size may be told by the target alone. */
function isSame(from: TxInfo, there: TxInfo | null): boolean {
  return there !== null && there.storageHash === from.storageHash &&
    there.holderId === from.holderId && there.timestamp === from.timestamp &&
    (from.size === -1 || there.size === from.size);
}
