/**
 * What a store shows of itself to a challenger.
 *
 * Payloads are read before the checkpoint is chosen that the answer is under. So
 * a transaction that ends meanwhile fails nobody: what was read is shown, and what
 * had ended by then was ended by an entry that the checkpoint covers.
 *
 * @module
 */

import { PayloadUnreadableError, PohStorageError } from "../errors.ts";
import type {
  Held,
  HoldingFault,
  HoldingSource,
  PlacedEntry,
} from "../proofs/answer.ts";
import {
  type Challenge,
  drawChunks,
  drawEntries,
} from "../proofs/challenge.ts";
import type { Checkpoint } from "../proofs/checkpoint.ts";
import {
  chunkCount,
  chunkLength,
  PayloadHasher,
} from "../proofs/chunk_tree.ts";
import { fromBase64, isEqual, toBase64, toHex } from "../proofs/encoding.ts";
import { CHUNK_SIZE, encodeRecord, parseEntry } from "../proofs/entry.ts";
import { demandIncluded } from "../proofs/proof_files.ts";
import { Sha256 } from "../proofs/sha256_short.ts";
import { entriesOf, type TiledTree } from "../proofs/tiles.ts";
import type { Database } from "../sqlite/database.ts";
import { findInfo } from "../sqlite/lookups.ts";
import type { TxInfo } from "../types.ts";
import { isUnderSeal, recordOf } from "./seal.ts";
import type { Spool } from "./spool.ts";
import { damaged, type Tlog } from "./tlog.ts";
import { liveAt, type LiveEntry, liveEntry } from "./tlog_tables.ts";

/** What it needs of a store. */
export interface HoldingHost {
  /** The rows. */
  rows: Database;
  /** The tree. */
  tlog: Tlog;
  /** Has the tree follow all that resolved. */
  flush(): Promise<void>;
  /** The bytes of a row's payload, unverified; null: none. */
  open(info: TxInfo): Promise<AsyncIterable<Uint8Array> | null>;
}

/** What was read of an entry, as it is kept until it is shown. */
interface Kept {
  /** Which entry. */
  index: number;
  /** Its record and chunks, in base64. */
  shown?: { record: string; chunks: KeptChunk[] };
  /** Why they cannot be shown. */
  fault?: HoldingFault;
  /** Whether the put has ended. */
  isOver?: true;
}

interface KeptChunk {
  n: number;
  bytes: string;
  path: string[];
}

/** What a challenge draws, read. */
export class Drawn {
  /** How many entries a checkpoint has to cover to show it. */
  readonly size: number;
  readonly #host: HoldingHost;
  readonly #challenge: Challenge;
  readonly #spool: Spool;
  /** Which entry ended a put that was drawn. */
  readonly #ends: ReadonlyMap<number, number>;

  private constructor(
    host: HoldingHost,
    challenge: Challenge,
    spool: Spool,
    ends: ReadonlyMap<number, number>,
  ) {
    this.#host = host;
    this.#challenge = challenge;
    this.#spool = spool;
    this.#ends = ends;
    this.size = Math.max(
      challenge.size,
      ...[...ends.values()].map((n) => n + 1),
    );
  }

  /**
   * Reads it.
   *
   * @param spool Keeps it, as long as it is shown.
   * @throws {PohStorageError} `TLOG_MISMATCH`: the log does not continue what the
   * challenge is about.
   */
  static async read(
    host: HoldingHost,
    challenge: Challenge,
    spool: Spool,
    { maxRead = Infinity, signal }: { maxRead?: number; signal?: AbortSignal },
  ): Promise<Drawn> {
    await requireOurs(host.tlog, challenge);
    const indexes = [...new Set(drawEntries(challenge))];
    const live = liveAt(host.rows, indexes);
    requireRead(host.rows, live.values(), maxRead);
    const over = new Set<number>();
    for (const index of indexes) {
      signal?.throwIfAborted();
      const kept = await keep(host, challenge, index, live.get(index));
      if (kept.isOver) over.add(index);
      await spool.add(JSON.stringify(kept));
    }
    if (over.size > 0) await host.flush();
    const ends = await endsOf(host.tlog, over);
    const odd = [...over].find((index) => !ends.has(index));
    if (odd !== undefined) throw damaged(`entry ${odd} is live, and unknown`);
    return new Drawn(host, challenge, spool, ends);
  }

