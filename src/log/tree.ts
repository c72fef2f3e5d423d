/**
 * What the record log knows of a tree over its records: how far it has followed,
 * as the records behind that may not go.
 *
 * @module
 */

import type { Database } from "../sqlite/database.ts";
import { readSetting } from "../sqlite/log_state.ts";

/** The setting that has the position; without it a store keeps no tree. */
export const TREE_POSITION = "tlog_position";

/** A tree that follows a log. */
export interface Tree {
  /**
   * Takes in what the log has up to a position, all of which is durable.
   *
   * @returns Whether there is a tree: what the database has of it is to be made
   * durable before files are made of it, whoever put it there.
   */
  follow(end: number): Promise<boolean>;
  /** Gives full tiles their files. All that has followed is durable. */
  writeFiles(): Promise<void>;
}

/** Up to where the tree has followed; infinite where there is none. */
export function treePosition(rows: Database): number {
  const text = readSetting(rows, TREE_POSITION);
  if (text === null) return Infinity;
  const position = Number(text);
  return Number.isSafeInteger(position) && position >= 0 ? position : 0;
}
