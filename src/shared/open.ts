/**
 * Opens stores of which a part lies elsewhere. Which packages that takes depends
 * on the parts: those of the others are never loaded.
 *
 * @module
 */

import { resolve } from "@std/path";
import type { RecoveryOptions, VerifyOptions } from "../check/check.ts";
import {
  isDamagedDatabase,
  isDatabaseThere,
  notADatabase,
} from "../sqlite/database_file.ts";
import { StoreNotFoundError } from "../errors.ts";
import { waitOf } from "../options.ts";
import { requireNoBackup } from "../files/layout.ts";
import { isBucket, isServer, type SharedPayloads } from "../remote_url.ts";
import type { StoreReport } from "../model/report.ts";
import type { DriverChoice, DriverInfo } from "../model/driver_info.ts";
import type { StorageOptions } from "../model/storage_options.ts";
import type { StoreDescription } from "../model/store_description.ts";
import {
  catalogMissing,
  matchParts,
  mayMakeCatalog,
  stateOf,
} from "./binding.ts";
import {
  closeParts,
  GRACE,
  type ObjectStore,
  type RemoteParts,
} from "./contracts.ts";
import { describeRemote } from "./describe.ts";
import { FileObjects } from "./file_objects.ts";
import { openSources } from "../copy/sources/open_sources.ts";
import { recoverRemote, verifyRemote } from "./check.ts";
import { payloadsOf } from "./payloads.ts";
import { RemoteEngine } from "./engine.ts";
import { SqliteCatalog } from "./sqlite_catalog.ts";
import { requireWriteOnce } from "../local/write_once.ts";

/** Not fetched before they are needed, as these are no literals. */
const S3: string = "./s3/s3_store.ts";
const POSTGRES: string = "./postgres/postgres_store.ts";

/** {@inheritDoc RemoteStores.openRemote} */
export async function openRemote(
  base: string,
  db: string,
  options: StorageOptions,
  create = false,
): Promise<RemoteEngine> {
  const { readOnly = false } = options;
  const parts = await openParts(base, db, { ...options, create });
  try {
    const writeOnce = await parts.catalog.isWriteOnce();
    return new RemoteEngine(parts, { readOnly, writeOnce });
  } catch (error) {
    await closeParts(parts);
    throw error;
  }
}

/** {@inheritDoc RemoteStores.recoverRemoteStore} */
export function recoverRemoteStore(
  base: string,
  db: string,
  options: RecoveryOptions,
): Promise<StoreReport> {
  const readOnly = options.dryRun ?? false;
  return withParts(
    base,
    db,
    { ...options, readOnly },
    async (parts) => {
      await using sources = await openSources(options, parts.objects.url);
      return await recoverRemote(parts, options, GRACE, sources);
    },
  );
}

/** {@inheritDoc RemoteStores.verifyRemoteStore} */
export function verifyRemoteStore(
  base: string,
  db: string,
  options: StorageOptions & VerifyOptions,
): Promise<StoreReport> {
  return withParts(
    base,
    db,
    { ...options, readOnly: true },
    async (parts) => {
      await using sources = await openSources(options, parts.objects.url);
      return await verifyRemote(parts, options, GRACE, sources);
    },
  );
}

/** {@inheritDoc RemoteStores.describeRemoteStore} */
export function describeRemoteStore(
  base: string,
  db: string,
  options: StorageOptions,
): Promise<StoreDescription> {
  return withParts(base, db, { ...options, readOnly: true }, describeRemote);
}

/** {@inheritDoc RemoteStores.boundaries} */
export function boundaries(
  base: string,
  db: string,
  ranges: number,
  options: StorageOptions,
): Promise<string[]> {
  return withParts(
    base,
    db,
    { ...options, readOnly: true },
    ({ catalog }) => catalog.boundaries(ranges),
  );
}

/** {@inheritDoc RemoteStores.openPayloads} */
export async function openPayloads(
  base: string,
  db: string | null,
  driver: DriverChoice,
): Promise<SharedPayloads> {
  if (db !== null) {
    const options = { readOnly: true, create: false, driver };
    const { objects, catalog } = await openParts(base, db, options);
    return payloadsOf(objects, catalog);
  }
  const objects = await openObjects(base, { readOnly: true });
  try {
    for await (const _ of objects.list()) return payloadsOf(objects, null);
  } catch (error) {
    await objects.close();
    throw error;
  }
  await objects.close();
  throw new StoreNotFoundError(base);
}

