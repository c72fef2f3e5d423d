/**
 * Brings into the log what stores of schema version 1 to 4 kept in tables of
 * their database: payloads that lived there, and changes whose files had not
 * followed (redo entries).
 *
 * The database says that a log is being made; the log is written; then one
 * transaction makes it count, raises the schema's version and drops the tables;
 * then the log is replayed as after any crash. A step that is cut off anywhere
 * is begun again.
 *
 * @module
 */

import { join } from "@std/path";
import { crashPoint } from "../async/crash_points.ts";
import { readRegular, removeFileSync } from "../files/durable_fs.ts";
import { sha256HexSync } from "../files/hash.ts";
import { SETTINGS_TABLE } from "../sqlite/schema.ts";
import type { SqlValue } from "../sqlite/driver.ts";
import type { TxInfo } from "../types.ts";
import { addDamage, setSegmentAside } from "./damage.ts";
import type { LogDir } from "./log_dir.ts";
import { LogEnd } from "./log_end.ts";
import type { LogEntry } from "./record.ts";
import { FIRST_RECORD, newHeader, positionOf } from "./segment.ts";
import type { Database } from "../sqlite/database.ts";
import { readSetting, setLogState, writeSetting } from "../sqlite/log_state.ts";
import { findInfo } from "../sqlite/lookups.ts";

/** Entries written at once: at most 128 payloads of 64 KiB. */
const PAGE = 128;

/** More bytes than a page has. */
const ROOM = 24 * 1024 * 1024;

/** Redo records looked at at a time. */
const RECORDS = 64;

/** The setting of a database whose log is being made. */
const BEGUN = "log_begun";

/** The setting in which older versions counted the commits that were lost. */
const LOST_COMMITS = "lost_commits";

/** Whether a database has such tables. */
export function hasRedoTables(rows: Database): boolean {
  const [row] = rows.all(
    `SELECT count(*) FROM sqlite_schema
    WHERE name IN ('redo', 'redo_batches', 'inline_payloads')`,
  );
  return row![0] !== 0;
}

/**
 * Writes what is in these tables to a new log, durably, and then has `commit`
 * bring the schema to version 5 in a transaction. For whoever is alone.
 *
 * @param storeId As segments have it.
 */
export async function moveToLog(
  basePath: string,
  rows: Database,
  dir: LogDir,
  storeId: string,
  sync: boolean,
  commit: (inTransaction: () => void) => Promise<void>,
): Promise<void> {
  await begin(basePath, rows, dir);
  const changes = newestRedo(rows);
  await writeEntries(movedEntries(rows), dir, storeId, changes, sync);
  crashPoint("older tables logged");
  await commit(() => {
    setLogState(rows, { applied: positionOf(1, FIRST_RECORD), changes });
    const lostChanges = Number(readSetting(rows, LOST_COMMITS) ?? 0);
    addDamage(rows, { lostChanges, details: [] });
    writeSetting(rows, LOST_COMMITS, null);
    writeSetting(rows, BEGUN, null);
  });
  // Else a power cut could bring the tables back, and the log would be made anew
  // without the changes that it has got meanwhile.
  await rows.wal.flush();
  crashPoint("older tables dropped");
}

/** Makes room for a new log: says so in the database before anything else. */
async function begin(
  basePath: string,
  rows: Database,
  dir: LogDir,
): Promise<void> {
  if (readSetting(rows, BEGUN) !== null) {
    for (const number of dir.numbers()) dir.drop(number); // of an earlier try
  } else if (dir.exists()) {
    await setAside(basePath, rows, dir);
  }
  const noted = await notedRedo(basePath);
  await rows.change(() => {
    rows.all(SETTINGS_TABLE);
    writeSetting(rows, BEGUN, "1");
    rememberLostCommits(rows, noted);
  });
  await rows.wal.flush();
  removeFileSync(notePath(basePath));
  crashPoint("log begun");
}

/** A log that is there belongs to a later state of the database than this one. */
async function setAside(
  basePath: string,
  rows: Database,
  dir: LogDir,
): Promise<void> {
  await rows.change(() => {
    rows.all(SETTINGS_TABLE);
    addDamage(rows, {
      lostChanges: 0,
      details: [
        "the database is older than the log, which is in quarantine: put back the newer database, if there is one, or recover with --from",
      ],
    });
  });
  for (const number of dir.numbers()) {
    await setSegmentAside(number, { dir, files: { basePath } });
  }
}

