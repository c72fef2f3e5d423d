/**
 * The word that was probably meant where an unknown one was given.
 *
 * @module
 */

/**
 * The known word that is nearest to a mistyped one, capitals aside; null when
 * none is near.
 */
export function nearest(word: string, known: readonly string[]): string | null {
  const typed = word.toLowerCase();
  const [best] = known
    .map((name) => ({
      name,
      // What was begun and not ended is near, however much is missing.
      distance: typed.length > 3 && name.toLowerCase().startsWith(typed)
        ? 1
        : editDistance(typed, name.toLowerCase()),
    }))
    .filter(({ name, distance }) =>
      distance <= Math.max(1, Math.floor(name.replace(/^--/, "").length / 3))
    )
    .sort((a, b) => a.distance - b.distance);
  return best?.name ?? null;
}

/** Words as a list in a sentence: `a, b or c`. */
export function listed(words: readonly string[]): string {
  return words.length < 2
    ? words.join()
    : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

/** Insertions, deletions, replacements and swaps of neighbours between words. */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 3) return Infinity;
  const rows: number[][] = [];
  for (let i = 0; i <= a.length; i++) {
    const row: number[] = [];
    for (let j = 0; j <= b.length; j++) {
      const above = rows[i - 1];
      if (i === 0 || above === undefined) row.push(j);
      else if (j === 0) row.push(i);
      else {
        const same = a[i - 1] === b[j - 1];
        let best = Math.min(
          above[j]! + 1,
          row[j - 1]! + 1,
          above[j - 1]! + (same ? 0 : 1),
        );
        if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
          best = Math.min(best, rows[i - 2]![j - 2]! + 1);
        }
        row.push(best);
      }
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
