/**
 * The step of a check that holds every row against its payload.
 *
 * @module
 */

import type { Step } from "../check/check.ts";
import {
  type BadLocalVerdict,
  damaged,
  describe,
  type LocalVerdict,
  unreadable,
} from "../check/verdict.ts";
import { placeOf } from "../payloads/payload_layout.ts";
import { findInfo, findRow } from "../sqlite/lookups.ts";
import { findOddRows, isAsRead } from "../sqlite/odd_rows.ts";
import { countTxs } from "../sqlite/tx_counts.ts";
import { pageOfRows } from "../sqlite/tx_pages.ts";
import { compareText } from "../text/text_order.ts";
import type { TxInfo } from "../types.ts";
import type { CheckRun } from "./check_run.ts";
import { digestOfSource, judgePayload } from "./find_payload.ts";
import { correct, type LocalDamage } from "./local_repair.ts";
import type { PayloadLook } from "./payload_look.ts";
import { QuickLook } from "./quick_look.ts";

/** Rows read at a time. */
const PAGE = 512;

/** Takes in a payload that two readings agree is damaged. */
type OnDamage = (damage: LocalDamage) => Promise<void>;

/** Holds the rows that are asked for against their payloads. */
export async function checkPayloads(
  run: CheckRun,
  step: Step,
  onDamage: OnDamage,
): Promise<void> {
  const look = run.isOfAllPayloads() ? await run.look.begin() : null;
  await (look
    ? checkAll(run, look, step, onDamage)
    : checkById(run, step, onDamage));
  // Those that no list has; some are known only once all have been read.
  for (const { id, reason, listed } of findOddRows(run.store.rows)) {
    if (listed) continue;
    const detail = `row ${id}: ${reason}`;
    run.tell({ kind: "odd-row", file: run.dbFile, detail });
  }
}

/** All, in no order that a later check could go on from. */
async function checkAll(
  run: CheckRun,
  look: PayloadLook,
  step: Step,
  onDamage: OnDamage,
): Promise<void> {
  const { store: { rows }, report, census, pacer } = run;
  step.total = await countTxs(rows);
  for await (const { sound, bytes, inFiles, unsure } of look) {
    if (run.isInterrupted()) return;
    census.owners += inFiles;
    report.checked += sound;
    report.sound += sound;
    report.bytes += bytes;
    if (sound > 0) step.add(sound, bytes);
    for (const txId of unsure) {
      if (run.isInterrupted()) return;
      const info = isAsRead(rows, txId) ? findInfo(rows, txId) : null;
      if (info) await checkOne(run, info, step, onDamage);
      await pacer.giveWay();
    }
  }
  run.isInterrupted();
}

async function checkById(
  run: CheckRun,
  step: Step,
  onDamage: OnDamage,
): Promise<void> {
  const { options, report, census, pacer, store: { files, rows, log } } = run;
  const { filter = {}, sample = 1, until } = options;
  const quick = new QuickLook({ files, dir: log.dir });
  let left = options.limit ?? filter.limit ?? Infinity;
  let after = options.after ?? filter.after;
  const scope = () => ({ ...filter, ...(after !== undefined && { after }) });
  step.total = sample === 1
    ? Math.min(left, await countTxs(rows, scope()))
    : null;
  for (let isLast = left === 0; !isLast;) {
    const limit = Math.min(left, PAGE);
    const all = pageOfRows(rows, { ...scope(), limit });
    const page = until === undefined
      ? all
      : all.filter(({ info }) => compareText(info.txId, until) <= 0);
    isLast = page.length < limit || page.length === left;
    const chosen = sample === 1
      ? page
      : page.filter(() => Math.random() < sample);
    const sound = await quick.look(chosen, pacer);
    for (const [i, { info, place }] of chosen.entries()) {
      if (run.isInterrupted()) {
        report.cursor = after ?? null;
        return;
      }
      if (!sound[i]) await checkOne(run, info, step, onDamage);
      else {
        if (place === null) census.owners++;
        countChecked(run, info.size, step);
        run.countSound(info.txId);
      }
      await pacer.giveWay();
      after = info.txId;
    }
    after = page.at(-1)?.info.txId ?? after;
    left -= page.length;
  }
  if (left === 0) report.cursor = after ?? null;
}

async function checkOne(
  run: CheckRun,
  seen: TxInfo,
  step: Step,
  onDamage: OnDamage,
): Promise<void> {
  const judged = await judgeRow(run, seen);
  if (judged === null) return; // deleted meanwhile
  const { info, verdict } = judged;
  if (verdict.kind !== "unreadable" && ownsFile(run, info)) run.census.owners++;
  countChecked(run, verdict.size, step);
  if (verdict.kind === "sound") run.countSound(info.txId);
  else await dealWith(run, info, verdict, onDamage);
}

function countChecked({ report }: CheckRun, size: number, step: Step): void {
  report.checked++;
  report.bytes += size;
  step.add(1, size);
}

/** Whether a row has a payload file. */
function ownsFile({ store: { files, rows } }: CheckRun, { txId }: TxInfo) {
  return findRow(rows, txId)?.place === null && files.find(txId) !== null;
}

/** Holds one row against its payload; null when the row is gone by now. */
async function judgeRow(
  { store }: CheckRun,
  seen: TxInfo,
): Promise<{ info: TxInfo; verdict: LocalVerdict } | null> {
  const judged = await judgePayload(store, seen, digestOfSource);
  if (judged === null) return null;
  const { row: info } = judged;
  if (judged.kind === "unreadable") {
    return { info, verdict: unreadable(judged.failure) };
  }
  if (judged.kind === "damaged") {
    return { info, verdict: damaged(info, judged.found) };
  }
  const { digest: found, size } = judged.sound;
  const place = findRow(store.rows, info.txId)?.place ?? null;
  const verdict: LocalVerdict = info.size !== -1 && info.size !== size
    ? { kind: "size-mismatch", size, found }
    : place === null || store.log.at(place)
    ? { kind: "sound", size }
    : { kind: "log-damaged", size, found };
  return { info, verdict };
}

async function dealWith(
  run: CheckRun,
  info: TxInfo,
  verdict: BadLocalVerdict,
  onDamage: OnDamage,
): Promise<void> {
  const { txId, storageHash: expected } = info;
  const { kind, found } = verdict;
  const file = fileOf(run, txId);
  const detail = describe(verdict, info);
  const finding = { kind, txId, file, expected, found, detail };
  if (kind === "unreadable") return run.tell(finding);
  if (kind === "payload-missing" || kind === "payload-corrupt") {
    const damage = { info, finding: { ...finding, kind }, found, file };
    return await onDamage(damage);
  }
  if (run.mayAct()) await correct(run, info, verdict);
  if (run.repair) run.countSound(txId);
  run.tell({ ...finding, action: run.repair ? "corrected" : "none" });
}

/** The file that has a payload, or should have it. */
function fileOf({ store: { files } }: CheckRun, txId: string): string {
  try {
    return files.find(txId) ?? placeOf(txId);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return placeOf(txId);
  }
}
