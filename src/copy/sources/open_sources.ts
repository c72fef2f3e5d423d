/**
 * From the names of sources to open ones.
 *
 * @module
 */

import { resolve } from "@std/path";
import type { CheckOptions } from "../../check/check.ts";
import { PohStorageError } from "../../errors.ts";
import { isBucket, isRemote } from "../../remote_url.ts";
import type { DriverChoice } from "../../model/driver_info.ts";
import type { HealSource } from "../../check/source.ts";
import { Sources } from "../../check/sources.ts";

/** What to heal from, and how to open it. */
export interface HealOptions
  extends Pick<CheckOptions, "from" | "fromToken" | "signal"> {
  /** Which SQLite binding opens the databases of sources; default `"auto"`. */
  driver?: DriverChoice;
}

/** A source by the parts of its name. */
export type SourceName =
  | { kind: "node"; url: string }
  | { kind: "path"; path: string }
  | { kind: "store"; base: string; db: string | null };

/** Tells what kind of source a name is of; looks at no file. */
export function parseSource(name: string): SourceName {
  if (/^https?:\/\//i.test(name)) return { kind: "node", url: name };
  const server = name.search(/,postgres(ql)?:\/\//i);
  const comma = server >= 0 ? server : name.lastIndexOf(",");
  if (comma > 0 && comma < name.length - 1) {
    const base = name.slice(0, comma), db = name.slice(comma + 1);
    return { kind: "store", base, db };
  }
  return isBucket(name)
    ? { kind: "store", base: name, db: null }
    : { kind: "path", path: name };
}

/** {@linkcode parseSource}, but for what is a path although it has a comma. */
export async function kindOfSource(name: string): Promise<SourceName> {
  return await isThere(name) ? { kind: "path", path: name } : parseSource(name);
}

/**
 * Opens what a store is to be healed from; null when nothing is named. All of
 * them, or none.
 *
 * @param base The store's own base, which is no source.
 * @throws {PohStorageError} `NO_SOURCE` if one cannot be opened.
 */
export async function openSources(
  { from = [], fromToken, driver = "auto", signal }: HealOptions,
  base: string,
): Promise<Sources | null> {
  const names = typeof from === "string" ? [from] : from;
  if (names.length === 0) return null;
  await using opened = new AsyncDisposableStack();
  const sources: HealSource[] = [];
  for (const name of names) {
    const source = await open(name, base, driver, {
      ...(fromToken !== undefined && { fromToken }),
      signal: signal ?? new AbortController().signal,
    });
    sources.push(opened.use(source));
  }
  opened.move(); // they stay open
  return new Sources(sources);
}

async function open(
  given: string,
  base: string,
  driver: DriverChoice,
  { fromToken, signal }: {
    fromToken?: HealOptions["fromToken"];
    signal: AbortSignal;
  },
): Promise<HealSource> {
  const parsed = await kindOfSource(given);
  const name = withoutPassword(given);
  if (parsed.kind === "node") {
    const { NodeSource } = await import("./node_source.ts");
    const { url } = parsed;
    const token = typeof fromToken === "object" ? fromToken[url] : fromToken;
    return await NodeSource.open(url, token, signal);
  }
  if (parsed.kind === "store") requireOther(name, parsed.base, base);
  if (parsed.kind === "store" && isRemote(parsed.base, parsed.db ?? "")) {
    const { SharedSource } = await import("./shared_source.ts");
    return await SharedSource.open(name, parsed.base, parsed.db, driver);
  }
  const { FolderSource } = await import("./folder_source.ts");
  if (parsed.kind === "store") {
    const { base, db } = parsed;
    return await FolderSource.open(name, resolve(base), resolve(db!), driver);
  }
  const path = resolve(parsed.path);
  const info = await Deno.stat(path).catch((error) => {
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw noSource(name, (error as Error).message, error);
  });
  requireOther(name, path, base);
  if (info.isDirectory) {
    return await FolderSource.open(name, path, null, driver);
  }
  if (!info.isFile) throw noSource(name, "it is neither a folder nor a file");
  const { TarSource } = await import("./tar_source.ts");
  return await TarSource.open(name, path);
}

/** A name as it may be told: `postgres://poh:secret@db` loses its secret. */
function withoutPassword(name: string): string {
  return name.replace(/(:\/\/[^/@,:]*):[^/@,]*@/g, "$1@");
}

/** What is damaged here is damaged there. */
function requireOther(name: string, source: string, base: string): void {
  if (!isSame(source, base)) return;
  throw noSource(name, "it is the store itself");
}

function isSame(source: string, base: string): boolean {
  if (isBucket(source) || isBucket(base)) return source === base;
  try {
    return Deno.realPathSync(source) === Deno.realPathSync(base);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return false; // one of them is not there
  }
}

async function isThere(path: string): Promise<boolean> {
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(path)) return false;
  try {
    await Deno.stat(path);
    return true;
  } catch {
    return false; // whoever opens it tells why
  }
}

function noSource(
  name: string,
  why: string,
  cause?: unknown,
): PohStorageError {
  return new PohStorageError(
    "NO_SOURCE",
    `Cannot heal from ${name}: ${why}`,
    { cause },
  );
}
