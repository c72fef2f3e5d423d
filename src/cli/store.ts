/**
 * Opens the store that the options name.
 *
 * @module
 */

import { dirname, isAbsolute, relative } from "@std/path";
import { printable } from "../text/printable.ts";
import { UsageError } from "../format/usage_error.ts";
import type { LockWait } from "../options.ts";
import type { Listing } from "./listing.ts";
import { isBucket, isRemote, isServer, remoteStores } from "../remote_url.ts";
import type { StorageManager } from "../storage_manager.ts";
import type { StorageOptions } from "../model/storage_options.ts";
import type { Output } from "./output.ts";
import { requireAccess, requireServers } from "./permissions.ts";
import { printUpgrade } from "./print_upgrade.ts";
import type { CommonValues } from "./table.ts";

/** The options that say which store, and how to open it. */
export type StoreValues =
  & Pick<CommonValues, "base" | "db" | "driver" | "lock-timeout">
  & { durability?: "full" | "relaxed"; "write-once"?: boolean };

/** The part of a command's call that says how to open the store. */
export interface StoreCall {
  /** Which store, and how. */
  options: StoreValues;
  /** Ends waits for locks when it is aborted. */
  signal: AbortSignal;
  /** Receives a notice when the store is upgraded. */
  output: Output;
}

/** How a command uses the store. */
export type Access =
  /** Reads; creates nothing. */
  | "read"
  /** Changes a store that is there. */
  | "write"
  /** Changes the store; creates it if it does not exist. */
  | "create";

/** The database: `--db`, or `poh.db` in the base folder. */
export function dbPath({ base, db }: StoreValues): string {
  if (db !== undefined) return db;
  if (isBucket(base)) {
    throw new UsageError(
      "Payloads in a bucket need --db: postgres://user@host/name, or a SQLite file",
    );
  }
  const separators = Deno.build.os === "windows" ? ["/", "\\"] : ["/"];
  return separators.some((separator) => base.endsWith(separator))
    ? `${base}poh.db`
    : `${base}${separators.at(-1)}poh.db`;
}

/**
 * Opens the store that the options name.
 *
 * @throws {CliError} If a permission is missing.
 */
export async function openStore(
  call: StoreCall,
  access: Access,
  packBelow?: number,
): Promise<StorageManager> {
  const { options } = call;
  await requireStore(options, access);
  const { StorageManager } = await import("../storage_manager.ts");
  const open = access === "create"
    ? StorageManager.create
    : StorageManager.open;
  return await open(options.base, dbPath(options), {
    ...storageOptions(call, access),
    ...(packBelow !== undefined && { packBelow }),
  });
}

/**
 * Opens the metadata of the store that the options name, which takes less than
 * to open all of it.
 *
 * @throws {CliError} If a permission is missing.
 */
export async function openListing(
  { options, signal }: StoreCall,
): Promise<Listing> {
  await requireStore(options, "read");
  const module = await import("./listing.ts");
  return await module.openListing(options.base, dbPath(options), {
    driver: options.driver,
    ...lockWait({ options, signal }),
  });
}

/** The options of the API that the command line's stand for. */
export function storageOptions(
  call: StoreCall,
  access: Access,
): StorageOptions {
  const { options, output } = call;
  return {
    driver: options.driver,
    ...lockWait(call),
    ...(options.durability && { durability: options.durability }),
    ...(options["write-once"] && { writeOnce: true }),
    readOnly: access === "read",
    ...(access !== "read" && {
      onUpgrade: (report) => printUpgrade(report, output),
    }),
  };
}

/** Time limit for a lock, and the signal that ends the wait. */
export function lockWait(
  { options, signal }: Pick<StoreCall, "options" | "signal">,
): Required<LockWait> {
  return { lockTimeout: 1000 * options["lock-timeout"], signal };
}

/**
 * Makes sure that the store's files may be used.
 *
 * @throws {CliError} If a permission is missing.
 */
export async function requireStore(
  options: StoreValues,
  access: Access,
): Promise<void> {
  const { base } = options;
  const db = dbPath(options);
  if (isRemote(base, db)) {
    await requireServers(await (await remoteStores()).accessTo(base, db));
  }
  const hasFolder = !isBucket(base), hasFile = !isServer(db);
  const folders = hasFolder ? [base] : [];
  const isInside = hasFolder && hasFile && isBelow(db, base);
  const paths = hasFile && !isInside ? [...folders, db] : folders;
  requireAccess(access === "read" ? ["read"] : ["read", "write"], paths);
  if (hasFolder) requireNoFile("--base", base);
  if (access !== "create") return;
  for (const folder of new Set(hasFile ? [...folders, dirname(db)] : folders)) {
    await requireFolder(folder);
  }
}

/**
 * Makes sure that there is a store, or may be one, before work begins that only
 * one has, as to read input or to listen. One on a server is not asked: opening
 * it tells.
 *
 * @throws {StoreNotFoundError} If it does not exist and `access` does not create it.
 * @throws {StoreMismatchError} If its database is not there.
 */
export async function requireThere(
  options: StoreValues,
  access: "write" | "create",
): Promise<void> {
  await requireStore(options, access);
  const db = dbPath(options);
  if (isRemote(options.base, db)) return;
  const { requireLocalStore } = await import("../local/read_store.ts");
  await requireLocalStore(options.base, db, access);
}

/**
 * Tells where a store will be made, by a command that is run at every start and
 * has made sure that one may be made there.
 */
export async function tellIfNew(
  options: StoreValues,
  output: Output,
): Promise<void> {
  const db = dbPath(options);
  if (isRemote(options.base, db) || await exists(db)) return;
  output.notice(`No database at ${printable(db)}: making an empty store`);
}

/**
 * Makes sure that a store is on this machine, for what only such a one has.
 *
 * @throws {UsageError} If it is not.
 */
export function requireLocal(what: string, options: StoreValues): void {
  if (!isRemote(options.base, dbPath(options))) return;
  throw new UsageError(
    `${what} is for stores on this machine, in a folder with SQLite`,
  );
}

function isBelow(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return !isAbsolute(way) && way.split(/[/\\]/)[0] !== "..";
}

/**
 * Makes sure that no file has the place of a folder.
 *
 * @throws {UsageError} If one has.
 */
export function requireNoFile(what: string, path: string): void {
  let info: Deno.FileInfo;
  try {
    info = Deno.statSync(path);
  } catch {
    return; // whoever opens it tells
  }
  if (!info.isDirectory) {
    throw new UsageError(`${what} must be a folder; ${path} is not`);
  }
}

/**
 * Makes sure that a folder may be made where it is not there: to make it
 * durable, its parent is read as well.
 *
 * @throws {CliError} If a permission is missing.
 */
export async function requireFolder(folder: string): Promise<void> {
  for (let at = folder; !await exists(at) && dirname(at) !== at;) {
    at = dirname(at);
    requireAccess(["read"], [at]);
  }
}

async function exists(path: string): Promise<boolean> {
  requireAccess(["read"], [path]);
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
