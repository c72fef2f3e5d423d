/**
 * How the payload files of a store are laid out: as this system does, or by an
 * earlier layout, until `upgrade.ts` has moved them.
 *
 * `<base>/.poh/names` says which layout holds. A store that has no such file is
 * one of the older Python package, which takes ids verbatim, or of a version of
 * this program that took such files as they were.
 *
 * @module
 */

import { basename, join } from "@std/path";
import {
  makeDir,
  openRegular,
  readAllSync,
  regularSize,
  replaceFile,
} from "../files/durable_fs.ts";
import { tmpPath } from "../files/layout.ts";
import {
  type Layout,
  LAYOUT_HERE,
  LAYOUTS,
  placeOf,
  placesOf,
  txIdsAt,
} from "../payloads/payload_layout.ts";
import type { SqlValue } from "../sqlite/driver.ts";
import type { EarlierNames } from "../payloads/payload_files.ts";

/** The layout of a store, and how far its upgrade has got. */
export interface NamingState {
  /** The layout that holds, or held before the upgrade began. */
  naming: Layout;
  /**
   * Null: no upgrade has begun. `gathering`: files may have been moved to
   * `.poh/upgrade`. `placing`: all that are moved have been there, and some
   * may have their new places.
   */
  phase: "gathering" | "placing" | null;
}

/** What a store says of itself whose files are laid out as on this system. */
export const SETTLED: NamingState = { naming: LAYOUT_HERE, phase: null };

/** What is true of every store: its files may be laid out in any way. */
const UNKNOWN: NamingState = { naming: "mixed", phase: null };

/** Where files wait for their new places. */
const UPGRADE_DIR = join(".poh", "upgrade");

/** What a store may say. */
const RECORD = new RegExp(
  `^(${LAYOUTS.join("|")})(?: (gathering|placing))?\n$`,
);

/** Returns the folder in which files wait for their new places. */
export function upgradePath(basePath: string): string {
  return join(basePath, UPGRADE_DIR);
}

/** Returns where the file of an id waits for its new place. */
export function waitingPlace(txId: string): string {
  return join(UPGRADE_DIR, basename(placeOf(txId)));
}

/** What a store says of its names; null when it says nothing. */
export function readNaming(basePath: string): NamingState | null {
  const opened = openRegular(recordPath(basePath));
  if (!opened) return null;
  using file = opened.file;
  const text = new TextDecoder().decode(readAllSync(file, opened.size));
  const match = RECORD.exec(text);
  if (!match) return null; // cut by a power failure before its first sync
  return {
    naming: match[1] as Layout,
    phase: (match[2] ?? null) as NamingState["phase"],
  };
}

/** Writes down the rules of a store, durably. */
export async function writeNaming(
  basePath: string,
  { naming, phase }: NamingState,
): Promise<void> {
  const tmpDir = tmpPath(basePath);
  await makeDir(tmpDir, true);
  const tmp = join(tmpDir, crypto.randomUUID());
  const text = phase ? `${naming} ${phase}\n` : `${naming}\n`;
  const bytes = new TextEncoder().encode(text);
  await replaceFile(recordPath(basePath), bytes, tmp, true);
}

/**
 * The rules of a store that says nothing. Those of the older package hold where
 * neither base nor database has ever been this program's; in all other cases
 * digests have to tell which file is whose.
 */
export function namingOf(
  basePath: string,
  query: (sql: string) => SqlValue[][],
): Layout {
  const [[version], [ours]] = [
    ...query("PRAGMA user_version"),
    ...query("SELECT count(*) FROM sqlite_schema WHERE name = 'settings'"),
  ] as [[number], [number]];
  const isOlder = version === 0 && ours === 0 && !hasId(basePath);
  return isOlder ? "verbatim" : "mixed";
}

/** Whether this program has had a base open for writing. */
export function hasId(basePath: string): boolean {
  return regularSize(join(basePath, ".poh", "id")) !== null;
}

/** Whether the files of a store have the names that this system gives them. */
export function isSettled(state: NamingState | null): boolean {
  return state?.naming === LAYOUT_HERE && state.phase === null;
}

/**
 * The places of a store whose upgrade has not ended, or which says nothing.
 *
 * @param state How far it has got by now.
 */
export function earlierNames(
  basePath: string,
  state: () => NamingState = () => UNKNOWN,
): EarlierNames {
  return {
    placesOf(txId) {
      const { naming, phase } = state();
      if (phase === null) return placesOf(txId, naming, basePath);
      const waiting = waitingPlace(txId);
      return phase === "placing"
        ? [waiting, placeOf(txId)]
        : [waiting, ...placesOf(txId, naming, basePath)];
    },
    txIdsOf(place) {
      const { naming, phase } = state();
      return txIdsAt(place, phase === "placing" ? LAYOUT_HERE : naming);
    },
  };
}

function recordPath(basePath: string): string {
  return join(basePath, ".poh", "names");
}
