/**
 * What a log and a database have lost, remembered in the database until recover
 * has dealt with it.
 *
 * @module
 */

import { quarantineFile } from "../payloads/quarantine.ts";
import type { SqliteStore } from "../sqlite/sqlite_store.ts";
import type { LogDir } from "./log_dir.ts";

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
export function rememberedDamage(rows: SqliteStore): LogDamage {
  const lostChanges = Number(rows.setting(LOST) ?? 0) || 0;
  return { lostChanges, details: detailsIn(rows.setting(DETAILS) ?? "[]") };
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
export function rememberRebuilt(rows: SqliteStore): void {
  rows.setSetting(REBUILT, "1");
}

/** Whether a file that is not as the log says may be newer than the log. */
export function isDoubtful(rows: SqliteStore): boolean {
  const { lostChanges, details } = rememberedDamage(rows);
  return lostChanges > 0 || details.length > 0 ||
    rows.setting(REBUILT) !== null;
}

/** Remembers more of it. */
export async function rememberDamage(
  rows: SqliteStore,
  damage: LogDamage,
): Promise<void> {
  const { lostChanges, details } = damage;
  if (lostChanges === 0 && details.length === 0) return;
  await rows.change(() => addDamage(rows, damage));
}

/** As `rememberDamage`, within a transaction. */
export function addDamage(
  rows: SqliteStore,
  { lostChanges, details }: LogDamage,
): void {
  const known = rememberedDamage(rows);
  const lost = known.lostChanges + lostChanges;
  const all = [...new Set([...known.details, ...details])];
  if (lost > 0) rows.setSetting(LOST, String(lost));
  if (all.length > 0) rows.setSetting(DETAILS, JSON.stringify(all));
}

/** From now on what is there is what counts. */
export async function acceptDamage(rows: SqliteStore): Promise<void> {
  const names = [LOST, DETAILS, REBUILT];
  if (names.every((name) => rows.setting(name) === null)) return;
  await rows.change(() => {
    for (const name of names) rows.setSetting(name, null);
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
