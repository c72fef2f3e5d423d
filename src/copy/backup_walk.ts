/**
 * The walk that backup and restore have in common: row by row, the payload that
 * it promises is found, verified and handed to a target.
 *
 * Writers may go on meanwhile. What they have replaced or deleted since the rows
 * were copied is settled as they left it; only what two readings agree on is
 * damage.
 *
 * @module
 */

import { type LongWork, longWorkRules } from "../model/long_work.ts";
import { InvalidTxError, MetadataDamagedError } from "../errors.ts";
import { checkIntegrity } from "../sqlite/integrity.ts";
import type { LogReader } from "../log/log_reader.ts";
import {
  currentRow,
  type PayloadSource,
  readPayload,
} from "../local/find_payload.ts";
import { judge } from "../check/two_readings.ts";
import { rule, type Rules } from "../options.ts";
import { type Finding, MAX_FINDINGS } from "../model/report.ts";
import { workThrough } from "../async/pool.ts";
import { nextTurn } from "../async/turn.ts";
import { validateRow } from "../tx.ts";
import type { TxInfo } from "../types.ts";
import type { Database } from "../sqlite/database.ts";
import { isSameRow } from "../sqlite/row.ts";
import type { PayloadFiles } from "../payloads/payload_files.ts";
import { deleteRow, putRow } from "../sqlite/row_changes.ts";
import { findInfo } from "../sqlite/lookups.ts";
import { pageOfTxs } from "../sqlite/tx_pages.ts";
import { countTxs } from "../sqlite/tx_counts.ts";
import { deleteUnlisted, findOddRows } from "../sqlite/odd_rows.ts";

/** Rows settled in one transaction, about. */
const PAGE = 256;

/** Payloads taken over at the same time. */
const IN_FLIGHT = 16;

/** Takes payloads over. */
export interface PayloadTarget {
  /** The size of a row's payload, where it has that one already; else null. */
  has(info: TxInfo): Promise<number | null>;
  /**
   * Takes a payload over, unless it is not the one that the row promises.
   *
   * @returns What was found; null when nothing is there any more.
   * @throws {PayloadUnreadableError} If the source cannot be read.
   */
  take(
    info: TxInfo,
    source: PayloadSource,
  ): Promise<{ digest: string; size: number } | null>;
}

/** The parts of the store that payloads come from. */
export interface PayloadOrigin {
  /** Its payload files. */
  files: PayloadFiles;
  /** Its rows, as they are now. */
  rows: Database;
  /** Its log; an archive has none. */
  log: LogReader | null;
}

/** What both backup and restore take. */
export interface WalkOptions extends LongWork {
  /** Told of every transaction that is left out. */
  onFinding?: (finding: Finding) => void;
}

/** What the fields of {@linkcode WalkOptions} may be. */
export const walkRules: Rules<WalkOptions> = {
  ...longWorkRules,
  onFinding: rule.callback,
};

/** What a walk came to. */
export interface WalkReport {
  /** Transactions whose payload was taken over. */
  written: number;
  /** Bytes of these. */
  bytes: number;
  /** Transactions whose payload the target had already. */
  kept: number;
  /** Transactions left out because they are damaged. */
  damaged: number;
  /** Transactions left out because the system would not give their payload. */
  unreadable: number;
  /** What was left out, and why: the first {@linkcode MAX_FINDINGS}. */
  findings: Finding[];
  /** Whether it was stopped before its end. */
  interrupted: boolean;
}

/** The report of a walk that has done nothing yet. */
export function emptyWalkReport(): WalkReport {
  return {
    written: 0,
    bytes: 0,
    kept: 0,
    damaged: 0,
    unreadable: 0,
    findings: [],
    interrupted: false,
  };
}

/**
 * Goes through the rows `from`, and leaves in `to` those whose payloads the
 * target has. The two may be the same.
 */
export async function walk(
  step: string,
  origin: PayloadOrigin,
  from: Database,
  to: Database,
  target: PayloadTarget,
  options: WalkOptions,
): Promise<WalkReport> {
  return await new Walk(step, origin, from, to, target, options).run();
}

class Walk {
  readonly #step: string;
  readonly #origin: PayloadOrigin;
  readonly #from: Database;
  readonly #to: Database;
  readonly #target: PayloadTarget;
  readonly #options: WalkOptions;
  readonly #report = emptyWalkReport();
  /** Rows as they were, and as they are to be, that are not written yet. */
  readonly #settled: [TxInfo, TxInfo | null][] = [];
  #done = 0;
  #total = 0;

  constructor(
    step: string,
    origin: PayloadOrigin,
    from: Database,
    to: Database,
    target: PayloadTarget,
    options: WalkOptions,
  ) {
    this.#step = step;
    this.#origin = origin;
    this.#from = from;
    this.#to = to;
    this.#target = target;
    this.#options = options;
  }

