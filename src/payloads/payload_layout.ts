/**
 * Where the payload file of an id is: the only module that knows. A place is a
 * path from the base, with `/` between its parts.
 *
 * A layout is a rule by which files have their places, and a word for it in
 * `<base>/.poh/names`. New files go by the layout of this system; files of stores
 * with another one are found by theirs, until `local/upgrade.ts` has moved them.
 *
 * @module
 */

import {
  basename,
  dirname,
  isAbsolute,
  join,
  normalize,
  relative,
} from "@std/path";
import {
  FOLDS_CASE,
  hasPlainName,
  isNameByDigest,
  MAX_NAME_BYTES,
  PAYLOAD_SUFFIX,
  storedName,
  txIdOfFile,
} from "../files/file_name.ts";

/**
 * - `plain`: as `storedName` gives names where case counts
 * - `folded`: as it gives them where case does not count
 * - `verbatim`: `<id>.bin`, whatever the id is, as the older package does
 * - `mixed`: any of these
 */
export const LAYOUTS = ["plain", "folded", "verbatim", "mixed"] as const;

/** One of {@linkcode LAYOUTS}. */
export type Layout = typeof LAYOUTS[number];

/** The layout of this system. */
export const LAYOUT_HERE: Layout = FOLDS_CASE ? "folded" : "plain";

/** The folders that have payload files, as paths from the base. */
const FOLDERS: readonly string[] = [""];

const IS_WINDOWS = Deno.build.os === "windows";

/** Characters that a file name of Windows cannot have, or takes for a stream. */
// deno-lint-ignore no-control-regex
const NOT_ON_WINDOWS = /[\u0000-\u001f:*?"<>|]/;

/** Returns where the payload of a row is put. */
export function placeOf(txId: string, foldsCase = FOLDS_CASE): string {
  return placeOfName(storedName(txId, foldsCase));
}

/** Returns where a file of this name, one that `storedName` gives, is put. */
export function placeOfName(name: string): string {
  return name;
}

/** Returns where a layout may have an id's payload, the likelier first. */
export function placesOf(
  txId: string,
  layout: Layout,
  basePath: string,
): string[] {
  switch (layout) {
    case "plain":
      return [placeOf(txId, false)];
    case "folded":
      return [placeOf(txId, true)];
    case "verbatim":
      return verbatimPlaces(txId, basePath);
    case "mixed":
      if (hasOnePlace(txId)) return [placeOf(txId)];
      return [
        ...new Set([...ownPlaces(txId), ...verbatimPlaces(txId, basePath)]),
      ];
  }
}

/** Returns where this program has an id's payload, on this system or another. */
export function ownPlaces(txId: string): string[] {
  return [placeOf(txId, FOLDS_CASE), placeOf(txId, !FOLDS_CASE)];
}

/** Returns the ids whose payload a layout may have at a place. */
export function txIdsAt(place: string, layout: Layout = LAYOUT_HERE): string[] {
  const plain = txIdOfFile(place, false), folded = txIdOfFile(place, true);
  const verbatim = place.slice(0, -PAYLOAD_SUFFIX.length);
  const ids: (string | null)[] = {
    plain: [plain],
    folded: [folded],
    verbatim: [verbatim],
    mixed: [plain, folded, verbatim],
  }[layout];
  return [...new Set(ids.filter((id): id is string => id !== null))];
}

/** Returns whether a layout is one of this program's, whose places tell ids. */
export function isOwnLayout(layout: Layout): boolean {
  return layout !== "verbatim" && layout !== "mixed";
}

/**
 * Returns where a file of a layout is put now, whoever has its payload; null
 * where its place does not tell.
 */
export function targetOf(place: string, layout: Layout): string | null {
  if (isOwnLayout(layout)) return placeHere(place);
  const [txId, other] = txIdsAt(place, "mixed");
  const isTold = txId !== undefined && other === undefined &&
    hasPlainName(txId);
  return isTold ? placeOf(txId) : null;
}

/** Returns whether all layouts have an id's payload at the same place. */
export function hasOnePlace(txId: string): boolean {
  return !FOLDS_CASE && hasPlainName(txId);
}

/** Returns whether a layout has the payload of no other id at an id's place. */
export function isOnlyIdAt(
  place: string,
  txId: string,
  layout: Layout,
): boolean {
  if (FOLDS_CASE) return false;
  if (place === placeOf(txId)) return true;
  return layout === "verbatim" && place === txId + PAYLOAD_SUFFIX &&
    basename(place) === place;
}

/**
 * Returns where a file is put that this program has at a place, on this system
 * or another; null where it has none there.
 */
export function placeHere(place: string): string | null {
  if (isNameByDigest(place)) return placeOfName(place);
  const txId = txIdOfFile(place, false) ?? txIdOfFile(place, true);
  return txId === null ? null : placeOf(txId);
}

/** Returns whether a place is one at which payload files are looked for. */
export function isPayloadPlace(place: string): boolean {
  const folder = place === basename(place) ? "" : dirname(place);
  return FOLDERS.includes(folder) && place.endsWith(PAYLOAD_SUFFIX);
}

/** Returns the place of a file by its path. */
export function placeAt(path: string, basePath: string): string {
  const place = relative(basePath, path);
  return IS_WINDOWS ? place.replaceAll("\\", "/") : place;
}

/** Returns the folders that have payload files, as paths to be opened. */
export function payloadFolders(basePath: string): string[] {
  return FOLDERS.map((folder) => join(basePath, folder));
}

/** Lists the places of all payload files, in no order. */
export async function* payloadPlaces(
  basePath: string,
): AsyncGenerator<string> {
  for (const folder of FOLDERS) {
    try {
      for await (const { name } of Deno.readDir(join(basePath, folder))) {
        if (!name.endsWith(PAYLOAD_SUFFIX)) continue;
        yield folder === "" ? name : `${folder}/${name}`;
      }
    } catch (error) {
      const isMissing = error instanceof Deno.errors.NotFound && folder !== "";
      if (!isMissing) throw error; // a store of another layout may lack one
    }
  }
}

/** Returns where the older package has a payload, unless that is not in the base. */
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

/** Returns whether the older package's path of an id is not in the base. */
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
