/**
 * The steps of a change to the store between which a process may die. Tests
 * name one and are told when it is reached; without a test this is a call to
 * nothing.
 *
 * @module
 */

/** Every step, in the order in which a change passes them. */
export const CRASH_POINTS = [
  "payload staged", // a large payload is complete and synced, not yet named
  "staged names synced", // … and its name is on the disk
  "record written", // the batch is in the log: it survives the process
  "log synced", // … and a power cut
  "file written", // one payload file of the batch is in place
  "file removed", // one payload file of the batch is gone
  "file quarantined", // one payload file of the batch was moved aside
  "rows applied", // rows have followed, and the position up to which they have
  "tree grown", // checkpoint: some records have their entries
  "tiles written", // checkpoint: some full tiles have their files
  "tree signed", // the signed checkpoint stands beside the key, nobody has seen it
  "files synced", // checkpoint: the files are durable
  "segment sealed", // a new segment is there, nothing is in it yet
  "segment dropped", // checkpoint: one segment that nothing needs is gone
  "tail wiped", // what stood behind the end of the log is gone
  "batch pruned", // pruning: one batch of deletions is done
  "record replayed", // opening: the file of one record was looked at
  "note written", // recovery: the note beside a quarantined payload is durable
  "damaged bytes kept", // healing: … and its bytes too; the sound ones wait
  "case healed", // healing: a transaction is back, its case still there
  "orphan moved", // recovery: an orphan is in quarantine
  "leftover removed", // recovery: one leftover file is gone
  "database set aside", // rebuild: the damaged database is out of the way
  "database rebuilt", // rebuild: the new database is complete, not yet in place
  "upgrade file gathered", // upgrade: one file waits under its new name
  "upgrade name dropped", // upgrade: … and has its old name no more
  "upgrade gathered", // upgrade: all that are renamed wait, durably
  "upgrade file placed", // upgrade: one file has its new name
  "upgrade recorded", // upgrade: the store says that it is done
  "log begun", // upgrade: the database says that its log is being made
  "older tables logged", // upgrade: what they had is durable in the log
  "older tables dropped", // upgrade: … and the database has the newest schema
] as const;

/** A step at which a test can stop the process. */
export type CrashPoint = typeof CRASH_POINTS[number];

let observer: ((point: CrashPoint) => void) | undefined;

/** Tells `observe` of every step from now on: for tests. */
export function observeCrashPoints(observe: (point: CrashPoint) => void): void {
  observer = observe;
}

/** Marks a step. */
export function crashPoint(point: CrashPoint): void {
  observer?.(point);
}
