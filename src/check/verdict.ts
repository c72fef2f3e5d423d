/**
 * What a row and its payload, held against each other, come to.
 *
 * @module
 */

import type { TxInfo } from "../types.ts";

/** What a payload is found to be, and how many bytes were read of it. */
export type Verdict =
  | { kind: "sound"; size: number }
  | {
    kind: "size-mismatch" | "payload-missing" | "payload-corrupt";
    size: number;
    /** SHA-256 of what is there, in hex; null when nothing is. */
    found: string | null;
  }
  | { kind: "unreadable"; size: number; found: null; reason: string };

/** Of a store on this machine also what is damaged around a sound payload. */
export type LocalVerdict =
  | Verdict
  | { kind: "row-damaged" | "log-damaged"; size: number; found: string };

/** Any but that it is sound. */
export type BadVerdict = Exclude<Verdict, { kind: "sound" }>;

/** Any but that it is sound, of a store on this machine. */
export type BadLocalVerdict = Exclude<LocalVerdict, { kind: "sound" }>;

/** Hex digits of a digest that damage to a row may have changed. */
const CHANGED_DIGITS = 2;

/**
 * Whether two digests are one, of which damage has changed a digit or two: no
 * two payloads have digests that are so near to each other.
 */
export function isSameButDamaged(inRow: string, found: string): boolean {
  if (inRow.length !== found.length) return false;
  const changed = Array.from(found).filter((digit, n) => digit !== inRow[n]);
  return changed.length <= CHANGED_DIGITS;
}

/** What cannot be read is neither sound nor damaged. */
export function unreadable({ message, cause }: Error): BadVerdict {
  const reason = cause instanceof Error ? cause.message : message;
  return { kind: "unreadable", size: 0, found: null, reason };
}

/** What two readings agree on that is not the payload of a row. */
export function damaged(
  { storageHash }: TxInfo,
  there: { digest: string; size: number } | null,
): BadLocalVerdict {
  if (there === null) return { kind: "payload-missing", size: 0, found: null };
  const { digest: found, size } = there;
  return isSameButDamaged(storageHash, found)
    ? { kind: "row-damaged", size, found }
    : { kind: "payload-corrupt", size, found };
}

/** A verdict in words. */
export function describe(verdict: BadLocalVerdict, info: TxInfo): string {
  switch (verdict.kind) {
    case "payload-missing":
      return "its payload is missing";
    case "payload-corrupt":
      return "its payload does not have the digest that its row promises";
    case "size-mismatch":
      return `its payload is sound and has ${verdict.size} bytes, its row says ${info.size}`;
    case "row-damaged":
      return `its payload has SHA-256 ${verdict.found}: a digest as near to that of its row is the same, and the row is damaged`;
    case "log-damaged":
      return "the record around its payload is damaged, the payload is sound";
    case "unreadable":
      return `its payload cannot be read: ${verdict.reason}`;
  }
}
