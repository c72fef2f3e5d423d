/**
 * Compaction gives back the room of payloads in the log that were replaced,
 * deleted or moved to files. Segments go oldest first, so it writes again, at
 * the end of the log, what still lives in the oldest one, as any change is
 * written; then nothing needs that segment, and a checkpoint drops it. It goes
 * on beside all else, and can be cut off anywhere.
 *
 * @module
 */

import type { CompactOptions, CompactReport } from "../model/packing.ts";
import type { LogUse } from "../model/store_description.ts";
import { nextTurn } from "../async/turn.ts";
import type { LogParts } from "./checkpoint.ts";
import type { LogDir } from "./log_dir.ts";
import type { Change } from "./record.ts";
import { recordAt } from "./scan.ts";
import { FIRST_RECORD, offsetOf, positionOf, segmentOf } from "./segment.ts";
import type { Database } from "../sqlite/database.ts";
import { logState } from "../sqlite/log_state.ts";
import { findInfo } from "../sqlite/lookups.ts";
import {
  aboutInLog,
  bytesInLog,
  countInLog,
  placesIn,
} from "../sqlite/places.ts";

/** A log of fewer bytes than this is left alone. */
const SMALL_LOG = 4 * 1024 * 1024;

/**
 * A segment counts as at least so many bytes, since each is a file: so many
 * small ones become a few, as those that a process leaves which is killed again
 * and again.
 */
const LEAST_SEGMENT = 256 * 1024;

/** The log is looked at each time it has grown by this share. */
const GROWTH = 1 / 16;

/** How long closing a store may take for compaction, in ms. */
const AT_CLOSE = 5_000;

/** Moved at once. */
const PAGE = 128;

/** Rows of so many bytes of the log are looked at in one go. */
const STRETCH = 1024 * 1024;

/** What compaction asks of the writer of the log. */
export interface Compacting {
  /** Makes a change, unless it is not to be made any more. */
  submit(change: Change): Promise<boolean>;
  /**
   * Makes durable what has followed, and drops the segments that nothing needs.
   *
   * @param seals Whether to go on in a new segment, whatever lives in this one.
   */
  checkpoint(seals: boolean): Promise<void>;
}

/** What the bytes of a log are. Goes through the rows of all that live in it. */
export async function logUse(
  { dir, rows }: Pick<LogParts, "dir" | "rows">,
): Promise<LogUse> {
  const { filesSynced } = logState(rows);
  const use: LogUse = { bytes: 0, alive: 0, dead: 0 };
  for (const number of dir.numbers()) {
    const size = sizeOf(dir, number);
    // What no checkpoint covers is needed, though no payload lives there.
    const covered = Math.min(size, filesSynced - positionOf(number, 0));
    const alive = await aliveIn(rows, number, size);
    use.bytes += size;
    use.alive += alive;
    if (covered <= FIRST_RECORD) continue;
    const ofThese = covered === size
      ? alive
      : await aliveIn(rows, number, covered);
    use.dead += Math.max(0, covered - FIRST_RECORD - ofThese);
  }
  return use;
}

/** Bytes of the records whose payloads live in the first `size` of a segment. */
async function aliveIn(
  rows: Database,
  number: number,
  size: number,
): Promise<number> {
  let alive = 0;
  for (const [from, to] of stretchesOf(number, size)) {
    alive += bytesInLog(rows, from, to);
    await nextTurn();
  }
  return alive;
}

/** The positions between which the first `size` bytes of a segment are, in pieces. */
function* stretchesOf(
  number: number,
  size: number,
): Generator<[from: number, to: number]> {
  for (let at = 0; at < size; at += STRETCH) {
    const to = Math.min(at + STRETCH, size);
    yield [positionOf(number, at), positionOf(number, to)];
  }
}

/** Compacts the log of one writer. */
export class Compaction {
  readonly #parts: LogParts;
  readonly #writer: Compacting;
  /** The running one, begun by itself. */
  #running: Promise<void> | null = null;
  #isStopped = false;
  /** How large the log was when it was looked at; see `notchOf`. */
  #notch: number | null = null;

  /** Compacts the log of these parts through its writer. */
  constructor(parts: LogParts, writer: Compacting) {
    this.#parts = parts;
    this.#writer = writer;
  }

  /** Remembers how large the log is before this writer writes to it. */
  observe(): void {
    this.#notch ??= notchOf(this.#weight());
  }

