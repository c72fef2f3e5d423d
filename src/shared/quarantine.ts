/**
 * What recover took out of service of a store that machines share: objects
 * below `.poh/quarantine/`, named as the files of a local store are.
 *
 * @module
 */

import { digestOfPieces, sha256HexSync } from "../files/hash.ts";
import { Pool } from "../async/pool.ts";
import {
  caseName,
  type Cases,
  noteText,
  parseNote,
  type QuarantineEntry,
  type QuarantineNote,
} from "../payloads/quarantine.ts";
import type { Catalog, ObjectStore } from "./contracts.ts";

const FOLDER = ".poh/quarantine/";
const NOTE = ".json";
const BYTES = ".bin";

/** Notes read, or cases deleted, at the same time. */
const IN_FLIGHT = 16;

/**
 * Keeps the bytes of an object and a note about them, before what the note
 * tells of goes.
 *
 * @param file Name that the payload's file has in a local store.
 * @returns False when the bytes are not those of the note any more.
 */
export async function keepCase(
  objects: ObjectStore,
  key: string,
  file: string,
  note: QuarantineNote,
): Promise<boolean> {
  const { found } = note;
  const name = `${FOLDER}${caseName(file, note)}`;
  const text = noteText(note);
  // Where a name is taken, it is by the same case: a crash came after it.
  await objects.create(`${name}${NOTE}`, text, sha256HexSync(text));
  if (found === null) return true;
  const isStill = async (key: string) =>
    (await digestOf(objects, key))?.digest === found;
  const size = (await digestOf(objects, key))?.size ?? 0;
  const open = async function* () {
    yield* await objects.stream(key) ?? [];
  };
  try {
    const isMade = await objects.create(
      `${name}${BYTES}`,
      { size, open },
      found,
    );
    return isMade || await isStill(`${name}${BYTES}`);
  } catch (error) {
    const isOther = error instanceof Deno.errors.InvalidData ||
      !await isStill(key);
    if (isOther) return false;
    throw error;
  }
}

/** Digest and size in bytes of an object; null when there is none. */
export async function digestOf(
  objects: ObjectStore,
  key: string,
): Promise<{ digest: string; size: number } | null> {
  const stream = await objects.stream(key);
  return stream && await digestOfPieces(stream);
}

/** The cases in quarantine, in no order. */
export async function* listCases(
  objects: ObjectStore,
): AsyncIterableIterator<QuarantineEntry> {
  const names: string[] = [], sizes = new Map<string, number>();
  for await (const { key, size } of objects.list(FOLDER)) {
    const name = nameOf(key);
    if (name !== null) names.push(name);
    else if (key.endsWith(BYTES)) sizes.set(key, size);
  }
  for (let at = 0; at < names.length; at += IN_FLIGHT) {
    const page = names.slice(at, at + IN_FLIGHT);
    const notes = await Promise.all(page.map((name) => noteOf(objects, name)));
    for (const [n, note] of notes.entries()) {
      const name = page[n]!;
      const size = sizes.get(`${FOLDER}${name}${BYTES}`) ?? null;
      if (note) yield { name, size, ...note }; // else it is deleted meanwhile
    }
  }
}

/** How many cases there are. */
export async function countCases(objects: ObjectStore): Promise<number> {
  let count = 0;
  for await (const { key } of objects.list(FOLDER)) {
    if (nameOf(key) !== null) count++;
  }
  return count;
}

/** The cases, to be restored from. */
export function casesOf(objects: ObjectStore): Cases {
  return {
    note: (name) => noteOf(objects, name),
    bytes: (name) => objects.stream(`${FOLDER}${name}${BYTES}`),
    remove: (name) => removeCase(objects, name),
  };
}

/**
 * Deletes every case for good, while nobody repairs: a case is written before
 * what it is about goes.
 *
 * @returns How many.
 * @throws {StoreBusyError} If somebody does; nothing was deleted.
 */
export async function emptyCases(
  objects: ObjectStore,
  catalog: Catalog,
): Promise<number> {
  await using lease = await catalog.lease();
  const pool = new Pool({ tasks: IN_FLIGHT, bytes: Infinity });
  let count = 0;
  try {
    for await (const { key } of objects.list(FOLDER)) {
      const name = nameOf(key);
      if (name === null) continue;
      lease.signal.throwIfAborted();
      await pool.start(0, () => removeCase(objects, name));
      count++;
    }
  } finally {
    await pool.end();
  }
  return count;
}

/** The case that an object is the note of. */
function nameOf(key: string): string | null {
  return key.endsWith(NOTE) ? key.slice(FOLDER.length, -NOTE.length) : null;
}

async function noteOf(
  objects: ObjectStore,
  name: string,
): Promise<QuarantineNote | null> {
  const bytes = await objects.read(`${FOLDER}${name}${NOTE}`);
  return bytes && parseNote(name, new TextDecoder().decode(bytes));
}

/** The note goes last: it is what names the case. */
async function removeCase(objects: ObjectStore, name: string): Promise<void> {
  await objects.delete(`${FOLDER}${name}${BYTES}`);
  await objects.delete(`${FOLDER}${name}${NOTE}`);
}
