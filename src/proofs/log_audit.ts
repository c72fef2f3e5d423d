/**
 * Whether entries are a log: by what everybody may read, without a key.
 *
 * @module
 */

import { isEqual, toBase64 } from "./encoding.ts";
import { type BeginEntry, type LogEntry, parseEntry } from "./entry.ts";
import { fold, leafHash, nodeHash } from "./merkle.ts";
import { malformed, refuted } from "./proof_error.ts";

/** What an audit needs to go on later: a bit for each entry, and some hashes. */
export interface LogAuditState {
  /** How many entries it has taken. */
  readonly size: number;
  /** Bit n of byte n / 8: whether entry n is live. */
  readonly live: Uint8Array;
  /** Hashes over whole subtrees, from left to right. */
  readonly subtrees: readonly Uint8Array[];
  /** The first entry. */
  readonly begin: Uint8Array;
}

/**
 * Takes the entries of a log from the first to the last. What it accepts begins
 * with the one entry that may begin a log, and each put ends once at most. It keeps a
 * bit for each entry.
 *
 * @example Usage
 * ```ts
 * import { encodeEntry, LogAudit } from "@poh/storage/proofs";
 * import { assertEquals } from "@std/assert";
 *
 * const log = new LogAudit();
 * log.add(encodeEntry({
 *   kind: "begin",
 *   storeId: "7",
 *   origin: "node7.example/poh",
 *   predecessor: null,
 * }));
 * const seal = new Uint8Array(32);
 * log.add(encodeEntry({ kind: "put", reason: "saved", prev: null, seal }));
 * log.add(encodeEntry({ kind: "put", reason: "saved", prev: 1, seal }));
 * assertEquals([...log.live()], [2]);
 * ```
 */
export class LogAudit {
  /** A bit for each entry: whether it is a put that no later entry ended. */
  #bits = new Uint8Array(1024);
  /** Hashes over whole subtrees, from left to right, each larger than the next. */
  #subtrees: Uint8Array[] = [];
  #size = 0;
  #liveCount = 0;
  #carriedOver = 0;
  #begin: { bytes: Uint8Array; entry: BeginEntry } | null = null;

  /** Begins anew, or goes on from where another one was; see {@linkcode state}. */
  constructor(state?: LogAuditState) {
    if (!state) return;
    const { size, live, subtrees, begin } = state;
    const isOdd = !Number.isSafeInteger(size) || size < 1 ||
      live.length !== Math.ceil(size / 8) ||
      live.at(-1)! >>> (size % 8 || 8) !== 0 ||
      subtrees.length !== countOnes(size) ||
      subtrees.some(({ length }) => length !== 32);
    const first = parseEntry(begin);
    if (isOdd || first.kind !== "begin") {
      throw malformed("state", "The state of an audit is malformed");
    }
    this.#size = size;
    this.#bits = live.slice();
    this.#subtrees = [...subtrees];
    this.#begin = { bytes: begin, entry: first };
    for (const byte of live) this.#liveCount += countOnes(byte);
  }

  /** What it takes to go on later; null before the first entry. */
  state(): LogAuditState | null {
    if (!this.#begin) return null;
    return {
      size: this.#size,
      live: this.#bits.slice(0, Math.ceil(this.#size / 8)),
      subtrees: [...this.#subtrees],
      begin: this.#begin.bytes,
    };
  }

  /** How many entries it has taken. */
  get size(): number {
    return this.#size;
  }

  /** How many of them are live. */
  get liveCount(): number {
    return this.#liveCount;
  }

  /**
   * How many puts were carried over from a predecessor; not counted by an audit
   * that goes on.
   */
  get carriedOver(): number {
    return this.#carriedOver;
  }

  /** The first entry; null before it came. */
  get begin(): BeginEntry | null {
    return this.#begin?.entry ?? null;
  }

  /** Root over all entries so far. */
  root(): Uint8Array {
    return fold(this.#subtrees);
  }

  /** Whether an entry is a put that none after it has ended. */
  isLive(index: number): boolean {
    return index < this.#size &&
      (this.#bits[Math.floor(index / 8)]! >>> index % 8 & 1) === 1;
  }

  /** Indexes of the live entries, ascending. */
  *live(): Generator<number> {
    for (let index = 0; index < this.#size; index++) {
      if (this.isLive(index)) yield index;
    }
  }

  /**
   * Takes the next entry.
   *
   * @returns The entry.
   * @throws {ProofError} Step `"entry"` or `"prev"`; it has taken nothing then.
   */
  add(bytes: Uint8Array): LogEntry {
    const index = this.#size;
    const entry = parseEntry(bytes);
    if ((entry.kind === "begin") !== (index === 0)) {
      throw malformed("entry", `Entry ${index} is of kind ${entry.kind}`);
    }
    if (entry.kind === "begin") this.#begin = { bytes: bytes.slice(), entry };
    else if (entry.prev !== null) this.#end(index, entry.prev);
    if (entry.kind === "put") {
      this.#mark(index);
      if (entry.reason === "carried-over") this.#carriedOver++;
    }
    this.#append(leafHash(bytes));
    return entry;
  }

  /**
   * Demands that the entries so far are those that a checkpoint stands for.
   *
   * @throws {ProofError} Step `"size"`, `"origin"` or `"root"`.
   */
  demand(checkpoint: { origin: string; size: number; root: Uint8Array }): void {
    if (this.#size !== checkpoint.size) {
      throw refuted(
        "size",
        `There are ${this.#size} entries, the checkpoint has ${checkpoint.size}`,
      );
    }
    if (this.#begin && this.#begin.entry.origin !== checkpoint.origin) {
      throw refuted("origin", "The log began under another origin");
    }
    if (isEqual(this.root(), checkpoint.root)) return;
    throw refuted(
      "root",
      `The root over the entries is ${toBase64(this.root())}, that of the ` +
        `checkpoint ${toBase64(checkpoint.root)}`,
    );
  }

  /** Ends the put that an entry names. */
  #end(index: number, prev: number): void {
    if (prev >= index || !this.isLive(prev)) {
      throw refuted(
        "prev",
        `Entry ${index} ends ${prev}, which is no live put`,
      );
    }
    this.#bits[Math.floor(prev / 8)]! &= ~(1 << prev % 8);
    this.#liveCount--;
  }

  #mark(index: number): void {
    const byte = Math.floor(index / 8);
    if (byte >= this.#bits.length) {
      const bits = new Uint8Array(Math.max(1024, this.#bits.length * 2));
      bits.set(this.#bits);
      this.#bits = bits;
    }
    this.#bits[byte]! |= 1 << index % 8;
    this.#liveCount++;
  }

  #append(leaf: Uint8Array): void {
    let hash = leaf;
    for (let n = this.#size; n % 2 === 1; n = Math.floor(n / 2)) {
      hash = nodeHash(this.#subtrees.pop()!, hash);
    }
    this.#subtrees.push(hash);
    this.#size++;
  }
}

/** How many ones a number has in binary; it may be above 2^32. */
function countOnes(number: number): number {
  let ones = 0;
  for (let rest = number; rest > 0; rest = Math.floor(rest / 2)) {
    ones += rest % 2;
  }
  return ones;
}
