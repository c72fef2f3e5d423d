/**
 * The setting that says which payloads live in the log, and the option of that
 * name.
 *
 * @module
 */

import { SMALL } from "../files/durable_fs.ts";
import type { StorageOptions } from "../model/storage_options.ts";
import type { Database } from "../sqlite/database.ts";
import { readSetting, writeSetting } from "../sqlite/log_state.ts";

/** The name of the setting. */
export const PACK_BELOW = "pack_below";

/** Its name in stores of schema version 5 and below. */
const FORMER = "inline_below";

/** How long a writer goes by what it has read, in ms. */
const FRESH = 1_000;

/** Payloads of at most how many bytes live in the log. */
export function packBelow(rows: Database): number {
  return Number(
    readSetting(rows, PACK_BELOW) ?? readSetting(rows, FORMER) ?? 0,
  );
}

/** The setting as one writer follows it: another process may change it. */
export class PackBelow {
  readonly #rows: Database;
  #bytes: number;
  #readAt = performance.now();

  /** Reads the setting of a database. */
  constructor(rows: Database) {
    this.#rows = rows;
    this.#bytes = packBelow(rows);
  }

  /** Whether a payload of this size is to live in the log. */
  covers(size: number): boolean {
    if (performance.now() - this.#readAt > FRESH) this.#read();
    return this.#bytes > 0 && size <= this.#bytes;
  }

  /** Remembers another value. For whoever has the turn. */
  async set(bytes: number): Promise<void> {
    await rememberPackBelow(this.#rows, bytes);
    this.#read();
  }

  #read(): void {
    this.#bytes = packBelow(this.#rows);
    this.#readAt = performance.now();
  }
}

/** Remembers the setting, where it is another one. */
export async function rememberPackBelow(
  rows: Database,
  bytes: number | undefined,
): Promise<void> {
  if (bytes === undefined || bytes === packBelow(rows)) return;
  await rows.change(() => writeSetting(rows, PACK_BELOW, String(bytes)));
}

/** Has another database remember it as well, unless it is nonsense. */
export async function copyPackBelow(
  from: Database,
  to: Database,
): Promise<void> {
  const bytes = packBelow(from);
  if (isPackBelow(bytes)) await rememberPackBelow(to, bytes);
}

/**
 * What options ask for, by either name; undefined: nothing.
 *
 * @throws {RangeError} If it cannot be, or the names disagree.
 */
export function askedPackBelow(
  { packBelow, inlineBelow }: StorageOptions,
): number | undefined {
  if (packBelow !== undefined && (inlineBelow ?? packBelow) !== packBelow) {
    throw new RangeError(
      `packBelow and inlineBelow are one option: got ${packBelow} and ${inlineBelow}; give packBelow alone`,
    );
  }
  const bytes = packBelow ?? inlineBelow;
  requirePackBelow(bytes);
  return bytes;
}

/**
 * Makes sure that payloads of at most so many bytes may live in the log.
 *
 * @throws {RangeError} If they may not.
 */
export function requirePackBelow(bytes = 0): void {
  if (isPackBelow(bytes)) return;
  throw new RangeError(
    `packBelow must be a whole number of bytes from 0 to ${SMALL}, got ${bytes}`,
  );
}

function isPackBelow(bytes: number): boolean {
  return Number.isInteger(bytes) && bytes >= 0 && bytes <= SMALL;
}
