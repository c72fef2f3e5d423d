/**
 * Verification and repair of a store, as a program asks for it: what opens the
 * store, and who may be beside it meanwhile.
 *
 * @module
 */

import { relative, resolve } from "@std/path";
import {
  type RecoverOptions,
  RECOVERY_OPTIONS,
  type RecoveryOptions,
  VERIFY_OPTIONS,
  type VerifyOptions,
} from "./check/check.ts";
import { isDatabaseThere } from "./sqlite/database_file.ts";
import { MetadataDamagedError, StoreNotFoundError } from "./errors.ts";
import { openSources } from "./copy/sources/open_sources.ts";
import type { Sources } from "./check/sources.ts";
import { recoverStore, requireAll, verifyRows } from "./local/local_check.ts";
import {
  closeStore,
  type OpenStore,
  openStore,
  writerOf,
} from "./local/open_store.ts";
import { tlogOf } from "./local/tlog_of.ts";
import { requireKnown } from "./options.ts";
import { rebuildDatabase, type Rebuilt } from "./local/rebuild.ts";
import { isRemote, remoteStores } from "./remote_url.ts";
import {
  addFinding,
  countFindings,
  emptyReport,
  type StoreReport,
  tellFinding,
} from "./model/report.ts";
import {
  STORAGE_OPTIONS,
  type StorageOptions,
} from "./model/storage_options.ts";
import { hasStore, requireNoOtherDatabase } from "./local/store_id.ts";
import { isOpenHere } from "./sqlite/database.ts";
import { PayloadFiles } from "./payloads/payload_files.ts";

/**
 * Opens a store, verifies it, repairs what is proven to be damaged, closes it:
 * the start-up call of a service. Where there is no store it makes none unless
 * `create` is set: a service is not to start empty since a volume is missing.
 *
 * Needs `--allow-read` and `--allow-write` for the base directory and the
 * database's directory.
 *
 * @returns What was found and done. Damage to the database itself is reported,
 * not thrown.
 * @throws {StoreNotFoundError} If there is no store and none may be made.
 * @throws {StoreMismatchError} If base and database do not belong together, or
 * the database of the base is gone and `rebuild` is not set.
 * @throws {StoreBusyError} If another process has the store open; nothing was
 * repaired.
 *
 * @example Usage
 * ```ts
 * import { performRecovery } from "@poh/storage";
 * import { assertEquals } from "@std/assert";
 *
 * const base = await Deno.makeTempDir();
 * const report = await performRecovery(base, `${base}/poh.db`, { create: true });
 * assertEquals(report.sound, 0);
 * await Deno.remove(base, { recursive: true });
 * ```
 */
export async function performRecovery(
  basePath: string,
  sqlitePath: string,
  options: RecoveryOptions = {},
): Promise<StoreReport> {
  requireKnown(options, RECOVERY_OPTIONS);
  if (isRemote(basePath, sqlitePath)) {
    const { recoverRemoteStore } = await remoteStores();
    return await recoverRemoteStore(basePath, sqlitePath, options);
  }
  requireAll(options);
  const base = resolve(basePath), db = resolve(sqlitePath);
  await using sources = await openSources(options, base);
  const first = await recoverOnce(base, db, options, sources);
  const damages = first.counts["metadata-damaged"];
  if (damages === 0 || !options.rebuild || options.dryRun) return first;
  const rebuilt = await rebuildDatabase(base, db, options, sources);
  const second = await recoverOnce(base, db, options, sources);
  const told = first.findings.filter(({ kind }) => kind === "metadata-damaged");
  for (const finding of told) {
    addFinding(second, { ...finding, action: "rebuilt" });
  }
  const others = damages - told.length;
  countFindings(second, "metadata-damaged", "rebuilt", others);
  tellRebuilt(second, rebuilt, options);
  return second;
}

