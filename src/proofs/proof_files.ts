/**
 * Proofs as files: that an entry is in a log (C2SP tlog-proof), and that a log
 * continues what it was.
 *
 * @module
 */

import { type Checkpoint, parseCheckpoint } from "./checkpoint.ts";
import { hashPayload } from "./chunk_tree.ts";
import {
  boundedText,
  fromBase64,
  hashFromBase64,
  isEqual,
  joined,
  numberFrom,
  toBase64,
  toHex,
} from "./encoding.ts";
import {
  encodeEntry,
  encodeRecord,
  parseEntry,
  parseRecord,
  type PutEntry,
  sealOf,
  type TxRecord,
} from "./entry.ts";
import { isConsistent, leafHash, rootOfInclusion } from "./merkle.ts";
import {
  openCheckpoint,
  type Policy,
  type SignedCheckpoint,
} from "./policy.ts";
import { malformed, refuted } from "./proof_error.ts";

/** First line of an inclusion proof. */
export const INCLUSION_PROOF = "c2sp.org/tlog-proof@v1";
/** First line of a consistency proof. */
export const CONSISTENCY_PROOF = "poh-storage/consistency/v1";

/** A path has at most this many hashes: sizes are below 2^53. */
export const MAX_PATH = 53;
const ENTRY = 43;

/** That a put is in a log, as it is written; nothing of it is checked. */
export interface InclusionProof {
  /** The entry. */
  readonly entry: PutEntry;
  /** What its seal stands for. */
  readonly record: TxRecord;
  /** Which entry it is, from 0. */
  readonly index: number;
  /** Hashes from the leaf's sibling to the child of the root. */
  readonly path: readonly Uint8Array[];
  /** The checkpoint, a signed note. */
  readonly checkpoint: string;
}

/** An inclusion proof as a file. Its `extra` line holds the entry and the record. */
export function formatInclusionProof(proof: InclusionProof): string {
  const extra = joined([encodeEntry(proof.entry), encodeRecord(proof.record)]);
  return [
    INCLUSION_PROOF,
    `extra ${toBase64(extra)}`,
    `index ${proof.index}`,
    ...proof.path.map(toBase64),
    "",
    proof.checkpoint,
  ].join("\n");
}

/**
 * Reads an inclusion proof without checking it.
 *
 * @throws {ProofError} Code `TLOG_FORMAT`.
 */
export function parseInclusionProof(file: string | Uint8Array): InclusionProof {
  const { lines: [first, extra, index, ...path], checkpoint } = partsOf(file);
  if (first !== INCLUSION_PROOF || !extra || !index) {
    throw malformed(
      "proof",
      "An inclusion proof has three lines before its path",
    );
  }
  const bytes = fromBase64(afterWord("extra", extra), "extra");
  const entry = parseEntry(bytes.subarray(0, ENTRY));
  if (entry.kind !== "put") {
    throw malformed(
      "entry",
      "An inclusion proof is of an entry that is no put",
    );
  }
  return {
    entry,
    record: parseRecord(bytes.subarray(ENTRY)),
    index: numberFrom(afterWord("index", index), "index"),
    path: pathOf(path),
    checkpoint,
  };
}

/** The lines before the first empty one, and what comes after it. */
function partsOf(file: string | Uint8Array) {
  const text = boundedText(file, "proof");
  const end = text.indexOf("\n\n");
  if (end < 0) throw malformed("proof", "A proof has no checkpoint");
  return {
    lines: text.slice(0, end).split("\n"),
    checkpoint: text.slice(end + 2),
  };
}

function afterWord(word: string, line: string): string {
  if (line.startsWith(`${word} `)) return line.slice(word.length + 1);
  throw malformed("proof", `A line of a proof should begin with ${word}`);
}

function pathOf(lines: readonly string[]): Uint8Array[] {
  if (lines.length > MAX_PATH) throw malformed("path", "A path is too long");
  return lines.map((line) => hashFromBase64(line, "path"));
}

/** What an inclusion proof proves. */
export interface ProvenInclusion {
  /** The transaction, as the log's owner committed to it. */
  readonly record: TxRecord;
  /** The entry. */
  readonly entry: PutEntry;
  /** Which entry it is. */
  readonly index: number;
  /** The checkpoint that covers it. */
  readonly checkpoint: SignedCheckpoint;
}

