/**
 * A copy of a store's rows as they are at one moment.
 *
 * @module
 */

import { requireSoundDatabase } from "./backup_walk.ts";
import { regularSize } from "../files/durable_fs.ts";
import { listHolders } from "../files/locks.ts";
import { makeRows } from "../log/follow.ts";
import { segmentOf } from "../log/segment.ts";
import type { OpenStore } from "../local/open_store.ts";
import type { DriverChoice } from "../model/driver_info.ts";
import type { Database } from "../sqlite/database.ts";
import { COMPANIONS } from "../sqlite/database_file.ts";
import { initDatabase, openDatabase } from "../sqlite/open_database.ts";
import { logState } from "../sqlite/log_state.ts";
import { forgetLog } from "../sqlite/places.ts";
import { lastCheckpoint } from "../tlog/tlog.ts";
import { leaveTlog } from "../tlog/tlog_tables.ts";

/** A copy of a store's rows as they are now, that follows no log. */
export async function copyRows(
  live: OpenStore,
  path: string,
  driver: DriverChoice,
): Promise<Database> {
  for (;;) {
    const until = resolvedIn(live);
    const checkpoint = await lastCheckpoint(live.files.basePath);
    const [oldest] = live.log.dir.numbers();
    await live.rows.backup(path);
    // It is synced as a whole at its end.
    const rows = await openDatabase(path, { driver, sync: false });
    try {
      await requireSoundDatabase(rows, live.rows.path);
      await initDatabase(rows);
      if (await catchUp(live, rows, until, oldest)) {
        rows.transaction(() => {
          forgetLog(rows);
          leaveTlog(rows, checkpoint); // its files stay behind
        });
        return rows;
      }
      await rows.close();
    } catch (error) {
      await rows.close();
      throw error;
    }
  }
}

/**
 * Up to where the log counts: after a crash to its end, beside a writer as far
 * as saves have resolved; the rest is its own business.
 */
function resolvedIn({ files, log }: OpenStore): number {
  const hasWriter = log.hasWriter() && listHolders(files.basePath).length > 0;
  return hasWriter ? log.resolved() : Infinity;
}

/**
 * Has copied rows follow the log.
 *
 * @param oldest The first segment before the rows were copied.
 * @returns False when a writer has dropped that part of it meanwhile: by now the
 * rows have followed it, and can be copied again.
 */
async function catchUp(
  { log }: OpenStore,
  rows: Database,
  until: number,
  oldest: number | undefined,
): Promise<boolean> {
  const { applied } = logState(rows);
  if (!log.dir.exists() || until <= applied) return true;
  for (const record of log.recordsFrom(applied)) {
    if (record.position >= until) break;
    await makeRows([record], record.position + record.length, rows);
  }
  const [first = 0] = log.dir.numbers();
  return first === oldest || first <= segmentOf(applied);
}

/** A database is one file when SQLite could close it as it should. */
export function requireClosed(path: string): void {
  for (const suffix of COMPANIONS) {
    if (regularSize(path + suffix) === null) continue;
    throw new Error(`The database ${path} could not be closed`);
  }
}
