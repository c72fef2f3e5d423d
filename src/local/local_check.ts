/**
 * The walk over a store on this machine, step by step. `verify` reads and
 * reports; `recover` is the same walk with repairs, while nobody else writes.
 * Only proven damage is acted on, and what is taken out of service is kept in
 * quarantine.
 *
 * @module
 */

import {
  type RecoverOptions,
  runSteps,
  type VerifyOptions,
} from "../check/check.ts";
import { Healing } from "../check/healing.ts";
import type { Sources } from "../check/sources.ts";
import { PohStorageError, StoreBusyError } from "../errors.ts";
import { acceptDamage } from "../log/damage.ts";
import type { StoreReport } from "../model/report.ts";
import { checkDatabase, checkLog } from "./check_database.ts";
import { checkFiles, checkLeftovers } from "./check_files.ts";
import { checkPayloads } from "./check_payloads.ts";
import { CheckRun } from "./check_run.ts";
import { giveUp, type LocalDamage, localHealer } from "./local_repair.ts";
import { type OpenStore, requireInPlace, writerOf } from "./open_store.ts";

/** Verifies an open store. */
export async function verifyRows(
  store: OpenStore,
  options: VerifyOptions,
  sources: Sources | null = null,
): Promise<StoreReport> {
  return await checkStore(new CheckRun(store, options, null), sources);
}

/** Verifies and repairs an open store. */
export async function recoverStore(
  store: OpenStore,
  options: RecoverOptions,
  sources: Sources | null = null,
): Promise<StoreReport> {
  requireAll(options);
  const check = () =>
    checkStore(new CheckRun(store, options, options), sources);
  if (options.dryRun) return await check();
  const { locks, queue } = writerOf(store);
  await queue.flush();
  const done = await locks.whileAlone(check);
  if (!done) {
    throw new StoreBusyError(
      "The store is open elsewhere, nothing was repaired",
      locks.others(),
    );
  }
  return done.value;
}

/** What a crash left half-done has to be finished before anything is judged. */
export function requireAll({ only }: RecoverOptions): void {
  if (only === undefined) return;
  throw new PohStorageError(
    "REMOTE_ONLY",
    "A store on this machine is recovered as a whole",
  );
}

async function checkStore(
  run: CheckRun,
  sources: Sources | null,
): Promise<StoreReport> {
  const { store, options, repair, report } = run;
  const healing = sources && new Healing<LocalDamage>(
    sources,
    report,
    options,
    repair,
    localHealer(run, sources),
  );
  const onDamage = (damage: LocalDamage) =>
    healing ? healing.add(damage) : giveUp(run, damage);
  await using _ = run.look;
  requireInPlace(store);
  const isWhole = await runSteps(
    [
      ["database", (step) => checkDatabase(run, step)],
      ["log", (step) => checkLog(run, step)],
      ["payloads", (step) => checkPayloads(run, step, onDamage)],
      ["heal", healing && ((step) => healing.run(step))],
      ["files", (step) => checkFiles(run, step)],
      ["leftovers", (step) => checkLeftovers(run, step)],
    ],
    report,
    options,
    (detail) => run.tellMetadataDamage(detail),
  );
  healing?.end();
  requireInPlace(store);
  if (isWhole && run.mayAct()) {
    if (run.accepts) await acceptDamage(store.rows);
    await store.rows.wal.flush();
  }
  return report;
}
