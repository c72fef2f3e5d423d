/**
 * The two SQLite bindings behind one small, synchronous interface: the FFI
 * binding `jsr:@db/sqlite` and the runtime's own `node:sqlite`.
 *
 * What they do not agree on ends here: rows are arrays, integers are whole,
 * TEXT never holds NUL (both cut it there), and what an error means is told
 * from its text, since neither gives SQLite's code reliably.
 *
 * @module
 */

import { join } from "@std/path";
import type { DriverChoice, DriverInfo } from "../model/driver_info.ts";
import { DriverUnavailableError } from "../errors.ts";

/** Which binding of SQLite serves. */
export interface SqliteDriverInfo extends DriverInfo {
  /** `ffi` is `@db/sqlite`, `builtin` is `node:sqlite`. */
  name: "ffi" | "builtin";
}

/** What a column can hold here. */
export type SqlValue = string | number | null | Uint8Array;

/** A prepared statement. */
export interface Statement {
  /** Runs it; the number of rows changed. */
  run(...params: SqlValue[]): number;
  /** The first row, if there is one. */
  get(...params: SqlValue[]): SqlValue[] | undefined;
  /** Every row: bound the number by LIMIT. */
  all(...params: SqlValue[]): SqlValue[][];
}

/** An open database. */
export interface Connection {
  /** Which binding this is. */
  readonly driver: SqliteDriverInfo;
  /** Runs statements that take no parameters. */
  exec(sql: string): void;
  /** Prepares one statement; closing the connection ends it. */
  prepare(sql: string): Statement;
  /**
   * Copies the database as it is now to a new file, by SQLite's backup API and
   * in one step: writers beside it neither wait nor make it begin anew.
   */
  backup(path: string): Promise<void>;
  /** Closes the database. */
  close(): void;
}

/** A binding that is at hand. */
interface Driver {
  info: SqliteDriverInfo;
  open(path: string, readOnly: boolean): Connection;
}

/**
 * Opens a database file.
 *
 * `auto` takes the FFI binding when `--allow-ffi` is granted and a library is
 * at hand without the network: the one `DENO_SQLITE_PATH` names, the system's,
 * or one the binding's loader has cached; else the built-in binding. `ffi` may
 * let the loader download a library.
 *
 * @throws {DriverUnavailableError} If the binding that was asked for cannot be had.
 */
export async function openSqlite(
  path: string,
  choice: DriverChoice,
  readOnly: boolean,
): Promise<Connection> {
  const driver = await findDriver(choice);
  return driver.open(path, readOnly);
}

async function findDriver(choice: DriverChoice): Promise<Driver> {
  if (choice === "builtin") return await builtinDriver();
  if (choice === "ffi") return await ffiDriver();
  const library = await libraryAtHand();
  if (library.path === null) return await builtinDriver(library.reason);
  try {
    return await ffiDriver(library.path);
  } catch (error) {
    return await builtinDriver((error as Error).message);
  }
}

// --- node:sqlite ------------------------------------------------------------

/** Pages copied in one step of a backup: more than a database can have. */
const ALL_PAGES = 0x7fffffff;

let builtinVersion: string | undefined;

function versionOf(db: import("node:sqlite").DatabaseSync): string {
  const row = db.prepare("SELECT sqlite_version() AS version").get();
  db.close();
  return String(row!.version);
}

async function builtinDriver(fallbackReason?: string): Promise<Driver> {
  const { backup, DatabaseSync } = await import("node:sqlite");
  const info: SqliteDriverInfo = {
    name: "builtin",
    library: "built in",
    // A getter: finding it out takes a database, and few ask for it.
    get sqliteVersion() {
      return builtinVersion ??= versionOf(new DatabaseSync(":memory:"));
    },
    ...(fallbackReason !== undefined && { fallbackReason }),
  };
  return {
    info,
    open(path, readOnly): Connection {
      const db = new DatabaseSync(path, { readOnly });
      const rowsAsArrays = (sql: string) => {
        const statement = db.prepare(sql);
        // Node's types, of an older version, do not know it yet.
        (statement as unknown as { setReturnArrays(on: boolean): void })
          .setReturnArrays(true);
        return statement;
      };
      return {
        driver: info,
        exec: (sql) => db.exec(sql),
        prepare(sql): Statement {
          const statement = rowsAsArrays(sql);
          return {
            run: (...params) => Number(statement.run(...params).changes),
            get: (...params) =>
              statement.get(...params) as unknown as SqlValue[] | undefined,
            all: (...params) =>
              statement.all(...params) as unknown as SqlValue[][],
          };
        },
        backup: async (path) =>
          void await backup(db, path, { rate: ALL_PAGES }),
        close: () => db.close(),
      };
    },
  };
}

