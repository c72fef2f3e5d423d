/**
 * Opens stores of which a part lies elsewhere. Which packages that takes depends
 * on the parts: those of the others are never loaded.
 *
 * @module
 */

import { resolve } from "@std/path";
import type { RecoverOptions, VerifyOptions } from "../check.ts";
import type { StoreDescription } from "../describe.ts";
import { StoreNotFoundError } from "../errors.ts";
import { waitOf } from "../lock_wait.ts";
import type { StorageOptions } from "../open_store.ts";
import { requireNoBackup, requireThere } from "../poh_dir.ts";
import { isBucket, isServer, type SharedPayloads } from "../remote_url.ts";
import type { StoreReport } from "../report.ts";
import type { DriverChoice, DriverInfo } from "../sqlite_driver.ts";
import { matchParts } from "./binding.ts";
import { GRACE, type ObjectStore } from "./contracts.ts";
import { describeRemote } from "./describe_remote.ts";
import { FileObjects } from "./file_objects.ts";
import { recoverRemote, verifyRemote } from "./remote_check.ts";
import { payloadsOf } from "./payloads.ts";
import { closeParts, RemoteEngine, type RemoteParts } from "./remote_engine.ts";
import { SqliteCatalog } from "./sqlite_catalog.ts";
import { requireWriteOnce } from "../write_once.ts";

/** Not fetched before they are needed, as these are no literals. */
const S3: string = "../s3/s3_store.ts";
const POSTGRES: string = "../postgres/postgres_store.ts";

/** {@inheritDoc RemoteStores.openRemote} */
export async function openRemote(
  base: string,
  db: string,
  options: StorageOptions,
): Promise<RemoteEngine> {
  const { readOnly = false } = options;
  const parts = await openParts(base, db, options);
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
  options: StorageOptions & RecoverOptions,
): Promise<StoreReport> {
  const readOnly = options.dryRun ?? false;
  return withParts(
    base,
    db,
    { ...options, readOnly },
    (parts) => recoverRemote(parts, options, GRACE),
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
    (parts) => verifyRemote(parts, options, GRACE),
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
    const { targetOf } = await import("../s3/target.ts");
    const { protocol, hostname, port } = new URL(targetOf(base).origin);
    hosts.push(`${hostname}:${port || (protocol === "http:" ? 80 : 443)}`);
    variables.push("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
  }
  if (isServer(db)) {
    const { targetOf } = await import("../postgres/target.ts");
    const { host, port } = targetOf(db).config;
    if (!host!.startsWith("/")) hosts.push(addressOf(host!, port!));
  }
  return { hosts, variables };
}

function addressOf(host: string, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Opens the parts of a store. */
export async function openParts(
  base: string,
  db: string,
  options: StorageOptions & Pick<RecoverOptions, "rebuild">,
): Promise<RemoteParts> {
  await using opened = new AsyncDisposableStack();
  const objects = await openObjects(base, options);
  opened.defer(() => objects.close());
  const { catalog, driver } = await openCatalog(db, options);
  opened.defer(() => catalog.close());
  if (options.writeOnce && !options.readOnly) {
    requireWriteOnce(await catalog.isWriteOnce(), catalog.url);
  }
  await matchParts(objects, catalog, options);
  opened.move(); // they stay open
  return { objects, catalog, driver };
}

async function openObjects(
  base: string,
  { readOnly = false, create = true, durability }: StorageOptions,
): Promise<ObjectStore> {
  if (isBucket(base)) {
    const { S3Store } = await import(S3);
    const objects = S3Store.open(base);
    if (!readOnly && create) await objects.init();
    return objects;
  }
  const path = resolve(base);
  if (!readOnly) requireNoBackup(path);
  if (readOnly || !create) await requireThere(path);
  const objects = new FileObjects(path, { sync: durability !== "relaxed" });
  if (!readOnly) await objects.init();
  return objects;
}

async function openCatalog(
  db: string,
  options: StorageOptions,
): Promise<Pick<RemoteParts, "catalog" | "driver">> {
  const { readOnly = false, create = true, writeOnce = false } = options;
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
  if (readOnly || !create) await requireThere(path);
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
  options: StorageOptions & Pick<RecoverOptions, "rebuild">,
  work: (parts: RemoteParts) => Promise<T>,
): Promise<T> {
  const parts = await openParts(base, db, options);
  try {
    return await work(parts);
  } finally {
    await closeParts(parts);
  }
}