  /** Begins to compact in the background, if the log has grown enough for it. */
  start(): void {
    if (this.#isStopped) return;
    this.#running ??= this.#compactBySelf(() => this.#isStopped)
      .finally(() => this.#running = null);
  }

  /** Ends what was begun, once the changes under way are made. */
  stop(): Promise<void> {
    this.#isStopped = true;
    return Promise.resolve(this.#running ?? undefined);
  }

  /** What sessions too short for a checkpoint leave to whoever closes the store. */
  async finish(): Promise<void> {
    const end = performance.now() + AT_CLOSE;
    await this.#compactBySelf(() => performance.now() > end);
  }

  /** Gives back all dead bytes, however much has to be written again for it. */
  async compact(
    { signal, onProgress }: CompactOptions,
  ): Promise<CompactReport> {
    const { dir, rows } = this.#parts;
    const isOver = () => signal?.aborted ?? false;
    const before = await logUse(this.#parts);
    await this.#writer.checkpoint(false);
    const newest = dir.numbers().at(-1)!;
    // What is written to goes on elsewhere first.
    if (await this.#hasDead(newest)) await this.#writer.checkpoint(true);
    const numbers = await this.#upToLastDead();
    const total = countInLog(
      rows,
      0,
      positionOf((numbers.at(-1) ?? -1) + 1, 0),
    );
    let moved = 0, bytes = 0;
    for (const number of numbers) {
      if (isOver()) break;
      await this.#move(number, isOver, (size) => {
        moved++;
        bytes += size;
        onProgress?.({ step: "log", done: moved, total, bytes });
      });
      await this.#writer.checkpoint(false);
      if (dir.numbers().includes(number)) break;
    }
    const { dead } = await logUse(this.#parts);
    const freed = Math.max(0, before.dead - dead);
    return { moved, freed, dead, interrupted: dead > 0 && isOver() };
  }

  /** Compacts while more than half of the log is dead, if it is to be looked at. */
  async #compactBySelf(isOver: () => boolean): Promise<void> {
    const { dir } = this.#parts;
    try {
      if (!this.#isDue()) return;
      for (const oldest of dir.numbers()) {
        if (isOver() || !await this.#isHalfDead()) break;
        // What is written to goes on elsewhere first.
        if (dir.numbers().at(-1) === oldest) {
          await this.#writer.checkpoint(true);
        }
        await this.#move(oldest, isOver);
        await this.#writer.checkpoint(false);
        if (dir.numbers().includes(oldest)) break;
      }
      this.#notch = notchOf(this.#weight());
    } catch {
      // The log is longer, and it is looked at again when it has grown.
    }
  }

  /** Whether the log has grown enough to be looked at again. */
  #isDue(): boolean {
    const now = notchOf(this.#weight());
    const isDue = now > (this.#notch ?? now);
    this.#notch = now;
    return isDue;
  }

  async #isHalfDead(): Promise<boolean> {
    const { dir, rows } = this.#parts;
    const weight = this.#weight();
    if (weight < SMALL_LOG) return false;
    let alive = 0;
    for (const number of dir.numbers()) {
      for (const [from, to] of stretchesOf(number, this.#used(number))) {
        alive += aboutInLog(rows, from, to);
        if (alive >= weight / 2) return false;
        await nextTurn();
      }
    }
    return true;
  }

  /** The segments up to the last one that has dead bytes, but for the newest. */
  async #upToLastDead(): Promise<number[]> {
    const numbers = this.#parts.dir.numbers().slice(0, -1);
    while (numbers.length > 0 && !await this.#hasDead(numbers.at(-1)!)) {
      numbers.pop();
    }
    return numbers;
  }

  async #hasDead(number: number): Promise<boolean> {
    const used = this.#used(number);
    const alive = await aliveIn(this.#parts.rows, number, used);
    return used - FIRST_RECORD > alive;
  }

  /** Bytes of the log, without zeros ahead of its end. */
  #weight(): number {
    return this.#parts.dir.numbers().reduce(
      (sum, number) => sum + Math.max(this.#used(number), LEAST_SEGMENT),
      0,
    );
  }

  #used(number: number): number {
    const { dir, rows } = this.#parts;
    const { applied } = logState(rows);
    return segmentOf(applied) === number
      ? offsetOf(applied)
      : sizeOf(dir, number);
  }

  /** Writes again what lives in a segment. What is damaged stays where it is. */
  async #move(
    number: number,
    isOver: () => boolean,
    onMoved: (size: number) => void = () => {},
  ): Promise<void> {
    const { rows } = this.#parts;
    for (const [from, to] of stretchesOf(number, this.#used(number))) {
      const places = placesIn(rows, from, to);
      for (let at = 0; at < places.length && !isOver(); at += PAGE) {
        const page = places.slice(at, at + PAGE);
        await Promise.all(page.map(async ({ txId, place }) => {
          const change = this.#changeOf(txId, place);
          if (!change || !await this.#writer.submit(change)) return;
          onMoved(change.entry.size);
        }));
      }
    }
  }

  #changeOf(txId: string, place: number): Change | null {
    const { dir, rows } = this.#parts;
    const record = recordAt(dir, place);
    const row = findInfo(rows, txId);
    if (!row || !record?.isPacked || record.txId !== txId) return null;
    if (record.storageHash !== row.storageHash) return null;
    const { position: _, length: __, startsBatch: ___, ...entry } = record;
    const { holderId, timestamp } = row; // which may have been edited by hand
    return { entry: { ...entry, holderId, timestamp }, seen: row, home: place };
  }
}

/** A number that is greater once a log has grown by `GROWTH`; 0: it is small. */
function notchOf(bytes: number): number {
  if (bytes < SMALL_LOG) return 0;
  return 1 + Math.floor(Math.log(bytes / SMALL_LOG) / Math.log(1 + GROWTH));
}

function sizeOf(dir: LogDir, number: number): number {
  try {
    return Deno.statSync(dir.pathOf(number)).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0; // it was dropped
    throw error;
  }
}
