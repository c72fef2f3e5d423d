/**
 * What an operator might want to look at in a store that works.
 *
 * @module
 */

import { join } from "@std/path";
import type { Hint, StoreDescription } from "../model/store_description.ts";
import type { Database } from "../sqlite/database.ts";
import { countTxs } from "../sqlite/tx_counts.ts";
import { SCHEMA_VERSION } from "../sqlite/schema.ts";
import { looksLikeMilliseconds } from "../tx.ts";

/** Timestamps ahead of the clock by less than this, in seconds, are usual. */
const USUAL_SKEW = 300;

/** The first version of SQLite without the WAL-reset defect. */
const MENDED = [3, 51, 3];

type Facts = Omit<StoreDescription, "hints">;

/** The hints for a store. */
export async function hintsOf(
  facts: Facts,
  rows: Database,
): Promise<Hint[]> {
  const found: [Hint["code"], string | null][] = [
    ["ffi", ffi(facts)],
    ["sqlite-wal-reset", walReset(facts)],
    ["schema", schema(facts)],
    ...permissions(facts).map((message): [Hint["code"], string] => [
      "permissions",
      message,
    ]),
    ["clock", await clock(facts, rows)],
    ["unfinished", unfinished(facts)],
  ];
  return found.flatMap(([code, message]) =>
    message === null ? [] : [{ code, message }]
  );
}

/** Who names no library does without FFI, and lacks nothing. */
function ffi({ driver }: Facts): string | null {
  return driver.fallbackReason === undefined || !namesLibrary()
    ? null
    : `The built-in SQLite is used, since the FFI binding cannot be: ${driver.fallbackReason}`;
}

function namesLibrary(): boolean {
  const variable = "DENO_SQLITE_PATH";
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return state === "granted" && Boolean(Deno.env.get(variable));
}

function walReset({ driver }: Facts): string | null {
  if (!isBelow(driver.sqliteVersion, MENDED)) return null;
  return `SQLite ${driver.sqliteVersion} can corrupt a database that two processes write and checkpoint at the same instant (mended in ${
    MENDED.join(".")
  }): poh-storage keeps its own processes from it by a lock, which other programs do not take`;
}

/** Whether a version such as `3.46.0` is an earlier one. */
export function isBelow(version: string, least: readonly number[]): boolean {
  const parts = version.split(".").map(Number);
  const at = least.findIndex((part, n) => (parts[n] ?? 0) !== part);
  return at >= 0 && (parts[at] ?? 0) < least[at]!;
}

function schema(
  { schemaVersion }: Facts,
): string | null {
  if (schemaVersion >= SCHEMA_VERSION) return null;
  return `The schema has version ${schemaVersion}: the first command that writes brings it to ${SCHEMA_VERSION}; until then queries are slower`;
}

function permissions({ base, db }: Facts): string[] {
  // What Windows gives for modes and owners says nothing of its rights.
  if (Deno.build.os === "windows") return [];
  const messages: string[] = [];
  const owner = statOf(base)?.uid ?? null;
  const paths = [base, join(base, ".poh"), db, `${db}-wal`, `${db}-shm`];
  for (const path of paths) {
    const info = statOf(path);
    if (info === null || info.mode === null) continue;
    if (info.mode & 0o002) {
      messages.push(
        `Everybody on this system may change ${path}: chmod o-w takes that away`,
      );
    }
    if ((info.mode & 0o200) === 0) {
      messages.push(
        `The owner of ${path} may not change it: writers will fail until chmod u+w`,
      );
    }
    if (owner !== null && info.uid !== owner) {
      messages.push(
        `${path} belongs to user ${info.uid}, ${base} to user ${owner}: what runs as one of them may fail on what the other made`,
      );
    }
  }
  return messages;
}

function statOf(path: string): Deno.FileInfo | null {
  try {
    return Deno.statSync(path);
  } catch {
    return null; // what is not there, or not to be seen, gives no hint
  }
}

async function clock(
  { newest }: Facts,
  rows: Database,
): Promise<string | null> {
  const latest = Date.now() / 1000 + USUAL_SKEW;
  if (newest === null || newest < latest) return null;
  const count = await countTxs(rows, { since: latest });
  return `${count} ${
    count === 1 ? "transaction has a timestamp" : "transactions have timestamps"
  } in the future: ${
    looksLikeMilliseconds(newest)
      ? "they look like milliseconds, timestamps are seconds"
      : "a clock was wrong, here or where they came from"
  }`;
}

/** Beside a writer it is the usual course of things. */
function unfinished({ pending, writers }: Facts): string | null {
  if (pending === 0 || writers.length > 0) return null;
  return `A crash left up to ${pending} changes half-done: recover, or the next command that writes, finishes them`;
}