// --- jsr:@db/sqlite ---------------------------------------------------------

/** The part of `@db/sqlite` that is used here. */
interface FfiModule {
  SQLITE_VERSION: string;
  Database: new (path: string, options: {
    readonly: boolean;
    create: boolean;
    int64: boolean;
    parseJson: boolean;
  }) => FfiDatabase;
}

interface FfiDatabase {
  exec(sql: string): number;
  prepare(sql: string): {
    run(...params: SqlValue[]): number;
    value(...params: SqlValue[]): SqlValue[] | undefined;
    values(...params: SqlValue[]): SqlValue[][];
  };
  backup(to: FfiDatabase): void;
  close(): void;
}

let ffiModule: Promise<FfiModule> | undefined;
let ffiLibrary: string | undefined;

async function ffiDriver(library?: string): Promise<Driver> {
  const { Database, SQLITE_VERSION } = await loadFfi(library);
  const info: SqliteDriverInfo = {
    name: "ffi",
    library: ffiLibrary ?? "downloaded by the loader",
    sqliteVersion: SQLITE_VERSION,
  };
  return {
    info,
    open(path, readOnly): Connection {
      const open = (path: string, readOnly: boolean) =>
        new Database(path, {
          readonly: readOnly,
          create: !readOnly,
          int64: true, // else integers are cut to 32 bits
          parseJson: false,
        });
      const db = open(path, readOnly);
      return {
        driver: info,
        exec: (sql) => void db.exec(sql),
        prepare(sql): Statement {
          const statement = db.prepare(sql);
          return {
            run: (...params) => statement.run(...params),
            get: (...params) => statement.value(...params),
            all: (...params) => statement.values(...params),
          };
        },
        // deno-lint-ignore require-await -- the other binding's is asynchronous
        async backup(path) {
          const copy = open(path, false);
          try {
            db.backup(copy);
          } finally {
            copy.close();
          }
        },
        close: () => db.close(),
      };
    },
  };
}

/** Loads the binding once per process: its library is chosen at import. */
async function loadFfi(library?: string): Promise<FfiModule> {
  if (!ffiModule) {
    const path = library ?? (await libraryAtHand()).path ?? undefined;
    ffiLibrary = path;
    ffiModule = withLibraryPath(path, () => import("@db/sqlite")) as Promise<
      unknown
    > as Promise<FfiModule>;
  }
  try {
    return await ffiModule;
  } catch (error) {
    throw new DriverUnavailableError(
      `The FFI binding of SQLite cannot be loaded (${
        reasonOf(error)
      }); name a library by DENO_SQLITE_PATH and grant --allow-ffi and --allow-env=DENO_SQLITE_PATH,DENO_SQLITE_LOCAL, or use the driver "builtin"`,
      { cause: error },
    );
  }
}

/**
 * The binding's loader takes its library from the environment, and else
 * downloads one, which it tells on stdout: stdout is for data.
 */
async function withLibraryPath<T>(
  path: string | undefined,
  load: () => Promise<T>,
): Promise<T> {
  if (path === undefined) {
    const log = console.log;
    console.log = console.error;
    try {
      return await load();
    } finally {
      console.log = log;
    }
  }
  const previous = Deno.env.get("DENO_SQLITE_PATH");
  Deno.env.set("DENO_SQLITE_PATH", path);
  try {
    return await load();
  } finally {
    if (previous === undefined) Deno.env.delete("DENO_SQLITE_PATH");
    else Deno.env.set("DENO_SQLITE_PATH", previous);
  }
}