  async run(): Promise<WalkReport> {
    const { signal } = this.#options;
    if (signal?.aborted) return { ...this.#report, interrupted: true };
    this.#total = await countTxs(this.#from);
    const isWhole = await workThrough(
      this.#rows(),
      async (seen) => {
        const info = await this.#settle(seen);
        this.#settled.push([seen, info]);
        this.#tellProgress();
      },
      { most: { tasks: IN_FLIGHT }, signal },
    );
    this.#writeSettled();
    this.#report.interrupted = !isWhole || signal?.aborted === true;
    if (!this.#report.interrupted) this.#leaveOutUnlisted();
    return this.#report;
  }

  /** All rows in pages; what has become of a page is written before the next. */
  async *#rows(): AsyncGenerator<TxInfo> {
    let after: string | undefined;
    while (true) {
      const page = pageOfTxs(this.#from, {
        limit: PAGE,
        ...(after !== undefined && { after }),
      });
      yield* page;
      if (page.length < PAGE) return;
      this.#writeSettled();
      after = page.at(-1)!.txId;
      await nextTurn();
    }
  }

  /** What no page has: rows whose ids are no text. */
  #leaveOutUnlisted(): void {
    const unlisted = findOddRows(this.#from).filter(({ listed }) => !listed);
    for (const { id, reason } of unlisted) {
      const row = { txId: id, storageHash: null };
      this.#leaveOut(row, "payload-missing", reason);
    }
    if (unlisted.length === 0 || this.#from !== this.#to) return;
    this.#to.transaction(() => deleteUnlisted(this.#to));
  }

  #writeSettled(): void {
    const settled = this.#settled.splice(0);
    this.#to.transaction(() => {
      for (const [seen, info] of settled) this.#write(seen, info);
    });
  }

  #write(seen: TxInfo, info: TxInfo | null): void {
    if (info === null) deleteRow(this.#to, seen.txId);
    else if (this.#from !== this.#to || !isSameRow(seen, info)) {
      putRow(this.#to, info);
    }
  }

  /** The row as it is to be, its payload taken over; null: left out. */
  async #settle(seen: TxInfo): Promise<TxInfo | null> {
    const flaw = flawOf(seen);
    if (flaw !== null) return this.#leaveOut(seen, "payload-missing", flaw);
    const size = await this.#target.has(seen);
    if (size !== null) {
      this.#report.kept++;
      return { ...seen, size };
    }
    const judged = await judge(
      seen,
      (info) => this.#take(info),
      ({ txId }) => this.#now(txId),
      (one, other) => one.storageHash === other.storageHash,
    );
    switch (judged?.kind) {
      case undefined:
        return null; // deleted meanwhile
      case "sound": {
        const { row, sound: { size } } = judged;
        this.#report.written++;
        this.#report.bytes += size;
        return { ...row, size };
      }
      case "damaged":
        return this.#damaged(judged.row, judged.found?.digest ?? null);
      case "unreadable":
        return this.#leaveOut(judged.row, "unreadable", judged.failure.message);
    }
  }

  #take(info: TxInfo) {
    const take = (source: PayloadSource) => this.#target.take(info, source);
    return readPayload(this.#origin, info, take);
  }

  /** The row as it is by now in the store that payloads come from. */
  #now(txId: string): TxInfo | null {
    const { rows, log } = this.#origin;
    return log ? currentRow({ rows, log }, txId) : findInfo(rows, txId);
  }

  #damaged(info: TxInfo, found: string | null): null {
    return found === null
      ? this.#leaveOut(info, "payload-missing", "its payload file is missing")
      : this.#leaveOut(
        info,
        "payload-corrupt",
        "its payload does not have the digest that its row promises",
        found,
      );
  }

  #leaveOut(
    info: { txId: string; storageHash: string | null },
    kind: "payload-missing" | "payload-corrupt" | "unreadable",
    detail: string,
    found: string | null = null,
  ): null {
    const { txId, storageHash: expected } = info;
    const finding: Finding = {
      kind,
      txId,
      file: null,
      expected,
      found,
      detail,
      action: "none",
      source: null,
    };
    if (kind === "unreadable") this.#report.unreadable++;
    else this.#report.damaged++;
    const { findings } = this.#report;
    if (findings.length < MAX_FINDINGS) findings.push(finding);
    this.#options.onFinding?.(finding);
    return null;
  }

  #tellProgress(): void {
    this.#options.onProgress?.({
      step: this.#step,
      done: ++this.#done,
      total: this.#total,
      bytes: this.#report.bytes,
    });
  }
}

/**
 * SQLite says of a database that it is sound, or this throws: a damaged one is
 * neither backed up nor restored.
 *
 * @param signal Ends the check early: nothing is said then, and the walk that
 * follows goes nowhere. Not for a file that is removed then, as Windows does
 * not remove what is still being read.
 */
export async function requireSoundDatabase(
  rows: Database,
  path: string,
  signal?: AbortSignal,
): Promise<void> {
  const [line] = await checkIntegrity(rows, signal) ?? [];
  if (line !== undefined) throw new MetadataDamagedError(path, line);
}

/** Why a row, edited by hand, cannot be one of a store; or null. */
function flawOf(info: TxInfo): string | null {
  try {
    validateRow(info);
    return null;
  } catch (error) {
    if (!(error instanceof InvalidTxError)) throw error;
    return error.message;
  }
}
