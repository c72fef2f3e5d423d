/**
 * The rule by which a payload is called damaged: only what two readings agree on
 * is, while the row is the same. Writers may go on meanwhile; what they have
 * replaced or deleted is judged as they left it.
 *
 * @module
 */

/** Times that a payload is read at most, until two readings agree. */
const ATTEMPTS = 10;

/** What one reading of a row's payload gave. */
export interface Reading<T> {
  /** What has the digest of the row; null: nothing has. */
  sound: T | null;
  /** What is there instead; null: nothing is. */
  other: T | null;
  /** Why something could not be read; null: nothing was refused. */
  failure: Error | null;
}

/** A reading that found this, or nothing, where the row has this digest. */
export function readingOf<T extends { digest: string }>(
  found: T | null,
  digest: string,
): Reading<T> {
  const isSound = found?.digest === digest;
  const [sound, other] = isSound ? [found, null] : [null, found];
  return { sound, other, failure: null };
}

/** What the readings of a row's payload have come to. */
export type Judged<Row, T> =
  | { kind: "sound"; row: Row; sound: T }
  | { kind: "damaged"; row: Row; found: T | null }
  | { kind: "unreadable"; row: Row; failure: Error };

/**
 * Reads the payload of a row until it is sound, or two readings agree that it is
 * not.
 *
 * @param now Returns the row as it is by now; null: it is gone.
 * @param isSame Whether the row has not been replaced between two readings.
 * @returns What it has come to, and of which row; null where the row is gone.
 */
export async function judge<Row, T extends { digest: string }>(
  seen: Row,
  read: (row: Row) => Promise<Reading<T>>,
  now: (row: Row) => Row | null | Promise<Row | null>,
  isSame: (a: Row, b: Row) => boolean,
): Promise<Judged<Row, T> | null> {
  let row = seen;
  let before: string | null | undefined;
  for (let attempt = 1;; attempt++) {
    const { sound, other, failure } = await read(row);
    if (sound !== null) return { kind: "sound", row, sound };
    const current = await now(row);
    if (current === null) return null;
    const isUnchanged = isSame(current, row);
    if (isUnchanged && failure) return { kind: "unreadable", row, failure };
    const digest = other?.digest ?? null;
    if (isUnchanged && before === digest) {
      return { kind: "damaged", row, found: other };
    }
    if (attempt === ATTEMPTS) {
      const failure = new Error("it does not read the same twice");
      return { kind: "unreadable", row, failure };
    }
    before = isUnchanged ? digest : undefined;
    row = current;
  }
}
