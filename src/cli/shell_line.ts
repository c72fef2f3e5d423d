/**
 * Commands as they are typed in a shell of this system.
 *
 * @module
 */

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

function posixWord(word: string): string {
  return /^[\w./:=@%+-]+$/.test(word)
    ? word
    : `'${word.replaceAll("'", "'\\''")}'`;
}

function windowsWord(word: string): string {
  return /^[\w./\\:=@%+-]+$/.test(word) ? word : `"${word}"`;
}
