/**
 * What a log and a database have lost, remembered in the database until recover
 * has dealt with it.
 *
 * @module
 */

import type { SqliteStore } from "../sqlite_store.ts";

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
  const details = JSON.parse(rows.setting(DETAILS) ?? "[]");
  const lostChanges = Number(rows.setting(LOST) ?? 0) || 0;
  return { lostChanges, details };
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
  if (rows.setting(LOST) === null && rows.setting(DETAILS) === null) return;
  await rows.change(() => {
    rows.setSetting(LOST, null);
    rows.setSetting(DETAILS, null);
  });
}
