/**
 * Options of an open store.
 *
 * @module
 */

import { type LockWait, waitRules } from "../options.ts";
import { type OptionsType, optionsType, rule, type Rules } from "../options.ts";
import type { DriverChoice } from "./driver_info.ts";

/** Options of an open store. */
export interface StorageOptions extends LockWait {
  /**
   * `"full"` (default): a resolved save survives power loss. `"relaxed"`: it
   * survives the death of the process, not of the machine.
   */
  durability?: "full" | "relaxed";
  /**
   * Payloads of at most so many bytes live in the log from now on, where they
   * are saved and loaded faster than as files: 0 to 65,536; 0, as in a new
   * store, puts all into files. The database remembers it for those who open the
   * store without this option. It moves no payload that is there already; see
   * {@linkcode StorageManager.movePacked}.
   */
  packBelow?: number;
  /**
   * The former name of `packBelow`.
   *
   * @deprecated Use `packBelow`.
   */
  inlineBelow?: number;
  /**
   * Makes the store write-once: no save ever replaces a transaction, whatever
   * it asks for. Remembered in the database: who opens it without this option
   * follows it too. A store that is there and is not write-once is refused.
   */
  writeOnce?: boolean;
  /** Which SQLite binding; default `"auto"`. See {@linkcode DriverInfo}. */
  driver?: DriverChoice;
  /**
   * Told what the upgrade of a store of the older Python package did: which
   * rows it could not keep as they were, and why. Opening such a store for
   * writing upgrades it.
   */
  onUpgrade?: (report: UpgradeReport) => void;
  /**
   * For how long nobody must have changed a store of the older package before it
   * is upgraded, in ms; default 2,000. Where its newest change is younger,
   * opening it takes so long.
   */
  upgradeQuiet?: number;
  /**
   * Refuses to save a timestamp that looks like milliseconds: one above 1e11,
   * which as seconds is after the year 5138. Of this manager, not remembered.
   */
  refuseMilliseconds?: boolean;
  /** Opens what is there, takes no lock, changes and creates nothing. */
  readOnly?: boolean;
}

/** What the fields of {@linkcode StorageOptions} may be. */
export const storageRules: Rules<StorageOptions> = {
  ...waitRules,
  durability: rule.durability,
  packBelow: rule.size,
  inlineBelow: rule.size,
  writeOnce: rule.flag,
  driver: rule.driver,
  readOnly: rule.flag,
  refuseMilliseconds: rule.flag,
  onUpgrade: rule.callback,
  upgradeQuiet: rule.duration,
};

/** Checks {@linkcode StorageOptions}. */
export const STORAGE_OPTIONS: OptionsType = optionsType<StorageOptions>(
  "StorageOptions",
  storageRules,
);

/** A row that an upgrade could not keep as it was. */
export interface UpgradeNote {
  /** The row's id. */
  txId: string;
  /** The problem with the row, and what was done about it. */
  reason: string;
}

/** Result of an upgrade. */
export interface UpgradeReport {
  /** True if the store was one of the older Python package. */
  olderPackage: boolean;
  /** Payload files that were given another name. */
  renamed: number;
  /** Rows that could not be kept as they were, the first 1,000 of them. */
  notes: UpgradeNote[];
  /** Number of such rows. */
  noted: number;
}
