/**
 * The public store of metadata. The package itself uses `database.ts` and what
 * stands beside it.
 *
 * @module
 */

import {
  type OptionsType,
  optionsType,
  requireKnown,
  rule,
  waitRules,
} from "../options.ts";
import type { TxInfo } from "../types.ts";
import type { Database } from "./database.ts";
import { findInfo } from "./lookups.ts";
import {
  type DatabaseOptions,
  initDatabase,
  openDatabase,
} from "./open_database.ts";
import { noTime } from "./row.ts";
import { deleteRow, putRow } from "./row_changes.ts";
import { iterateIds } from "./tx_pages.ts";

/** Checks the options of {@linkcode SqliteStore.open}. */
const OPTIONS: OptionsType = optionsType<DatabaseOptions>(
  "SqliteStoreOptions",
  { ...waitRules, driver: rule.driver, sync: rule.flag, readOnly: rule.flag },
);

/**
 * Keeps the facts about transactions in a SQLite database.
 *
 * Needs `--allow-read` and `--allow-write` for the database file and the files
 * SQLite puts beside it (`-wal`, `-shm`, `-journal`).
 *
 * @example Usage
 * ```ts
 * import { SqliteStore } from "@poh/storage";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * await using store = await SqliteStore.open(`${dir}/poh.db`);
 * await store.init();
 * const info = {
 *   txId: "a",
 *   holderId: "alice",
 *   timestamp: 1.5,
 *   storageHash: "00".repeat(32),
 *   size: 3,
 * };
 * await store.save(info);
 * assertEquals(await store.load("a"), info);
 * assertEquals(await store.listIds(), ["a"]);
 * ```
 */
export class SqliteStore implements AsyncDisposable {
  readonly #rows: Database;

  private constructor(rows: Database) {
    this.#rows = rows;
  }

  /**
   * Opens a database. Before the first use, call `init`.
   *
   * @throws {StoreNotFoundError} If `readOnly` is set and there is no database.
   * @throws {MetadataDamagedError} If the file is no sound database.
   * @throws {PohStorageError} `FOREIGN_SCHEMA` if it has triggers, views or
   * other things that could change what is saved.
   * @throws {PohStorageError} `UNFINISHED` if `readOnly` is set and a crash has
   * left the database so that it must be written before it can be read.
   * @throws {StoreBusyError} If another program keeps it locked for too long.
   */
  static async open(
    path: string,
    options: DatabaseOptions = {},
  ): Promise<SqliteStore> {
    requireKnown(options, OPTIONS);
    return new SqliteStore(await openDatabase(path, options));
  }

  /**
   * Brings the schema to the newest version; harmless when it is.
   *
   * @throws {StoreNotFoundError} If the database is read-only and has no store.
   */
  async init(): Promise<void> {
    await initDatabase(this.#rows);
  }

  /** Keeps facts, durable once resolved; replaces older ones of that id. */
  async save(info: TxInfo): Promise<void> {
    if (!Number.isFinite(info.timestamp)) throw noTime(info);
    await this.#rows.change(() => putRow(this.#rows, info));
    await this.#rows.wal.flush();
  }

  /** Returns the facts, or null when the id is unknown. */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async load(txId: string): Promise<TxInfo | null> {
    return findInfo(this.#rows, txId);
  }

  /** Forgets an id; returns false when it was unknown. */
  async remove(txId: string): Promise<boolean> {
    const existed = await this.#rows.change(() => deleteRow(this.#rows, txId));
    await this.#rows.wal.flush();
    return existed;
  }

  /** Returns all ids, in the order of their UTF-8 bytes, all at once. */
  async listIds(): Promise<string[]> {
    return (await Array.fromAsync(iterateIds(this.#rows))).flat();
  }

  /** Closes the database. */
  async close(): Promise<void> {
    await this.#rows.close();
  }

  /** Closes the store. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
