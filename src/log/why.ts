/**
 * Why a change was made, where that is not what it looks like: the tree over the
 * records tells it, rows and files do not depend on it.
 *
 * @module
 */

import type { LogEntry } from "./record.ts";

/** Type of the extension: one byte, the number of a reason. */
const WHY = 3;

/**
 * Reasons, and their numbers on disk: `pruned` and `damaged` of a removal, where
 * others were asked for; `restored` of a put that comes back from quarantine.
 */
const NUMBERS = { pruned: 1, damaged: 2, restored: 3 };

/** Why a change was made. */
export type Why = keyof typeof NUMBERS;

/** A change that tells why it is made. */
export function because(entry: LogEntry, why: Why): LogEntry {
  const bytes = Uint8Array.of(NUMBERS[why]);
  const extensions = [...without(entry), { type: WHY, bytes }];
  return { ...entry, extensions };
}

/**
 * A put that leaves the transaction as it was: it brings the payload elsewhere, or
 * mends it.
 */
export function moving(entry: LogEntry): LogEntry {
  return { ...entry, extensions: without(entry), isMoved: true };
}

function without({ extensions = [] }: LogEntry) {
  return extensions.filter(({ type }) => type !== WHY);
}

/** Why a change was made; null where it does not tell. */
export function whyOf({ extensions }: LogEntry): Why | null {
  const told = extensions?.find(({ type }) => type === WHY)?.bytes[0];
  const names = Object.keys(NUMBERS) as Why[];
  return names.find((why) => NUMBERS[why] === told) ?? null;
}
