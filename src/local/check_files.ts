/**
 * The steps of a check that come after the payloads: files that no row refers
 * to, and what programs have left that ended.
 *
 * @module
 */

import { join, relative } from "@std/path";
import { crashPoint } from "../async/crash_points.ts";
import type { Step } from "../check/check.ts";
import { namesIn, regularSize, removeLeftover } from "../files/durable_fs.ts";
import { listHolders } from "../files/locks.ts";
import { quarantineFile } from "../payloads/quarantine.ts";
import { findInfo } from "../sqlite/lookups.ts";
import { hasLog } from "../sqlite/open_database.ts";
import { putRow } from "../sqlite/row_changes.ts";
import type { CheckRun } from "./check_run.ts";
import { KnownFiles } from "./known_files.ts";
import { waitingRows } from "./waiting.ts";

/** Files looked up at a time. */
const PAGE = 256;

/** A payload file, and the id that its place tells. */
interface PayloadPlace {
  place: string;
  txId: string | null;
}

// --- files ------------------------------------------------------------------

/** Finds payload files without a row, and does with them what is asked for. */
export async function checkFiles(run: CheckRun, step: Step): Promise<void> {
  if (run.census.areAllOwned()) return step.add(run.census.owners, 0);
  const { files, rows } = run.store;
  const known = new KnownFiles(files, rows);
  let page: PayloadPlace[] = [];
  for await (const file of files.files()) {
    page.push(file);
    if (page.length < PAGE) continue;
    await checkPage(run, page, known, step);
    if (run.report.interrupted) return;
    page = [];
  }
  await checkPage(run, page, known, step);
}

async function checkPage(
  run: CheckRun,
  page: PayloadPlace[],
  knownFiles: KnownFiles,
  step: Step,
): Promise<void> {
  const { files, rows, log } = run.store;
  // A row of these may follow meanwhile: so they are asked for first.
  const pending = hasLog(rows) ? log.positions() : new Map();
  const known = await knownFiles.among(page.map(({ place }) => place));
  for (const { place, txId } of page) {
    if (run.isInterrupted()) return;
    step.add(1, 0);
    try {
      if (known.has(place)) continue;
      if (txId !== null && pending.has(txId)) continue;
      const size = regularSize(join(files.basePath, place));
      if (size !== null) await dealWithOrphan(run, { place, txId });
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      const detail = (error as Error).message;
      run.tell({ kind: "unreadable", txId, file: place, detail });
    }
    await run.pacer.giveWay();
  }
}

async function dealWithOrphan(
  run: CheckRun,
  { place, txId }: PayloadPlace,
): Promise<void> {
  const { store: { files, rows }, repair } = run;
  const isSuperseded = txId !== null && findInfo(rows, txId) !== null;
  const finding = {
    kind: "orphan-payload" as const,
    txId,
    file: place,
    detail: isSuperseded
      ? "the payload of this transaction is elsewhere"
      : "a payload file that no row refers to",
  };
  const path = join(files.basePath, place);
  switch (repair?.orphans) {
    case "adopt": {
      if (txId === null || isSuperseded) return run.tell(finding);
      const found = await files.digest(txId);
      if (!found) return;
      if (run.mayAct()) await adopt(run, txId, path, found);
      run.countSound(txId);
      const { digest } = found;
      return run.tell({ ...finding, found: digest, action: "adopted" });
    }
    case "quarantine":
      if (run.mayAct()) {
        const note = { txId, reason: finding.kind };
        await quarantineFile(files.basePath, path, note);
        crashPoint("orphan moved");
      }
      return run.tell({ ...finding, action: "quarantined" });
    default:
      return run.tell(finding);
  }
}

/** Makes a row of what a file tells: id, digest and time. */
async function adopt(
  { store: { rows } }: CheckRun,
  txId: string,
  path: string,
  { digest: storageHash, size }: { digest: string; size: number },
): Promise<void> {
  const timestamp = (Deno.statSync(path).mtime?.getTime() ?? 0) / 1000;
  const row = { txId, holderId: "", timestamp, storageHash, size };
  await rows.change(() => putRow(rows, row));
}

// --- leftovers --------------------------------------------------------------

/** Removes half-written files that nothing refers to. */
export async function checkLeftovers(run: CheckRun, step: Step): Promise<void> {
  const { files } = run.store;
  // Beside a live writer they are files that it is writing.
  const isAlone = run.mayAct() || listHolders(files.basePath).length === 0;
  if (!isAlone) return;
  const referred = await stagedNames(run);
  // A change that the database has lost may have referred to a staged file.
  const mayBeReferred = run.report.counts["metadata-outdated"] > 0;
  for (const dir of [files.tmpPath, files.staged.path]) {
    const keeps = mayBeReferred && dir === files.staged.path;
    for (const name of await namesIn(dir)) {
      step.add(1, 0);
      if (referred.has(name)) continue;
      const path = join(dir, name);
      if (keeps && isFile(path)) await keepStaged(run, path);
      else removeOrTell(run, path);
      crashPoint("leftover removed");
    }
  }
  for (const name of await namesIn(files.holdersPath)) {
    const path = join(files.holdersPath, name);
    if (isFile(path)) continue; // of a process that has the store open
    removeOrTell(run, path);
  }
}

/** The names of staged files that rows, or changes in the log, refer to. */
async function stagedNames(
  { store: { files, rows, log } }: CheckRun,
): Promise<Set<string>> {
  const names = new Set<string>();
  for await (const { name } of waitingRows(files, rows)) names.add(name);
  if (hasLog(rows)) { for (const { name } of log.pending()) names.add(name); }
  return names;
}

async function keepStaged(run: CheckRun, path: string): Promise<void> {
  if (run.mayAct()) {
    const note = { txId: null, reason: "metadata-outdated" as const };
    await quarantineFile(run.report.base, path, note);
  }
  tellLeftover(run, path, "quarantined");
}

function removeOrTell(run: CheckRun, path: string): void {
  const isGone = removeLeftover(path, !run.mayAct());
  tellLeftover(run, path, isGone ? "removed" : null);
}

/** Tells a file and what becomes of it; null: it stays. */
function tellLeftover(
  run: CheckRun,
  path: string,
  action: "removed" | "quarantined" | null,
): void {
  run.tell({
    kind: "leftover-temp",
    file: relative(run.report.base, path),
    detail: action
      ? "a half-written file that nothing refers to"
      : "a directory with something in it, which no store makes: it stays",
    action: run.repair && action ? action : "none",
  });
}

/** Whether a name is a regular file's, or nobody's by now. */
function isFile(path: string): boolean {
  try {
    return Deno.lstatSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return true;
    throw error;
  }
}