/**
 * Checks an inclusion proof: the log has committed to this id, holder, time, size
 * and digest. It does not say that the time is true, nor that the transaction is
 * still current, nor that its bytes are still there.
 *
 * @param file The file.
 * @param policy Whose checkpoints are believed.
 * @param payload Also held against size and digest, where it is given.
 * @throws {ProofError} `at` names the step that failed: `"proof"`, `"extra"`,
 * `"entry"`, `"record"`, `"index"`, `"path"`, `"note"`, `"signature"`,
 * `"checkpoint"`, `"origin"`, `"quorum"`, `"seal"`, `"root"` or `"payload"`.
 *
 * @example Usage
 * ```ts
 * import {
 *   checkInclusion,
 *   encodeEntry,
 *   encodeRecord,
 *   formatCheckpoint,
 *   formatInclusionProof,
 *   generateKey,
 *   hashPayload,
 *   leafHash,
 *   MerkleTree,
 *   policyOf,
 *   sealOf,
 *   signerOf,
 *   signNote,
 * } from "@poh/storage/proofs";
 * import { assertEquals } from "@std/assert";
 *
 * // The node: seals what it saved, puts it into its tree, and signs the root.
 * const origin = "node7.example/poh";
 * const { privateKey, vkey } = await generateKey(origin);
 * const payload = new TextEncoder().encode("hello");
 * const record = {
 *   ...hashPayload(payload),
 *   salt: crypto.getRandomValues(new Uint8Array(16)),
 *   txId: "a",
 *   holderId: "alice",
 *   timestamp: 1464307123,
 * };
 * const seal = sealOf(encodeRecord(record));
 * const entry = { kind: "put", reason: "saved", prev: null, seal } as const;
 * const begin = { kind: "begin", storeId: "7", origin, predecessor: null } as const;
 * const tree = new MerkleTree([begin, entry].map((e) => leafHash(encodeEntry(e))));
 * const checkpoint = await signNote(
 *   formatCheckpoint({ origin, size: 2, root: tree.root() }),
 *   [await signerOf(privateKey)],
 * );
 * const path = tree.inclusion(1);
 * const file = formatInclusionProof({ entry, record, index: 1, path, checkpoint });
 *
 * // The counterparty: has the file, the payload and the key, and nothing else.
 * const proven = await checkInclusion(file, policyOf(vkey), payload);
 * assertEquals(proven.record.holderId, "alice");
 * ```
 */
export async function checkInclusion(
  file: string | Uint8Array,
  policy: Policy,
  payload?: Uint8Array,
): Promise<ProvenInclusion> {
  const proof = parseInclusionProof(file);
  const { entry, record, index, path } = proof;
  const checkpoint = await openCheckpoint(proof.checkpoint, policy);
  if (!isEqual(entry.seal, sealOf(encodeRecord(record)))) {
    throw refuted(
      "seal",
      "The record is not what the entry has under its seal",
    );
  }
  demandIncluded(encodeEntry(entry), index, path, checkpoint);
  if (payload) demandPayload(payload, record);
  return { record, entry, index, checkpoint };
}

/** Demands that an entry is in the tree of a checkpoint. */
export function demandIncluded(
  entry: Uint8Array,
  index: number,
  path: readonly Uint8Array[],
  checkpoint: Checkpoint,
): void {
  const root = rootOfInclusion(leafHash(entry), index, checkpoint.size, path);
  if (isEqual(root, checkpoint.root)) return;
  throw refuted(
    "root",
    `Entry ${index} leads to the root ${toBase64(root)}, not to that of the ` +
      `checkpoint, ${toBase64(checkpoint.root)}`,
  );
}

/** Demands that a payload is the one of a record. */
function demandPayload(payload: Uint8Array, record: TxRecord): void {
  const { size, digest } = hashPayload(payload);
  if (size === record.size && isEqual(digest, record.digest)) return;
  throw refuted(
    "payload",
    `The payload has ${size} bytes and SHA-256 ${toHex(digest)}, the record ` +
      `${record.size} and ${toHex(record.digest)}`,
  );
}

