/**
 * The rows whose payloads are to be checked, page by page, and the quick look at
 * each. Another thread looks at them from the end of a page, whoever takes the
 * page from its beginning, until they meet. Where the disk is what takes long,
 * many payloads of the next page are asked for at once instead.
 *
 * @module
 */

import { claim, isConfirmed, newClaims } from "./claims.ts";
import { readManySmall } from "./durable_fs.ts";
import { FileThread } from "./file_thread.ts";
import { sha256HexSync } from "./hash.ts";
import type { OpenStore } from "./open_store.ts";
import { isSoundSoon, type PayloadFile } from "./payload_file.ts";
import type { TxFilter, TxInfo } from "./types.ts";

/** Rows of a page, and of one that shows how long a payload takes. */
const PAGE = 512;
const PROBE = 64;

/** From so many rows on another thread is worth its start. */
const MANY = 8_192;

/** From here on, in ms for each payload of two pages, the disk is what takes long. */
const SLOW_READ = 0.03;

/** Pages for which that is taken to be so before it is looked at again. */
const SLOW_PAGES = 8;

/** A look at the payloads of a page. */
interface Look {
  /**
   * Whether a payload is sound, in a file of its id's own name; false proves
   * nothing. To be asked in order.
   */
  isSound(i: number): boolean | Promise<boolean>;
  /** When nobody reads any more. */
  ended?: Promise<void>;
  /** Whether its files are not read one by one: how long it takes tells little. */
  isAtOnce?: boolean;
}

/** Some rows, in the order of their ids. */
export interface PayloadPage extends Look {
  /** These. */
  rows: TxInfo[];
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
  using thread = count !== null && count >= MANY && !rows.hasPlaces()
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
    const expected = page.map((row) => files.expected(row));
    const look = pace === "slow"
      ? allAtOnce(expected)
      : pace === "quick" && thread
      ? sharedWith(thread, expected)
      : oneByOne(expected);
    return { rows: page, ...look };
  };
  let page = next(), ahead = null;
  try {
    for (; page; page = ahead) {
      ahead = next();
      const start = performance.now();
      yield page;
      if (count === null || page.isAtOnce) continue;
      const took = performance.now() - start;
      slowInARow = took > page.rows.length * SLOW_READ ? slowInARow + 1 : 0;
      pace = slowInARow < 2 ? "quick" : "slow";
      slowPages = SLOW_PAGES;
    }
  } finally {
    await Promise.all([page?.ended, ahead?.ended]);
  }
}

function oneByOne(files: PayloadFile[]): Look {
  return { isSound: (i) => isSoundSoon(files[i]!) };
}

function sharedWith(thread: FileThread, files: PayloadFile[]): Look {
  const claims = newClaims(files.length);
  const ended = thread.check(files, claims);
  return {
    ended,
    isSound: (i) => {
      if (claim(claims, i)) return isSoundSoon(files[i]!);
      if (isConfirmed(claims, i)) return true;
      return ended.then(() => isConfirmed(claims, i));
    },
  };
}

/** A disk that is waited for takes about as long for many as for one. */
function allAtOnce(files: PayloadFile[]): Look {
  const sound = new Set<PayloadFile>();
  const ended = readManySmall(files, (file, bytes) => {
    if (sha256HexSync(bytes) === file.digest) sound.add(file);
  });
  const isSound = (i: number) => ended.then(() => sound.has(files[i]!));
  return { isSound, ended, isAtOnce: true };
}
