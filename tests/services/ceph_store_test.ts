import { assert, assertEquals, assertRejects } from "@std/assert";
import { PohStorageError, StoreNotFoundError } from "../../mod.ts";
import { S3Store } from "../../src/s3/s3_store.ts";
import { keysOf, put, testObjectStore } from "../contract/object_store.ts";
import { testPayloadStore } from "../contract/payload_store.ts";
import { bytes, denoScript, outputOf, test, text } from "../helpers.ts";
import { ACCESS_KEY, SECRET_KEY } from "./ceph.ts";
import { ceph, CREDENTIALS, TestBucket } from "./ceph_store.ts";
import { freePort } from "./ceph_processes.ts";

const server = await ceph();
const options = { ignore: server === null };

async function make() {
  const bucket = await TestBucket.make(server!.endpoint);
  return {
    store: bucket.open(),
    again: () => bucket.open(),
    [Symbol.asyncDispose]: () => bucket[Symbol.asyncDispose](),
  };
}

testObjectStore("S3Store on Ceph", make, options);
testPayloadStore("S3Store on Ceph", make, options);

test(
  "S3Store on Ceph: a bucket looks like the folder of a local store",
  async () => {
    await using made = await make();
    await made.store.save("a/b", bytes("x"));
    await made.store.save("A", bytes("y"));
    assertEquals(await keysOf(made.store), ["A.bin", "a%2Fb.bin"]);
    assertEquals(await made.store.canCreateOnce(), true);
  },
  options,
);

test("S3Store on Ceph: a clock that is wrong does no harm", async () => {
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
}, options);

test(
  "S3Store on Ceph: it takes no more permissions than for its endpoint and variables",
  async () => {
    await using bucket = await TestBucket.make(server!.endpoint);
    const env = {
      AWS_ACCESS_KEY_ID: ACCESS_KEY,
      AWS_SECRET_ACCESS_KEY: SECRET_KEY,
    };
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
  options,
);

test("S3Store on Ceph: errors say what is wrong, and no secrets", async () => {
  await using bucket = await TestBucket.make(server!.endpoint);
  const secret = "s3cr3t", sessionToken = "t0k3n";
  const open = (url: string, credentials = CREDENTIALS) =>
    S3Store.open(url, { credentials, patience: { attempts: 2 } });
  const nowhere = bucket.url(`http://127.0.0.1:${freePort()}`);
  const wrongKey = { ...CREDENTIALS, secretAccessKey: secret };
  const wrongName = { ...CREDENTIALS, accessKeyId: "nobody" };
  const expiring = { ...CREDENTIALS, sessionToken };
  const elsewhere = bucket.url().replace("//poh/", "//nowhere/");
  const cases: [S3Store, string, string][] = [
    [open(bucket.url(), wrongKey), "DENIED", "SignatureDoesNotMatch"],
    [open(bucket.url(), wrongName), "DENIED", "InvalidAccessKeyId"],
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
      for (const word of [secret, sessionToken, SECRET_KEY]) {
        assert(!told.includes(word), told);
      }
    }
    await store.close();
  }
}, options);

test("S3Store on Ceph: a missing bucket is no missing payload", async () => {
  await using bucket = await TestBucket.make(server!.endpoint);
  const url = bucket.url().replace("//poh/", `//poh-${crypto.randomUUID()}/`);
  const store = S3Store.open(url, { credentials: CREDENTIALS });
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
}, options);