  /**
   * What an answer shows of it, once.
   *
   * @param under The checkpoint that the answer is under.
   */
  async shownUnder(
    under: Checkpoint & { note: string },
  ): Promise<HoldingSource> {
    const { tlog } = this.#host;
    const tree = tlog.tree(under.size);
    const { size } = this.#challenge;
    const lines = this.#spool.read();
    const entry = (index: number) => placed(tlog, tree, index, under);
    return {
      checkpoint: under.note,
      consistency: size === under.size ? [] : await tree.consistency(size),
      entry,
      held: async (index) => {
        const { value } = await lines.next();
        const { shown, fault, isOver } = JSON.parse(value!) as Kept;
        if (isOver) return { ended: await entry(this.#ends.get(index)!) };
        if (fault) return { fault };
        return shown ? heldOf(shown) : null;
      },
    };
  }
}

/** Demands that the log continues what a challenge is about. */
async function requireOurs(
  tlog: Tlog,
  { origin, size, root }: Challenge,
): Promise<void> {
  const name = tlog.origin();
  const there = tlog.size();
  const isOurs = origin === name && size <= there &&
    isEqual(await tlog.tree(there).root(size), root);
  if (isOurs) return;
  throw new PohStorageError(
    "TLOG_MISMATCH",
    `The challenge is about ${size} entries of ${origin}, which the log ${name} of ${there} does not continue`,
  );
}

/** Demands that payloads are not more than may be read. */
function requireRead(
  rows: Database,
  live: Iterable<LiveEntry>,
  maxRead: number,
): void {
  let bytes = 0;
  for (const { txId } of live) bytes += findInfo(rows, txId)?.size ?? 0;
  if (bytes <= maxRead) return;
  throw new PohStorageError(
    "TOO_LARGE",
    `The challenge draws payloads of ${bytes} bytes, at most ${maxRead} are read for one`,
  );
}

/** An entry, and its path under a checkpoint. */
async function placed(
  tlog: Tlog,
  tree: TiledTree,
  index: number,
  under: Checkpoint,
): Promise<PlacedEntry> {
  const entry = await entryAt(tlog, index);
  const path = await tree.inclusion(index);
  try {
    demandIncluded(entry, index, path, under);
  } catch (error) {
    throw damaged((error as Error).message);
  }
  return { index, entry, path };
}

async function entryAt(tlog: Tlog, index: number): Promise<Uint8Array> {
  const bundle = await tlog.bundle(Math.floor(index / 256));
  const entry = entriesOf(bundle)[index % 256];
  if (entry) return entry;
  throw damaged(`entry ${index} is missing`);
}

function heldOf({ record, chunks }: NonNullable<Kept["shown"]>): Held {
  const byNumber = new Map(chunks.map((chunk) => [chunk.n, chunk]));
  return {
    record: fromBase64(record, "record"),
    chunk: (n) => {
      const { bytes, path } = byNumber.get(n)!;
      return Promise.resolve({
        bytes: fromBase64(bytes, "chunk"),
        path: path.map((hash) => fromBase64(hash, "path")),
      });
    },
  };
}

/** Reads what is there of an entry. */
async function keep(
  host: HoldingHost,
  challenge: Challenge,
  index: number,
  live: LiveEntry | undefined,
): Promise<Kept> {
  const entry = parseEntry(await entryAt(host.tlog, index));
  if (entry.kind !== "put") return { index };
  if (!live) return { index, isOver: true };
  let kept: Kept = { index };
  // What is wrong once may be on its way: two readings have to agree.
  for (let reading = 0; reading < 2; reading++) {
    kept = { index, ...await readPayload(host, challenge, live) };
    if (kept.shown) return kept;
    await host.flush();
    if (liveEntry(host.rows, live.txId)?.entry !== index) {
      return { index, isOver: true };
    }
  }
  return kept;
}

async function readPayload(
  { rows, open }: HoldingHost,
  challenge: Challenge,
  live: LiveEntry,
): Promise<Pick<Kept, "shown" | "fault">> {
  const row = findInfo(rows, live.txId);
  if (!row) return { fault: "missing" };
  if (!isUnderSeal(row, live)) return { fault: "damaged" };
  const record = recordOf(row, live);
  const count = chunkCount(row.size);
  const numbers = drawChunks(challenge, live.entry, count);
  const hasher = new PayloadHasher();
  const chunks = new Chunks(numbers, row.size);
  try {
    const pieces = await open(row);
    if (!pieces) return { fault: "missing" };
    for await (const piece of pieces) {
      hasher.update(piece);
      chunks.take(piece);
    }
  } catch (error) {
    if (error instanceof PayloadUnreadableError) return { fault: "unreadable" };
    throw error;
  }
  const { size, digest, chunkRoot, tree } = hasher.finish();
  const isSound = size === row.size && isEqual(digest, record.digest) &&
    isEqual(chunkRoot, record.chunkRoot);
  if (!isSound) return { fault: "damaged" };
  return {
    shown: {
      record: toBase64(encodeRecord(record)),
      chunks: numbers.map((n) => ({
        n,
        bytes: toBase64(chunks.bytes(n)),
        path: tree.inclusion(n).map(toBase64),
      })),
    },
  };
}

/** Chunks of a payload that passes in pieces. */
class Chunks {
  readonly #chunks: ReadonlyMap<number, Uint8Array>;
  #at = 0;

  constructor(numbers: readonly number[], size: number) {
    this.#chunks = new Map(
      numbers.map((n) => [n, new Uint8Array(chunkLength(size, n))]),
    );
  }

  /** Takes the next bytes of the payload. */
  take(piece: Uint8Array): void {
    const end = this.#at + piece.length;
    const first = Math.floor(this.#at / CHUNK_SIZE);
    for (let n = first; n * CHUNK_SIZE < end; n++) {
      const chunk = this.#chunks.get(n);
      if (!chunk) continue;
      const start = n * CHUNK_SIZE;
      const from = Math.max(start, this.#at);
      const to = Math.min(start + chunk.length, end);
      if (from >= to) continue;
      chunk.set(piece.subarray(from - this.#at, to - this.#at), from - start);
    }
    this.#at = end;
  }

  /** The bytes of a chunk. */
  bytes(n: number): Uint8Array {
    return this.#chunks.get(n)!;
  }
}

/** Which entries end some puts. Goes through all entries behind the first. */
async function endsOf(
  tlog: Tlog,
  puts: ReadonlySet<number>,
): Promise<Map<number, number>> {
  const ends = new Map<number, number>();
  if (puts.size === 0) return ends;
  const size = tlog.size();
  let index = Math.floor(Math.min(...puts) / 256) * 256;
  while (index < size && ends.size < puts.size) {
    const bundle = await tlog.bundle(Math.floor(index / 256));
    for (const bytes of entriesOf(bundle)) {
      const entry = parseEntry(bytes);
      const ended = entry.kind === "begin" ? null : entry.prev;
      if (ended !== null && puts.has(ended)) ends.set(ended, index);
      index++;
    }
  }
  return ends;
}

/** Gives pieces on, and refuses at their end what has not the digest of the row. */
export async function* demanded(
  pieces: AsyncIterable<Uint8Array>,
  { txId, storageHash }: TxInfo,
): AsyncGenerator<Uint8Array> {
  const hash = new Sha256();
  for await (const piece of pieces) {
    hash.update(piece);
    yield piece;
  }
  if (toHex(hash.digest()) !== storageHash) throw notHeld(txId);
}

/** A payload that a store should have. */
export function notHeld(txId: string): PohStorageError {
  return new PohStorageError(
    "NOT_HELD",
    `The payload of tx ${
      JSON.stringify(txId)
    } is missing or damaged: see verify`,
  );
}
