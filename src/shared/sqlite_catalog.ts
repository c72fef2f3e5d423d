/**
 * A catalog in SQLite: for payloads that are elsewhere, and metadata of one
 * machine.
 *
 * `txs` is that of every store. A row's object has the plain key of its id
 * unless `object_keys` has another.
 *
 * @module
 */

import { dirname } from "@std/path";
import { makeDir } from "../files/durable_fs.ts";
import { PohStorageError, StoreBusyError } from "../errors.ts";
import { isSameTx } from "../model/if_exists.ts";
import type { LockWait } from "../options.ts";
import { retryBusy } from "../async/wait_for.ts";
import { LockFile } from "../files/locks.ts";
import type { SqlValue } from "../sqlite/driver.ts";
import type { DriverInfo } from "../model/driver_info.ts";
import { validateTxHead } from "../tx.ts";
import type { StoreTotals, TxFilter, TxInfo, TxQuery } from "../types.ts";
import {
  type Catalog,
  type CatalogChange,
  type CatalogEntry,
  type CatalogOutcome,
  GRACE,
  type HolderCounts,
  type Lease,
  leaseLost,
  type RetiredKey,
} from "./contracts.ts";
import { isSameEntry, saveRow } from "./entry.ts";
import { plainKey, txIdOfKey } from "./object_key.ts";
import { isWriteOnce, writeOnceSettings } from "../local/write_once.ts";
import type { Database } from "../sqlite/database.ts";
import { type DatabaseOptions, openDatabase } from "../sqlite/open_database.ts";
import { iterateByHolder } from "../sqlite/tx_pages.ts";
import type { OddRow } from "../sqlite/odd_rows.ts";
import { initDatabase } from "../sqlite/open_database.ts";
import { logState, readSetting, writeSetting } from "../sqlite/log_state.ts";
import { deleteRow, putRow } from "../sqlite/row_changes.ts";
import { findInfo } from "../sqlite/lookups.ts";
import { iterateTxs, pageOfTxs } from "../sqlite/tx_pages.ts";
import { countHolders, countTxs, sumTxs } from "../sqlite/tx_counts.ts";
import { findOddRows } from "../sqlite/odd_rows.ts";
import { integrityErrors } from "../sqlite/integrity_errors.ts";
import { iterateIds } from "../sqlite/tx_pages.ts";

/** Rows fetched at a time by what goes through all of them. */
const PAGE = 512;

const TABLES = [
  `CREATE TABLE IF NOT EXISTS object_keys (
    tx_id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE)`,
  `CREATE TABLE IF NOT EXISTS retired (
    key TEXT PRIMARY KEY, at REAL NOT NULL, deleted INTEGER NOT NULL)`,
  "CREATE INDEX IF NOT EXISTS retired_by_time ON retired (deleted, at)",
];

/**
 * Keeps a catalog in a SQLite database. Needs `--allow-read` and
 * `--allow-write` for its folder.
 */
export class SqliteCatalog implements Catalog {
  readonly #rows: Database;
  readonly #lock: LockFile | null;
  readonly #isNewWriteOnce: boolean;
  /** Settles when this process has done with the lock. */
  #locked: Promise<unknown> = Promise.resolve();
  #hasTables = true;
  #closed = false;

  readonly #wait: LockWait;

  private constructor(
    rows: Database,
    lock: LockFile | null,
    options: LockWait & { writeOnce: boolean },
  ) {
    this.#rows = rows;
    this.#lock = lock;
    this.#wait = options;
    this.#isNewWriteOnce = options.writeOnce;
  }

  /**
   * Opens a database, by its absolute path; before the first use call `init`.
   *
   * @param options As of a SQLite store, and whether one that is made here is
   * write-once.
   */
  static async open(
    path: string,
    { writeOnce = false, ...options }:
      & DatabaseOptions
      & { writeOnce?: boolean } = {},
  ): Promise<SqliteCatalog> {
    if (options.readOnly) {
      const rows = await openDatabase(path, options);
      return new SqliteCatalog(rows, null, { ...options, writeOnce });
    }
    await makeDir(dirname(path), options.sync ?? true);
    const lock = new LockFile(`${path}.lock`);
    try {
      await lock.lockExclusive(options);
      const rows = await openDatabase(path, options);
      lock.unlock();
      return new SqliteCatalog(rows, lock, { ...options, writeOnce });
    } catch (error) {
      lock.close();
      throw error;
    }
  }

