/**
 * What can still be read of a damaged database. Its rows are there more than
 * once: in the table, and in part in each index. Damage hits one of them.
 *
 * @module
 */

import { Pacer } from "../async/turn.ts";
import { MetadataDamagedError } from "../errors.ts";
import { isDiskFull } from "../files/full_disk.ts";
import { setSegmentAside } from "../log/damage.ts";
import { hasRedoTables, movedEntries, writeEntries } from "../log/from_redo.ts";
import type { LogDir } from "../log/log_dir.ts";
import { storeTag } from "../log/segment.ts";
import { copySettings } from "./open_store.ts";
import type { SqlValue } from "../sqlite/driver.ts";
import type { StorageOptions } from "../model/storage_options.ts";
import type { TxInfo } from "../types.ts";
import type { Database } from "../sqlite/database.ts";
import { openDamaged } from "../sqlite/open_database.ts";
import type { PayloadFiles } from "../payloads/payload_files.ts";
import { logState, readSetting, writeSetting } from "../sqlite/log_state.ts";
import { putRow } from "../sqlite/row_changes.ts";
import { findInfo, findRow } from "../sqlite/lookups.ts";
import { type Found, toFound } from "../sqlite/row.ts";
import { iterateByRowid, iterateTxs } from "../sqlite/tx_pages.ts";
import { countTxs } from "../sqlite/tx_counts.ts";

/** Rows written at a time. */
const PAGE = 256;

/** Entries of an index read at a time: each page begins to count anew. */
const INDEX_PAGE = 50_000;

/** The index that SQLite has made for the ids. */
const INDEX_OF_IDS = "sqlite_autoindex_txs_1";

/** The other indexes that have ids, and where each has the holder. */
const INDEX_COLUMNS = {
  txs_by_time: "NULL",
  txs_by_size: "NULL",
  txs_by_holder: "CAST(holder_id AS TEXT)",
};

/** As many doubts are told; more say nothing that these do not. */
const MOST_DOUBTS = 1_000;

/** What of a row a damaged database has two versions of. */
export interface Doubt {
  /** The transaction. */
  txId: string;
  /** Which versions there are, and which was taken. */
  detail: string;
}

/** What a damaged database has given. */
export interface Salvaged {
  /** What of a row it has two versions of. */
  doubts: Doubt[];
  /** Up to where in the log its rows had followed; 0: it does not say. */
  applied: number;
  /** Whether all its rows could be read. */
  isWhole: boolean;
}

/**
 * The rows that the old database still gives, whatever their payloads are. What
 * one of an older version has besides goes into the log.
 *
 * @param id The id of the store, as far as it is known.
 * @returns What came of it; null where nothing of the database can be read.
 */
export async function salvage(
  path: string,
  rows: Database,
  { dir, files }: { dir: LogDir; files: PayloadFiles },
  id: string | null,
  options: StorageOptions,
): Promise<Salvaged | null> {
  const { driver = "auto" } = options;
  let old: Database;
  try {
    old = await openDamaged(path, driver);
  } catch {
    return null;
  }
  const salvaged: Salvaged = { doubts: [], applied: 0, isWhole: false };
  try {
    salvaged.isWhole = await salvageRows(old, rows);
    salvaged.doubts = await vote(old, rows);
    salvaged.applied = appliedBy(old);
    await attempt(async () => {
      await copySettings(old, rows);
      await rows.change(() => writeSetting(rows, "id", readSetting(old, "id")));
    });
    await attempt(async () => {
      if (!hasRedoTables(old)) return;
      const storeId = storeTag(id ?? readSetting(old, "id") ?? "");
      const entries = readable(movedEntries(old));
      // What they hold belongs to another state of the store.
      for (const number of dir.numbers()) {
        await setSegmentAside(number, { dir, files });
      }
      await writeEntries(entries, dir, storeId, 0, true);
    });
  } finally {
    await old.close();
  }
  return salvaged;
}

/**
 * From both ends, since reading stops where the damage is; what lies between is
 * asked for row by row, as far as the indexes tell where the rows are.
 *
 * @returns Whether all rows were read.
 */
async function salvageRows(old: Database, rows: Database): Promise<boolean> {
  const take = async (found: AsyncIterable<Found>) => {
    let batch: Found[] = [];
    const keep = () => {
      const page = batch.filter(({ info }) => isPlausible(info));
      rows.transaction(() =>
        page.forEach(({ info, place }) => putRow(rows, info, place))
      );
      batch = [];
    };
    try {
      for await (const one of found) {
        if (batch.push(one) === PAGE) keep();
      }
    } finally {
      keep();
    }
  };
  const isKept = (txId: string) => findInfo(rows, txId) !== null;
  await attempt(() => take(byId(old)));
  const isWhole = await attempt(() => take(byRowid(old, isKept)));
  if (!isWhole) await attempt(() => take(byIndexes(old, isKept)));
  return isWhole;
}

async function* byId(old: Database): AsyncGenerator<Found> {
  for await (const info of iterateTxs(old)) {
    yield { info, place: placeOf(old, info) };
  }
}

async function* byRowid(
  old: Database,
  isKept: (txId: string) => boolean,
): AsyncGenerator<Found> {
  for await (const info of iterateByRowid(old)) {
    if (!isKept(info.txId)) yield { info, place: placeOf(old, info) };
  }
}

/** The rows that damaged pages lie around, one by one. */
async function* byIndexes(
  old: Database,
  isKept: (txId: string) => boolean,
): AsyncGenerator<Found> {
  const pacer = new Pacer();
  for (const index of [INDEX_OF_IDS, ...Object.keys(INDEX_COLUMNS)]) {
    const columns = "rowid, CAST(tx_id AS TEXT)";
    for (const [rowid, txId] of entriesOf(old, index, columns)) {
      if (isKept(txId as string)) continue;
      const found = foundAt(old, rowid as number);
      if (found) yield found;
      await pacer.giveWay();
    }
  }
}

