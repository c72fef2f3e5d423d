import type { Database } from "../sqlite/database.ts";
import type { Found } from "../sqlite/row.ts";
import { rowidRange, rowsBetween } from "../sqlite/tx_pages.ts";
/**
 * The rows of a store in parts, which two threads take one after the other, and
 * what was seen of the payloads of each.
 *
 * @module
 */

/** Rows of a part, where rowids have no gaps, and rows read at once. */
const PAGE = 512;

/** Rows by their rowids: part `k` has those of `first + k * width` and up. */
export interface Parts {
  /** The least rowid. */
  first: number;
  /** Rowids of a part. */
  width: number;
  /** How many parts there are. */
  count: number;
}

/** What was seen of a part. */
export interface Looked {
  /** Its number. */
  part: number;
  /** Payloads that are sound. */
  sound: number;
  /** Their bytes. */
  bytes: number;
  /** How many of them are files. */
  inFiles: number;
  /** Ids of all others, in order. */
  unsure: string[];
}

/** The parts of a store of so many rows; null where rowids give none. */
export function partsOf(rows: Database, count: number): Parts | null {
  const range = rowidRange(rows);
  if (!range) return null;
  const span = range.last - range.first + 1;
  const width = Math.ceil(span / Math.max(1, Math.ceil(count / PAGE)));
  return { first: range.first, width, count: Math.ceil(span / width) };
}

/** The rows of a part; more than a page of them where others have fewer. */
export function* pagesOf(
  rows: Database,
  { first, width }: Parts,
  part: number,
): Generator<Found[]> {
  let after = first + part * width - 1;
  const until = after + width;
  while (after < until) {
    const page = rowsBetween(rows, after, until, PAGE);
    yield page;
    after = page.length < PAGE ? until : page.at(-1)!.rowid;
  }
}

/** Nothing yet of a part. */
export function newLooked(part: number): Looked {
  return { part, sound: 0, bytes: 0, inFiles: 0, unsure: [] };
}

/** Adds a row whose payload was looked at. */
export function note(
  looked: Looked,
  { info, place }: Found,
  isSound: boolean,
): void {
  if (!isSound) return void looked.unsure.push(info.txId);
  looked.sound++;
  looked.bytes += info.size;
  if (place === null) looked.inFiles++;
}
