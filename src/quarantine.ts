/**
 * What recover took out of service: `<base>/.poh/quarantine/` holds for each
 * case a note, `<name>.json`, and beside it the bytes, `<name>.bin`, if there
 * were any. Nothing here is ever read as part of the store.
 *
 * @module
 */

import { basename, dirname, join } from "@std/path";
import {
  createFile,
  digestOfOpen,
  makeDir,
  openRegular,
  piecesOf,
  regularSize,
  removeFileSync,
  renameFile,
  syncDir,
} from "./durable_fs.ts";
import { IntegrityError, PohStorageError } from "./errors.ts";
import { sha256HexSync } from "./hash.ts";
import { quarantinePath, requirePohDir } from "./poh_dir.ts";
import type { FindingKind } from "./report.ts";
import type { StorageManager } from "./storage_manager.ts";
import type { TxInfo } from "./types.ts";

/** What a note says. */
export interface QuarantineNote {
  /** The transaction, or null when none is known. */
  txId: string | null;
  /** Why it was taken out of service. */
  reason: FindingKind;
  /** When, ISO 8601. */
  at: string;
  /** SHA-256 that the row promised, in hex. */
  expected: string | null;
  /** SHA-256 of the bytes, in hex; null when there were none. */
  found: string | null;
  /** The row as it was. */
  row: TxInfo | null;
}

/** A note, and what lies beside it. */
export interface QuarantineEntry extends QuarantineNote {
  /** Names the case: the stem of its two files. */
  name: string;
  /** Size of the bytes; null when there are none. */
  size: number | null;
}

/**
 * Writes the note of a case, durably.
 *
 * @returns The name of the case. The same damage found again, after a crash,
 * has the same name.
 */
export async function writeNote(
  basePath: string,
  file: string | null,
  note: QuarantineNote,
): Promise<string> {
  const dir = quarantinePath(basePath);
  await makeDir(dir, true);
  const name = caseName(file, note);
  const text = JSON.stringify(note, null, 2) + "\n";
  await writeFile(dir, `${name}.json`, textBytes(text));
  return name;
}

/** Writes the bytes of a case that had no file, durably. */
export async function writeBytes(
  basePath: string,
  name: string,
  bytes: Uint8Array,
): Promise<void> {
  await writeFile(quarantinePath(basePath), `${name}.bin`, bytes);
}

async function writeFile(
  dir: string,
  name: string,
  bytes: Uint8Array,
): Promise<void> {
  const tmp = join(dir, `${crypto.randomUUID()}.tmp`);
  await createFile(tmp, bytes, true);
  await renameFile(tmp, join(dir, name));
  await syncDir(dir);
}

/** Moves a file into quarantine, beside a note that says why, durably. */
export async function quarantineFile(
  basePath: string,
  path: string,
  note: Pick<QuarantineNote, "txId" | "reason">,
): Promise<void> {
  const opened = openRegular(path);
  if (!opened) return;
  const found = await digestOfOpen(opened);
  const name = await writeNote(basePath, basename(path), {
    ...note,
    at: new Date().toISOString(),
    expected: null,
    found: found.digest,
    row: null,
  });
  const dir = quarantinePath(basePath);
  await renameFile(path, join(dir, `${name}.bin`));
  await syncDir(dir);
  await syncDir(dirname(path));
}

/** The cases in quarantine, in no order. Needs `--allow-read` for the base. */
export async function* listQuarantine(
  basePath: string,
): AsyncIterableIterator<QuarantineEntry> {
  requirePohDir(basePath);
  const dir = quarantinePath(basePath);
  try {
    for await (const { name } of Deno.readDir(dir)) {
      if (name.endsWith(".json")) yield readCase(dir, name.slice(0, -5));
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** How many cases there are; none of their notes is read. */
export async function countQuarantine(basePath: string): Promise<number> {
  requirePohDir(basePath);
  let count = 0;
  try {
    for await (const { name } of Deno.readDir(quarantinePath(basePath))) {
      if (name.endsWith(".json")) count++;
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return count;
}

/**
 * Puts a case back into service when its bytes have the digest that its row
 * promised, as they have when a disk gave wrong bytes for a while.
 *
 * @param name {@linkcode QuarantineEntry.name}
 * @throws {IntegrityError} If they do not; the case stays where it is.
 */
export async function restoreQuarantined(
  manager: StorageManager,
  name: string,
): Promise<TxInfo> {
  const dir = quarantinePath(manager.basePath);
  const entry = requireCase(dir, name);
  const { row } = entry;
  if (!row) {
    throw new PohStorageError(
      "NO_ROW",
      `Cannot restore ${name}: it has no row; save its bytes as a new tx`,
    );
  }
  if (await manager.hasTx(row.txId)) {
    throw new PohStorageError(
      "EXISTS",
      `Cannot restore ${name}: tx ${JSON.stringify(row.txId)} was saved since`,
    );
  }
  const opened = openRegular(join(dir, `${name}.bin`));
  if (!opened) throw new IntegrityError(row.txId, row.storageHash, null);
  const info = await manager.saveTxStream(
    row,
    piecesOf(opened.file),
    row.storageHash,
  );
  removeCase(dir, name);
  return info;
}

/**
 * Deletes every case for good.
 *
 * @returns How many.
 */
export async function emptyQuarantine(basePath: string): Promise<number> {
  const dir = quarantinePath(basePath);
  let count = 0;
  for await (const { name } of listQuarantine(basePath)) {
    removeCase(dir, name);
    count++;
  }
  return count;
}

/** Names a case: the same damage found again has the same name. */
export function caseName(file: string | null, note: QuarantineNote): string {
  let stem = (file ?? "").replace(/\.bin$/, "");
  // Names of up to 255 bytes are to stay within that with what follows.
  const fits = textBytes(stem).length <= 200;
  if (!fits || stem === "") stem = sha256HexSync(textBytes(note.txId ?? stem));
  return `${stem}.${(note.found ?? note.expected ?? "").slice(0, 16)}`;
}

function requireCase(dir: string, name: string): QuarantineEntry {
  const isName = !/[/\\]/.test(name) && name !== "" && name !== "..";
  if (!isName || regularSize(join(dir, `${name}.json`)) === null) {
    throw new PohStorageError(
      "NOT_IN_QUARANTINE",
      `There is no ${JSON.stringify(name)} in quarantine`,
    );
  }
  return readCase(dir, name);
}

function readCase(dir: string, name: string): QuarantineEntry {
  const note: QuarantineNote = JSON.parse(
    Deno.readTextFileSync(join(dir, `${name}.json`)),
  );
  return { name, size: regularSize(join(dir, `${name}.bin`)), ...note };
}

/** The note goes last: it is what names the case. */
function removeCase(dir: string, name: string): void {
  removeFileSync(join(dir, `${name}.bin`));
  removeFileSync(join(dir, `${name}.json`));
}

function textBytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
