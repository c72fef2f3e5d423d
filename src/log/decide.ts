/**
 * What is made of changes: decided when the log is written, in its order, as each
 * finds the store by then.
 *
 * @module
 */

import { PreconditionError, TxExistsError } from "../errors.ts";
import { sha256HexSync } from "../files/hash.ts";
import { decide, requireMatch, savedTx } from "../model/if_exists.ts";
import { isSoundSoon } from "../payloads/payload_file.ts";
import type { TxInfo } from "../types.ts";
import { dropStaged, type Waiting } from "./batch.ts";
import type { Followers } from "./follow.ts";
import type { LogReader } from "./log_reader.ts";
import { type LogEntry, rowOf } from "./record.ts";
import { moving } from "./why.ts";
import { isSameRow } from "../sqlite/row.ts";
import { findInfos, findRow } from "../sqlite/lookups.ts";

/** What is to be logged of a batch. */
export interface Decided {
  /** In the order of the changes of which something is made. */
  entries: LogEntry[];
  /** Whether each saves an id that was unknown. */
  isNew: boolean;
}

/**
 * Decides what is made of a batch.
 *
 * @param underWay Rows that are durable, and that no table has yet.
 */
export function decideAll(
  batch: Waiting[],
  underWay: ReadonlyMap<string, TxInfo>,
  followers: Followers,
  log: LogReader,
): Decided {
  const there = findInfos(followers.rows, batch.map(({ entry }) => entry.txId));
  const decider = new Decider(underWay, followers, log);
  const entries: LogEntry[] = [];
  let isNew = true;
  for (const change of batch) {
    const before = decider.before(change, there);
    const entry = decider.decide(change, before);
    if (entry) {
      isNew &&= before === null;
      entries.push(entry);
    } else dropStaged(change, followers.files);
  }
  return { entries, isNew };
}

/** Decides on one change after another. */
class Decider {
  readonly #followers: Followers;
  readonly #log: LogReader;
  /** The rows that are changed so far; null: deleted. */
  readonly #changed: Map<string, TxInfo | null>;

  constructor(
    underWay: ReadonlyMap<string, TxInfo>,
    followers: Followers,
    log: LogReader,
  ) {
    this.#followers = followers;
    this.#log = log;
    this.#changed = new Map(underWay);
  }

  /** The row that a change finds; null: none. */
  before(
    { entry: { txId } }: Waiting,
    there: ReadonlyMap<string, TxInfo>,
  ): TxInfo | null {
    const changed = this.#changed.get(txId);
    return changed === undefined ? there.get(txId) ?? null : changed;
  }

  /** What is logged of a change; null: nothing, as it is not to be made. */
  decide(change: Waiting, before: TxInfo | null): LogEntry | null {
    let entry: LogEntry | null = null;
    try {
      entry = change.rule === null
        ? this.#decideOther(change, before)
        : this.#decideSave(change, before);
    } catch (error) {
      const isRefusal = error instanceof TxExistsError ||
        error instanceof PreconditionError;
      if (!isRefusal) throw error;
      change.result.failure = error;
    }
    change.result.made = entry !== null;
    if (!entry) return null;
    this.#changed.set(entry.txId, rowOf(entry));
    return entry;
  }

  #decideOther(
    { entry, seen, home, ifMatch }: Waiting,
    before: TxInfo | null,
  ): LogEntry | null {
    const { txId } = entry;
    const after = rowOf(entry);
    if (before === null && after === null) return null;
    if (ifMatch) requireMatch(ifMatch, txId, before);
    if (seen && !(before && isSameRow(before, seen))) return null;
    if (home !== undefined) {
      const { place } = findRow(this.#followers.rows, txId) ?? {};
      if (this.#changed.has(txId) || place !== home) return null;
    }
    if (after) return moving(entry);
    const { storageHash } = before!;
    // A row may have been edited by hand.
    const isDigest = /^[0-9a-f]{64}$/.test(storageHash);
    return { ...entry, storageHash: isDigest ? storageHash : "" };
  }

  #decideSave(
    { entry, rule, result, ifMatch }: Waiting,
    there: TxInfo | null,
  ): LogEntry | null {
    const info = rowOf(entry)!;
    if (ifMatch) requireMatch(ifMatch, info.txId, there);
    const outcome = there ? decide(there, info, rule!) : "created";
    result.saved = savedTx(outcome === "kept" ? there! : info, outcome);
    if (outcome === "kept") return null;
    // The same again mends a payload that is damaged or gone.
    const isThere = there !== null && isSameRow(there, info) &&
      (this.#changed.has(info.txId) || this.#isSound(info));
    return isThere ? null : entry;
  }

  /** Fast path: true if a small payload matches its row. False proves nothing. */
  #isSound(info: TxInfo): boolean {
    const { rows, files } = this.#followers;
    const place = findRow(rows, info.txId)?.place ?? null;
    if (place === null) return isSoundSoon(files.expected(info));
    const payload = this.#log.at(place)?.payload;
    return payload ? sha256HexSync(payload) === info.storageHash : false;
  }
}
