/**
 * What a database remembers under names: settings, and how far its rows have
 * followed the log.
 *
 * @module
 */

import type { DeferredRows, LogPosition } from "./deferred_rows.ts";
import type { SqlValue } from "./driver.ts";

/** What these functions need of a database. */
export interface Sql {
  /** Rows that are not in the table yet. */
  readonly deferred: DeferredRows;
  /** Whether it has the table of settings. */
  readonly hasSettings: boolean;
  /** Runs a statement; the number of rows changed. */
  run(sql: string, ...params: SqlValue[]): number;
  /** The first row, for what deferred rows do not change. */
  firstInTable(sql: string, ...params: SqlValue[]): SqlValue[] | undefined;
}

/** What the database remembers under a name, or null. */
export function readSetting(db: Sql, name: string): string | null {
  if (!db.hasSettings) return null;
  const row = db.firstInTable(
    "SELECT value FROM settings WHERE name = ?",
    name,
  );
  return row ? row[0] as string : null;
}

/** Remembers a setting, or forgets it. Within a transaction. */
export function writeSetting(
  db: Sql,
  name: string,
  value: string | null,
): void {
  if (value === null) {
    db.run("DELETE FROM settings WHERE name = ?", name);
    return;
  }
  db.run(
    "INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)",
    name,
    value,
  );
}

/** How far rows, and durable files, have followed the log. */
export function logState(db: Sql): LogPosition {
  const { position } = db.deferred;
  if (position) {
    const { applied, changes, filesSynced } = position;
    return { applied, changes, filesSynced };
  }
  // Damage may have left any text there: then all of the log is followed anew.
  const number = (name: string) => {
    const value = Number(readSetting(db, name) ?? 0);
    return Number.isSafeInteger(value) && value >= 0 ? value : 0;
  };
  const applied = number("applied");
  return {
    applied,
    changes: number("changes"),
    // Files never are ahead: where they seem to be, more is looked at, not less.
    filesSynced: Math.min(number("files_synced"), applied),
  };
}

/** Says how far they have. Within a transaction. */
export function setLogState(
  db: Sql,
  { applied, changes, filesSynced }: Partial<LogPosition>,
): void {
  if (applied !== undefined) writeSetting(db, "applied", String(applied));
  if (changes !== undefined) writeSetting(db, "changes", String(changes));
  if (filesSynced === undefined) return;
  writeSetting(db, "files_synced", String(filesSynced));
}