/** That a log continues what it was, as it is written; nothing of it is checked. */
export interface ConsistencyProof {
  /** How many entries it had. */
  readonly oldSize: number;
  /** The root it had. */
  readonly oldRoot: Uint8Array;
  /** The path of RFC 9162. */
  readonly path: readonly Uint8Array[];
  /** The newer checkpoint, a signed note. */
  readonly checkpoint: string;
}

/** A consistency proof as a file. */
export function formatConsistencyProof(proof: ConsistencyProof): string {
  return [
    CONSISTENCY_PROOF,
    `old ${proof.oldSize} ${toBase64(proof.oldRoot)}`,
    ...proof.path.map(toBase64),
    "",
    proof.checkpoint,
  ].join("\n");
}

/**
 * Reads a consistency proof without checking it.
 *
 * @throws {ProofError} Code `TLOG_FORMAT`.
 */
export function parseConsistencyProof(
  file: string | Uint8Array,
): ConsistencyProof {
  const { lines: [first, old, ...path], checkpoint } = partsOf(file);
  if (first !== CONSISTENCY_PROOF || !old) {
    throw malformed("proof", "A consistency proof names what the log was");
  }
  const [size, root, ...more] = afterWord("old", old).split(" ");
  if (root === undefined || more.length > 0) {
    throw malformed("proof", "A consistency proof names an old size and root");
  }
  return {
    oldSize: numberFrom(size!, "old"),
    oldRoot: hashFromBase64(root, "old"),
    path: pathOf(path),
    checkpoint,
  };
}

/** What a consistency proof proves. */
export interface ProvenConsistency {
  /** The older size and root: hold them against the checkpoint that was kept. */
  readonly old: Omit<Checkpoint, "origin">;
  /** The newer checkpoint. */
  readonly checkpoint: SignedCheckpoint;
}

/**
 * Checks a consistency proof: the entries of the older tree are the first of the
 * newer one. Pass the checkpoint that was kept: the file itself says only what its
 * maker calls old.
 *
 * @param kept The older checkpoint, as its note or without its signatures.
 * @throws {ProofError} `at` names the step: as for `checkInclusion`, and `"old"`:
 * the file begins elsewhere than the checkpoint that was kept.
 */
export async function checkConsistency(
  file: string | Uint8Array,
  policy: Policy,
  kept?: Checkpoint | string | Uint8Array,
): Promise<ProvenConsistency> {
  const { oldSize, oldRoot, path, checkpoint: note } = parseConsistencyProof(
    file,
  );
  const checkpoint = await openCheckpoint(note, policy);
  const old = typeof kept === "string" || kept instanceof Uint8Array
    ? await openCheckpoint(kept, { ...policy, quorum: null })
    : kept;
  if (
    old && (old.origin !== checkpoint.origin || old.size !== oldSize ||
      !isEqual(old.root, oldRoot))
  ) {
    throw refuted(
      "old",
      "The proof does not begin at the checkpoint that was kept",
    );
  }
  if (!isConsistent(oldSize, oldRoot, checkpoint.size, checkpoint.root, path)) {
    throw refuted(
      "path",
      `The log of ${checkpoint.size} entries does not continue that of ${oldSize}`,
    );
  }
  return { old: { size: oldSize, root: oldRoot }, checkpoint };
}

/** What a file is, by its first line; null for none of these. */
export type ProofKind =
  | "inclusion"
  | "consistency"
  | "holding"
  | "possession"
  | "checkpoint";

/** Tells what kind of proof a file is, by its beginning. */
export function proofKind(beginning: string): ProofKind | null {
  const [line] = beginning.split("\n", 1);
  if (line === INCLUSION_PROOF) return "inclusion";
  if (line === CONSISTENCY_PROOF) return "consistency";
  if (line === "poh-storage/possession/v1") return "possession";
  if (line!.startsWith("{")) return "holding";
  try {
    parseCheckpoint(beginning.slice(0, beginning.indexOf("\n\n") + 1));
    return "checkpoint";
  } catch {
    return null;
  }
}
