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
import type { MetadataStore } from "../model/store.ts";
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
export class SqliteStore implements MetadataStore, AsyncDisposable {
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

  /** {@inheritDoc MetadataStore.save} */
  async save(info: TxInfo): Promise<void> {
    if (!Number.isFinite(info.timestamp)) throw noTime(info);
    await this.#rows.change(() => putRow(this.#rows, info));
    await this.#rows.wal.flush();
  }

  /** {@inheritDoc MetadataStore.load} */
  // deno-lint-ignore require-await -- the contract is asynchronous
  async load(txId: string): Promise<TxInfo | null> {
    return findInfo(this.#rows, txId);
  }

  /** {@inheritDoc MetadataStore.remove} */
  async remove(txId: string): Promise<boolean> {
    const existed = await this.#rows.change(() => deleteRow(this.#rows, txId));
    await this.#rows.wal.flush();
    return existed;
  }

  /** {@inheritDoc MetadataStore.listIds} */
  async listIds(): Promise<string[]> {
    return (await Array.fromAsync(iterateIds(this.#rows))).flat();
  }

  /** {@inheritDoc MetadataStore.close} */
  async close(): Promise<void> {
    await this.#rows.close();
  }

  /** Closes the store. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
