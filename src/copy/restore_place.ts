/**
 * Where a store is restored to: made under another name, and put in place whole.
 *
 * @module
 */

import { dirname, isAbsolute, join, relative } from "@std/path";
import { type WalkOptions, type WalkReport, walkRules } from "./backup_walk.ts";
import {
  isThere,
  makeDir,
  removeFileSync,
  renameFile,
  syncDir,
  syncFile,
} from "../files/durable_fs.ts";
import {
  BackupDamagedError,
  BackupPathError,
  MetadataDamagedError,
  PohStorageError,
} from "../errors.ts";
import {
  type LockWait,
  type OptionsType,
  optionsType,
  rule,
  waitRules,
} from "../options.ts";
import { SETTLED, writeNaming } from "../local/naming.ts";
import type { DriverChoice } from "../model/driver_info.ts";
import { giveOwnId } from "../local/store_id.ts";
import type { Database } from "../sqlite/database.ts";
import { COMPANIONS } from "../sqlite/database_file.ts";
import { initDatabase, openDatabase } from "../sqlite/open_database.ts";
import { PayloadFiles } from "../payloads/payload_files.ts";
import { requireClosed } from "./copy_rows.ts";

/** How to restore. */
export interface RestoreOptions extends WalkOptions, LockWait {
  /** Which SQLite binding; default `"auto"`. */
  driver?: DriverChoice;
  /** As of a store: whether a restored one survives power loss. */
  durability?: "full" | "relaxed";
}

/** Checks {@linkcode RestoreOptions}. */
export const RESTORE_OPTIONS: OptionsType = optionsType<RestoreOptions>(
  "RestoreOptions",
  {
    ...walkRules,
    ...waitRules,
    driver: rule.driver,
    durability: rule.durability,
  },
);

/** What a restoration came to. */
export interface RestoreReport {
  /** Transactions restored. */
  txs: number;
  /** Bytes of their payloads. */
  bytes: number;
  /** Whether it was stopped before its end; nothing was restored then. */
  interrupted: boolean;
}

/** Fills an empty store; a report with damage in it, or an error. */
export type Fill = (files: PayloadFiles, rows: Database) => Promise<WalkReport>;

/** What a store or a database is called until it is whole. */
const SUFFIX = ".restoring";

/** A database file and what SQLite may have beside it, by suffix. */
const FILES = ["", ...COMPANIONS];

/** Where a store is to be, and where it is made. */
export class RestorePlace {
  readonly #base: string;
  readonly #db: string;
  readonly #sync: boolean;
  readonly #driver: DriverChoice;
  /** The same until the store is whole. */
  readonly #madeBase: string;
  readonly #madeDb: string;

