/**
 * Looks for the older Python package at work on a store. It takes no lock that
 * could be asked for, so that its traces have to tell.
 *
 * @module
 */

import { join } from "@std/path";
import { removeFileSync } from "../files/durable_fs.ts";
import { tmpPath } from "../files/layout.ts";
import { StoreBusyError } from "../errors.ts";
import { payloadPlaces } from "../payloads/payload_layout.ts";
import type { LockWait } from "../options.ts";
import { pauseFor, waitFor } from "../async/wait_for.ts";
import { COMPANIONS } from "../sqlite/database_file.ts";

/** How long to wait for who reads from the database, in ms. */
const PATIENCE = 1_000;

/**
 * Makes sure that no other process has the database open, as far as the system
 * tells: Linux does, to a program that may read `/proc`.
 *
 * @throws {StoreBusyError} If one has.
 */
export async function requireUnopened(
  db: string,
  wait: LockWait,
): Promise<void> {
  const path = Deno.realPathSync(db);
  let pids: number[] = [];
  await waitFor(
    async () => {
      pids = await processesWith(path);
      return pids.length === 0 || null;
    },
    { ...wait, lockTimeout: Math.min(PATIENCE, wait.lockTimeout ?? PATIENCE) },
    () =>
      new StoreBusyError(
        `The database ${db} is open in another program (pid ${
          pids.join(", ")
        }): stop it, then try again`,
        [],
      ),
  );
}

async function processesWith(path: string): Promise<number[]> {
  if (Deno.build.os !== "linux") return [];
  const { state } = await Deno.permissions.query({ name: "read" });
  if (state !== "granted") return [];
  const pids: number[] = [];
  for (const { name } of listed("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === Deno.pid) continue;
    const files = listed(`/proc/${pid}/fd`);
    if (files.some(({ name }) => target(`/proc/${pid}/fd/${name}`) === path)) {
      pids.push(pid);
    }
  }
  return pids;
}

/** Nothing of what is another user's, or has ended. */
function listed(dir: string): Deno.DirEntry[] {
  try {
    return [...Deno.readDirSync(dir)];
  } catch {
    return [];
  }
}

function target(link: string): string | null {
  try {
    return Deno.readLinkSync(link);
  } catch {
    return null;
  }
}

/**
 * Makes sure that nobody has changed the database or a payload file for some
 * time. Where the newest change is younger than that, a second look tells.
 *
 * @throws {StoreBusyError} If somebody changes them.
 */
export async function requireQuiet(
  base: string,
  db: string,
  quiet: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const before = await look(base, db);
  if (before.newest < timeOfDisk(base) - quiet) return;
  await pauseFor(quiet);
  signal?.throwIfAborted();
  const after = await look(base, db);
  if (JSON.stringify(before) === JSON.stringify(after)) return;
  throw new StoreBusyError(
    `Another program is changing the store at ${base}: stop the older Python package, then try again`,
    [],
  );
}

/** What changes when the package saves or removes anything. */
interface Look {
  database: (number | null)[];
  files: number;
  bytes: number;
  /** When a file was last changed, in ms. */
  newest: number;
}

async function look(base: string, db: string): Promise<Look> {
  const seen: Look = { database: [], files: 0, bytes: 0, newest: 0 };
  const newer = (info: Deno.FileInfo | null) => {
    seen.newest = Math.max(seen.newest, info?.mtime?.getTime() ?? 0);
  };
  for (const suffix of ["", ...COMPANIONS]) {
    const info = statOf(db + suffix);
    seen.database.push(info?.mtime?.getTime() ?? null, info?.size ?? null);
    newer(info);
  }
  for await (const place of payloadPlaces(base)) {
    const info = statOf(join(base, place));
    seen.files++;
    seen.bytes += info?.size ?? 0;
    newer(info);
  }
  return seen;
}

/** Now, by the clock that the file system uses, which may be another machine's. */
function timeOfDisk(base: string): number {
  const path = join(tmpPath(base), crypto.randomUUID());
  Deno.writeFileSync(path, new Uint8Array(), { createNew: true });
  try {
    return statOf(path)?.mtime?.getTime() ?? Date.now();
  } finally {
    removeFileSync(path);
  }
}

function statOf(path: string): Deno.FileInfo | null {
  try {
    return Deno.statSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
