// What servers answer that no server of the tests can be made to answer.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { PohStorageError } from "../../mod.ts";
import type { Patience } from "../../src/shared/s3/retry.ts";
import { S3Store } from "../../src/shared/s3/s3_store.ts";
import { LARGE, put } from "../contract/object_store.ts";
import { bytes, randomBytes, test, text, within } from "../helpers.ts";

/** Answers by turns; the last one again and again. */
type Answers = ((request: Request) => Response | Promise<Response>)[];

/** A store on a server that answers so, and the heads of what it was asked. */
class Scripted implements AsyncDisposable {
  readonly heads: Headers[] = [];
  readonly store: S3Store;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(answers: Answers, patience: Partial<Patience> = {}) {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      (request) => {
        const count = this.heads.push(new Headers(request.headers));
        const at = Math.min(count, answers.length) - 1;
        return answers[at]!(request);
      },
    );
    this.store = open(this.endpoint, patience);
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store.close();
    await this.#server.shutdown();
  }
}

function open(endpoint: string, patience: Partial<Patience> = {}): S3Store {
  const credentials = { accessKeyId: "id", secretAccessKey: "key" };
  return S3Store.open(`s3://poh?endpoint=${endpoint}`, {
    credentials,
    patience,
  });
}

/** Where a server has been. */
async function gone(): Promise<string> {
  await using made = new Scripted([]);
  return made.endpoint;
}

/** Reads what it is sent, and says this. */
const says =
  (body: string | null, init?: ResponseInit) =>
  async (request: Request): Promise<Response> => {
    await request.body?.pipeTo(new WritableStream());
    return new Response(body, init);
  };

const problem = (code: string, status: number, headers?: HeadersInit) =>
  says(`<Error><Code>${code}</Code></Error>`, {
    status,
    ...headers && { headers },
  });

const pause = (ms: number) => new Promise((go) => setTimeout(go, ms));

test("S3: a wrong clock is told by an answer without a body, too", async () => {
  const date = new Date(Date.now() - 3_600_000).toUTCString();
  const headers = { date };
  await using made = new Scripted([
    says(null, { status: 403, headers }),
    says(null, { headers }),
  ]);
  const time = await made.store.now();
  assertEquals(time, Date.parse(date) / 1000);
  const signed = made.heads[1]!.get("x-amz-date")!;
  const [, y, m, d, h] = /^(....)(..)(..)T(..)/.exec(signed)!;
  assertEquals(date.slice(17, 19), h);
  assertEquals(new Date(date).toISOString().slice(0, 10), `${y}-${m}-${d}`);
  const denied = new Date().toUTCString();
  await using refused = new Scripted([
    says(null, { status: 403, headers: { date: denied } }),
  ]);
  await assertRejects(() => refused.store.now(), PohStorageError, "refuses");
  assertEquals(refused.heads.length, 1);
});

test("S3: another region is named whatever the status", async () => {
  for (const status of [301, 400]) {
    const headers = { "x-amz-bucket-region": "eu-west-2" };
    await using made = new Scripted([says(null, { status, headers })]);
    await assertRejects(
      () => made.store.init(),
      PohStorageError,
      "try region=eu-west-2",
    );
  }
});

test("S3: bytes are asked for as they are", async () => {
  await using made = new Scripted([says("x")]);
  assertEquals(text(await made.store.read("a.bin")), "x");
  assertEquals(made.heads[0]!.get("accept-encoding"), "identity");
});

const begun = says("<R><UploadId>u</UploadId></R>");
const sent = says(null, { headers: { etag: "t" } });
/** An upload of {@linkcode LARGE} bytes up to its end. */
const UPLOAD: Answers = [
  problem("NoSuchKey", 404), // the key is not taken
  begun,
  sent,
  sent,
  sent,
];
const KEY = `.poh/versions/${"a".repeat(64)}.${crypto.randomUUID()}/a.bin`;
const DONE = "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>";

test("S3: an upload is complete when the server says so, however long it takes", async () => {
  const trickle = async (request: Request) => {
    await request.body?.pipeTo(new WritableStream());
    return new Response(ReadableStream.from(async function* () {
      yield bytes("<?xml version='1.0'?>");
      for (let n = 0; n < 15; n++) {
        await pause(100);
        yield bytes(" ");
      }
      yield bytes(DONE);
    }()));
  };
  await using made = new Scripted([...UPLOAD, trickle], { silence: 500 });
  assertEquals(await put(made.store, KEY, randomBytes(LARGE)), true);
  assertEquals(made.heads.length, UPLOAD.length + 1);
});

test("S3: what fails behind a status of success has failed", async () => {
  for (
    const [body, code] of [
      ["<Error><Code>InternalError</Code></Error>", "InternalError"],
      ["", "no result"],
    ] as const
  ) {
    await using made = new Scripted([...UPLOAD, says(body)], { attempts: 2 });
    const error = await assertRejects(
      () => put(made.store, KEY, randomBytes(LARGE)),
      PohStorageError,
      code,
    );
    assertEquals(error.code, "UNREACHABLE");
    assert(error.message.includes("s3://poh"));
  }
});

test("S3: a reader that leaves does not wait for a server that is silent", async () => {
  const half = new Uint8Array(2_000_000);
  const silent = Promise.withResolvers<Response>();
  await using made = new Scripted([
    () =>
      new Response(
        ReadableStream.from(async function* () {
          yield half;
          await pause(50); // and the connection breaks
        }()),
        { headers: { "content-length": `${2 * half.length}`, etag: "t" } },
      ),
    () => silent.promise,
  ]);
  const reader = (await made.store.stream("a.bin"))!.getReader();
  for (let size = 0; size < half.length;) {
    size += (await reader.read()).value!.length;
  }
  const next = reader.read();
  while (made.heads.length < 2) await pause(10);
  await within(1_000, reader.cancel());
  await next;
  silent.resolve(new Response(null, { status: 404 }));
});

test("S3: an object of others under a name that is no text is passed over", async () => {
  await using made = new Scripted([
    says(
      "<R><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>" +
        ["%FF", "a.bin"].map((key) =>
          `<Contents><Key>${key}</Key><Size>1</Size>` +
          "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
        ).join("") + "</R>",
    ),
  ]);
  const keys = await Array.fromAsync(made.store.list(), ({ key }) => key);
  assert(keys.includes("a.bin"));
});

test("S3: a server that is busy is asked again as long as is set, no longer", async () => {
  await using made = new Scripted([problem("SlowDown", 503)], {
    retryFor: 1_500,
  });
  const start = performance.now();
  const error = await assertRejects(
    () => made.store.read("a.bin"),
    PohStorageError,
  );
  const took = performance.now() - start;
  assertEquals(error.code, "UNREACHABLE");
  assert(took >= 1_500 && took < 10_000, `${took}`);
});

test("S3: a server that has never answered may not be one, and is given up on sooner", async () => {
  const servers: [string, string, number][] = [
    [await gone(), "Connection refused", 10_000],
  ];
  await using plain = new Scripted([says("x")]);
  servers.push([
    plain.endpoint.replace("http:", "https:"),
    "corrupt message",
    2_000,
  ]);
  for (const [endpoint, why, most] of servers) {
    const store = open(endpoint);
    await within(
      most,
      assertRejects(() => store.read("a.bin"), PohStorageError, why),
    );
    await store.close();
  }
});
