/**
 * The rows whose payloads are to be checked, page by page. While one page is
 * checked, the next is made ready: another thread checks most of it, or, where
 * the disk is what takes long, many payloads are asked for at once.
 *
 * @module
 */

import { FileThread } from "./file_thread.ts";
import type { OpenStore } from "./open_store.ts";
import type { TxFilter, TxInfo } from "./types.ts";

/** Rows of a page, and of one that shows how long a payload takes. */
const PAGE = 1_024;
const PROBE = 64;

/** From so many rows on another thread is worth its start. */
const MANY = 8_192;

/** What of a page the other thread does: this one has more to do for each row. */
const SHARE = 0.8;

/** From here on, in ms for each payload of two pages, the disk is what takes long. */
const SLOW_READ = 0.03;

/** Pages for which that is taken to be so before it is looked at again. */
const SLOW_PAGES = 8;

/** Some rows, in the order of their ids. */
export interface PayloadPage {
  /** These. */
  rows: TxInfo[];
  /** So many of them, the first, are for whoever takes the page to check. */
  own: number;
  /** The ids of others whose payloads are sound; where it has them not, nothing is known. */
  sound: Promise<Set<string>> | null;
}

/**
 * All that a filter selects.
 *
 * @param count How many there are, if that is known and all are to be checked.
 */
export async function* payloadPages(
  { files, rows }: OpenStore,
  { after, limit: left = Infinity, ...filter }: TxFilter,
  count: number | null,
): AsyncGenerator<PayloadPage> {
  using thread = count !== null && count >= MANY && !rows.hasInline()
    ? await FileThread.start()
    : null;
  let pace: "unknown" | "quick" | "slow" = count === null ? "quick" : "unknown";
  let slowPages = 0, slowInARow = 0;
  const next = (): PayloadPage | null => {
    if (left === 0) return null;
    if (pace === "slow" && slowPages-- === 0) pace = "unknown";
    const limit = Math.min(left, pace === "unknown" ? PROBE : PAGE);
    const page = rows.page({
      ...filter,
      ...(after !== undefined && { after }),
      limit,
    });
    after = page.at(-1)?.txId;
    left = page.length < limit ? 0 : left - limit;
    if (pace === "slow") {
      return { rows: page, own: 0, sound: files.soundAtOnce(page) };
    }
    if (pace === "unknown" || !thread) {
      return { rows: page, own: page.length, sound: null };
    }
    const own = Math.ceil(page.length * (1 - SHARE));
    const sound = files.soundByThread(page.slice(own), thread);
    return { rows: page, own, sound };
  };
  let page = next(), ahead = null;
  try {
    for (; page; page = ahead) {
      ahead = next();
      const start = performance.now();
      yield page;
      if (count === null || page.own === 0) continue;
      const took = performance.now() - start;
      slowInARow = took > page.rows.length * SLOW_READ ? slowInARow + 1 : 0;
      pace = slowInARow < 2 ? "quick" : "slow";
      slowPages = SLOW_PAGES;
    }
  } finally {
    // Nothing is read any more when this ends, taken or not.
    await Promise.all([page?.sound, ahead?.sound]);
  }
}
