/**
 * TLS as `sslmode` asks for it, with a server that has a certificate.
 *
 * @module
 */

import { assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { PohStorageError } from "../../mod.ts";
import { PostgresStore } from "../../src/shared/postgres/postgres_store.ts";
import { TIME_LIMIT } from "../helpers.ts";
import {
  NO_POSTGRES,
  type PostgresServer,
  startPostgres,
  storeUrl,
} from "./postgres.ts";

const dir = await Deno.makeTempDir({ prefix: "poh-test-tls-" });
globalThis.addEventListener(
  "unload",
  () => Deno.removeSync(dir, { recursive: true }),
);

const why = NO_POSTGRES ?? await noOpenssl();
if (why) console.error(`Tests of TLS to PostgreSQL are skipped: ${why}`);

/** One whose certificate names it, and one whose certificate names another. */
const servers = why ? [] : await startTwo();
const [server, misnamed] = servers;

Deno.test({
  name: "PostgreSQL: each sslmode takes and refuses the certificates it should",
  ignore: why !== null,
  timeout: TIME_LIMIT,
  async fn() {
    const ca = `sslrootcert=${encodeURIComponent(join(dir, "ca.crt"))}`;
    const other = `sslrootcert=${encodeURIComponent(join(dir, "other.crt"))}`;
    assertEquals(await hasTls("sslmode=disable"), false);
    assertEquals(await hasTls(""), true);
    assertEquals(await hasTls("sslmode=require"), true);
    assertEquals(await hasTls(`sslmode=require&${ca}`), true);
    assertEquals(await hasTls(`sslmode=verify-ca&${ca}`), true);
    assertEquals(await hasTls(`sslmode=verify-full&${ca}`), true);
    assertEquals(await hasTls(`sslmode=verify-ca&${ca}`, misnamed), true);
    for (
      const [query, at] of [
        [`sslmode=require&${other}`],
        [`sslmode=verify-ca&${other}`],
        [`sslmode=verify-full&${other}`],
        ["sslmode=verify-full"],
        [`sslmode=verify-full&${ca}`, misnamed],
      ] as const
    ) {
      const error = await assertRejects(
        () => hasTls(query, at),
        PohStorageError,
        "Cannot reach",
        query,
      );
      assertEquals(error.code, "UNREACHABLE");
    }
  },
});

Deno.test({
  name:
    "PostgreSQL: without TLS on the server prefer does without, require does not",
  ignore: why !== null,
  timeout: TIME_LIMIT,
  async fn() {
    await using plain = await startPostgres();
    await using preferring = PostgresStore.open(storeUrl(plain));
    await preferring.init();
    await using requiring = PostgresStore.open(
      `${storeUrl(plain)}&sslmode=require`,
    );
    await assertRejects(() => requiring.init(), PohStorageError, "SSL");
  },
});

/** Whether a store's connections are encrypted, by what the server says. */
async function hasTls(query: string, at = server!): Promise<boolean> {
  const name = crypto.randomUUID();
  const url = `${storeUrl(at)}&${query}&application_name=${name}`;
  await using store = PostgresStore.open(url, { patience: 0 });
  await store.init();
  const [row] = await at.sql(
    `SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
    WHERE application_name = $1`,
    [name],
  );
  return row!.ssl as boolean;
}

async function startTwo(): Promise<PostgresServer[]> {
  const newKey = ["-newkey", "ec", "-nodes"].concat(
    ["-pkeyopt", "ec_paramgen_curve:prime256v1"],
  );
  for (const name of ["ca", "other"]) {
    await openssl(
      ["req", "-x509", ...newKey, "-subj", `/CN=${name}`],
      ["-keyout", `${name}.key`, "-out", `${name}.crt`],
    );
  }
  const started = [];
  for (const name of ["IP:127.0.0.1", "DNS:elsewhere.example"]) {
    await openssl(
      ["req", ...newKey, "-subj", "/CN=server"],
      ["-addext", `subjectAltName=${name}`],
      ["-keyout", "server.key", "-out", "server.csr"],
    );
    await openssl(
      ["x509", "-req", "-in", "server.csr", "-copy_extensions", "copy"],
      ["-CA", "ca.crt", "-CAkey", "ca.key", "-out", "server.crt"],
    );
    const files: Record<string, string> = {};
    for (const file of ["server.crt", "server.key"]) {
      files[file] = await Deno.readTextFile(join(dir, file));
    }
    started.push(await startPostgres({ settings: ["ssl=on"], files }));
  }
  return started;
}

async function openssl(...args: string[][]): Promise<void> {
  const { success, stderr } = await command(...args.flat()).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

async function noOpenssl(): Promise<string | null> {
  const { success } = await command("version").output();
  return success ? null : "openssl cannot be run";
}

/** `setpriv` is what the tests may run, and it runs others. */
function command(...args: string[]): Deno.Command {
  return new Deno.Command("setpriv", {
    args: ["--no-new-privs", "--", "openssl", ...args],
    cwd: dir,
  });
}
