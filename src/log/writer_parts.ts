/**
 * What the parts of one writer share.
 *
 * @module
 */

import type { Reserve } from "../files/full_disk.ts";
import type { StoreLocks } from "../files/locks.ts";
import type { LogParts } from "./checkpoint.ts";
import type { DiskRoom } from "./disk_room.ts";
import type { LogHealth } from "./health.ts";
import type { LogReader } from "./log_reader.ts";
import type { Members } from "./members.ts";

/** The store that a writer writes, and what else all of its parts need. */
export interface WriterParts extends LogParts {
  /** Its share of the store's locks. */
  locks: StoreLocks;
  /** Whether it waits for the disk. */
  sync: boolean;
  /** Room for removals on a full disk. */
  reserve: Reserve;
  /** The log, to be read. */
  reader: LogReader;
  /** Whether it may go on. */
  health: LogHealth;
  /** Who else writes. */
  members: Members;
  /** How it makes room on a full disk. */
  room: DiskRoom;
}
