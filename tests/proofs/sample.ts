/**
 * A small log, the same each time: that of the specification's vectors, and larger
 * ones with every kind of entry.
 *
 * @module
 */

import {
  type Challenge,
  encodeEntry,
  encodeRecord,
  formatCheckpoint,
  formatInclusionProof,
  generateKey,
  type HashedPayload,
  hashPayload,
  type HoldingSource,
  leafHash,
  type LogEntry,
  MerkleTree,
  parseEntry,
  policyOf,
  sealOf,
  type Signer,
  signerOf,
  signNote,
  type TxRecord,
} from "../../proofs.ts";

export const ORIGIN = "node7.example/poh";
export const STORE_ID = "00000000-0000-4000-8000-000000000007";
export const PRIVATE_KEY =
  "PRIVATE+KEY+node7.example/poh+b8deb6a6+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
export const VKEY =
  "node7.example/poh+b8deb6a6+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";

/** Whether this runtime has ML-DSA; Deno has it from 2.9 on. */
export const hasMlDsa = await generateKey("a.example", "ml-dsa-87")
  .then(() => true, () => false);

/** 32 bytes, 0 to 31. */
export const NONCE = Uint8Array.from({ length: 32 }, (_, i) => i);

export const hello = new TextEncoder().encode("hello");
/** Larger than a chunk. */
export const large = Uint8Array.from(
  { length: 100_001 },
  (_, i) => (31 * i >> 3) & 255,
);

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(
    "",
  );
}

/** Something that a log holds: an entry, and what is behind its seal. */
export interface Item {
  entry: Uint8Array;
  record?: TxRecord;
  payload?: Uint8Array;
}

/** A log in memory, with what only its owner has. */
export class SampleLog {
  readonly items: Item[] = [];
  readonly #hashed = new Map<number, HashedPayload>();
  #tree?: MerkleTree;
  signer!: Signer;

  static async begin(): Promise<SampleLog> {
    const log = new SampleLog();
    log.signer = await signerOf(PRIVATE_KEY);
    log.#add({
      kind: "begin",
      storeId: STORE_ID,
      origin: ORIGIN,
      predecessor: null,
    });
    return log;
  }

  get size(): number {
    return this.items.length;
  }

  get leaves(): Uint8Array[] {
    return this.items.map(({ entry }) => leafHash(entry));
  }

  get tree(): MerkleTree {
    if (this.#tree?.size !== this.size) {
      this.#tree = new MerkleTree(this.leaves);
    }
    return this.#tree;
  }

  #add(entry: LogEntry, item: Omit<Item, "entry"> = {}): number {
    return this.items.push({ ...item, entry: encodeEntry(entry) }) - 1;
  }

  put(
    head: Pick<TxRecord, "txId" | "holderId" | "timestamp">,
    payload: Uint8Array,
    prev: number | null = null,
  ): number {
    const { size, digest, chunkRoot } = hashPayload(payload);
    const first = this.size === 1 ? 0 : 16 * (this.size - 1);
    const salt = Uint8Array.from({ length: 16 }, (_, i) => (first + i) & 255);
    const record = { ...head, salt, size, digest, chunkRoot };
    const seal = sealOf(encodeRecord(record));
    return this.#add({ kind: "put", reason: "saved", prev, seal }, {
      record,
      payload,
    });
  }

  remove(prev: number, reason: "deleted" | "pruned" = "pruned"): number {
    return this.#add({ kind: "remove", reason, prev });
  }

  checkpoint(size = this.size, signers = [this.signer]): Promise<string> {
    const root = this.tree.root(size);
    return signNote(formatCheckpoint({ origin: ORIGIN, size, root }), signers);
  }

  async inclusionProof(index: number): Promise<string> {
    const { entry: bytes, record } = this.items[index]!;
    const entry = parseEntry(bytes);
    if (entry.kind !== "put") throw new Error("no put");
    const path = this.tree.inclusion(index);
    const checkpoint = await this.checkpoint();
    return formatInclusionProof({
      ...{ entry, record: record!, index, path, checkpoint },
    });
  }

  /** What answers a challenge; some payloads may be gone. */
  async source(
    challenge: Challenge,
    gone: ReadonlySet<number> = new Set(),
  ): Promise<HoldingSource> {
    const tree = this.tree;
    const placed = (index: number) => ({
      index,
      entry: this.items[index]!.entry,
      path: tree.inclusion(index),
    });
    const endedBy = new Map<number, number>();
    for (const [index, { entry }] of this.items.entries()) {
      const parsed = parseEntry(entry);
      if (parsed.kind !== "begin" && parsed.prev !== null) {
        endedBy.set(parsed.prev, index);
      }
    }
    return {
      checkpoint: await this.checkpoint(),
      consistency: tree.consistency(challenge.size),
      entry: (index) => Promise.resolve(placed(index)),
      held: (index) => {
        const { record, payload } = this.items[index]!;
        const end = endedBy.get(index);
        if (!record || !payload) return Promise.resolve(null);
        if (end !== undefined) return Promise.resolve({ ended: placed(end) });
        if (gone.has(index)) return Promise.resolve({ fault: "missing" });
        let hashed = this.#hashed.get(index);
        if (!hashed) this.#hashed.set(index, hashed = hashPayload(payload));
        const chunks = hashed.tree;
        return Promise.resolve({
          record: encodeRecord(record),
          chunk: (n) =>
            Promise.resolve({
              bytes: payload.subarray(n * 8192, (n + 1) * 8192),
              path: chunks.inclusion(n),
            }),
        });
      },
    };
  }
}

/** The log of the vectors: two puts, of which the first was pruned. */
export async function vectorLog(): Promise<SampleLog> {
  const log = await SampleLog.begin();
  log.put({ txId: "a", holderId: "alice", timestamp: 1464307123 }, hello);
  log.put({ txId: "b", holderId: "", timestamp: -0 }, large);
  log.remove(1);
  return log;
}

export const policy = policyOf(VKEY);

/** All pieces of a stream of text, as one. */
export async function textOf(lines: AsyncIterable<string>): Promise<string> {
  let text = "";
  for await (const line of lines) text += line;
  return text;
}