/** A library that needs no network, or why there is none. */
async function libraryAtHand(): Promise<
  { path: string; reason?: never } | { path: null; reason: string }
> {
  if (!isGranted({ name: "ffi" })) {
    return { path: null, reason: "--allow-ffi is not granted" };
  }
  for (const variable of ["DENO_SQLITE_PATH", "DENO_SQLITE_LOCAL"]) {
    if (!isGranted({ name: "env", variable })) {
      return { path: null, reason: `--allow-env=${variable} is not granted` };
    }
  }
  const named = Deno.env.get("DENO_SQLITE_PATH");
  if (named) return { path: named };
  // A compiled program behaves alike on every machine: no library by chance.
  if (Deno.build.standalone) {
    return { path: null, reason: "DENO_SQLITE_PATH is not set" };
  }
  const system = SYSTEM_LIBRARY[Deno.build.os];
  if (system !== undefined && isLibrary(system)) return { path: system };
  const cached = await cachedLibrary();
  if (cached !== null && isLibrary(cached)) return { path: cached };
  return { path: null, reason: "no SQLite library was found on this system" };
}

const SYSTEM_LIBRARY: Partial<Record<typeof Deno.build.os, string>> = {
  linux: "libsqlite3.so.0",
  darwin: "libsqlite3.dylib",
  windows: "winsqlite3.dll",
};

function isLibrary(path: string): boolean {
  try {
    Deno.dlopen(path, {
      sqlite3_libversion_number: { parameters: [], result: "i32" },
    }).close();
    return true;
  } catch {
    return false;
  }
}

/**
 * Where the loader of `@db/sqlite` 0.13 (`@denosaurs/plug` 1.1) keeps what it
 * downloaded: the digest of the URL's path, below Deno's own cache.
 */
async function cachedLibrary(): Promise<string | null> {
  const { os, arch } = Deno.build;
  const extension = { windows: "dll", darwin: "dylib" }[os as string] ?? "so";
  const file = `${os === "windows" ? "" : "lib"}sqlite3${
    arch === "aarch64" ? "_aarch64" : ""
  }.${extension}`;
  const path = `/denodrivers/sqlite3/releases/download/0.13.0/${file}`;
  const root = denoDir();
  if (root === null) return null;
  const digest = await crypto.subtle.digest(
    "SHA-256",
    new TextEncoder().encode(path),
  );
  return join(
    root,
    "plug",
    "https",
    "github.com",
    `${new Uint8Array(digest).toHex()}.${extension}`,
  );
}

function denoDir(): string | null {
  const env = (variable: string) =>
    isGranted({ name: "env", variable }) ? Deno.env.get(variable) : null;
  const own = env("DENO_DIR");
  if (own) return own;
  const [variable, ...below] = Deno.build.os === "windows"
    ? ["LOCALAPPDATA", "deno"] as const
    : Deno.build.os === "darwin"
    ? ["HOME", "Library", "Caches", "deno"] as const
    : ["HOME", ".cache", "deno"] as const;
  const home = env(variable);
  return home ? join(home, ...below) : null;
}

function isGranted(permission: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(permission).state === "granted";
}

// --- what an error means ----------------------------------------------------

/** The reason an error gives, without SQLite's number in front. */
export function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/^\d+: /, "");
}

/**
 * Whether SQLite found the database file itself to be damaged. A table that was
 * made with the database and is not there any more is a sign of that as well.
 */
export function isMalformed(error: unknown): boolean {
  return /malformed|not a database|file is encrypted|unsupported file format|no such (table|column)/i
    .test(reasonOf(error));
}

/** Whether another connection kept SQLite waiting for too long. */
export function isLocked(error: unknown): boolean {
  return /database (table )?is locked|database schema is locked/i.test(
    reasonOf(error),
  );
}

/**
 * Whether SQLite must write before it can read: a journal has to be rolled
 * back, or the index of a write-ahead log has to be made where it may not.
 */
export function needsWriting(error: unknown): boolean {
  return /readonly database|unable to open database file/i.test(
    reasonOf(error),
  );
}