  /** Makes nothing yet. */
  constructor(base: string, db: string, options: RestoreOptions) {
    this.#base = base;
    this.#db = db;
    this.#sync = options.durability !== "relaxed";
    this.#driver = options.driver ?? "auto";
    this.#madeBase = base + SUFFIX;
    this.#madeDb = this.#hasDbInside
      ? join(this.#madeBase, relative(base, db))
      : db + SUFFIX;
  }

  get #hasDbInside(): boolean {
    const way = relative(this.#base, this.#db);
    return !isAbsolute(way) && way.split(/[/\\]/)[0] !== "..";
  }

  /** Makes the store, and puts it there once it is whole. */
  async fill(fill: Fill): Promise<RestoreReport> {
    await this.#requireFree();
    await makeDir(dirname(this.#base), this.#sync);
    await this.#claim();
    try {
      const report = await this.#make(fill);
      const bytes = report.bytes;
      if (report.interrupted) return { txs: 0, bytes: 0, interrupted: true };
      requireWhole(report);
      await this.#requireFree(); // it may have taken hours
      await this.#putInPlace();
      return { txs: report.written, bytes, interrupted: false };
    } finally {
      await this.#tidyUp();
    }
  }

  async #requireFree(): Promise<void> {
    for (const suffix of FILES) {
      if (!isThere(this.#db + suffix)) continue;
      throw new BackupPathError(
        `Cannot restore: the database ${this.#db}${suffix} is there already`,
      );
    }
    if (!isThere(this.#base)) return;
    const info = await Deno.lstat(this.#base);
    const isFree = info.isDirectory && await isEmptyDir(this.#base);
    if (!isFree) {
      throw new BackupPathError(
        `Cannot restore: ${this.#base} is there already and not an empty folder`,
      );
    }
    if (info.dev !== (await Deno.lstat(dirname(this.#base))).dev) {
      throw new BackupPathError(
        `Cannot restore: ${this.#base} is a mounted volume, which cannot be put in place as a whole; name a folder in it`,
      );
    }
  }

  /** Two at once would mix. */
  async #claim(): Promise<void> {
    const paths = [
      this.#madeBase,
      ...FILES.map((suffix) => this.#madeDb + suffix),
    ];
    const left = paths.find(isThere);
    if (left !== undefined) {
      throw new BackupPathError(
        `Cannot restore: ${left} is of another restoration; delete it unless that is still at work`,
      );
    }
    await Deno.mkdir(this.#madeBase);
  }

  async #make(fill: Fill): Promise<WalkReport> {
    const files = new PayloadFiles(this.#madeBase, { sync: this.#sync });
    await files.init();
    await writeNaming(this.#madeBase, SETTLED);
    await makeDir(dirname(this.#madeDb), this.#sync);
    const driver = this.#driver;
    let report: WalkReport;
    {
      // It is synced as a whole at its end.
      await using rows = await openDatabase(this.#madeDb, {
        driver,
        sync: false,
      });
      await initDatabase(rows);
      report = await asDamage(() => fill(files, rows));
      await giveOwnId(files, rows);
    }
    requireClosed(this.#madeDb);
    if (this.#sync) {
      await syncFile(this.#madeDb);
      await syncDir(dirname(this.#madeDb));
      await syncDir(this.#madeBase);
    }
    return report;
  }

  /**
   * One rename where the database is in the base. Else the database goes first:
   * without the base it is refused, whereas payloads without a database would
   * be taken for orphans.
   */
  async #putInPlace(): Promise<void> {
    if (isThere(this.#base)) await Deno.remove(this.#base);
    if (!this.#hasDbInside) {
      await renameFile(this.#madeDb, this.#db, this.#sync);
    }
    try {
      await renameFile(this.#madeBase, this.#base, false);
    } catch (error) {
      if (!this.#hasDbInside) removeFileSync(this.#db);
      throw error;
    }
    if (this.#sync) await syncDir(dirname(this.#base));
  }

  /** Nothing is left of what was not put in place. */
  async #tidyUp(): Promise<void> {
    if (isThere(this.#madeBase)) {
      await Deno.remove(this.#madeBase, { recursive: true });
    }
    if (this.#hasDbInside) return;
    for (const suffix of FILES) removeFileSync(this.#madeDb + suffix);
  }
}

function requireWhole(report: WalkReport): void {
  const { damaged, unreadable } = report;
  if (damaged > 0) {
    throw new BackupDamagedError(
      `${damaged} transaction${
        damaged === 1 ? " is" : "s are"
      } damaged in the backup; nothing was restored`,
    );
  }
  if (unreadable > 0) {
    throw new Error(
      `${unreadable} payload${
        unreadable === 1 ? "" : "s"
      } of the backup could not be read; nothing was restored`,
    );
  }
}

async function asDamage<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const isDamage = error instanceof MetadataDamagedError ||
      error instanceof PohStorageError && error.code === "FOREIGN_SCHEMA";
    if (!isDamage) throw error;
    throw new BackupDamagedError(`${error.message}; nothing was restored`, {
      cause: error,
    });
  }
}

async function isEmptyDir(path: string): Promise<boolean> {
  for await (const _ of Deno.readDir(path)) return false;
  return true;
}