/** {@inheritDoc RemoteStores.accessTo} */
export async function accessTo(
  base: string,
  db: string,
): Promise<{ hosts: string[]; variables: string[] }> {
  const hosts: string[] = [], variables: string[] = [];
  if (isBucket(base)) {
    const { targetOf } = await import("./s3/target.ts");
    const { protocol, hostname, port } = new URL(targetOf(base).origin);
    hosts.push(`${hostname}:${port || (protocol === "http:" ? 80 : 443)}`);
    variables.push("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
  }
  if (isServer(db)) {
    const { targetOf } = await import("./postgres/target.ts");
    const { host, port } = targetOf(db).config;
    if (!host!.startsWith("/")) hosts.push(addressOf(host!, port!));
  }
  return { hosts, variables };
}

function addressOf(host: string, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** How {@linkcode openParts} opens them. */
type PartsOptions =
  & StorageOptions
  & Pick<RecoveryOptions, "create" | "rebuild">;

/** Opens the parts of a store; makes nothing unless it is told to. */
export async function openParts(
  base: string,
  db: string,
  options: PartsOptions,
): Promise<RemoteParts> {
  const { readOnly = false, create = false, rebuild = false } = options;
  const binding = { readOnly, create, rebuild };
  await using opened = new AsyncDisposableStack();
  const objects = await openObjects(base, options);
  opened.defer(() => objects.close());
  const state = await stateOf(objects);
  const mayMake = mayMakeCatalog(state, binding);
  let parts: Pick<RemoteParts, "catalog" | "driver">;
  try {
    parts = await openCatalog(db, options, mayMake, state.id);
  } catch (error) {
    if (mayMake || !(error instanceof StoreNotFoundError)) throw error;
    throw catalogMissing(objects, db, state);
  }
  const { catalog } = parts;
  opened.defer(() => catalog.close());
  if (options.writeOnce && !readOnly) {
    requireWriteOnce(await catalog.isWriteOnce(), catalog.url);
  }
  await matchParts(objects, catalog, state, binding);
  if (!readOnly && objects instanceof FileObjects) await objects.init();
  opened.move(); // they stay open
  return { objects, ...parts };
}

/** Where payloads are; touches nothing yet. */
async function openObjects(
  base: string,
  { readOnly = false, durability }: StorageOptions,
): Promise<ObjectStore & { init(): Promise<void> }> {
  if (isBucket(base)) {
    const { S3Store } = await import(S3);
    return S3Store.open(base);
  }
  const path = resolve(base);
  if (!readOnly) requireNoBackup(path);
  return new FileObjects(path, { sync: durability !== "relaxed" });
}

async function openCatalog(
  db: string,
  options: StorageOptions,
  create: boolean,
  id: string | null,
): Promise<Pick<RemoteParts, "catalog" | "driver">> {
  const { readOnly = false, writeOnce = false } = options;
  const { driver, durability } = options;
  if (isServer(db)) {
    const { PostgresStore } = await import(POSTGRES);
    const catalog = PostgresStore.open(db, { readOnly, create, writeOnce });
    try {
      await catalog.init();
      const version = await catalog.serverVersion();
      return { catalog, driver: postgresDriver(version) };
    } catch (error) {
      await catalog.close();
      throw error;
    }
  }
  const path = resolve(db);
  if (!isDatabaseThere(path)) {
    if (!create) throw new StoreNotFoundError(path);
  } else if (!isDamagedDatabase(path, null, id)) throw notADatabase(path);
  const catalog = await SqliteCatalog.open(path, {
    ...(driver && { driver }),
    ...waitOf(options),
    sync: durability !== "relaxed",
    readOnly,
    writeOnce,
  });
  try {
    await catalog.init();
  } catch (error) {
    await catalog.close();
    throw error;
  }
  return { catalog, driver: catalog.driver };
}

/** `PostgreSQL 15.2 (Debian 15.2-1) on x86_64…`, and what its kin say. */
function postgresDriver(version: string): DriverInfo {
  const sqliteVersion = /^PostgreSQL ([^ ,]+)/.exec(version)?.[1] ??
    version.split(/ \(|,/)[0]!;
  return { name: "postgres", library: "npm:pg", sqliteVersion };
}

/** Opens the parts of a store for some work on them. */
async function withParts<T>(
  base: string,
  db: string,
  options: PartsOptions,
  work: (parts: RemoteParts) => Promise<T>,
): Promise<T> {
  const parts = await openParts(base, db, options);
  try {
    return await work(parts);
  } finally {
    await closeParts(parts);
  }
}
