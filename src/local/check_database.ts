/**
 * The steps of a check that come before the payloads: whether the database is
 * sound and up to date, and what the log has that files and rows have not
 * followed.
 *
 * @module
 */

import type { Step } from "../check/check.ts";
import { listHolders } from "../files/locks.ts";
import { type LogDamage, rememberedDamage } from "../log/damage.ts";
import { hasFollowed, isVoid } from "../log/follow.ts";
import type { LogRecord } from "../log/record.ts";
import { type Replayed, survey } from "../log/replay.ts";
import { checkIntegrity } from "../sqlite/integrity.ts";
import { logState } from "../sqlite/log_state.ts";
import { hasLog } from "../sqlite/open_database.ts";
import type { CheckRun } from "./check_run.ts";
import { placeWaiting, type Waiting, waitingRows } from "./waiting.ts";

/** Has SQLite check the database, and tells what log and database have lost. */
export async function checkDatabase(run: CheckRun, step: Step): Promise<void> {
  step.add(0, 0); // it can take a while
  await run.look.startThread();
  const { thread } = run.look;
  const count = run.census.count(thread, run.options.signal);
  const both = Promise.all([integrityOf(run), count]);
  const looks = thread && run.isOfAllPayloads() && !mayFollow(run);
  const [lines] = await (looks ? run.look.during(both) : both);
  if (lines === null) {
    run.report.interrupted = true;
    return;
  }
  for (const line of lines) run.tellMetadataDamage(line);
  const { lostChanges, details } = logDamage(run);
  const action = run.accepts ? "accepted" : "none";
  for (const detail of details) {
    run.tell({ kind: "log-damaged", detail, action });
  }
  if (lostChanges > 0) {
    run.tell({
      kind: "metadata-outdated",
      file: run.dbFile,
      detail:
        `the database is as it was before its last ${lostChanges} changes; payloads may be newer than their rows`,
      action,
    });
  }
  step.add(1, 0);
}

/** Whether the next step may change rows or files. */
function mayFollow(run: CheckRun): boolean {
  const { rows, log } = run.store;
  if (!run.mayAct() || !hasLog(rows)) return false;
  const { applied, filesSynced } = logState(rows);
  return filesSynced < applied || log.isAhead();
}

/** As `checkIntegrity`, on the thread where there is one. */
async function integrityOf(
  { look: { thread }, options: { signal }, store }: CheckRun,
): Promise<string[] | null> {
  const lines = await thread?.integrity();
  if (lines || signal?.aborted) return lines ?? null;
  return await checkIntegrity(store.rows, signal);
}

/** What the log and the database have lost, held against each other. */
function logDamage(run: CheckRun): LogDamage {
  const { files, rows, log } = run.store;
  const known = rememberedDamage(rows);
  const acts = run.mayAct();
  // A live writer's log goes on while it is looked at.
  const isAlone = acts || listHolders(files.basePath).length === 0;
  if (!isAlone || !hasLog(rows)) return known;
  const { lostChanges, details } = survey(log.dir, rows);
  // Somebody may have begun to write meanwhile.
  if (!acts && listHolders(files.basePath).length > 0) return known;
  return {
    lostChanges: known.lostChanges + lostChanges,
    details: [...new Set([...known.details, ...details])],
  };
}

/** Has files and rows follow the log, or tells what would have to. */
export async function checkLog(run: CheckRun, step: Step): Promise<void> {
  const { files, rows, writer } = run.store;
  if (run.mayAct()) {
    await writer!.queue.replay((replayed) => {
      step.add(1, 0);
      run.census.forget();
      run.look.drop();
      if (replayed.outcome !== "done") tellUnfinished(run, replayed);
    });
    return await placeWaiting(
      files,
      rows,
      (waiting) => tellWaiting(run, waiting),
    );
  }
  // Beside a live writer its records are the normal course of things.
  if (listHolders(files.basePath).length > 0) return;
  for await (const waiting of waitingRows(files, rows)) {
    tellWaiting(run, waiting);
  }
  if (hasLog(rows)) await tellPending(run, step);
}

async function tellPending(run: CheckRun, step: Step): Promise<void> {
  const { store } = run;
  const { applied } = logState(store.rows);
  for (const record of store.log.pending()) {
    step.add(1, 0);
    const { txId, kind, position } = record;
    if (position >= applied) {
      tellUnfinished(run, { txId, kind, outcome: "finished" });
    } else if (isVoid(record, store)) {
      tellUnfinished(run, { txId, kind, outcome: "void" });
    } else await tellUnlessFollowed(run, record);
    await run.pacer.giveWay();
  }
}

async function tellUnlessFollowed(
  run: CheckRun,
  record: LogRecord,
): Promise<void> {
  const { txId, kind } = record;
  try {
    if (await hasFollowed(record, run.store)) return;
    tellUnfinished(run, { txId, kind, outcome: "finished" });
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    const reason = (error as Error).message;
    tellUnfinished(run, { txId, kind, outcome: "stuck", reason });
  }
}

function tellWaiting(run: CheckRun, { info: { txId } }: Waiting): void {
  run.census.forget();
  tellUnfinished(run, { txId, kind: "put-staged", outcome: "finished" });
}

function tellUnfinished(
  run: CheckRun,
  { txId, kind, outcome, reason }: Replayed,
): void {
  const half = `a crash left a change half-done: ${
    kind === "put-staged" ? "put" : kind
  } of its payload`;
  run.tell({
    kind: "unfinished",
    txId,
    detail: outcome === "void"
      ? "a crash left a change that another one has overtaken"
      : outcome === "stuck"
      ? `${half}, which cannot be finished now: ${reason}`
      : half,
    action: run.repair === null || outcome === "stuck"
      ? "none"
      : outcome === "void"
      ? "dropped"
      : "finished",
  });
}