  /** {@inheritDoc Catalog.url} */
  get url(): string {
    return this.#rows.path;
  }

  /** Which binding serves. */
  get driver(): DriverInfo {
    return this.#rows.driver;
  }

  /** {@inheritDoc Catalog.init} */
  async init(): Promise<void> {
    await this.#alone(() =>
      initDatabase(this.#rows, writeOnceSettings(this.#isNewWriteOnce))
    );
    if (!this.#lock) {
      this.#hasTables = this.#all(
        "SELECT 1 FROM sqlite_schema WHERE name = 'object_keys'",
      ).length > 0;
      return;
    }
    await this.#alone(() =>
      this.#rows.transaction(() => {
        for (const sql of TABLES) this.#all(sql);
        if (readSetting(this.#rows, "id") === null) {
          writeSetting(this.#rows, "id", crypto.randomUUID());
        }
        if (logState(this.#rows).applied > 0) {
          throw new PohStorageError(
            "IN_USE",
            `The database ${this.url} is that of a local store: migrate copies it`,
          );
        }
      })
    );
  }

  /** {@inheritDoc Catalog.id} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async id(): Promise<string> {
    return readSetting(this.#rows, "id") ?? "";
  }

  /** {@inheritDoc Catalog.isWriteOnce} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async isWriteOnce(): Promise<boolean> {
    return isWriteOnce(this.#rows);
  }

  /** {@inheritDoc Catalog.commit} */
  async commit(
    changes: CatalogChange[],
    token?: number,
  ): Promise<CatalogOutcome[]> {
    const outcomes = await this.#alone(() =>
      this.#rows.transaction(() => {
        if (token !== undefined) this.#requireToken(token);
        return changes.map((change) => this.#make(change));
      })
    );
    await this.#rows.wal.flush();
    return outcomes;
  }

  /** {@inheritDoc Catalog.save} The row goes on naming its object. */
  save(info: TxInfo): Promise<void> {
    return saveRow(this, info);
  }

  /** {@inheritDoc Catalog.load} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async load(txId: string): Promise<TxInfo | null> {
    return findInfo(this.#rows, txId);
  }

  /** {@inheritDoc Catalog.remove} */
  async remove(txId: string): Promise<boolean> {
    return (await this.commit([{ remove: txId }]))[0] === "removed";
  }

  /** {@inheritDoc Catalog.listIds} */
  async listIds(): Promise<string[]> {
    return (await Array.fromAsync(iterateIds(this.#rows))).flat();
  }

  /** {@inheritDoc Catalog.iterate} */
  iterate(query?: TxQuery): AsyncIterableIterator<TxInfo> {
    return iterateTxs(this.#rows, query);
  }

  /** {@inheritDoc Catalog.count} */
  count(filter?: TxFilter): Promise<number> {
    return countTxs(this.#rows, filter);
  }

  /** {@inheritDoc Catalog.oddRows} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async oddRows(): Promise<OddRow[]> {
    return findOddRows(this.#rows);
  }

  /** {@inheritDoc Catalog.totals} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async totals(): Promise<StoreTotals> {
    return sumTxs(this.#rows);
  }

  /** {@inheritDoc Catalog.holders} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async holders(limit: number): Promise<HolderCounts> {
    return countHolders(this.#rows, limit);
  }

  /** {@inheritDoc Catalog.iterateByHolder} */
  iterateByHolder(): AsyncIterableIterator<TxInfo> {
    return iterateByHolder(this.#rows);
  }

  /** {@inheritDoc Catalog.find} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async find(txIds: string[]): Promise<(CatalogEntry | null)[]> {
    return this.#rows.atOneMoment(() => txIds.map((txId) => this.#entry(txId)));
  }

  /** {@inheritDoc Catalog.entries} */
  async *entries(query: TxQuery = {}): AsyncIterableIterator<CatalogEntry> {
    let left = query.limit ?? Infinity, next = query;
    while (left > 0) {
      const limit = Math.min(left, PAGE);
      const page = this.#rows.atOneMoment(() =>
        pageOfTxs(this.#rows, { ...next, limit }).map((info) => ({
          info,
          key: this.#keyOf(info.txId),
        }))
      );
      yield* page;
      if (page.length < limit) return;
      left -= page.length;
      next = { ...next, after: page.at(-1)!.info };
    }
  }

  /** {@inheritDoc Catalog.named} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async named(keys: string[]): Promise<Set<string>> {
    return this.#rows.atOneMoment(() =>
      new Set(keys.filter((key) => this.#isNamed(key)))
    );
  }

  /** {@inheritDoc Catalog.retire} */
  async retire(keys: string[], token?: number): Promise<Set<string>> {
    const retired = await this.#alone(() =>
      this.#rows.transaction(() => {
        if (token !== undefined) this.#requireToken(token);
        const unnamed = keys.filter((key) => !this.#isNamed(key));
        for (const key of unnamed) this.#retire(key);
        return new Set(unnamed);
      })
    );
    await this.#rows.wal.flush();
    return retired;
  }

  /** {@inheritDoc Catalog.retiredOf} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async retiredOf(keys: string[]): Promise<Set<string>> {
    return this.#rows.atOneMoment(() =>
      new Set(keys.filter((key) => this.#isRetired(key)))
    );
  }

  /** {@inheritDoc Catalog.retired} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async retired(limit: number): Promise<RetiredKey[]> {
    if (!this.#hasTables) return [];
    return this.#all(
      "SELECT key, deleted FROM retired ORDER BY deleted, at LIMIT ?",
      limit,
    ).map(([key, deleted]) => ({
      key: key as string,
      deleted: deleted !== 0,
    }));
  }

  /** {@inheritDoc Catalog.noteDeleted} */
  async noteDeleted(keys: string[]): Promise<void> {
    await this.#alone(() =>
      this.#rows.transaction(() => {
        for (const key of keys) {
          this.#all(
            "UPDATE retired SET deleted = 1, at = ? WHERE key = ?",
            seconds(),
            key,
          );
        }
      })
    );
  }

  /** {@inheritDoc Catalog.forgetRetired} */
  forgetRetired(): Promise<number> {
    return this.#alone(() =>
      this.#rows.transaction(() =>
        this.#all(
          "DELETE FROM retired WHERE deleted = 1 AND at < ? RETURNING 1",
          seconds() - GRACE,
        ).length
      )
    );
  }

  /** {@inheritDoc Catalog.now} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async now(): Promise<number> {
    return seconds();
  }

  /** {@inheritDoc Catalog.boundaries} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async boundaries(ranges: number): Promise<string[]> {
    return this.#all(
      `SELECT max(tx_id) FROM (
        SELECT tx_id, ntile(?) OVER (ORDER BY tx_id) AS part FROM txs)
      GROUP BY part ORDER BY part`,
      ranges,
    ).map(([txId]) => txId as string).slice(0, -1);
  }

  /**
   * {@inheritDoc Catalog.lease} The operating system drops it with its process,
   * so it is never lost before.
   */
  async lease(): Promise<Lease> {
    const lock = new LockFile(`${this.url}.repair`);
    if (!lock.tryLock(true)) {
      lock.close();
      throw new StoreBusyError("The store is being repaired", []);
    }
    try {
      const token = await this.#alone(() =>
        this.#rows.transaction(() => {
          const token = Number(readSetting(this.#rows, "lease") ?? 0) + 1;
          writeSetting(this.#rows, "lease", String(token));
          return token;
        })
      );
      return {
        token,
        signal: new AbortController().signal,
        // deno-lint-ignore require-await -- the contract is asynchronous
        [Symbol.asyncDispose]: async () => lock.close(),
      };
    } catch (error) {
      lock.close();
      throw error;
    }
  }

  /** {@inheritDoc Catalog.checkIntegrity} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async checkIntegrity(): Promise<string[]> {
    return integrityErrors(this.#rows);
  }

  /** {@inheritDoc Catalog.close} */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // Closing may checkpoint SQLite's log.
    await this.#alone(() => this.#rows.close());
    this.#lock?.close();
  }

  #make(change: CatalogChange): CatalogOutcome {
    const txId = "put" in change ? change.put.info.txId : change.remove;
    const before = this.#entry(txId);
    if (!isAsSeen(before, change.seen)) return "unchanged";
    if ("remove" in change) {
      if (!before) return "unchanged";
      if (seconds() > (change.deadline ?? Infinity)) return "late";
      deleteRow(this.#rows, txId);
      this.#all("DELETE FROM object_keys WHERE tx_id = ?", txId);
      this.#retire(before.key);
      return "removed";
    }
    const { put: { info, key }, deadline } = change;
    validateTxHead(info);
    if (seconds() > deadline) return "late";
    if (this.#isRetired(key)) return "retired";
    putRow(this.#rows, info);
    this.#setKey(txId, key);
    if (!before) return "created";
    if (before.key !== key) this.#retire(before.key);
    return isSameTx(before.info, info) ? "same" : "replaced";
  }

  #entry(txId: string): CatalogEntry | null {
    if (!txId.isWellFormed()) return null; // a row may be near to that
    const info = findInfo(this.#rows, txId);
    return info && { info, key: this.#keyOf(txId) };
  }

  #keyOf(txId: string): string {
    if (!this.#hasTables) return plainKey(txId);
    const [row] = this.#all(
      "SELECT key FROM object_keys WHERE tx_id = ?",
      txId,
    );
    return row ? row[0] as string : plainKey(txId);
  }

  #setKey(txId: string, key: string): void {
    if (key === plainKey(txId)) {
      this.#all("DELETE FROM object_keys WHERE tx_id = ?", txId);
      return;
    }
    this.#all(
      "INSERT OR REPLACE INTO object_keys (tx_id, key) VALUES (?, ?)",
      txId,
      key,
    );
  }

  #isNamed(key: string): boolean {
    const isOwn = this.#hasTables &&
      this.#all("SELECT 1 FROM object_keys WHERE key = ?", key).length > 0;
    if (isOwn) return true;
    const txId = txIdOfKey(key);
    return txId !== null && this.#entry(txId)?.key === key;
  }

  #isRetired(key: string): boolean {
    return this.#hasTables &&
      this.#all("SELECT 1 FROM retired WHERE key = ?", key).length > 0;
  }

  #retire(key: string): void {
    this.#all(
      "INSERT OR REPLACE INTO retired (key, at, deleted) VALUES (?, ?, 0)",
      key,
      seconds(),
    );
  }

  #requireToken(token: number): void {
    if (Number(readSetting(this.#rows, "lease")) === token) return;
    throw leaseLost();
  }

  /** Runs `work` while nobody else changes the database, here or elsewhere. */
  #alone<T>(work: () => T | Promise<T>): Promise<T> {
    const turn = this.#locked.then(async () => {
      await this.#lock?.lockExclusive(this.#wait);
      try {
        return await retryBusy(work, this.#wait);
      } finally {
        this.#lock?.unlock();
      }
    });
    this.#locked = turn.catch(() => {});
    return turn;
  }

  #all(sql: string, ...params: SqlValue[]): SqlValue[][] {
    return this.#rows.all(sql, ...params);
  }
}

function isAsSeen(
  entry: CatalogEntry | null,
  seen: CatalogEntry | null | undefined,
): boolean {
  if (seen === undefined) return true;
  return entry && seen ? isSameEntry(entry, seen) : entry === seen;
}

function seconds(): number {
  return Date.now() / 1000;
}
