import { assert, assertEquals, assertThrows } from "@std/assert";
import { PohStorageError } from "../../mod.ts";
import { passwordIn } from "../../src/shared/postgres/password.ts";
import { targetOf } from "../../src/shared/postgres/target.ts";
import { isServer } from "../../src/remote_url.ts";
import { tempDir } from "../helpers.ts";

Deno.test("a URL tells host, port, user, database and schema", () => {
  const { config, schema, url } = targetOf(
    "postgresql://al%20ice@db.example.org:5433/my%20db?schema=nodes",
  );
  assertEquals(schema, "nodes");
  assertEquals(
    [config.host, config.port, config.user, config.database],
    ["db.example.org", 5433, "al ice", "my db"],
  );
  assertEquals(
    url,
    "postgres://al%20ice@db.example.org:5433/my%20db?schema=nodes",
  );
});

Deno.test("what a URL leaves out is as usual", () => {
  const { config, schema, url } = targetOf("postgres://u@[::1]/d");
  assertEquals([config.host, config.port, schema], ["::1", 5432, "poh"]);
  assertEquals(url, "postgres://u@[::1]/d");
  const socket = targetOf("postgres:///d?host=/run/postgresql&user=u");
  assertEquals(socket.config.host, "/run/postgresql");
  assertEquals(socket.config.ssl, false);
});

Deno.test("a URL is shown without its password", () => {
  for (
    const text of [
      "postgres://u:hush+%40@h/d?schema=s",
      "postgres://u@h/d?password=hush+%40&schema=s&sslmode=require",
    ]
  ) {
    const target = targetOf(text);
    assertEquals(target.url, "postgres://u@h/d?schema=s");
    assert(!Deno.inspect(target, { depth: 9 }).includes("hush"));
    assertEquals((target.config.password as () => string)(), "hush+@");
  }
});

Deno.test("a URL that leads nowhere is refused in one line without it", () => {
  const wrong: Record<string, string> = {
    "postgres://hush@/d": "of the form",
    "postgres:hush": "of the form",
    "mysql://u:hush@h/d": "of the form",
    "postgres://u:hush@h:99999/d": "of the form",
    "postgres://u:hush@h/d#x": "%23",
    "postgres://u:hu%sh@h/d": "%25",
    "postgres://h/d": "no user",
    "postgres:///d?user=hush": "no host",
    "postgres://u:hush@h": "no database",
    "postgres://u:hush@h/a/b": "no database name",
    "postgres://u:hush@h/d?schema=": "schema",
    "postgres://u:hush@h/d?schema=a%22b": "schema",
    [`postgres://u:hush@h/d?schema=${"é".repeat(32)}`]: "63 bytes",
    "postgres://u:hush@h/d?port=5432.5": "port",
    "postgres://u:hush@h/d?schema=a&schema=b": "twice",
    "postgres://u:hush@h/d?port=x": "port",
    "postgres://u:hush@h/d?sslmode=on": "sslmode",
    "postgres://u:hush@h/d?sslmode=verify-ca": "sslrootcert",
    "postgres://u:hush@h/d?sslrootcert=/nowhere/ca": "sslrootcert",
    "postgres://u:hush@h/d?connect_timeout=0": "connect_timeout",
    "postgres://u:hush@h/d?shema=x": '"shema"',
  };
  for (const [url, why] of Object.entries(wrong)) {
    const error = assertThrows(() => targetOf(url), PohStorageError, why, url);
    assertEquals(error.code, "INVALID_URL");
    assert(!error.message.includes("hush"), error.message);
    assert(!error.message.includes("\n"));
  }
});

Deno.test("each sslmode checks what libpq's documentation says", async () => {
  await using dir = await tempDir();
  const ca = dir.join("ca.crt");
  await Deno.writeTextFile(ca, "a certificate");
  const tls = (query: string) =>
    targetOf(`postgres://u@h/d${query}`).config.ssl;
  const checks = (query: string) => {
    const ssl = tls(query);
    if (typeof ssl !== "object") return ssl;
    return [ssl.rejectUnauthorized, ssl.checkServerIdentity === undefined];
  };
  assertEquals(checks("?sslmode=disable"), false);
  assertEquals(checks(""), [false, false]);
  assertEquals(checks("?sslmode=prefer"), [false, false]);
  assertEquals(checks("?sslmode=require"), [false, false]);
  assertEquals(checks(`?sslmode=require&sslrootcert=${ca}`), [true, false]);
  assertEquals(checks(`?sslmode=verify-ca&sslrootcert=${ca}`), [true, false]);
  assertEquals(checks("?sslmode=verify-full"), [true, true]);
  assertEquals(
    (tls(`?sslmode=verify-full&sslrootcert=${ca}`) as { ca: string }).ca,
    "a certificate",
  );
  assert(targetOf("postgres://u@h/d").prefersTls);
  assert(!targetOf("postgres://u@h/d?sslmode=require").prefersTls);
});

Deno.test("a password file is read as psql reads it", () => {
  const login = { host: "h", port: 5432, database: "d", user: "u" };
  const text = String.raw`# h:5432:d:u:comment
no line of five fields
h:5433:d:u:other port
h:5432:d:u\\:other user
*:*:d:u:pass:word\:and\\more
h:5432:d:u:later`;
  assertEquals(passwordIn(text, login), String.raw`pass:word:and\more`);
  assertEquals(
    passwordIn(text, { ...login, user: "u\\" }),
    "other user",
  );
  assertEquals(passwordIn(text, { ...login, database: "x" }), undefined);
  assertEquals(passwordIn("", login), undefined);
});

Deno.test("a database is a server's by its scheme", () => {
  assert(isServer("postgres://u@h/d") && isServer("PostgreSQL://h"));
  assert(!isServer("postgres") && !isServer("/data/postgres://x"));
});
