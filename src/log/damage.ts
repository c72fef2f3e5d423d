/**
 * What a log and a database have lost, remembered in the database until recover
 * has dealt with it.
 *
 * @module
 */

import { quarantineFile } from "../payloads/quarantine.ts";
import type { LogDir } from "./log_dir.ts";
import type { Database } from "../sqlite/database.ts";
import { readSetting, writeSetting } from "../sqlite/log_state.ts";

/** Set in a database that was made anew, until recover is through. */
const REBUILT = "rebuilt";

const LOST = "lost_changes";
const DETAILS = "log_damage";

/** What is wrong with a log, held against the database. */
export interface LogDamage {
  /** Changes that the database lacks and the log has no more. */
  lostChanges: number;
  /** What the log has lost; empty when it is whole. */
  details: string[];
}

/** What is remembered. */
export function rememberedDamage(rows: Database): LogDamage {
  const lostChanges = Number(readSetting(rows, LOST) ?? 0) || 0;
  return {
    lostChanges,
    details: detailsIn(readSetting(rows, DETAILS) ?? "[]"),
  };
}

/** Damage may have hit what is remembered of it as well. */
function detailsIn(text: string): string[] {
  try {
    return JSON.parse(text);
  } catch {
    return [text];
  }
}

/**
 * Remembers that the database was made anew: what it says of a file may be older
 * than the file. Within a transaction.
 */
export function rememberRebuilt(rows: Database): void {
  writeSetting(rows, REBUILT, "1");
}

/** Whether a file that is not as the log says may be newer than the log. */
export function isDoubtful(rows: Database): boolean {
  const { lostChanges, details } = rememberedDamage(rows);
  return lostChanges > 0 || details.length > 0 ||
    readSetting(rows, REBUILT) !== null;
}

/** Remembers more of it. */
export async function rememberDamage(
  rows: Database,
  damage: LogDamage,
): Promise<void> {
  const { lostChanges, details } = damage;
  if (lostChanges === 0 && details.length === 0) return;
  await rows.change(() => addDamage(rows, damage));
}

/** As `rememberDamage`, within a transaction. */
export function addDamage(
  rows: Database,
  { lostChanges, details }: LogDamage,
): void {
  const known = rememberedDamage(rows);
  const lost = known.lostChanges + lostChanges;
  const all = [...new Set([...known.details, ...details])];
  if (lost > 0) writeSetting(rows, LOST, String(lost));
  if (all.length > 0) writeSetting(rows, DETAILS, JSON.stringify(all));
}

/** From now on what is there is what counts. */
export async function acceptDamage(rows: Database): Promise<void> {
  const names = [LOST, DETAILS, REBUILT];
  if (names.every((name) => readSetting(rows, name) === null)) return;
  await rows.change(() => {
    for (const name of names) writeSetting(rows, name, null);
  });
}

/** Keeps a segment in quarantine, where it is never read as part of the store. */
export async function setSegmentAside(
  number: number,
  { dir, files }: { dir: LogDir; files: { basePath: string } },
): Promise<void> {
  dir.forget(number);
  await quarantineFile(files.basePath, dir.pathOf(number), {
    txId: null,
    reason: "log-damaged",
  });
}
