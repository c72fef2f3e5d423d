import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Budget, DEFAULT_LIMITS } from "../../src/http/limits.ts";
import { parseRange } from "../../src/http/payload.ts";
import { Problem, problemOf } from "../../src/http/problem.ts";
import { summarise } from "../../src/http/summary.ts";
import { txToJson } from "../../src/tx.ts";
import type { Tx } from "../../src/types.ts";
import {
  namesIn,
  randomBytes,
  sampleTx,
  tempStore,
  test,
  testDrivers,
  within,
} from "../helpers.ts";
import { startService, type TestService } from "./serve_helpers.ts";

const LARGE = 8 * 1024 * 1024;

const POST = "POST /txs HTTP/1.1\r\nHost: localhost\r\n";
const JSON_BODY = "Content-Type: application/json\r\n";
const LINES_BODY = "Content-Type: application/x-ndjson\r\n";

function json(txId: string, size = 10): string {
  const payload = randomBytes(size);
  return JSON.stringify(txToJson(sampleTx({ txId, payload })));
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until nothing is under way any more. */
async function idle({ service }: TestService): Promise<void> {
  while (service.requests > 0 || service.room.bytes.used > 0) await pause(10);
}

// --- bodies -----------------------------------------------------------------

test("a body that is too long is refused, told beforehand or not, and nothing is saved", async () => {
  await using served = await startService({ limits: { maxBody: 100_000 } });
  const long = json("a", 200_000);
  assertEquals((await served.post("/txs", long)).problem, "413 TOO_LARGE");
  const line = await served.postLines(`${json("b")}\n${long}\n${json("c")}`);
  assertEquals(line.problem, "413 TOO_LARGE");
  assertEquals([line.json.line, line.json.txs], [2, 1]);
  using wire = await served.connect(
    `${POST}${JSON_BODY}Transfer-Encoding: chunked\r\n\r\n`,
  );
  for (let sent = 0; sent <= 100_000; sent += 0x1000) {
    await wire.send(`1000\r\n${" ".repeat(0x1000)}\r\n`);
  }
  assertMatch(await wire.next(), /^HTTP\/1\.1 413 /);
  assertEquals(await served.service.store.listTxs(), ["b"]);
  assertEquals(namesIn(served.files.base, ".poh", "staged"), []);
});

test("a body of a terabyte is refused before it is read", async () => {
  await using served = await startService();
  using wire = await served.connect(
    `${POST}${JSON_BODY}Content-Length: 1000000000000\r\n\r\n`,
  );
  assertMatch(await wire.next(), /^HTTP\/1\.1 413 /);
});

test("bodies that do not fit into memory together wait for each other", async () => {
  await using served = await startService({
    limits: { maxBody: 50_000, bodyBudget: 60_000 },
  });
  const { bytes } = served.service.room;
  const body = json("first", 30_000);
  using first = await served.connect(
    `${POST}${JSON_BODY}Content-Length: ${body.length}\r\n\r\n`,
  );
  while (bytes.used === 0) await pause(5);
  let answered = 0;
  const others = Array.from({ length: 20 }, async (_, i) => {
    const answer = await served.post("/txs", json(`t${i}`, 30_000));
    answered++;
    return answer.status;
  });
  while (served.service.requests < 21) await pause(5);
  await pause(50);
  assertEquals([answered, bytes.used], [0, body.length]);
  await first.send(body);
  assertMatch(await first.next(), /^HTTP\/1\.1 201 /);
  assertEquals(new Set(await Promise.all(others)), new Set([201]));
  await idle(served);
});

test("a body that nobody has room for is refused after a while", async () => {
  await using served = await startService({
    limits: { bodyBudget: 1_000, patience: 100, bodyGrace: 1_000 },
  });
  using _ = await served.connect(
    `${POST}${JSON_BODY}Content-Length: 1000\r\n\r\n{`,
  );
  while (served.service.room.bytes.used === 0) await pause(5);
  const answer = await served.post("/txs", json("a"));
  assertEquals(answer.problem, "503 OVERLOADED");
  assertEquals(answer.headers.get("retry-after"), "1");
});

// --- slow and broken clients ------------------------------------------------

test("a client that is slow with its body is cut off, whatever it trickles", async () => {
  await using served = await startService({ limits: { bodyGrace: 300 } });
  for (const type of [JSON_BODY, LINES_BODY]) {
    using wire = await served.connect(
      `${POST}${type}Content-Length: 100000\r\n\r\n`,
    );
    const trickle = setInterval(() => wire.send(" ").catch(() => {}), 20);
    const answer = await within(5_000, wire.next());
    clearInterval(trickle);
    assertMatch(answer, /^HTTP\/1\.1 408 /, type);
    assertMatch(answer, /connection: close/i);
  }
  await idle(served);
});

test("a client that goes away in the middle of a body leaves nothing", async () => {
  await using served = await startService();
  for (const type of [JSON_BODY, LINES_BODY]) {
    {
      using _ = await served.connect(
        `${POST}${type}Content-Length: 100000\r\n\r\n${json("a")}`,
      );
      while (served.service.requests === 0) await pause(5);
    }
    await within(5_000, idle(served));
  }
  assertEquals(await served.service.store.countTxs(), 0);
});

test("a body that is encoded, or framed in two ways, is refused", async () => {
  await using served = await startService();
  const ask = async (...headers: string[]) => {
    using wire = await served.connect(
      `${POST}${JSON_BODY}${headers.join("\r\n")}\r\n\r\n1\r\n{\r\n0\r\n\r\n`,
    );
    return await wire.next();
  };
  assertMatch(
    await ask("Transfer-Encoding: gzip, chunked"),
    /^HTTP\/1\.1 501 [^]*UNSUPPORTED_TRANSFER/,
  );
  assertMatch(
    await ask("Transfer-Encoding: chunked", "Content-Length: 1"),
    /^HTTP\/1\.1 400 /,
  );
  const gzip = await ask("Content-Encoding: gzip", "Content-Length: 1");
  assertMatch(gzip, /^HTTP\/1\.1 415 [^]*accept-encoding: identity/i);
  assertMatch(gzip, /UNSUPPORTED_CODING/);
});

test("a probe of HTTP/1.0 and a target with its host are answered", async () => {
  await using served = await startService();
  for (
    const request of [
      "GET /healthz HTTP/1.0\r\n\r\n",
      "GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "OPTIONS /healthz HTTP/1.0\r\n\r\n",
    ]
  ) {
    using wire = await served.connect(request);
    const status = request.startsWith("OPTIONS") ? 405 : 200;
    assertMatch(
      await within(5_000, wire.next()),
      new RegExp(`^HTTP/1\\.[01] ${status} `),
    );
  }
});

test("what is no HTTP is answered with 400 and the end", async () => {
  await using served = await startService();
  for (
    const rubbish of [
      "\0\x01\x02\r\n\r\n",
      "GET\r\n\r\n",
      "GET / HTTP/9\r\n\r\n",
    ]
  ) {
    using wire = await served.connect(rubbish);
    assertMatch(await within(5_000, wire.rest()), /^HTTP\/1\.1 400 /);
  }
});

test("a client that takes nothing of a response is cut off, and memory stays flat", async () => {
  const payload = new Uint8Array(4 * LARGE);
  await using served = await startService({
    txs: [sampleTx({ txId: "a", payload })],
    limits: { idle: 300 },
  });
  const before = Deno.memoryUsage().rss;
  const wires = await Promise.all(
    Array.from(
      { length: 20 },
      () => served.connect("GET /txs/a HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ),
  );
  while (served.service.requests === 0) await pause(5);
  const grown = Deno.memoryUsage().rss - before;
  await within(20_000, idle(served));
  for (const wire of wires) wire[Symbol.dispose]();
  assert(grown < 10 * LARGE, `grew by ${grown} bytes`);
});

test("a client that goes away in the middle of a response is no error", async () => {
  await using served = await startService({
    txs: [sampleTx({ txId: "a", payload: new Uint8Array(LARGE) })],
  });
  for (const path of ["/txs/a", "/txs"]) {
    using wire = await served.connect(
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json, */*\r\n\r\n`,
    );
    await wire.next();
  }
  await within(5_000, idle(served));
  assertEquals(served.notices, []);
});

test("more requests than allowed are refused, counted and told, and probes are not", async () => {
  await using served = await startService({
    limits: { requests: 2, bodyGrace: 1_000 },
  });
  const start = `${POST}${JSON_BODY}Content-Length: 9\r\n\r\n{`;
  using _a = await served.connect(start);
  using _b = await served.connect(start);
  while (served.service.requests < 2) await pause(5);
  const refused = await served.raw("GET /txs HTTP/1.1");
  assertMatch(refused, /^HTTP\/1\.1 503 /);
  assertMatch(refused, /retry-after: 1\r\n/);
  assertEquals((await served.ask("/healthz")).status, 200);
  await idle(served);
  assertMatch(
    (await served.ask("/metrics")).text,
    /^poh_http_rejections_total\{code="OVERLOADED"\} 1$/m,
  );
  assertMatch(served.notices.join("\n"), /^Overloaded: 1 requests refused/m);
});

// --- parts ------------------------------------------------------------------

test("Budget gives what fits, in the order of asking", async () => {
  const budget = new Budget(10);
  const first = await budget.take(6);
  const order: string[] = [];
  const large = budget.take(8).then((release) => {
    order.push("large");
    return release;
  });
  const small = budget.take(2).then((release) => {
    order.push("small");
    return release;
  });
  await pause(10);
  assertEquals([order, budget.used], [[], 6]);
  first();
  first(); // given back once
  (await large)();
  (await small)();
  assertEquals([order, budget.used], [["large", "small"], 0]);
  (await budget.take(1_000))(); // no more than there is
  const all = await budget.take(10);
  await assertRejects(() => budget.take(1, 20), Problem, "Too much");
  all();
  assertEquals(budget.used, 0);
});

test("parseRange() takes one range and ignores what is none", () => {
  const cases: [string, ReturnType<typeof parseRange>][] = [
    ["bytes=0-9", { start: 0, end: 10 }],
    ["BYTES=5-", { start: 5, end: 100 }],
    ["bytes=-1", { start: 99, end: 100 }],
    ["bytes=99-99999999999999999999", { start: 99, end: 100 }],
    ["bytes=100-", "unsatisfiable"],
    ["bytes=-0", "unsatisfiable"],
    ["bytes=5-4", null],
    ["bytes= 1-2", null],
    ["bytes=1-2,4-5", null],
    ["", null],
  ];
  for (const [header, part] of cases) {
    assertEquals(parseRange(header, 100), part, header);
  }
  return Promise.resolve();
});

test("a full disk is a problem that goes away, what is not foreseen says little", () => {
  const full = [
    new Error("database or disk is full"),
    new Error("No space left on device (os error 28)"),
    Object.assign(new Error("write"), { code: "ENOSPC" }),
  ];
  for (const error of full) {
    const { status, code, headers } = problemOf(error);
    assertEquals([status, code], [503, "DISK_FULL"]);
    assertEquals(headers, { "retry-after": "30" });
  }
  const { status, message } = problemOf(new Error("/secret/path is gone"));
  assertEquals([status, message], [500, "The service failed"]);
  return Promise.resolve();
});

testDrivers(
  "summarise() sums up by holder and by day, whatever their number",
  async (driver) => {
    await using files = await tempStore({ driver });
    const txs: Tx[] = [];
    for (let holder = 0; holder < 40; holder++) {
      for (let n = 0; n <= holder; n++) {
        txs.push(sampleTx({
          txId: `${holder}-${n}`,
          holderId: `h${holder}`,
          timestamp: (txs.length % 100) * 86_400 - 50 * 86_400 + 0.5,
          payload: new Uint8Array(holder),
        }));
      }
    }
    txs.push(sampleTx({ txId: "far", holderId: "h0", timestamp: 1e300 }));
    txs.push(sampleTx({ txId: "old", holderId: "h0", timestamp: -1e300 }));
    await files.store.saveTxs(txs);
    const { signal } = new AbortController();
    const summary = await summarise(files.store, signal);
    assertEquals(summary.txs, txs.length);
    assertEquals(
      summary.bytes,
      txs.reduce((sum, { payload }) => sum + payload.length, 0),
    );
    assertEquals(summary.holders, 40);
    assertEquals(
      summary.top,
      Array.from({ length: 10 }, (_, i) => ({
        holderId: `h${39 - i}`,
        txs: 40 - i,
        bytes: (40 - i) * (39 - i),
      })),
    );
    assertEquals(
      summary.days.map(({ day }) => day),
      [
        Math.floor(1e300 / 86_400),
        ...Array.from({ length: 29 }, (_, i) => 49 - i),
      ],
    );
    for (const { day, txs: count } of summary.days) {
      const expected = txs.filter(({ timestamp }) =>
        Math.floor(timestamp / 86_400) === day
      );
      assertEquals(count, expected.length, String(day));
    }
  },
);

test("summarise() sums up by size, without a gap between the smallest and the largest", async () => {
  const sizes = [-1, 65, 256, 100, 257, 16_384, -1, 16_385];
  const { signal } = new AbortController();
  const summaryOf = (sizes: number[]) =>
    summarise({
      async *iterateByHolder() {
        for (const size of sizes) {
          yield {
            txId: "a",
            holderId: "h",
            timestamp: 0,
            storageHash: "",
            size,
          };
        }
      },
    }, signal);
  const summary = await summaryOf(sizes);
  assertEquals(summary.sizes, [
    { upTo: 256, txs: 3, bytes: 421 },
    { upTo: 1_024, txs: 1, bytes: 257 },
    { upTo: 4_096, txs: 0, bytes: 0 },
    { upTo: 16_384, txs: 1, bytes: 16_384 },
    { upTo: 65_536, txs: 1, bytes: 16_385 },
  ]);
  assertEquals([summary.txs, summary.unknownSizes], [8, 2]);
  assertEquals((await summaryOf([-1])).sizes, []);
  assertEquals((await summaryOf([0, 64])).sizes, [
    { upTo: 64, txs: 2, bytes: 64 },
  ]);
  // However large a payload is said to be, there are few classes.
  const { sizes: all } = await summaryOf([0, Number.MAX_SAFE_INTEGER]);
  assertEquals(all.length, 25);
});

testDrivers(
  "iterateByHolder() gives every row once, over many pages",
  async (driver) => {
    await using files = await tempStore({ driver, durability: "relaxed" });
    const txs = Array.from({ length: 1_300 }, (_, i) =>
      sampleTx({
        txId: `t${i}`,
        holderId: i < 600 ? "same" : `h${i % 3}`,
        timestamp: i % 7 === 0 ? 1e300 : i % 5,
      }));
    await files.store.saveTxs(txs);
    const seen = await Array.fromAsync(files.store.iterateByHolder());
    assertEquals(seen.length, 1_300);
    assertEquals(new Set(seen.map(({ txId }) => txId)).size, 1_300);
    const holders = seen.map(({ holderId }) => holderId);
    assertEquals(holders, holders.toSorted());
  },
);

test("the usual limits bound what bodies may take of memory", () => {
  const { maxBody, bodyBudget, streams } = DEFAULT_LIMITS;
  assert(bodyBudget + streams * maxBody <= 192 * 1024 * 1024);
  return Promise.resolve();
});
