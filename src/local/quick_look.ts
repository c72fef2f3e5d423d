/**
 * The quick look at payloads, many in a row: nearly all are small, and as their
 * rows say. What it does not find to be so proves nothing yet.
 *
 * @module
 */

import { readManySmall } from "../files/durable_fs.ts";
import { sha256HexSync } from "../files/hash.ts";
import type { LogDir } from "../log/log_dir.ts";
import { LogWindow } from "../log/log_window.ts";
import { isSoundSoon, type PayloadFile } from "../payloads/payload_file.ts";
import type { Pacer } from "../async/turn.ts";
import type { Found } from "../sqlite/row.ts";
import type { PayloadFiles } from "../payloads/payload_files.ts";

/** Rows between two looks at the clock: less than a millisecond's work. */
const STRETCH = 32;

/** From here on, in ms for each payload, the disk is what takes long. */
const SLOW_READ = 0.03;

/** Pages in a row that show that, and for which it is then taken to be so. */
const SLOW_PAGES = 2, PAGES_AT_ONCE = 8;

/** Looks at payloads, page by page, in the order of the pages. */
export class QuickLook {
  readonly #files: PayloadFiles;
  readonly #window: LogWindow;
  #slowInARow = 0;
  #atOnce = 0;

  /** At those in these files and in this log. */
  constructor({ files, dir }: { files: PayloadFiles; dir: LogDir }) {
    this.#files = files;
    this.#window = new LogWindow(dir);
  }

  /**
   * Whether each payload is sound; false proves nothing. On a disk that is
   * waited for, files are read many at once, which takes about as long as one.
   *
   * @returns Of fewer payloads when the signal came before the end.
   */
  async look(
    rows: readonly Found[],
    pacer: Pacer,
    signal?: AbortSignal,
  ): Promise<boolean[]> {
    if (this.#atOnce > 0) {
      this.#atOnce--;
      return await this.#lookAtAll(rows);
    }
    const sound: boolean[] = [], times: number[] = [];
    while (sound.length < rows.length && !signal?.aborted) {
      const start = performance.now();
      const end = Math.min(sound.length + STRETCH, rows.length);
      while (sound.length < end) sound.push(this.isSound(rows[sound.length]!));
      times.push((performance.now() - start) / STRETCH);
      await pacer.giveWay();
    }
    // The median: where other programs want the processor, most stretches pass
    // without an interruption.
    const median = times.sort((a, b) => a - b)[times.length >> 1] ?? 0;
    this.#slowInARow = median > SLOW_READ ? this.#slowInARow + 1 : 0;
    if (this.#slowInARow >= SLOW_PAGES) this.#atOnce = PAGES_AT_ONCE;
    return sound;
  }

  /** Whether one is; false proves nothing. */
  isSound({ info, place }: Found): boolean {
    return place === null
      ? isSoundSoon(this.#files.expected(info))
      : this.#window.payload(info, place) !== null;
  }

  async #lookAtAll(rows: readonly Found[]): Promise<boolean[]> {
    const sound = rows.map((row) => row.place !== null && this.isSound(row));
    const files: (PayloadFile & { at: number })[] = [];
    for (const [at, { info, place }] of rows.entries()) {
      if (place === null) files.push({ ...this.#files.expected(info), at });
    }
    await readManySmall(files, ({ at, digest }, bytes) => {
      sound[at] = sha256HexSync(bytes) === digest;
    });
    return sound;
  }
}
