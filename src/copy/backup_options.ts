/**
 * How a store is backed up, and what that comes to.
 *
 * @module
 */

import { type WalkOptions, type WalkReport, walkRules } from "./backup_walk.ts";
import {
  type LockWait,
  type OptionsType,
  optionsType,
  rule,
  waitRules,
} from "../options.ts";
import type { DriverChoice } from "../model/driver_info.ts";

/** The name of the database in every backup. */
export const BACKUP_DB = "poh.db";

/** How to back up. */
export interface BackupOptions extends WalkOptions, LockWait {
  /**
   * Copy every payload. Otherwise a folder on the store's own file system gets
   * hard links, which take no room and protect from deletion, not from a
   * failing disk.
   */
  copy?: boolean;
  /**
   * Read payloads whole that the folder has already. Otherwise their size has
   * to be right.
   */
  verify?: boolean;
  /** Which SQLite binding; default `"auto"`. */
  driver?: DriverChoice;
  /** As of a store: whether a finished backup survives power loss. */
  durability?: "full" | "relaxed";
}

/** Checks {@linkcode BackupOptions}. */
export const BACKUP_OPTIONS: OptionsType = optionsType<BackupOptions>(
  "BackupOptions",
  {
    ...walkRules,
    ...waitRules,
    copy: rule.flag,
    verify: rule.flag,
    driver: rule.driver,
    durability: rule.durability,
  },
);

/** What a backup came to. */
export interface BackupReport extends WalkReport {
  /** Transactions in the backup. */
  txs: number;
  /** How many of those written are hard links. */
  linked: number;
  /** Payload files of the previous backup that are not needed any more. */
  removed: number;
}
