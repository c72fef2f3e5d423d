import { assert, assertEquals, assertRejects } from "@std/assert";
import { PohStorageError, StoreNotFoundError } from "../../mod.ts";
import { S3Store } from "../../src/shared/s3/s3_store.ts";
import { keysOf, put, testObjectStore } from "../contract/object_store.ts";
import { testPayloadStore } from "../contract/payload_store.ts";
import {
  bytes,
  denoScript,
  outputOf,
  test as plainTest,
  text,
  TIME_LIMIT,
} from "../helpers.ts";
import { ceph } from "./ceph.ts";
import { freePort } from "./processes.ts";
import { type S3Server, TestBucket, variablesOf } from "./s3_server.ts";
import { swift } from "./swift.ts";

/** In what servers differ. */
interface Dialect {
  /** Whether it refuses to overwrite an object. */
  canCreateOnce: boolean;
  /** What it says to somebody whom it does not know. */
  unknown: string;
  /** How long a test of a contract may take, in ms. */
  timeout: number;
}

/** Declares the tests of a server; null where there is none. */
function testServer(
  name: string,
  server: S3Server | null,
  { canCreateOnce, unknown, timeout }: Dialect,
): void {
  const ignore = server === null;
  const test = (what: string, fn: () => Promise<void>) =>
    plainTest(`S3Store on ${name}: ${what}`, fn, { ignore });

  async function make() {
    const bucket = await TestBucket.make(server!);
    return {
      store: bucket.open(),
      again: () => bucket.open(),
      [Symbol.asyncDispose]: () => bucket[Symbol.asyncDispose](),
    };
  }

  testObjectStore(`S3Store on ${name}`, make, { ignore, timeout });
  testPayloadStore(`S3Store on ${name}`, make, { ignore, timeout });

  test(
    "a bucket looks like the folder of a local store",
    async () => {
      await using made = await make();
      await made.store.save("a/b", bytes("x"));
      await made.store.save("A", bytes("y"));
      assertEquals(await keysOf(made.store), ["A.bin", "a%2Fb.bin"]);
      assertEquals(await made.store.canCreateOnce(), canCreateOnce);
    },
  );

  test("a clock that is wrong does no harm", async () => {
    await using made = await make();
    const now = Date.now;
    Date.now = () => now() + 3_600_000; // signatures are of their time
    try {
      await made.again().init(); // by a HEAD, whose answer does not say why
      assertEquals(await put(made.store, "a.bin", bytes("x")), true);
      const ahead = Date.now() / 1000 - await made.store.now();
      assert(Math.abs(ahead - 3_600) < 10, `${ahead}`);
    } finally {
      Date.now = now;
    }
  });

  test(
    "it takes no more permissions than for its endpoint and variables",
    async () => {
      await using bucket = await TestBucket.make(server!);
      const env = variablesOf(server!);
      const permissions = [
        "--no-prompt",
        `--allow-net=127.0.0.1:${server!.port}`,
        `--allow-env=${Object.keys(env).join(",")}`,
      ];
      const piped = { stdout: "piped", stderr: "piped" } as const;
      const child = denoScript("s3_save.ts", [bucket.url()], {
        ...piped,
        permissions,
        env,
      });
      const { code, stdout, stderr } = await outputOf(child);
      assertEquals([code, stdout], [0, "saved\n"], stderr);
      const denied = denoScript("s3_save.ts", [bucket.url()], {
        ...piped,
        permissions: ["--no-prompt"],
        env,
      });
      const failed = await outputOf(denied);
      assert(failed.stderr.includes("AWS_SECRET_ACCESS_KEY, and allow"));
    },
  );

  test("errors say what is wrong, and no secrets", async () => {
    await using bucket = await TestBucket.make(server!);
    const secret = "s3cr3t", sessionToken = "t0k3n";
    const { credentials: right } = server!;
    const open = (url: string, credentials = right) =>
      S3Store.open(url, { credentials, patience: { attempts: 2 } });
    const nowhere = bucket.url(`http://127.0.0.1:${freePort()}`);
    const wrongKey = { ...right, secretAccessKey: secret };
    const wrongName = { ...right, accessKeyId: "nobody" };
    const expiring = { ...right, sessionToken };
    const elsewhere = bucket.url().replace("//poh/", "//nowhere/");
    const cases: [S3Store, string, string][] = [
      [open(bucket.url(), wrongKey), "DENIED", "SignatureDoesNotMatch"],
      [open(bucket.url(), wrongName), "DENIED", unknown],
      [open(nowhere, expiring), "UNREACHABLE", "Connection refused"],
      [open(elsewhere), "NOT_FOUND", "There is no store at s3://nowhere/"],
    ];
    for (const [store, code, why] of cases) {
      for (
        const ask of [
          () => store.read("a.bin"),
          () => put(store, "a.bin", bytes("x")),
          () => keysOf(store),
          () => store.exists("a"),
        ]
      ) {
        const error = await assertRejects(ask, PohStorageError, why);
        assertEquals(error.code, code);
        const told = Deno.inspect([error, store], {
          depth: 20,
          showHidden: true,
        });
        for (const word of [secret, sessionToken, right.secretAccessKey]) {
          assert(!told.includes(word), told);
        }
      }
      await store.close();
    }
  });

  test("a missing bucket is no missing payload", async () => {
    await using bucket = await TestBucket.make(server!);
    const url = bucket.url().replace("//poh/", `//poh-${crypto.randomUUID()}/`);
    const store = S3Store.open(url, { credentials: server!.credentials });
    try {
      for (const ask of [() => store.load("a"), () => store.stream("a.bin")]) {
        await assertRejects(ask, StoreNotFoundError);
      }
      await store.init();
      await store.init();
      assertEquals(await store.load("a"), null);
      await store.save("a", bytes("x"));
      assertEquals(text(await store.load("a")), "x");
    } finally {
      await store.close();
    }
  });
}

testServer("Ceph", await ceph(), {
  canCreateOnce: true,
  unknown: "InvalidAccessKeyId",
  timeout: TIME_LIMIT,
});
const small = await swift();
if (small) {
  testServer("Swift", small, {
    canCreateOnce: false,
    unknown: "SignatureDoesNotMatch",
    timeout: 4 * TIME_LIMIT, // a hundred requests in a second
  });
}
