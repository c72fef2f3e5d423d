/**
 * What recover took out of service: `<base>/.poh/quarantine/` holds for each
 * case a note, `<name>.json`, and beside it the bytes, `<name>.bin`, if there
 * were any. Nothing here is ever read as part of the store. What stores on one
 * machine do with it stands here; see `shared/quarantine.ts` for others.
 *
 * @module
 */

import { basename, join } from "@std/path";
import {
  createFileFrom,
  digestOfOpen,
  makeDir,
  openRegular,
  piecesOf,
  regularSize,
  removeFileSync,
  renameFile,
  replaceFile,
} from "../files/durable_fs.ts";
import { IntegrityError, PohStorageError } from "../errors.ts";
import { sha256HexSync } from "../files/hash.ts";
import { quarantinePath, requirePohDir, tmpPath } from "../files/layout.ts";
import type { FindingKind } from "../model/report.ts";
import { validateRow } from "../tx.ts";
import type { TxInfo } from "../types.ts";

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
  /** The row as it was; null where its transaction is in service. */
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
  await writeFile(basePath, `${name}.json`, noteText(note));
  return name;
}

/** Writes the bytes of a case that had no file, durably. */
export async function writeBytes(
  basePath: string,
  name: string,
  bytes: Uint8Array,
): Promise<void> {
  await writeFile(basePath, `${name}.bin`, bytes);
}

/**
 * Keeps the bytes of a file beside the note of a case, durably; the file stays
 * where it is, so that a crash leaves no moment without it.
 */
export async function copyBytes(
  basePath: string,
  name: string,
  path: string,
): Promise<void> {
  const opened = openRegular(path);
  if (!opened) return;
  const tmp = await newTmp(basePath);
  try {
    Deno.linkSync(path, tmp);
    opened.file.close();
  } catch {
    // A file system without hard links.
    await createFileFrom(tmp, piecesOf(opened.file), true);
  }
  const to = join(quarantinePath(basePath), `${name}.bin`);
  await renameFile(tmp, to, true);
  // Two names of one file, as after a crash: then the rename did nothing.
  removeFileSync(tmp);
}

async function writeFile(
  basePath: string,
  name: string,
  bytes: Uint8Array,
): Promise<void> {
  const path = join(quarantinePath(basePath), name);
  await replaceFile(path, bytes, await newTmp(basePath), true);
}

/** Where recover removes what a crash leaves: in quarantine it would stay. */
async function newTmp(basePath: string): Promise<string> {
  const dir = tmpPath(basePath);
  await makeDir(dir, false);
  return join(dir, crypto.randomUUID());
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
  const name = await writeNote(basePath, path, {
    ...note,
    at: new Date().toISOString(),
    expected: null,
    found: found.digest,
    row: null,
  });
  await renameFile(path, join(quarantinePath(basePath), `${name}.bin`), true);
}

/** The cases in quarantine, in no order. */
export async function* listQuarantine(
  basePath: string,
): AsyncIterableIterator<QuarantineEntry> {
  const dir = quarantinePath(basePath);
  for await (const name of caseNames(basePath)) {
    const size = regularSize(join(dir, `${name}.bin`));
    yield { name, size, ...readNote(dir, name) };
  }
}

/**
 * Takes a case out of quarantine whose transaction is back in service.
 *
 * @param purge Whether bytes that are kept in it go as well; else they stay, and
 * the note has no row any more: the transaction may be deleted from now on, and
 * is not to come back then.
 */
export async function closeCase(
  basePath: string,
  name: string,
  purge: boolean,
): Promise<void> {
  const dir = quarantinePath(basePath);
  const hasBytes = regularSize(join(dir, `${name}.bin`)) !== null;
  if (purge || !hasBytes) return void removeCase(dir, name);
  const note = { ...readNote(dir, name), row: null };
  await writeFile(basePath, `${name}.json`, noteText(note));
}

/** How many cases there are. */
export async function countQuarantine(basePath: string): Promise<number> {
  let count = 0;
  for await (const _ of caseNames(basePath)) count++;
  return count;
}

/** The cases whose notes can be read, in no order. */
export async function* readableCases(
  basePath: string,
): AsyncIterableIterator<{ name: string; note: QuarantineNote }> {
  for await (const name of caseNames(basePath)) {
    try {
      yield { name, note: readNote(quarantinePath(basePath), name) };
    } catch (error) {
      // quarantine list tells of it.
      if (!(error instanceof PohStorageError)) throw error;
    }
  }
}

/** Where cases are, to be restored from. */
export interface Cases {
  /** The note of a case; null when there is none of that name. */
  note(name: string): Promise<QuarantineNote | null>;
  /** Its bytes; null when it has none. */
  bytes(name: string): Promise<AsyncIterable<Uint8Array> | null>;
  /** Deletes a case. */
  remove(name: string): Promise<void>;
}

/** What takes back a case that was restored. */
interface Restored {
  /** Saves a payload of this digest, unless there is another transaction. */
  saveStream(
    row: TxInfo,
    payload: AsyncIterable<Uint8Array>,
    rule: "fail",
    demands: { expected: string },
  ): Promise<TxInfo>;
  /** The row of an id; null when there is none. */
  info(txId: string): TxInfo | null | Promise<TxInfo | null>;
}