/** Writes entries to a new log that begins with segment 1. */
export async function writeEntries(
  entries: Iterable<LogEntry>,
  dir: LogDir,
  storeId: string,
  changes: number,
  sync: boolean,
): Promise<void> {
  const header = newHeader({ number: 1, changes, storeId, previousEnd: 0 });
  await dir.create(header);
  const end = new LogEnd(dir, sync);
  end.seek(positionOf(1, FIRST_RECORD));
  let page: LogEntry[] = [], written = changes;
  const write = async () => {
    if (page.length === 0) return;
    if (!end.hasRoom(ROOM)) {
      end.trim();
      await end.sync();
      await end.roll(written);
    }
    end.append(page, true);
    written += page.length;
    page = [];
  };
  for (const entry of entries) {
    if (page.push(entry) === PAGE) await write();
  }
  await write();
  end.trim();
  await end.sync();
}

/** What goes into the log: payloads first, then changes, of each id the last. */
export function* movedEntries(rows: Database): Generator<LogEntry> {
  if (hasTable(rows, "inline_payloads")) yield* inlineEntries(rows);
  if (hasTable(rows, "redo")) yield* redoEntries(rows);
}

/**
 * The payload of a row that such tables have, as it is there: its bytes, or the
 * name of a staged file; null where they have none. For stores that are open
 * read-only.
 */
export function tablePayload(
  rows: Database,
  info: TxInfo,
): Uint8Array | string | null {
  const inline = inlinePayload(rows, info);
  if (inline || !hasTable(rows, "redo")) return inline;
  for (const { txId, storageHash, payload, name } of redoEntries(rows)) {
    if (txId !== info.txId || storageHash !== info.storageHash) continue;
    return payload ?? (name === "" ? null : name);
  }
  return null;
}

function inlinePayload(
  rows: Database,
  { txId, storageHash }: TxInfo,
): Uint8Array | null {
  if (!hasTable(rows, "inline_payloads")) return null;
  const [row] = rows.all(
    "SELECT payload FROM inline_payloads WHERE tx_id = ? AND storage_hash = ?",
    txId,
    storageHash,
  );
  return row ? row[0] as Uint8Array : null;
}

function* inlineEntries(rows: Database): Generator<LogEntry> {
  for (let at = 0;;) {
    const page = rows.all(
      `SELECT rowid, tx_id, storage_hash, payload FROM inline_payloads
      WHERE rowid > ? ORDER BY rowid LIMIT ?`,
      at,
      PAGE,
    );
    for (const [rowid, txId, storageHash, payload] of page) {
      at = rowid as number;
      const row = findInfo(rows, txId as string);
      if (!row || row.storageHash !== storageHash) continue;
      yield {
        ...row,
        kind: "put",
        payload: payload as Uint8Array ?? new Uint8Array(),
        name: "",
        isPacked: true,
      };
    }
    if (page.length < PAGE) return;
  }
}

/** An entry of the redo log. */
interface RedoEntry {
  txId: string;
  action: "put" | "remove" | "quarantine";
  storageHash: string;
  payload: Uint8Array | null;
  staged: string | null;
}

function* redoEntries(rows: Database): Generator<LogEntry> {
  const newest = new Map<string, number>();
  for (const { seq, entry } of allRedo(rows)) newest.set(entry.txId, seq);
  for (const { seq, entry } of allRedo(rows)) {
    if (newest.get(entry.txId) !== seq) continue;
    const moved = movedEntry(entry, rows);
    if (moved) yield moved;
  }
}

/** Null where the row has changed since, or its payload is elsewhere. */
function movedEntry(entry: RedoEntry, rows: Database): LogEntry | null {
  const { txId, action, storageHash, payload, staged } = entry;
  const row = findInfo(rows, txId);
  const rest = { name: staged ?? "", isPacked: false };
  if (action !== "put") {
    if (row || (action === "quarantine" && staged === null)) return null;
    return {
      ...rest,
      kind: action,
      txId,
      holderId: "",
      timestamp: 0,
      storageHash: /^[0-9a-f]{64}$/.test(storageHash) ? storageHash : "",
      size: 0,
      payload: null,
    };
  }
  if (row?.storageHash !== storageHash || inlinePayload(rows, row)) return null;
  if (payload) return { ...row, ...rest, kind: "put", name: "", payload };
  if (staged === null) return null;
  return { ...row, ...rest, kind: "put-staged", payload: null };
}

