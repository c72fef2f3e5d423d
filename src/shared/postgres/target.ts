/**
 * From a URL to where and how to connect, as users of `psql` know it.
 *
 * @module
 */

import { PohStorageError } from "../../errors.ts";
import { isServer } from "../../remote_url.ts";
import { decodePart, parametersOf } from "../../text/url_parts.ts";
import type { PoolConfig } from "./packages.ts";
import { passwordFor } from "./password.ts";

/** Where a store is whose URL names no schema. */
const SCHEMA = "poh";

const PORT = 5432;

/** Servers cut what is longer, so that two names may be one. */
const LONGEST_NAME = 63;

/** How long a server may take to answer, in seconds, unless the URL says. */
const CONNECT_TIMEOUT = 5;

/** What may stand behind the question mark. */
const PARAMETERS = [
  "schema",
  "host",
  "port",
  "user",
  "password",
  "sslmode",
  "sslrootcert",
  "sslcert",
  "sslkey",
  "connect_timeout",
  "application_name",
  "options",
];

const SSL_MODES = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/** A database, and the schema of a store in it. */
export interface Target {
  /** For people: without credentials. */
  url: string;
  /** Name of the schema. */
  schema: string;
  /** Whether to go on without TLS where the server has none. */
  prefersTls: boolean;
  /** For the driver. Not to be printed: there may be a password in it. */
  config: PoolConfig;
}

/**
 * Where a URL leads: `postgres://user@host:port/database?schema=…`.
 *
 * The password is that of the URL, else that of `PGPASSWORD` or `~/.pgpass`, if
 * they may be read. Certificates are read from the files that the URL names.
 *
 * @throws {PohStorageError} `INVALID_URL` if it is no such URL. The message
 * does not repeat it.
 */
export function targetOf(text: string): Target {
  const url = URL.parse(text);
  if (!url || !isServer(text)) {
    throw invalid("it is not of the form postgres://user@host:port/database");
  }
  if (url.hash !== "") throw invalid("# stands for itself only as %23");
  const params = parametersOf(url.search, PARAMETERS, invalid);
  const host = params.get("host") ??
    decodePart(unbracketed(url.hostname), invalid);
  const port = Number(params.get("port") ?? (url.port || PORT));
  const user = params.get("user") ?? decodePart(url.username, invalid);
  const database = decodePart(url.pathname.slice(1), invalid);
  const schema = params.get("schema") ?? SCHEMA;
  if (host === "") throw invalid("it names no host");
  if (!(Number.isInteger(port) && port >= 1 && port <= 65_535)) {
    throw invalid("its port is no port");
  }
  if (user === "") throw invalid("it names no user");
  if (database === "") throw invalid("it names no database");
  if (/[\0/]/.test(database)) throw invalid("its path is no database name");
  if (schema === "" || /["\0]/.test(schema)) {
    throw invalid("its schema is no name");
  }
  if (new TextEncoder().encode(schema).length > LONGEST_NAME) {
    throw invalid(`its schema is longer than ${LONGEST_NAME} bytes`);
  }
  const password = params.get("password") ?? decodePart(url.password, invalid);
  const mode = params.get("sslmode") ??
    (host.startsWith("/") ? "disable" : "prefer");
  return {
    url: publicUrl({ host, port, user, database, schema }),
    schema,
    prefersTls: mode === "prefer",
    config: {
      host,
      port,
      user,
      database,
      // A function is not printed, and keeps the driver from other sources.
      password: () => password || passwordFor({ host, port, database, user }),
      ssl: tlsOf(mode, params),
      connectionTimeoutMillis: 1_000 * timeoutOf(params),
      application_name: params.get("application_name") ?? "poh-storage",
      ...params.has("options") && { options: params.get("options")! },
    },
  };
}

function publicUrl(
  { host, port, user, database, schema }: Record<string, string | number>,
): string {
  const [name, path, where] = [user, database, host].map((part) =>
    encodeURIComponent(part!)
  );
  const address = String(host).includes(":") ? `[${host}]` : where;
  return `postgres://${name}@${address}${
    port === PORT ? "" : `:${port}`
  }/${path}` +
    (schema === SCHEMA ? "" : `?schema=${encodeURIComponent(schema!)}`);
}

/** What each mode promises, as libpq's documentation has it. */
function tlsOf(mode: string, params: Map<string, string>): PoolConfig["ssl"] {
  if (!SSL_MODES.includes(mode)) {
    throw invalid(`its sslmode is none of ${SSL_MODES.join(", ")}`);
  }
  if (mode === "disable") return false;
  const root = params.get("sslrootcert");
  if (mode === "verify-ca" && root === undefined) {
    throw invalid("sslmode=verify-ca takes an sslrootcert");
  }
  const isVerified = mode.startsWith("verify") ||
    (mode === "require" && root !== undefined);
  return {
    rejectUnauthorized: isVerified,
    ...mode !== "verify-full" && { checkServerIdentity: () => undefined },
    ...root !== undefined && root !== "system" &&
      { ca: fileOf("sslrootcert", root) },
    ...params.has("sslcert") &&
      { cert: fileOf("sslcert", params.get("sslcert")!) },
    ...params.has("sslkey") && { key: fileOf("sslkey", params.get("sslkey")!) },
  };
}

function fileOf(name: string, path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    throw invalid(`its ${name} cannot be read`, { cause: error });
  }
}

function timeoutOf(params: Map<string, string>): number {
  const text = params.get("connect_timeout");
  if (text === undefined) return CONNECT_TIMEOUT;
  if (!/^[1-9]\d{0,5}$/.test(text)) {
    throw invalid("its connect_timeout is no number of seconds");
  }
  return Number(text);
}

function unbracketed(host: string): string {
  return host.replace(/^\[(.*)\]$/, "$1");
}

function invalid(why: string, options?: ErrorOptions): PohStorageError {
  return new PohStorageError(
    "INVALID_URL",
    `Cannot use the URL of the database: ${why}`,
    options,
  );
}