async function recoverOnce(
  base: string,
  db: string,
  options: RecoveryOptions,
  sources: Sources | null,
): Promise<StoreReport> {
  const { create = false, dryRun: readOnly = false } = options;
  if (options.rebuild && await isLost(base, db)) {
    await requireNoOtherDatabase(base, db);
    return damagedDatabase(base, db, "the database is missing", options);
  }
  let store: OpenStore;
  try {
    // What a crash left is for the repair to finish, and to tell.
    store = await openStore(base, db, { ...options, readOnly }, {
      create,
      finish: false,
    });
  } catch (error) {
    if (error instanceof StoreNotFoundError && create && readOnly) {
      return emptyReport(base, db, null, true); // it would be made, empty
    }
    if (!(error instanceof MetadataDamagedError)) throw error;
    // A rebuild does so once nobody has the store open.
    if (options.rebuild && readOnly && !isOpenHere(db)) {
      await requireNoOtherDatabase(base, db);
    }
    return damagedDatabase(base, db, error.message, options);
  }
  try {
    const report = await recoverStore(store, options, sources);
    if (!readOnly) {
      // Nobody else uses this store: changes come from other processes only.
      const { locks } = writerOf(store);
      await tlogOf(store, (work) => locks.whileAlone(work)).reconcile();
    }
    return report;
  } finally {
    await closeStore(store);
  }
}

/** Tells what a new database could not be given for certain. */
function tellRebuilt(
  report: StoreReport,
  { withoutHolder, doubts, isPackBelowLost }: Rebuilt,
  { onFinding }: RecoverOptions,
): void {
  const base = {
    kind: "metadata-damaged",
    file: relative(report.base, report.db),
    action: "rebuilt",
  } as const;
  for (const { txId, detail } of doubts) {
    tellFinding(report, { ...base, txId, detail }, onFinding);
  }
  if (isPackBelowLost) {
    const detail =
      "up to which size payloads are packed is lost: new ones go to files until init --pack-below says it anew";
    tellFinding(report, { ...base, detail }, onFinding);
  }
  if (withoutHolder === 0) return;
  const detail =
    `holder and time of ${withoutHolder} transactions are lost: their rows are made from payload files alone, with no holder and the time of the file`;
  tellFinding(report, { ...base, detail }, onFinding);
}

/** A base that has a store had a database once. */
async function isLost(base: string, db: string): Promise<boolean> {
  return !isDatabaseThere(db) && await hasStore(new PayloadFiles(base));
}

function damagedDatabase(
  base: string,
  db: string,
  detail: string,
  options: RecoverOptions,
): StoreReport {
  const report = emptyReport(base, db, null, options.dryRun ?? false);
  const action = options.rebuild && options.dryRun ? "rebuilt" : "none";
  const file = relative(base, db);
  const finding = { kind: "metadata-damaged", file, detail, action } as const;
  tellFinding(report, finding, options.onFinding);
  return report;
}

/**
 * Opens a store read-only, verifies it, closes it. Creates and changes nothing.
 * Needs `--allow-read` for the base directory and the database.
 */
export async function verifyStore(
  basePath: string,
  sqlitePath: string,
  options: StorageOptions & VerifyOptions = {},
): Promise<StoreReport> {
  requireKnown(options, STORAGE_OPTIONS, VERIFY_OPTIONS);
  if (isRemote(basePath, sqlitePath)) {
    const { verifyRemoteStore } = await remoteStores();
    return await verifyRemoteStore(basePath, sqlitePath, options);
  }
  const base = resolve(basePath), db = resolve(sqlitePath);
  await using sources = await openSources(options, base);
  let store: OpenStore;
  try {
    store = await openStore(base, db, { ...options, readOnly: true });
  } catch (error) {
    if (!(error instanceof MetadataDamagedError)) throw error;
    return damagedDatabase(base, db, error.message, options);
  }
  try {
    return await verifyRows(store, options, sources);
  } finally {
    await closeStore(store);
  }
}
