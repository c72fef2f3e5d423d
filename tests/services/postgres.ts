/**
 * A real PostgreSQL server on loopback for tests, with nothing in common with
 * one that the machine may run besides: own folder, own port, gone at the end.
 *
 * It is started from the binaries of Debian's `postgresql` package; those who
 * run the tests may name a running one instead, as
 * `POH_TEST_POSTGRES=postgres://user:password@host:port/database`.
 *
 * @module
 */

import { join } from "@std/path";
import { Client } from "../../src/shared/postgres/client.ts";

/** Where Debian has a folder for each version. */
const VERSIONS = "/usr/lib/postgresql";

/** How long a server may take to come up or to end, in ms. */
const PATIENCE = 30_000;

/** A server that several tests share. */
export interface PostgresServer extends AsyncDisposable {
  /** Its database, for a role that owns it. */
  readonly url: string;
  /** Port on 127.0.0.1. */
  readonly port: number;
  /** Runs SQL on that database, as the superuser. */
  sql(text: string, values?: unknown[]): Promise<Record<string, unknown>[]>;
  /** Kills the postmaster, as the out-of-memory killer does. */
  kill(): Promise<void>;
  /** Starts it again. */
  start(): Promise<void>;
}

/** Why no server can be started here; null when one can. */
export const NO_POSTGRES: string | null = await whyNot();

/** A URL of the running server that those who run the tests have named. */
export function namedServer(): string | undefined {
  const query = { name: "env", variable: "POH_TEST_POSTGRES" } as const;
  return Deno.permissions.querySync(query).state === "granted"
    ? Deno.env.get(query.variable) || undefined
    : undefined;
}

/**
 * A server for the tests of one file: the named one, or one that ends with the
 * file. Null, and why on stderr, where there can be none.
 */
export async function postgres(): Promise<PostgresServer | null> {
  const url = namedServer();
  if (url) return atUrl(url);
  if (NO_POSTGRES === null) return await startPostgres();
  console.error(`Tests on PostgreSQL are skipped: ${NO_POSTGRES}`);
  return null;
}

/** A store of its own on a server. */
export function storeUrl({ url }: Pick<PostgresServer, "url">): string {
  return `${url}?schema=test_${crypto.randomUUID().replaceAll("-", "")}`;
}

/** Options of {@linkcode startPostgres}. */
export interface PostgresOptions {
  /** Settings of the server beside those of a test, as `name=value`. */
  settings?: string[];
  /** Files in its folder, by name. */
  files?: Record<string, string>;
}

/**
 * Starts a server. What it commits survives its own death, not the machine's.
 */
