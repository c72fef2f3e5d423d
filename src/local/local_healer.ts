/**
 * How payloads from elsewhere get into a store on this machine: verified first,
 * then through the queue of all changes, so that a row refers at every moment
 * to bytes that are there.
 *
 * @module
 */

import { join } from "@std/path";
import { crashPoint } from "../async/crash_points.ts";
import { SMALL } from "../files/durable_fs.ts";
import { bytesInLog } from "./find_payload.ts";
import { sha256HexSync } from "../files/hash.ts";
import { type Extension, isLoggable, type LogEntry } from "../log/record.ts";
import { because } from "../log/why.ts";
import { HashedOnTheWay } from "./hashed_on_the_way.ts";
import {
  type OpenStore,
  saving,
  type StoreWriter,
  writerOf,
} from "./open_store.ts";
import { Pool } from "../async/pool.ts";
import { copyBytes, writeBytes, writeNote } from "../payloads/quarantine.ts";
import type { TxInfo } from "../types.ts";
import { isPossible, isRight, readFrom, type Take } from "../check/source.ts";
import type { Sources } from "../check/sources.ts";

/** Commits under way at the same time, which share transactions and syncs. */
const COMMITS = { tasks: 128, bytes: 4 * 1024 * 1024 };

/** A payload that is to be healed. */
export interface Lost {
  /** The row as it is, or as it was when it went to quarantine. */
  info: TxInfo;
  /** Whether the row is to be made again. */
  isOut: boolean;
  /** What is in the payload's place; null when nothing is, or not to be kept. */
  damaged: DamagedBytes | null;
}

/** Bytes that a sound payload is to replace, and that are kept. */
export interface DamagedBytes {
  /** Their SHA-256, in hex. */
  digest: string;
  /** The name of their file in the base. */
  file: string;
}

/** How to look for payloads. */
export interface HealLocalOptions {
  /** Whether what is found is put in its place; else only whether it is there. */
  act: boolean;
  /** Ends the search between two payloads. */
  signal?: AbortSignal;
  /** Told of every payload that was found. */
  onFound?: (info: TxInfo) => void;
}

/**
 * Looks for payloads of different ids, and puts those that are found in their
 * place. What it tells as found is durable.
 *
 * @returns The sources that had the payloads, by the ids of the transactions.
 */
export async function healLocal(
  store: OpenStore,
  sources: Sources,
  lost: readonly Lost[],
  { act, signal, onFound }: HealLocalOptions,
): Promise<Map<string, string>> {
  // A note in quarantine, or a row, may have been edited by hand.
  const wanted = lost.filter(({ info, isOut }) =>
    isOut ? isPossible(info) : isLoggable(saving(info, { staged: "" }))
  );
  const byId = new Map(wanted.map((one) => [one.info.txId, one]));
  const infos = wanted.map(({ info }) => info);
  if (!act) return await sources.find(infos, isRight, signal, onFound);
  const pool = new Pool(COMMITS);
  const take: Take = async (info, bytes) => {
    const taken = await takeIn(store, info, bytes);
    if (taken === null) return false;
    const one = byId.get(info.txId)!;
    await pool.start(sizeOf(taken), () => putInPlace(store, one, taken));
    return true;
  };
  try {
    return await sources.find(infos, take, signal, onFound);
  } finally {
    await pool.end();
  }
}

/** A verified payload: its bytes, or, when it is large, the name it is staged under. */
type Taken = { bytes: Uint8Array } | Staged;

/** What is staged, and what its record has to tell of it. */
interface Staged {
  staged: string;
  size: number;
  extensions: Extension[];
}

/**
 * Takes a payload in; null when it is not the right one, or breaks off. Of a
 * large one no more than a piece is held.
 */
async function takeIn(
  store: OpenStore,
  info: TxInfo,
  bytes: AsyncIterable<Uint8Array>,
): Promise<Taken | null> {
  const { storageHash } = info;
  const { files: { staged: to } } = store;
  return await readFrom(bytes, info, async (pieces) => {
    const { held, isAll } = await readHead(pieces);
    if (isAll) {
      const bytes = joined(held);
      return sha256HexSync(bytes) === storageHash ? { bytes } : null;
    }
    const whole = async function* () {
      yield* held;
      yield* pieces;
    };
    const { tlog } = writerOf(store);
    const hashing = tlog.isOn ? new HashedOnTheWay(whole()) : null;
    const { name: staged, digest, size } = await to.add(hashing ?? whole());
    if (digest === storageHash) {
      return { staged, size, extensions: hashing ? [hashing.extension()] : [] };
    }
    to.remove(staged);
    return null;
  });
}

/** Up to so many bytes that a small payload is known to be one. */
async function readHead(
  pieces: AsyncGenerator<Uint8Array>,
): Promise<{ held: Uint8Array[]; isAll: boolean }> {
  const held: Uint8Array[] = [];
  let size = 0;
  while (size <= SMALL) {
    const { done, value } = await pieces.next();
    if (done) return { held, isAll: true };
    held.push(value);
    size += value.length;
  }
  return { held, isAll: false };
}

function joined(pieces: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(
    pieces.reduce((sum, { length }) => sum + length, 0),
  );
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

function sizeOf(taken: Taken): number {
  return "bytes" in taken ? taken.bytes.length : 0;
}

/** Keeps what is damaged, then commits; the file follows as that of a save does. */
async function putInPlace(
  store: OpenStore,
  { info, isOut, damaged }: Lost,
  taken: Taken,
): Promise<void> {
  const writer = writerOf(store);
  if (damaged) await keep(store, info, damaged);
  const size = "bytes" in taken ? taken.bytes.length : taken.size;
  const row = { ...info, size };
  const entry = await entryOf(store, writer, row, taken);
  if (isOut) {
    await writer.queue.save({ entry: because(entry, "restored") }, "keep");
  } else await writer.queue.submit({ entry, seen: info });
}

/** What is logged of a payload that comes in, as of one that is saved. */
async function entryOf(
  { files }: OpenStore,
  writer: StoreWriter,
  info: TxInfo,
  taken: Taken,
): Promise<LogEntry> {
  const staysInLog = writer.packBelow.covers(info.size);
  if ("bytes" in taken) {
    return saving(info, { payload: taken.bytes, isPacked: staysInLog });
  }
  const { staged, extensions } = taken;
  if (!staysInLog) return { ...saving(info, { staged }), extensions };
  const payload = await files.staged.take(staged);
  return saving(info, { payload, isPacked: true });
}

/** The note first, then the bytes; they stay in their place as well. */
async function keep(
  store: OpenStore,
  info: TxInfo,
  { digest, file }: DamagedBytes,
): Promise<void> {
  const { files } = store;
  const { txId, storageHash } = info;
  const name = await writeNote(files.basePath, file, {
    txId,
    reason: "payload-corrupt",
    at: new Date().toISOString(),
    expected: storageHash,
    found: digest,
    row: null, // it stays in service
  });
  crashPoint("note written");
  const logged = bytesInLog(store, txId);
  if (logged && sha256HexSync(logged) === digest) {
    await writeBytes(files.basePath, name, logged);
  } else await copyBytes(files.basePath, name, join(files.basePath, file));
  crashPoint("damaged bytes kept");
}