/** The row at a place of the table; null where it cannot be read. */
function foundAt(old: Database, rowid: number): Found | null {
  const { all, place } = old.columns;
  try {
    const row = old.first(
      `SELECT ${all}, ${place} FROM txs NOT INDEXED
      WHERE rowid = ? AND typeof(tx_id) = 'text'`,
      rowid,
    );
    return row ? toFound(row) : null;
  } catch (error) {
    if (!(error instanceof MetadataDamagedError)) throw error;
    return null;
  }
}

/** Up to where in the log rows had followed, as far as that can be read. */
function appliedBy(old: Database): number {
  try {
    return old.columns.hasPlace ? logState(old).applied : 0;
  } catch (error) {
    if (!(error instanceof MetadataDamagedError)) throw error;
    return 0;
  }
}

/** Where in the log a payload is, as far as that can be read. */
function placeOf(old: Database, { txId }: TxInfo): number | null {
  try {
    return findRow(old, txId)?.place ?? null;
  } catch (error) {
    if (!(error instanceof MetadataDamagedError)) throw error;
    return null; // the log tells, where it is in there
  }
}

/** As many as can be read. */
function* readable<T>(things: Iterator<T>): Generator<T> {
  for (;;) {
    let next: IteratorResult<T>;
    try {
      next = things.next();
    } catch (error) {
      if (!(error instanceof MetadataDamagedError)) throw error;
      return;
    }
    if (next.done) return;
    yield next.value;
  }
}

/** What an entry of an index says of a row. */
interface Entry {
  txId: string;
  timestamp: number;
  size: number;
  holderId: string | null;
}

/**
 * Holds the indexes against the rows that were salvaged. Of time and size there
 * are four copies, so that the one that differs is the damaged one; of a holder
 * there are two: the one that more transactions have is taken, and told.
 */
async function vote(old: Database, rows: Database): Promise<Doubt[]> {
  const entries = new Map<string, Entry[]>();
  for (const entry of indexEntries(old)) {
    const row = findInfo(rows, entry.txId);
    if (!row || agrees(row, entry)) continue;
    entries.set(entry.txId, [...entries.get(entry.txId) ?? [], entry]);
  }
  const doubts: Doubt[] = [];
  for (const [txId, differing] of entries) {
    const { info, place } = findRow(rows, txId)!;
    const differ = differing.length;
    const most = (inRow: number, others: number[]) =>
      differ > 1 && others.every((other) => other === others[0])
        ? others[0]!
        : inRow;
    const timestamp = most(info.timestamp, differing.map((e) => e.timestamp));
    const size = most(info.size, differing.map((e) => e.size));
    const inIndex = differing.find(({ holderId }) => holderId !== null)
      ?.holderId ?? info.holderId;
    let { holderId } = info;
    if (inIndex !== holderId) {
      const count = (holderId: string) => countTxs(rows, { holderId });
      if (await count(inIndex) >= await count(holderId)) holderId = inIndex;
      if (doubts.length < MOST_DOUBTS) {
        doubts.push({
          txId,
          detail: doubtful(info.holderId, inIndex, holderId),
        });
      }
    }
    const mended = { ...info, timestamp, size, holderId };
    rows.transaction(() => putRow(rows, mended, place));
  }
  return doubts;
}

function doubtful(inRow: string, inIndex: string, taken: string): string {
  const [row, index, one] = [inRow, inIndex, taken].map((holder) =>
    JSON.stringify(holder)
  );
  return `its holder is ${row} by its row and ${index} by an index: ${one} was taken`;
}

function agrees(row: TxInfo, { timestamp, size, holderId }: Entry): boolean {
  return row.timestamp === timestamp && row.size === size &&
    (holderId === null || row.holderId === holderId);
}

/** What the indexes say, without a look at the table. */
function* indexEntries(old: Database): Generator<Entry> {
  for (const [index, holder] of Object.entries(INDEX_COLUMNS)) {
    const columns =
      `CAST(tx_id AS TEXT), CAST(timestamp AS REAL), size, ${holder}`;
    for (const entry of entriesOf(old, index, columns)) {
      const [txId, timestamp, size, holderId] = entry;
      yield { txId, timestamp, size, holderId } as Entry;
    }
  }
}

/** The entries of an index, as far as they can be read. */
function* entriesOf(
  old: Database,
  index: string,
  columns: string,
): Generator<SqlValue[]> {
  for (let at = 0;; at += INDEX_PAGE) {
    let page: SqlValue[][];
    try {
      page = old.all(
        `SELECT ${columns} FROM txs INDEXED BY ${index} LIMIT ? OFFSET ?`,
        INDEX_PAGE,
        at,
      );
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      return; // the rest of this one cannot be read, or it is not there
    }
    yield* page;
    if (page.length < INDEX_PAGE) return;
  }
}

/** A row that damage has not made nonsense of. */
function isPlausible(info: TxInfo): boolean {
  return typeof info.txId === "string" &&
    /^[0-9a-f]{64}$/.test(info.storageHash) &&
    typeof info.holderId === "string" && typeof info.timestamp === "number" &&
    !Number.isNaN(info.timestamp) &&
    !`${info.txId}${info.holderId}`.includes("\0");
}

/** Returns whether the work came to its end. */
async function attempt(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    // A disk that fails is no damage to what is read.
    const isOfSystem = error instanceof Deno.errors.NotCapable ||
      isDiskFull(error) || /\(os error \d+\)/.test(`${error}`);
    if (isOfSystem) throw error;
    return false; // as far as it went: the rest cannot be read
  }
}