export async function startPostgres(
  { settings = [], files = {} }: PostgresOptions = {},
): Promise<PostgresServer> {
  const dir = await Deno.makeTempDir({ prefix: "poh-test-postgres-" });
  const bin = join(VERSIONS, newestVersion()!, "bin");
  const data = join(dir, "data");
  const port = freePort();
  const run = (program: string, ...args: string[]) =>
    new Deno.Command("setpriv", {
      args: [...asPostgres(), join(bin, program), ...args],
      cwd: dir,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      env: { LC_ALL: "C.UTF-8" },
    });
  if (Deno.uid() === 0) await giveTo("postgres", dir);
  const made = await run(
    "initdb",
    "--pgdata=" + data,
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C.UTF-8",
    "--no-sync",
  ).output();
  if (!made.success) {
    throw new Error(`initdb: ${new TextDecoder().decode(made.stderr)}`);
  }
  for (const [name, text] of Object.entries({ ...files, "pg_hba.conf": HBA })) {
    await Deno.writeTextFile(join(data, name), text, { mode: 0o600 });
    if (Deno.uid() === 0) await giveTo("postgres", join(data, name));
  }

  let process: Deno.ChildProcess | null = null;
  const sql = (database: string) => (text: string, values?: unknown[]) =>
    runSql(`postgres://postgres@127.0.0.1:${port}/${database}`, text, values);
  const startOnce = async () => {
    const started = run(
      "postgres",
      "-D",
      data,
      ...[
        `port=${port}`,
        "listen_addresses=127.0.0.1",
        `unix_socket_directories=${dir}`,
        "fsync=off",
        "max_connections=60",
        "shared_buffers=32MB",
        ...settings,
      ].flatMap((setting) => ["-c", setting]),
    ).spawn();
    started.stderr.cancel();
    process = started;
    const isUp = await Promise.race([
      untilUp(`postgres://postgres@127.0.0.1:${port}/postgres`),
      started.status.then(() => false),
    ]);
    if (!isUp) process = null;
    return isUp;
  };
  const server: PostgresServer = {
    url: `postgres://poh:secret@127.0.0.1:${port}/poh`,
    port,
    sql: sql("poh"),
    async start() {
      const limit = performance.now() + PATIENCE;
      // What a killed one has started must have noticed, and ended.
      while (!await startOnce()) {
        if (performance.now() > limit) throw new Error("postgres has ended");
        await pause(50);
      }
    },
    async kill() {
      if (!process) return;
      process.kill("SIGKILL");
      await process.status;
      process = null;
    },
    async [Symbol.asyncDispose]() {
      process?.kill("SIGINT"); // it does not wait for its clients
      await process?.status;
      process = null;
      await Deno.remove(dir, { recursive: true });
    },
  };
  globalThis.addEventListener("unload", () => {
    process?.kill("SIGKILL");
    if (process) Deno.removeSync(dir, { recursive: true });
  });
  await server.start();
  await sql("postgres")("CREATE ROLE poh LOGIN PASSWORD 'secret'");
  await sql("postgres")("CREATE DATABASE poh OWNER poh");
  return server;
}

/** The superuser comes in without a password, all others with theirs. */
const HBA = `host all postgres 127.0.0.0/8 trust
host all all 127.0.0.0/8 scram-sha-256
`;

async function whyNot(): Promise<string | null> {
  if (Deno.build.os !== "linux") return "PostgreSQL is started on Linux only";
  if (newestVersion() === undefined) return `no PostgreSQL in ${VERSIONS}`;
  try {
    const args = [...asPostgres(), "true"];
    const { success } = await new Deno.Command("setpriv", { args }).output();
    return success ? null : "no user postgres";
  } catch {
    return "setpriv cannot be run";
  }
}

function newestVersion(): string | undefined {
  try {
    return Array.from(Deno.readDirSync(VERSIONS), ({ name }) => name)
      .toSorted((a, b) => Number(b) - Number(a))[0];
  } catch {
    return undefined;
  }
}

/** PostgreSQL refuses to be root, and is not to outlive its tests. */
function asPostgres(): string[] {
  const user = Deno.uid() === 0
    ? ["--reuid=postgres", "--regid=postgres", "--clear-groups"]
    : ["--no-new-privs"];
  return [...user, "--pdeathsig=KILL", "--"];
}

async function giveTo(user: string, dir: string): Promise<void> {
  const line = (await Deno.readTextFile("/etc/passwd")).split("\n")
    .find((line) => line.startsWith(`${user}:`));
  const [, , uid, gid] = line!.split(":").map(Number);
  await Deno.chown(dir, uid!, gid!);
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** A server that others start and stop. */
function atUrl(url: string): PostgresServer {
  const cannot = () => Promise.reject(new Error("Others end the named server"));
  return {
    url,
    port: Number(new URL(url).port),
    sql: (text, values) => runSql(url, text, values),
    kill: cannot,
    start: cannot,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

async function runSql(address: string, text: string, values?: unknown[]) {
  const url = new URL(address);
  const client = new Client({
    host: url.hostname,
    port: Number(url.port),
    user: url.username,
    password: url.password || "none",
    database: url.pathname.slice(1),
    application_name: "test",
    ssl: false,
    connectionTimeoutMillis: PATIENCE,
  });
  await client.connect();
  try {
    return (await client.query(text, values)).rows;
  } finally {
    await client.end();
  }
}

async function untilUp(url: string): Promise<true> {
  for (const limit = performance.now() + PATIENCE;;) {
    try {
      await runSql(url, "SELECT 1");
      return true;
    } catch (error) {
      if (performance.now() > limit) throw error;
      await pause(20);
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
