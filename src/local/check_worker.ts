/**
 * The thread of `check_thread.ts`.
 *
 * @module
 */

import { payloadPlaces } from "../payloads/payload_layout.ts";
import { LogDir } from "../log/log_dir.ts";
import {
  type Looked,
  newLooked,
  note,
  pagesOf,
  type Parts,
} from "./look_parts.ts";
import { QuickLook } from "./quick_look.ts";
import type { DriverChoice } from "../model/driver_info.ts";
import { answerAs } from "../async/thread.ts";
import type { Database } from "../sqlite/database.ts";
import { openDatabase } from "../sqlite/open_database.ts";
import { isSurelyAsRead } from "../sqlite/odd_rows.ts";
import { PayloadFiles } from "../payloads/payload_files.ts";
import { initDatabase } from "../sqlite/open_database.ts";
import { integrityErrors } from "../sqlite/integrity_errors.ts";

/** What the thread is called. */
export const CHECK_THREAD = "poh-storage check";

/** Parts that are looked at for one question. */
const PARTS_AT_ONCE = 8;

/** What both threads see: the number of the next part, and 1 for an end. */
export type Shared = Int32Array<SharedArrayBuffer>;

/** Where in it these are. */
export const NEXT = 0, STOP = 1;

/** The store that is to be read. */
export interface CheckedStore {
  /** Its folder. */
  base: string;
  /** Its database. */
  path: string;
  /**
   * The binding that the asking thread has it open with: two copies of SQLite
   * in one process would drop each other's locks.
   */
  driver: DriverChoice;
}

/** What the thread is asked for. */
export type CheckJob =
  /** What is wrong with the database, in lines. */
  | { task: "integrity" }
  /** How many payload files there are. */
  | { task: "count" }
  /** Looks at some parts that nobody has taken; none when none is left. */
  | { task: "look"; parts: Parts; shared: Shared }
  /** Closes the database. */
  | { task: "close" };

/** What was found; null where it cannot be told: the asking thread tries itself. */
async function answer(job: CheckJob & CheckedStore): Promise<unknown> {
  try {
    switch (job.task) {
      case "integrity":
        return integrityErrors((await open(job)).rows);
      case "count":
        return await countFiles(job.base);
      case "look":
        return look(await open(job), job.parts, job.shared);
      case "close":
        return await (await opened)?.rows.close();
    }
  } catch {
    return null;
  }
}

let opened: Promise<{ rows: Database; quick: QuickLook }> | null = null;

function open({ base, path, driver }: CheckedStore) {
  return opened ??= (async () => {
    const rows = await openDatabase(path, { driver, readOnly: true });
    await initDatabase(rows);
    const files = new PayloadFiles(base);
    const dir = new LogDir(base, { sync: false, write: false });
    return { rows, quick: new QuickLook({ files, dir }) };
  })();
}

async function countFiles(base: string): Promise<number> {
  let count = 0;
  for await (const _ of payloadPlaces(base)) count++;
  return count;
}

function look(
  { rows, quick }: { rows: Database; quick: QuickLook },
  parts: Parts,
  shared: Shared,
): Looked[] {
  const all: Looked[] = [];
  while (all.length < PARTS_AT_ONCE && Atomics.load(shared, STOP) === 0) {
    const part = Atomics.add(shared, NEXT, 1);
    if (part >= parts.count) break;
    const looked = newLooked(part);
    for (const page of pagesOf(rows, parts, part)) {
      for (const found of page) {
        const isSound = isSurelyAsRead(found.info.txId) && quick.isSound(found);
        note(looked, found, isSound);
      }
    }
    all.push(looked);
  }
  return all;
}

answerAs(CHECK_THREAD, answer);
