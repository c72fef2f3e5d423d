/**
 * The step that makes a store's payload files have the names that this program
 * gives them here: once, for a store of the older Python package, and again
 * for one that was moved between systems that differ in whether case counts.
 *
 * @module
 */

import { join } from "@std/path";
import { crashPoint } from "../async/crash_points.ts";
import { StoreBusyError } from "../errors.ts";
import type { LockWait } from "../options.ts";
import { retryBusy, waitFor } from "../async/wait_for.ts";
import { listHolders, LockFile } from "../files/locks.ts";
import {
  isSettled,
  namingOf,
  readNaming,
  SETTLED,
  writeNaming,
} from "./naming.ts";
import { requireQuiet, requireUnopened } from "./older_package.ts";
import { columnsOf } from "../sqlite/schema.ts";
import { type Connection, openSqlite } from "../sqlite/driver.ts";
import type { DriverChoice } from "../model/driver_info.ts";
import type { UpgradeReport } from "../model/storage_options.ts";
import { translated, translatedSync } from "../sqlite/sqlite_errors.ts";
import { Upgrade } from "./upgrade_moves.ts";

/** How to upgrade. */
export interface UpgradeOptions {
  /** Which SQLite binding. */
  driver: DriverChoice;
  /** How long to wait for others, and what ends the wait. */
  wait: LockWait;
  /** For how long nobody must have changed an older package's store, in ms. */
  quiet: number;
  /** Looks at the database before anything is changed; throws to refuse it. */
  admit: (db: Connection) => Promise<void>;
  /** Told what was done, unless nothing had to be. */
  onUpgrade?: ((report: UpgradeReport) => void) | undefined;
}

/**
 * Sees to it that the payload files of a store have the names of this system.
 * To be called before the store's lock is taken.
 *
 * @throws {StoreBusyError} If another program has the store open or changes it;
 * nothing was changed.
 * @throws {MetadataDamagedError} If the database is damaged.
 */
export async function upgradeStore(
  basePath: string,
  sqlitePath: string,
  options: UpgradeOptions,
): Promise<void> {
  if (isSettled(readNaming(basePath))) return;
  const lock = new LockFile(join(basePath, ".poh", "lock"));
  try {
    const isDone = await waitFor(
      () => {
        if (lock.tryLock(true)) return { value: false };
        // Who had it may have upgraded the store.
        return isSettled(readNaming(basePath)) ? { value: true } : null;
      },
      options.wait,
      () =>
        new StoreBusyError(
          "The store has to be upgraded first, and is open elsewhere",
          listHolders(basePath),
        ),
    );
    if (isDone.value || isSettled(readNaming(basePath))) return;
    await upgradeAlone(basePath, sqlitePath, options);
  } finally {
    lock.close();
  }
}

async function upgradeAlone(
  base: string,
  path: string,
  options: UpgradeOptions,
): Promise<void> {
  if (!isThere(path)) return await writeNaming(base, SETTLED);
  return await translated(path, async () => {
    const db = await openSqlite(path, options.driver, false);
    try {
      await upgradeWith(db, base, path, options);
    } finally {
      db.close();
    }
  });
}

async function upgradeWith(
  db: Connection,
  base: string,
  path: string,
  options: UpgradeOptions,
): Promise<void> {
  db.exec("PRAGMA busy_timeout = 0");
  db.exec("PRAGMA synchronous = EXTRA");
  const { wait } = options;
  await retryBusy(() => options.admit(db), wait);
  const hasRows = await retryBusy(
    () => translatedSync(path, () => columnsOf(db, "txs").size > 0),
    wait,
  );
  if (!hasRows) return await writeNaming(base, SETTLED);
  const { naming, phase } = readNaming(base) ??
    { naming: namingOf(base, (sql) => db.prepare(sql).all()), phase: null };
  if (naming === "verbatim") {
    await requireUnopened(path, wait);
    await requireQuiet(base, path, options.quiet, wait.signal);
    await lockOut(db, path, wait);
  }
  const upgrade = new Upgrade(base, db, naming);
  await upgrade.run(phase);
  const report = await upgrade.report();
  await writeNaming(base, SETTLED);
  crashPoint("upgrade recorded");
  await upgrade.tidyUp();
  if (report.olderPackage || report.renamed > 0) options.onUpgrade?.(report);
}

/** Keeps every other connection from the database until this one is closed. */
async function lockOut(
  db: Connection,
  path: string,
  wait: LockWait,
): Promise<void> {
  db.exec("PRAGMA locking_mode = EXCLUSIVE");
  await retryBusy(
    () => translatedSync(path, () => db.exec("BEGIN EXCLUSIVE")),
    wait,
  );
  db.exec("COMMIT");
}

function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
