/**
 * Notices a database that has gone back to an earlier commit. SQLite takes a
 * damaged write-ahead log for one that ends before the damage, and says
 * nothing; an older copy put in the database's place looks sound as well. So
 * `<base>/.poh/newest` says which redo entry was the newest.
 *
 * The note is written after its commit and never waits for the disk: it may lag
 * behind the database, it is never ahead of it.
 *
 * @module
 */

import { join } from "@std/path";
import { readAllSync } from "./durable_fs.ts";
import type { SqliteStore } from "./sqlite_store.ts";

/** Digits of the number: one write, always as long. */
const DIGITS = 16;

/** The setting that remembers the loss until recover has dealt with it. */
const LOST = "lost_commits";

/** The note, open for writing. */
export class CommitNote {
  readonly #file: Deno.FsFile;

  /** Opens the note of a store, and makes it where there is none. */
  constructor(basePath: string) {
    this.#file = Deno.openSync(notePath(basePath), {
      write: true,
      create: true,
    });
  }

  /**
   * Writes down that this entry is committed. Where it cannot, as on a full
   * disk, the note is older: the commit stands all the same.
   */
  write(seq: number): void {
    try {
      this.#file.seekSync(0, Deno.SeekMode.Start);
      this.#file.writeSync(
        new TextEncoder().encode(String(seq).padStart(DIGITS, "0")),
      );
    } catch {
      // The next commit tries again.
    }
  }

  /** Closes the note. */
  close(): void {
    this.#file.close();
  }
}

/**
 * Remembers in the database that it has gone back, if it has. While no other
 * process commits.
 */
export async function markLostCommits(
  basePath: string,
  rows: SqliteStore,
): Promise<void> {
  const lost = lostCommits(basePath, rows);
  if (lost === remembered(rows)) return;
  await rows.change(() => rows.setSetting(LOST, String(lost)));
  forgetCommits(basePath);
}

/** How many changes the database has lost; 0 for a sound one. */
export function lostCommits(basePath: string, rows: SqliteStore): number {
  const noted = readNote(basePath); // before the database, which is ahead of it
  return remembered(rows) + Math.max(0, noted - rows.redo.newest());
}

/** From now on the state that the database went back to is the one that counts. */
export async function acceptLostCommits(rows: SqliteStore): Promise<void> {
  if (remembered(rows) === 0) return;
  await rows.change(() => rows.setSetting(LOST, null));
}

/** For a database that another one has taken the place of. */
export function forgetCommits(basePath: string): void {
  using file = Deno.openSync(notePath(basePath), { write: true, create: true });
  file.truncateSync();
  file.syncSync();
}

function remembered(rows: SqliteStore): number {
  return Number(rows.setting(LOST) ?? 0) || 0;
}

function readNote(basePath: string): number {
  try {
    using file = Deno.openSync(notePath(basePath), { read: true });
    return parse(readAllSync(file, DIGITS));
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return 0; // there is none, or none that can be read: it says nothing
  }
}

/** What a power cut may have left instead of a number says nothing. */
function parse(bytes: Uint8Array): number {
  const text = new TextDecoder().decode(bytes);
  return /^\d{16}$/.test(text) ? Number(text) : 0;
}

function notePath(basePath: string): string {
  return join(basePath, ".poh", "newest");
}
