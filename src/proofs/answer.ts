/**
 * Makes the answer to a challenge: lines of JSON, signed at their end.
 *
 * @module
 */

import {
  type Challenge,
  challengeJson,
  drawChunks,
  drawEntries,
} from "./challenge.ts";
import { chunkCount } from "./chunk_tree.ts";
import { toBase64, utf8 } from "./encoding.ts";
import { parseRecord } from "./entry.ts";
import type { Signer } from "./keys.ts";
import { signNote } from "./note.ts";
import { Sha256 } from "./sha256_short.ts";

const MAGIC = "poh-storage/holding/v1\n";

/** Why a node cannot show a payload. */
export type HoldingFault = "missing" | "damaged" | "unreadable";

/** An entry, and its path to the root of a checkpoint. */
export interface PlacedEntry {
  /** Which entry it is. */
  readonly index: number;
  /** Its bytes. */
  readonly entry: Uint8Array;
  /** Hashes from the leaf's sibling to the child of the root. */
  readonly path: readonly Uint8Array[];
}

/** What a node has of an entry. */
export type Held =
  /** The put is live: its record, and a way to its chunks. */
  | {
    readonly record: Uint8Array;
    chunk(
      n: number,
    ): Promise<{ bytes: Uint8Array; path: readonly Uint8Array[] }>;
  }
  /** The put ended: the entry that says so. */
  | { readonly ended: PlacedEntry }
  /** The put is live, and its payload cannot be shown. */
  | { readonly fault: HoldingFault }
  /** It is no put. */
  | null;

/** A log and its payloads, as an answer is made from them. */
export interface HoldingSource {
  /** The checkpoint that the answer is under, a signed note. */
  readonly checkpoint: string;
  /** The path from the challenge's size to that of the checkpoint; empty if equal. */
  readonly consistency: readonly Uint8Array[];
  /** An entry, with its path under that checkpoint. */
  entry(index: number): Promise<PlacedEntry>;
  /** What is there of it. */
  held(index: number): Promise<Held>;
}

const placed = ({ index, entry, path }: PlacedEntry) => ({
  index,
  entry: toBase64(entry),
  path: path.map(toBase64),
});

/**
 * Answers a challenge, line by line. Each entry that is drawn has one line, however
 * often it was drawn.
 */
export async function* answerChallenge(
  challenge: Challenge,
  source: HoldingSource,
  signer: Signer,
): AsyncGenerator<string> {
  const hash = new Sha256();
  const line = (value: unknown): string => {
    const text = `${JSON.stringify(value)}\n`;
    hash.update(utf8(text, "answer"));
    return text;
  };
  yield line({
    challenge: challengeJson(challenge),
    checkpoint: source.checkpoint,
    consistency: source.consistency.map(toBase64),
  });
  for (const index of new Set(drawEntries(challenge))) {
    const entry = placed(await source.entry(index));
    const held = await source.held(index);
    if (held === null) yield line(entry);
    else if ("ended" in held) {
      yield line({ ...entry, ended: placed(held.ended) });
    } else if ("fault" in held) yield line({ ...entry, fault: held.fault });
    else {
      const { size } = parseRecord(held.record);
      const chunks = [];
      for (const n of drawChunks(challenge, index, chunkCount(size))) {
        const { bytes, path } = await held.chunk(n);
        chunks.push({ n, bytes: toBase64(bytes), path: path.map(toBase64) });
      }
      yield line({ ...entry, record: toBase64(held.record), chunks });
    }
  }
  const text = signedText(challenge, hash.digest());
  const signature = await signNote(text, [signer]);
  yield `${JSON.stringify({ signature })}\n`;
}

/** The text that is signed at the end of an answer. */
export function signedText(challenge: Challenge, digest: Uint8Array): string {
  const { origin, size, root, nonce } = challenge;
  return `${MAGIC}${origin}\n${size} ${toBase64(root)}\n${toBase64(nonce)}\n` +
    `${toBase64(digest)}\n`;
}
