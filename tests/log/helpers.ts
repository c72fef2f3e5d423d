/**
 * Logs for tests: a folder with segments, and entries to put into them.
 *
 * @module
 */

import { LogDir } from "../../src/log/log_dir.ts";
import {
  type LogEntry,
  type LogRecord,
  RecordBuffer,
  recordRoom,
  type Salt,
} from "../../src/log/record.ts";
import { type Gap, scanLog } from "../../src/log/scan.ts";
import { FIRST_RECORD, newHeader, positionOf } from "../../src/log/segment.ts";
import { sha256HexSync } from "../../src/files/hash.ts";
import { PayloadFiles } from "../../src/payloads/payload_files.ts";
import { bytes, tempDir } from "../helpers.ts";
import { openRows } from "../sqlite/rows.ts";

/** The id of the store in headers. */
export const STORE_ID = "00112233445566778899aabbccddeeff";

/** The bytes of a record that is to stand at `position`. */
export function encodeRecord(
  entry: LogEntry,
  position: number,
  salt: Salt,
  startsBatch: boolean,
): Uint8Array<ArrayBuffer> {
  const buffer = new RecordBuffer(recordRoom(entry));
  buffer.append(entry, position, salt, startsBatch);
  return buffer.bytes.slice();
}

/** An entry that saves a small payload; what is not given is made up. */
export function putEntry(entry: Partial<LogEntry> = {}): LogEntry {
  const payload = entry.payload ?? bytes(`payload of ${entry.txId ?? "a"}`);
  return {
    kind: "put",
    txId: "a",
    holderId: "alice",
    timestamp: 1464307123.25,
    storageHash: sha256HexSync(payload),
    size: payload.length,
    payload,
    name: "",
    isPacked: false,
    ...entry,
  };
}

/** The folder of a log in a temporary directory. */
export async function tempLog() {
  const temp = await tempDir();
  const dir = new LogDir(temp.path, { sync: false, write: true });
  await dir.init();
  return {
    base: temp.path,
    dir,
    async [Symbol.asyncDispose]() {
      dir[Symbol.dispose]();
      await temp[Symbol.asyncDispose]();
    },
  };
}

/** Makes a segment with these records; the position where they end. */
export async function writeSegment(
  dir: LogDir,
  number: number,
  entries: LogEntry[],
  { previousEnd = 0, changes = 0, batch = 1 } = {},
): Promise<number> {
  const header = newHeader({
    number,
    changes,
    storeId: STORE_ID,
    previousEnd,
  });
  const segment = await dir.create(header);
  let offset = FIRST_RECORD;
  for (const [n, entry] of entries.entries()) {
    const position = positionOf(number, offset);
    const isFirst = n % batch === 0;
    const record = encodeRecord(entry, position, header.salt, isFirst);
    segment.write(offset, record);
    offset += record.length;
  }
  return positionOf(number, offset);
}

/** All that a scan finds. */
export function scanned(
  dir: LogDir,
  from: number,
): { records: LogRecord[]; gaps: Gap[]; end: number } {
  const records: LogRecord[] = [], gaps: Gap[] = [];
  const scan = scanLog(dir, from);
  for (;;) {
    const { value, done } = scan.next();
    if (done) return { records, gaps, end: value };
    if (value.gap) gaps.push(value.gap);
    else records.push(value.record!);
  }
}

/** The parts of a store that follow a log, without a writer. */
export async function tempParts() {
  const temp = await tempDir();
  const base = temp.join("base");
  const files = new PayloadFiles(base);
  await files.init();
  const rows = await openRows(temp.join("poh.db"));
  const dir = new LogDir(base, { sync: true, write: true });
  await dir.init();
  return {
    files,
    rows,
    dir,
    storeId: STORE_ID,
    async [Symbol.asyncDispose]() {
      dir[Symbol.dispose]();
      await rows.close();
      await temp[Symbol.asyncDispose]();
    },
  };
}

/** What `tempParts` gives. */
export type Parts = Awaited<ReturnType<typeof tempParts>>;