/** The cases of a store on this machine. */
export function casesIn(basePath: string): Cases {
  requirePohDir(basePath);
  const dir = quarantinePath(basePath);
  // deno-lint-ignore require-await -- the contract is asynchronous
  const note = async (name: string) =>
    regularSize(join(dir, `${name}.json`)) === null
      ? null
      : readNote(dir, name);
  // deno-lint-ignore require-await -- the contract is asynchronous
  const bytes = async (name: string) => {
    const opened = openRegular(join(dir, `${name}.bin`));
    return opened && piecesOf(opened.file);
  };
  // deno-lint-ignore require-await -- the contract is asynchronous
  const remove = async (name: string) => void removeCase(dir, name);
  return { note, bytes, remove };
}

/**
 * Puts a case back into service when its bytes have the digest that its row
 * promised, as they have when a disk gave wrong bytes for a while.
 *
 * @param store Where it is put.
 * @throws {IntegrityError} If they do not; the case stays where it is.
 * @throws {TxExistsError} If another transaction was saved since.
 */
export async function restoreCase(
  cases: Cases,
  name: string,
  store: Restored,
): Promise<TxInfo> {
  const isName = !/[/\\\0]/.test(name) && name !== "" && name !== "..";
  const note = isName ? await cases.note(name) : null;
  if (!note) {
    throw new PohStorageError(
      "NOT_IN_QUARANTINE",
      `There is no ${JSON.stringify(name)} in quarantine`,
    );
  }
  const { row } = note;
  if (!row) {
    throw new PohStorageError(
      "NO_ROW",
      `Cannot restore ${name}: it has no row; save its bytes as a new tx`,
    );
  }
  validateRow(row); // somebody may have written in the note
  const payload = async function* () {
    const bytes = await cases.bytes(name);
    if (!bytes) throw new IntegrityError(row.txId, row.storageHash, null);
    yield* bytes;
  };
  const { txId, holderId, timestamp, storageHash, size } = await store
    .saveStream(row, payload(), "fail", { expected: row.storageHash })
    .catch((error) => restoredBefore(row, store, error));
  await cases.remove(name);
  return { txId, holderId, timestamp, storageHash, size };
}

/** What a restoration saved that ended before the note went, after the bytes. */
async function restoredBefore(
  { txId, storageHash }: TxInfo,
  store: Restored,
  error: Error,
): Promise<TxInfo> {
  const isGone = error instanceof IntegrityError && error.found === null;
  const saved = isGone ? await store.info(txId) : null;
  if (saved?.storageHash !== storageHash) throw error;
  return saved;
}

/**
 * Deletes every case for good; none of their notes is read.
 *
 * @returns How many.
 * @throws {Deno.errors.InvalidData} If a directory has the name of a note; all
 * the others are deleted.
 */
export async function emptyQuarantine(basePath: string): Promise<number> {
  const dir = quarantinePath(basePath);
  let count = 0, left: string | null = null;
  for await (const name of caseNames(basePath)) {
    if (removeCase(dir, name)) count++;
    else left = name;
  }
  if (left === null) return count;
  throw new Deno.errors.InvalidData(
    `${count} deleted, but ${
      join(dir, `${left}.json`)
    } is a directory, which no store makes: it stays`,
  );
}

/** Names a case: the same one found again has the same name, others have others. */
export function caseName(file: string | null, note: QuarantineNote): string {
  let stem = basename(file ?? "").replace(/\.bin$/, "");
  // Names of up to 255 bytes are to stay within that with what follows.
  const fits = textBytes(stem).length <= 200;
  if (!fits || stem === "") stem = sha256HexSync(textBytes(note.txId ?? stem));
  const { txId, reason, expected, found, row } = note;
  const facts = [txId, reason, expected, found, row?.holderId, row?.timestamp];
  const digest = sha256HexSync(textBytes(JSON.stringify(facts)));
  return `${stem}.${digest.slice(0, 16)}`;
}

/** A note by its JSON text. */
export function parseNote(name: string, text: string): QuarantineNote {
  try {
    const note = JSON.parse(text);
    const time = note.row?.timestamp;
    if (typeof time === "string") note.row.timestamp = Number(time);
    return note;
  } catch (error) {
    throw new PohStorageError(
      "NOTE_DAMAGED",
      `The note of ${name} in quarantine is damaged`,
      { cause: error },
    );
  }
}

/** The text of a note. JSON has no infinite numbers: they are text in it. */
export function noteText(note: QuarantineNote): Uint8Array {
  const { row } = note;
  const isFinite = row === null || Number.isFinite(row.timestamp);
  const written = isFinite
    ? note
    : { ...note, row: { ...row, timestamp: String(row.timestamp) } };
  return textBytes(`${JSON.stringify(written, null, 2)}\n`);
}

/** The names of all cases. */
async function* caseNames(basePath: string): AsyncGenerator<string> {
  requirePohDir(basePath);
  try {
    for await (const { name } of Deno.readDir(quarantinePath(basePath))) {
      if (name.endsWith(".json")) yield name.slice(0, -".json".length);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function readNote(dir: string, name: string): QuarantineNote {
  regularSize(join(dir, `${name}.json`)); // to read a FIFO never ends
  return parseNote(name, Deno.readTextFileSync(join(dir, `${name}.json`)));
}

/** The note goes last: it is what names the case. False if it is a directory. */
function removeCase(dir: string, name: string): boolean {
  removeFileSync(join(dir, `${name}.bin`));
  return removeFileSync(join(dir, `${name}.json`));
}

function textBytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