function* allRedo(
  rows: Database,
): Generator<{ seq: number; entry: RedoEntry }> {
  const batches = hasTable(rows, "redo_batches")
    ? "UNION ALL SELECT seq, 'redo_batches' FROM redo_batches WHERE seq > ?1"
    : "";
  for (let after = 0;;) {
    const page = rows.all(
      `SELECT seq, 'redo' FROM redo WHERE seq > ?1 ${batches}
      ORDER BY seq LIMIT ${RECORDS}`,
      after,
    );
    for (const [seq, table] of page) {
      after = seq as number;
      const entries = table === "redo"
        ? singleEntry(rows, after)
        : batchEntries(rows, after);
      for (const entry of entries) yield { seq: after, entry };
    }
    if (page.length < RECORDS) return;
  }
}

function singleEntry(rows: Database, seq: number): RedoEntry[] {
  const found = rows.all(
    "SELECT tx_id, action, storage_hash, payload, staged FROM redo WHERE seq = ?",
    seq,
  );
  return found.map((row: SqlValue[]) => {
    const [txId, action, storageHash, payload, staged] = row as [
      string,
      RedoEntry["action"],
      string,
      Uint8Array | null,
      string | null,
    ];
    // A database edited by hand is not to name files elsewhere.
    const isName = staged !== null && !/[/\\]/.test(staged);
    return {
      txId,
      action,
      storageHash,
      payload,
      staged: isName ? staged : null,
    };
  });
}

function batchEntries(rows: Database, seq: number): RedoEntry[] {
  const found = rows.all(
    "SELECT tx_ids, sizes, payloads FROM redo_batches WHERE seq = ?",
    seq,
  );
  return found.flatMap((row) => {
    const [txIds, sizes, bytes] = row as [string, string, Uint8Array | null];
    const lengths: number[] = JSON.parse(sizes);
    let at = 0;
    return (JSON.parse(txIds) as string[]).map((txId, n): RedoEntry => {
      const payload = (bytes ?? new Uint8Array())
        .subarray(at, at += lengths[n]!);
      const storageHash = sha256HexSync(payload);
      return { txId, action: "put", storageHash, payload, staged: null };
    });
  });
}

/** The number of the newest redo entry that there ever was. */
function newestRedo(rows: Database): number {
  if (!hasTable(rows, "redo")) return 0;
  const [row] = rows.all(
    "SELECT seq FROM sqlite_sequence WHERE name = 'redo'",
  );
  return row ? Number(row[0]) : 0;
}

/**
 * Remembers how many changes the database had lost by going back to an earlier
 * commit, as versions up to 4 did. Within a transaction; safe to repeat.
 */
function rememberLostCommits(rows: Database, noted: number): void {
  const lost = noted - newestRedo(rows);
  if (lost <= 0) return;
  const known = Number(readSetting(rows, LOST_COMMITS) ?? 0) || 0;
  writeSetting(rows, LOST_COMMITS, String(known + lost));
  rows.all("DELETE FROM sqlite_sequence WHERE name = 'redo'");
  rows.all(
    "INSERT INTO sqlite_sequence (name, seq) VALUES ('redo', ?)",
    noted,
  );
}

/** The newest redo entry that a process knew of; 0 where nothing says so. */
async function notedRedo(basePath: string): Promise<number> {
  const bytes = await readRegular(notePath(basePath));
  const text = bytes ? new TextDecoder().decode(bytes) : "";
  return /^\d{16}$/.test(text) ? Number(text) : 0;
}

/** Where older versions noted their newest redo entry. */
function notePath(basePath: string): string {
  return join(basePath, ".poh", "newest");
}

function hasTable(rows: Database, name: string): boolean {
  return rows.all(
    "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?",
    name,
  ).length > 0;
}
