/**
 * How the payload files of a store are named: by this system's rules, or by
 * earlier ones, until `upgrade.ts` has renamed them.
 *
 * `<base>/.poh/names` says which rules hold. A store that has no such file is
 * one of the older Python package, which takes ids verbatim, or of a version of
 * this program that took such files as they were.
 *
 * @module
 */

import { isAbsolute, join, normalize, relative } from "@std/path";
import {
  makeDir,
  openRegular,
  readAllSync,
  regularSize,
  replaceFile,
} from "../files/durable_fs.ts";
import { tmpPath } from "../files/layout.ts";
import type { EarlierNames } from "../payloads/file_store.ts";
import {
  FOLDS_CASE,
  hasPlainName,
  PAYLOAD_SUFFIX,
  storedName,
  txIdOfFile,
} from "../files/file_name.ts";
import type { SqlValue } from "../sqlite/driver.ts";

/**
 * - `plain`: as `storedName` gives them where case counts
 * - `folded`: as it gives them where case does not count
 * - `verbatim`: `<base>/<id>.bin`, whatever the id is, as the older package does
 * - `mixed`: any of these
 */
export type Naming = "plain" | "folded" | "verbatim" | "mixed";

/** The rules of a store, and how far its upgrade has got. */
export interface NamingState {
  /** The rules that hold, or held before the upgrade began. */
  naming: Naming;
  /**
   * Null: no upgrade has begun. `gathering`: files may have been moved to
   * `.poh/upgrade`. `placing`: all that are renamed have been there, and some
   * may have their new names.
   */
  phase: "gathering" | "placing" | null;
}

/** The rules of this system. */
export const NAMING_HERE: Naming = FOLDS_CASE ? "folded" : "plain";

/** Where files wait for their new names. */
export const UPGRADE_DIR = join(".poh", "upgrade");

const IS_WINDOWS = Deno.build.os === "windows";

/** Characters that a file name of Windows cannot have, or takes for a stream. */
// deno-lint-ignore no-control-regex
const NOT_ON_WINDOWS = /[\u0000-\u001f:*?"<>|]/;

/** Longest file name, in bytes, that file systems take. */
const MAX_NAME_BYTES = 255;

/** What a store says of its names; null when it says nothing. */
export function readNaming(basePath: string): NamingState | null {
  const opened = openRegular(recordPath(basePath));
  if (!opened) return null;
  using file = opened.file;
  const text = new TextDecoder().decode(readAllSync(file, opened.size));
  const match = /^(plain|folded|verbatim|mixed)(?: (gathering|placing))?\n$/
    .exec(text);
  if (!match) return null; // cut by a power failure before its first sync
  return {
    naming: match[1] as Naming,
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
): Naming {
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
  return state?.naming === NAMING_HERE && state.phase === null;
}

/**
 * The names of a store whose upgrade has not ended.
 *
 * @param state How far it has got by now.
 */
export function earlierNames(
  basePath: string,
  state: () => NamingState,
): EarlierNames {
  return {
    placesOf(txId) {
      const { naming, phase } = state();
      const target = storedName(txId);
      if (phase === null) return placesOf(txId, naming, basePath);
      const waiting = join(UPGRADE_DIR, target);
      return phase === "placing"
        ? [waiting, target]
        : [waiting, ...placesOf(txId, naming, basePath)];
    },
    txIdsOf(name) {
      const { naming, phase } = state();
      return txIdsOf(name, phase === "placing" ? NAMING_HERE : naming);
    },
  };
}

/** Where these rules may put an id's payload, as paths from the base. */
export function placesOf(
  txId: string,
  naming: Naming,
  basePath: string,
): string[] {
  switch (naming) {
    case "plain":
      return [storedName(txId, false)];
    case "folded":
      return [storedName(txId, true)];
    case "verbatim":
      return verbatimPlaces(txId, basePath);
    case "mixed":
      if (hasPlainName(txId)) return [storedName(txId)];
      return [
        ...new Set([
          storedName(txId, FOLDS_CASE),
          storedName(txId, !FOLDS_CASE),
          ...verbatimPlaces(txId, basePath),
        ]),
      ];
  }
}

/** The ids whose payload a file may hold by these rules. */
function txIdsOf(name: string, naming: Naming): string[] {
  const stem = name.slice(0, -PAYLOAD_SUFFIX.length);
  const plain = txIdOfFile(name, false), folded = txIdOfFile(name, true);
  const ids: (string | null)[] = {
    plain: [plain],
    folded: [folded],
    verbatim: [stem],
    mixed: [plain, folded, stem],
  }[naming];
  return [...new Set(ids.filter((id): id is string => id !== null))];
}

/** Where the older package has an id's payload, unless that is not in the base. */
function verbatimPlaces(txId: string, basePath: string): string[] {
  const name = txId + PAYLOAD_SUFFIX;
  if (name.includes("\0") || (IS_WINDOWS && NOT_ON_WINDOWS.test(name))) {
    return [];
  }
  const isComponent = !name.includes("/") &&
    !(IS_WINDOWS && name.includes("\\"));
  if (isComponent) {
    return new TextEncoder().encode(name).length > MAX_NAME_BYTES ? [] : [name];
  }
  if (leadsOut(txId, basePath)) return [];
  const path = isAbsolute(name) ? name : `${basePath}/${name}`;
  const real = realPath(path);
  if (real === null) return [];
  const place = relative(realPath(basePath) ?? basePath, real);
  return isOutside(place) ? [] : [place];
}

/** Whether the path that the older package made of an id is not in the base. */
export function leadsOut(txId: string, basePath: string): boolean {
  const name = txId + PAYLOAD_SUFFIX;
  const path = isAbsolute(name) ? normalize(name) : join(basePath, name);
  return isOutside(relative(basePath, path));
}

/** Not in the folder, or in the one that is the store's own. */
function isOutside(place: string): boolean {
  const [first] = place.split(/[/\\]/);
  return isAbsolute(place) || first === ".." || first === ".poh";
}

/** A path as the system resolves it; null when nothing is there. */
function realPath(path: string): string | null {
  try {
    return Deno.realPathSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return null; // no file can have this name, or none has
  }
}

function recordPath(basePath: string): string {
  return join(basePath, ".poh", "names");
}
