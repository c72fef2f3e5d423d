/**
 * What a repair of a store on this machine does about damaged payloads: it heals
 * them, or takes them out of service.
 *
 * @module
 */

import { join } from "@std/path";
import type { Case, Damage, Healer } from "../check/healing.ts";
import type { Sources } from "../check/sources.ts";
import type { BadLocalVerdict } from "../check/verdict.ts";
import { crashPoint } from "../async/crash_points.ts";
import { isFile, removeFileSync, renameFile } from "../files/durable_fs.ts";
import { quarantinePath } from "../files/layout.ts";
import { isLoggable } from "../log/record.ts";
import {
  closeCase,
  readableCases,
  writeBytes,
  writeNote,
} from "../payloads/quarantine.ts";
import { findInfo, findRow } from "../sqlite/lookups.ts";
import { deleteRow, putRow } from "../sqlite/row_changes.ts";
import type { TxInfo } from "../types.ts";
import type { CheckRun } from "./check_run.ts";
import { bytesInLog, readPayload, readSource } from "./find_payload.ts";
import { healLocal, type Lost } from "./local_healer.ts";
import { type OpenStore, removal, saving } from "./open_store.ts";
import { because } from "../log/why.ts";

/** A damaged payload of a store on this machine. */
export interface LocalDamage extends Damage {
  /** SHA-256 of what is in its place; null when nothing is. */
  found: string | null;
  /** The place of its file. */
  file: string;
}

/** Puts right what is wrong around a payload that is sound. */
export async function correct(
  { store }: CheckRun,
  info: TxInfo,
  { kind, size, found }: BadLocalVerdict,
): Promise<void> {
  const { rows, writer } = store;
  const { txId } = info;
  if (kind !== "log-damaged") {
    const row = { ...info, storageHash: found!, size };
    const place = findRow(rows, txId)?.place ?? null;
    return await rows.change(() => putRow(rows, row, place));
  }
  const { sound } = await readPayload(
    store,
    info,
    (source) => readSource(txId, source),
  );
  if (!sound) return;
  const entry = saving(info, { payload: sound.bytes, isPacked: true });
  await writer!.queue.submit({ entry, seen: info });
}

/** Takes a transaction out of service, where that is asked for, and tells it. */
export async function giveUp(
  run: CheckRun,
  damage: LocalDamage,
): Promise<void> {
  if (run.mayAct()) await takeOut(run, damage);
  const action = run.repair?.purge ? "purged" : "quarantined";
  run.tell({ ...damage.finding, action: run.repair ? action : "none" });
}

/** The note first, then the row with an entry for the file, then the file. */
async function takeOut(
  { store, repair, report: { base } }: CheckRun,
  { info, finding, found, file }: LocalDamage,
): Promise<void> {
  const { queue } = store.writer!;
  const { txId, storageHash } = info;
  const isLogged = isLoggable(removal(txId));
  if (repair!.purge) {
    if (!isLogged) return await takeOutUnlogged(store, info, null);
    await queue.submit({ entry: because(removal(txId), "damaged") });
    return;
  }
  const name = await writeNote(base, file, {
    txId,
    reason: finding.kind,
    at: new Date().toISOString(),
    expected: storageHash,
    found,
    row: info,
  });
  // What lives in the log goes with the row.
  const bytes = bytesInLog(store, txId);
  if (bytes) await writeBytes(base, name, bytes);
  crashPoint("note written");
  if (!isLogged) return await takeOutUnlogged(store, info, name);
  const entry = { ...removal(txId), kind: "quarantine" as const };
  await queue.submit({ entry: { ...entry, name: `${name}.bin` } });
}

/**
 * The same for a row that was edited by hand, and has an id that no record can
 * have. A crash leaves the row, which is without its file then.
 *
 * @param name Of the case in quarantine; null: the file is deleted.
 */
async function takeOutUnlogged(
  { files, rows }: OpenStore,
  { txId }: TxInfo,
  name: string | null,
): Promise<void> {
  const path = files.pathOf(txId);
  if (name === null) removeFileSync(path);
  else if (isFile(path)) {
    const to = join(quarantinePath(files.basePath), `${name}.bin`);
    await renameFile(path, to, true);
  }
  await rows.change(() => deleteRow(rows, txId));
}

/** Heals from sources what is damaged, and what is in quarantine. */
export function localHealer(
  run: CheckRun,
  sources: Sources,
): Healer<LocalDamage> {
  const { signal } = run.options;
  const purge = run.repair?.purge ?? false;
  const find = (lost: Lost[], onFound: (info: TxInfo) => void) =>
    healLocal(run.store, sources, lost, {
      act: run.mayAct(),
      onFound,
      ...(signal && { signal }),
    });
  return {
    heal(damage, onFound) {
      const lost = damage.map(({ info, found, file }): Lost => ({
        info,
        isOut: false,
        damaged: !purge && found !== null ? { digest: found, file } : null,
      }));
      return find(lost, onFound);
    },
    giveUp: (damage) => giveUp(run, damage),
    cases: () => outOfService(run),
    async healCases(cases, onFound) {
      const lost = cases.map(({ row }): Lost => ({
        info: row,
        isOut: true,
        damaged: null,
      }));
      const found = await find(lost, onFound);
      if (!run.mayAct()) return found;
      for (const { name, row } of cases) {
        if (!found.has(row.txId)) continue;
        crashPoint("case healed");
        await closeCase(run.report.base, name, purge);
      }
      return found;
    },
    onSound: (txId) => run.countSound(txId),
  };
}

async function* outOfService(run: CheckRun): AsyncGenerator<Case> {
  const { files: { basePath }, rows } = run.store;
  for await (const { name, note } of readableCases(basePath)) {
    const { row } = note;
    if (!row) continue;
    const now = findInfo(rows, row.txId);
    if (now === null) yield { name, note, row };
    // Healed by a run that a crash ended, or saved again.
    else if (run.mayAct() && now.storageHash === row.storageHash) {
      await closeCase(basePath, name, false);
    }
  }
}
