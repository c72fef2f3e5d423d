/**
 * Commands as they are typed in a shell of this system.
 *
 * @module
 */

import { commonOptions } from "./specs/shared.ts";

const IS_WINDOWS = Deno.build.os === "windows";

/**
 * A command, its words in quotes where they need them: as a POSIX shell takes
 * them, or as both shells of Windows do.
 */
export function shellLine(
  words: readonly string[],
  isWindows = IS_WINDOWS,
): string {
  return words.map(isWindows ? windowsWord : posixWord).join(" ");
}

/** A command on a store, as it is typed. */
export function commandText(
  words: readonly string[],
  { base, db }: { base: string; db?: string | undefined },
): string {
  return shellLine([
    "poh-storage",
    ...words,
    ...(base === commonOptions.base.default ? [] : ["--base", base]),
    ...(db === undefined ? [] : ["--db", db]),
  ]);
}

function posixWord(word: string): string {
  return /^[\w./:=@%+-]+$/.test(word)
    ? word
    : `'${word.replaceAll("'", "'\\''")}'`;
}

function windowsWord(word: string): string {
  return /^[\w./\\:=@%+-]+$/.test(word) ? word : `"${word}"`;
}
