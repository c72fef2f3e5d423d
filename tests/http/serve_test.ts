import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { sha256Hex } from "../../mod.ts";
import { LockFile } from "../../src/files/locks.ts";
import { isLoopback } from "../../src/http/access.ts";
import { txToJson } from "../../src/tx.ts";
import {
  assertBytes,
  bytes,
  flipBit,
  IS_WINDOWS,
  namesIn,
  randomBytes,
  sampleTx,
  startScript,
  test,
  testDrivers,
  TIME_LIMIT,
  within,
} from "../helpers.ts";
import { startService } from "./serve_helpers.ts";

const LARGE = 300_000;

/** The text of a transaction's JSON. */
function json(txId: string, payload = bytes(`payload of ${txId}`)): string {
  return JSON.stringify(txToJson(sampleTx({ txId, payload })));
}

function pathOf(txId: string): string {
  return `/txs/${encodeURIComponent(txId)}`;
}

// --- saving -----------------------------------------------------------------

testDrivers("POST /txs saves one transaction", async (driver) => {
  await using served = await startService({ driver });
  const saved = await served.post("/txs", json("a/b"));
  const storageHash = await sha256Hex(bytes("payload of a/b"));
  assertEquals(saved.status, 201);
  assertEquals(saved.headers.get("location"), "/txs/a%2Fb");
  assertEquals(saved.headers.get("etag"), `"${storageHash}"`);
  assertEquals(saved.json, {
    tx_id: "a/b",
    holder_id: "alice",
    timestamp: 1464307123.25,
    storage_hash: storageHash,
    size: 14,
    outcome: "created",
    saved: true,
  });
  const tx = await served.service.store.loadTx("a/b");
  assertBytes(tx?.payload, bytes("payload of a/b"));
});

test("POST /txs saves NDJSON, also of more than one chunk and with blank lines", async () => {
  await using served = await startService();
  const lines = Array.from(
    { length: 3_000 },
    (_, i) => `${json(`t${i}`, randomBytes(100, i))}\r\n`,
  );
  const saved = await served.postLines(`\n${lines.join("\n")}`);
  assertEquals([saved.status, saved.json], [200, {
    txs: 3_000,
    created: 3_000,
    replaced: 0,
    unchanged: 0,
    kept: 0,
  }]);
  assertEquals(await served.service.store.countTxs(), 3_000);
});

test("NDJSON stops at its first bad line and says what is saved", async () => {
  await using served = await startService();
  const answer = await served.postLines(
    [json("a"), json("b"), "{", json("c")].join("\n"),
  );
  assertEquals(answer.problem, "400 NOT_JSON");
  assertEquals([answer.json.line, answer.json.txs], [3, 2]);
  assertEquals(await served.service.store.listTxs(), ["a", "b"]);
});

test("requests that save at once share commits", async () => {
  await using served = await startService();
  const start = performance.now();
  await served.post("/txs", json("first"));
  const one = performance.now() - start;
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, i) => served.post("/txs", json(`t${i}`))),
  );
  const all = performance.now() - start - one;
  assert(answers.every(({ status }) => status === 201));
  assertEquals(await served.service.store.countTxs(), 201);
  assert(all < 200 * Math.max(one, 10), `${all} ms for 200, ${one} ms for one`);
});

test("POST /broadcast saves a payload of latin-1 text and answers OK", async () => {
  await using served = await startService();
  const payload = Uint8Array.from({ length: 256 }, (_, i) => i);
  const latin1 = String.fromCharCode(...payload);
  const tx = { tx_id: "取引", holder_id: "ä", timestamp: 1, payload: latin1 };
  const plain = JSON.stringify(tx);
  // As Python's json.dumps writes it.
  const escaped = plain.replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  for (const body of [plain, escaped]) {
    const answer = await served.post("/broadcast", body);
    assertEquals([answer.status, answer.text], [200, "OK"]);
    const saved = await served.service.store.loadTx("取引");
    assertEquals([saved?.holderId, saved?.timestamp], ["ä", 1]);
    assertBytes(saved?.payload, payload);
    assertEquals(await served.service.store.deleteTx("取引"), true);
  }
});

test("POST /broadcast takes any number for a time, and a type with its charset", async () => {
  await using served = await startService();
  for (
    const [text, timestamp] of [
      ["1464307123", 1464307123],
      ["1464307123.25", 1464307123.25],
      ["0", 0],
      ["-1.5e3", -1500],
      ["1e300", 1e300],
    ] as const
  ) {
    const answer = await served.ask("/broadcast", {
      method: "POST",
      headers: { "content-type": "application/json; charset=utf-8" },
      body:
        `{"tx_id":"a","holder_id":"h","timestamp":${text},"payload":"\\u0000"}`,
    });
    assertEquals([answer.status, answer.text], [200, "OK"], text);
    const saved = await served.service.store.loadTx("a");
    assertEquals(saved?.timestamp, timestamp);
    assertBytes(saved?.payload, Uint8Array.of(0));
  }
});

test("POST /broadcast refuses what is no time and no latin-1 text, and names it", async () => {
  await using served = await startService();
  const tx = { tx_id: "a", holder_id: "h", timestamp: 1, payload: "x" };
  for (
    const [field, value] of [
      ["payload", "\u0100"],
      ["payload", "\ud83d\ude00"],
      ["payload", "\udcff"], // what Python's surrogateescape makes of a byte
      ["payload", 1],
      ["payload", null],
      ["timestamp", "1464307123"],
      ["timestamp", "2016-05-27"],
      ["timestamp", null],
      ["holder_id", "a\0b"],
      ["holder_id", 7],
    ] as const
  ) {
    const answer = await served.post("/broadcast", { ...tx, [field]: value });
    assertEquals(
      [answer.problem, answer.json.field],
      ["400 INVALID_TX", field],
      JSON.stringify(value),
    );
  }
  for (const time of ["NaN", "-Infinity"]) { // Python writes these
    const answer = await served.post(
      "/broadcast",
      JSON.stringify(tx).replace(":1,", `:${time},`),
    );
    assertEquals(answer.problem, "400 NOT_JSON");
  }
  assertEquals(await served.service.store.countTxs(), 0);
});

test("what cannot be saved is a problem that names the field, and saves nothing", async () => {
  await using served = await startService();
  const tx = { tx_id: "a", holder_id: "", timestamp: 1, payload: "" };
  const cases: [unknown, string][] = [
    ["", "400 NOT_JSON"],
    ["{", "400 NOT_JSON"],
    ["[]", "400 INVALID_TX"],
    ["null", "400 INVALID_TX"],
    [{}, "400 INVALID_TX_ID"],
    [{ ...tx, tx_id: "" }, "400 INVALID_TX_ID"],
    [{ ...tx, tx_id: "\0" }, "400 INVALID_TX_ID"],
    [{ ...tx, tx_id: "x".repeat(300) }, "400 INVALID_TX_ID"],
    [{ ...tx, payload: "?" }, "400 INVALID_TX"],
    [{ ...tx, payload: "aG k=" }, "400 INVALID_TX"],
    [{ ...tx, payload: "aGk=\n" }, "400 INVALID_TX"],
    [{ ...tx, payload: [] }, "400 INVALID_TX"],
    [{ ...tx, holder_id: {} }, "400 INVALID_TX"],
    ['{"tx_id":"a","tx_id":"a"}', "400 INVALID_TX"],
    [{ ...tx, timestamp: "1" }, "400 INVALID_TX"],
    [{ ...tx, more: 1 }, "400 INVALID_TX"],
  ];
  for (const path of ["/txs", "/broadcast"]) {
    for (const [value, problem] of cases) {
      const { payload } = value as typeof tx;
      if (path === "/broadcast" && typeof payload === "string" && payload) {
        continue; // which is latin-1
      }
      const answer = await served.post(path, value);
      assertEquals(answer.problem, problem, `${path} ${JSON.stringify(value)}`);
      assertEquals(
        answer.headers.get("content-type"),
        "application/problem+json",
      );
    }
  }
  assertEquals(await served.service.store.countTxs(), 0);
  assertEquals(served.notices, []);
});

test("a body must say its type, so that no web page can send one unasked", async () => {
  await using served = await startService();
  for (const type of ["text/plain", "application/x-www-form-urlencoded"]) {
    for (const path of ["/txs", "/broadcast"]) {
      const answer = await served.ask(path, {
        method: "POST",
        headers: { "content-type": type },
        body: json("a"),
      });
      assertEquals(answer.problem, "415 UNSUPPORTED_TYPE");
      assertMatch(answer.headers.get("accept-post")!, /^application\/json/);
    }
  }
  assertEquals(await served.service.store.countTxs(), 0);
});

for (const size of [0, 1_000, LARGE]) {
  testDrivers(
    `PUT /txs/{id} saves ${size} bytes as they are`,
    async (driver) => {
      await using served = await startService({ driver });
      const payload = randomBytes(size);
      const hash = await sha256Hex(payload);
      const digest = `sha-256=:${Uint8Array.fromHex(hash).toBase64()}:`;
      const put = (query: string, headers: HeadersInit = {}, body = payload) =>
        served.ask(`/txs/a%2Fb${query}`, { method: "PUT", headers, body });

      const created = await put("?holder=%C3%A4&timestamp=1464307123.25", {
        "repr-digest": digest,
        "if-none-match": "*",
      });
      assertEquals(created.status, 201, created.text);
      assertEquals(created.headers.get("location"), "/txs/a%2Fb");
      assertEquals(created.headers.get("etag"), `"${hash}"`);
      assertEquals(created.json, {
        tx_id: "a/b",
        holder_id: "ä",
        timestamp: 1464307123.25,
        storage_hash: hash,
        size,
        outcome: "created",
        saved: true,
      });
      const tx = await served.service.store.loadTx("a/b");
      assertBytes(tx?.payload, payload);

      const inHeaders = {
        "poh-holder-id": "%C3%A4",
        "poh-timestamp": "1464307123.25",
        "content-digest": `sha-512=:AAAA:, ${digest}`,
      };
      const again = await put("", inHeaders);
      assertEquals([again.status, again.json.outcome], [200, "unchanged"]);
      const taken = await put("", { ...inHeaders, "if-none-match": "*" });
      assertEquals(taken.problem, "412 PRECONDITION_FAILED");
      assertEquals(taken.headers.get("etag"), `"${hash}"`);

      const other = new Uint8Array([...payload, 1]);
      const wrong = await put("", inHeaders, other);
      assertEquals(wrong.problem, "400 DIGEST_MISMATCH");
      assertEquals(
        [wrong.json.expected, wrong.json.found],
        [hash, await sha256Hex(other)],
      );
      assertBytes((await served.service.store.loadTx("a/b"))?.payload, payload);
      const replaced = await put("?holder=h&timestamp=2016-05-27", {}, other);
      assertEquals([replaced.status, replaced.json.outcome], [200, "replaced"]);
      assertEquals(namesIn(served.files.base, ".poh", "staged"), []);
    },
  );
}

test("PUT /txs/{id} takes more than a JSON body may have, and no length beforehand", async () => {
  await using served = await startService({ limits: { maxBody: 100_000 } });
  const piece = randomBytes(1_000_000);
  const saved = await served.ask("/txs/big?holder=h&timestamp=1", {
    method: "PUT",
    body: ReadableStream.from([piece, piece, piece]),
  });
  assertEquals([saved.status, saved.json.size], [201, 3_000_000]);
  const answer = await served.ask("/txs/big");
  assertBytes(answer.body, new Uint8Array([...piece, ...piece, ...piece]));
});

test("PUT /txs/{id} refuses what it does not understand, and saves nothing", async () => {
  await using served = await startService();
  const cases: [string, HeadersInit, string, string?][] = [
    ["", {}, "400 INVALID_TX", "holder_id"],
    ["?holder=h", {}, "400 INVALID_TX", "timestamp"],
    ["?holder=h&timestamp=x", {}, "400 INVALID_TX", "timestamp"],
    ["?holder=%00&timestamp=1", {}, "400 INVALID_TX", "holder_id"],
    ["?timestamp=1", { "poh-holder-id": "%" }, "400 INVALID_TX", "holder_id"],
    ["?holder=h&timestamp=1&x=1", {}, "400 INVALID_REQUEST"],
    [
      "?holder=h&timestamp=1",
      { "if-none-match": '"x"' },
      "400 INVALID_REQUEST",
    ],
    [
      "?holder=h&timestamp=1",
      { "content-encoding": "gzip" },
      "415 UNSUPPORTED_CODING",
    ],
    ...["x", "sha-256=abc", "sha-256=:AAAA:", "sha-256=:?:"].map((
      digest,
    ): [string, HeadersInit, string] => [
      "?holder=h&timestamp=1",
      { "repr-digest": digest },
      "400 INVALID_DIGEST",
    ]),
  ];
  for (const [query, headers, problem, field] of cases) {
    const answer = await served.ask(`/txs/a${query}`, {
      method: "PUT",
      headers,
      body: "x",
    });
    assertEquals(answer.problem, problem, query);
    assertEquals(answer.json.field, field);
  }
  assertEquals(await served.service.store.countTxs(), 0);
});

test("POST /txs heeds If-None-Match and the digest of its body", async () => {
  await using served = await startService();
  const post = (body: string, headers: Record<string, string>) =>
    served.ask("/txs", {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body,
    });
  const digest = async (text: string) =>
    `sha-256=:${Uint8Array.fromHex(await sha256Hex(bytes(text))).toBase64()}:`;
  const tx = json("a");
  const wrong = await post(tx, { "content-digest": await digest("other") });
  assertEquals(wrong.problem, "400 DIGEST_MISMATCH");
  const create = { "content-digest": await digest(tx), "if-none-match": "*" };
  assertEquals((await post(tx, create)).status, 201);
  assertEquals((await post(tx, create)).problem, "412 PRECONDITION_FAILED");
});

// --- loading ----------------------------------------------------------------

for (const size of [0, 5_000, LARGE]) {
  testDrivers(
    `GET /txs/{id} gives ${size} bytes with their digest`,
    async (driver) => {
      const payload = randomBytes(size);
      const tx = sampleTx({ txId: "a", holderId: "ä/b", payload });
      await using served = await startService({ driver, txs: [tx] });
      const hash = await sha256Hex(payload);
      const headers = {
        "etag": `"${hash}"`,
        "repr-digest": `sha-256=:${Uint8Array.fromHex(hash).toBase64()}:`,
        "content-length": String(size),
        "content-type": "application/octet-stream",
        "accept-ranges": "bytes",
        "x-content-type-options": "nosniff",
        "poh-timestamp": "1464307123.25",
        "poh-holder-id": "%C3%A4%2Fb",
      };
      for (const method of ["GET", "HEAD"]) {
        const answer = await served.ask("/txs/a", { method });
        assertEquals(answer.status, 200);
        const got = Object.keys(headers).map((name) => [
          name,
          answer.headers.get(name),
        ]);
        assertEquals(Object.fromEntries(got), headers, method);
        assertBytes(answer.body, method === "GET" ? payload : bytes(""));
      }
      const asked = { headers: { accept: "application/json" } };
      assertEquals((await served.ask("/txs/a", asked)).json, txToJson(tx));
      for (const tags of [`"${hash}"`, `W/"x", W/"${hash}"`, "*"]) {
        const answer = await served.ask("/txs/a", {
          headers: { "if-none-match": tags },
        });
        assertEquals([answer.status, answer.body.length], [304, 0]);
        assertEquals(answer.headers.get("etag"), `"${hash}"`);
      }
      const other = await served.ask("/txs/a", {
        headers: { "if-none-match": `"${"0".repeat(64)}"` },
      });
      assertEquals(other.status, 200);
    },
  );
}

for (const size of [1_000, LARGE]) {
  test(`GET /txs/{id} gives a range of ${size} bytes`, async () => {
    const payload = randomBytes(size);
    await using served = await startService({
      txs: [sampleTx({ txId: "a", payload })],
    });
    const etag = `"${await sha256Hex(payload)}"`;
    const get = (range: string, condition?: string) =>
      served.ask("/txs/a", {
        headers: { range, ...(condition && { "if-range": condition }) },
      });
    const parts: [string, number, number][] = [
      ["bytes=0-0", 0, 1],
      ["bytes=10-19", 10, 20],
      [`bytes=${size - 1}-`, size - 1, size],
      [`bytes=500-${size * 2}`, 500, size],
      ["bytes=-7", size - 7, size],
      [`bytes=-${size * 2}`, 0, size],
    ];
    for (const [range, start, end] of parts) {
      const answer = await get(range);
      assertEquals(answer.status, 206, range);
      assertEquals(
        answer.headers.get("content-range"),
        `bytes ${start}-${end - 1}/${size}`,
      );
      assertBytes(answer.body, payload.subarray(start, end), range);
    }
    for (
      const range of ["bytes=0-1,5-6", "bytes=9-3", "lines=1-2", "bytes=-"]
    ) {
      assertEquals((await get(range)).status, 200, range);
    }
    for (const range of [`bytes=${size}-`, "bytes=-0"]) {
      const answer = await get(range);
      assertEquals(answer.problem, "416 NO_SUCH_RANGE", range);
      assertEquals(answer.headers.get("content-range"), `bytes */${size}`);
    }
    assertEquals((await get("bytes=0-0", etag)).status, 206);
    assertEquals((await get("bytes=0-0", '"other"')).status, 200);
  });
}

test("a damaged payload is a problem, or a response that is broken off, never data", async () => {
  await using served = await startService({
    txs: [
      sampleTx({ txId: "small" }),
      sampleTx({ txId: "large", payload: randomBytes(LARGE) }),
      sampleTx({ txId: "gone" }),
    ],
    start: false,
  });
  await served.service.start(new AbortController().signal);
  await flipBit(served.files.file("small"));
  await flipBit(served.files.file("large"), LARGE - 1);
  await Deno.remove(served.files.file("gone"));
  for (const id of ["small", "gone"]) {
    const answer = await served.ask(`/txs/${id}`);
    assertEquals(answer.problem, "500 INTEGRITY", id);
    assertEquals(
      (await served.ask(`/txs/${id}`, {
        headers: { accept: "application/json" },
      })).problem,
      "500 INTEGRITY",
    );
  }
  const part = { headers: { range: "bytes=0-9" } };
  assertEquals((await served.ask("/txs/small", part)).problem, "500 INTEGRITY");
  assertEquals((await served.ask("/txs/large", part)).problem, "500 INTEGRITY");
  for (const accept of ["*/*", "application/json"]) {
    await assertRejects(
      () => served.ask("/txs/large", { headers: { accept } }),
      TypeError,
    );
  }
  const cut = await served.raw("GET /txs/large HTTP/1.1");
  assertMatch(cut, /content-length: 300000/);
  const body = cut.slice(cut.indexOf("\r\n\r\n") + 4);
  assert(body.length < LARGE, "the last piece is held back");
  const figures = (await served.ask("/metrics")).text;
  assertMatch(figures, /^poh_damage_found_total 9$/m);
  const page = (await served.ask("/")).text;
  assertMatch(page, /Damage found by reading[^]*large[^]*small[^]*gone/);
});

test("GET /txs lists a page, and the next, as JSON; everything as NDJSON", async () => {
  const txs = Array.from({ length: 250 }, (_, i) =>
    sampleTx({
      txId: `t${String(i).padStart(3, "0")}`,
      holderId: i % 2 ? "ä" : "b",
      timestamp: i,
    }));
  await using served = await startService({ txs });
  const ids: string[] = [];
  let pages = 0;
  for (let next: string | null = "/txs?holder=%C3%A4&limit=50"; next;) {
    const page = await served.ask(next);
    ids.push(...page.json.txs.map((tx: { tx_id: string }) => tx.tx_id));
    next = page.json.next;
    assertEquals(
      page.headers.get("link"),
      next && `<${next}>; rel="next"`,
    );
    pages++;
  }
  assertEquals(pages, 3);
  assertEquals(
    ids,
    txs.filter(({ holderId }) => holderId === "ä").map(({ txId }) => txId),
  );
  assertEquals((await served.ask("/txs")).json.txs.length, 100);
  const lines = await served.ask("/txs?since=10&before=1970-01-01T00:03Z", {
    headers: { accept: "application/x-ndjson" },
  });
  assertEquals(lines.headers.get("content-type"), "application/x-ndjson");
  assertEquals(lines.text.trimEnd().split("\n").length, 170);
  const bad = [
    "limit=0",
    "limit=1001",
    "since=x",
    "more=1",
    "sort=size",
    "reverse=1",
    "after=a&after-time=1",
    "sort=time&after-time=1",
  ];
  for (const query of bad) {
    const answer = await served.ask(`/txs?${query}`);
    assertEquals(answer.problem, "400 INVALID_REQUEST", query);
  }
});

test("GET /txs lists the newest first, page by page, whatever goes meanwhile", async () => {
  const txs = Array.from(
    { length: 50 },
    (_, i) =>
      sampleTx({ txId: `t${i * 7 % 50}`, timestamp: Math.floor(i / 3) + 0.1 }),
  );
  await using served = await startService({ txs });
  const { store } = served.service;
  const wanted = await store.listTxs({ sort: "time", reverse: true });
  const ids: string[] = [];
  let next: string | null = "/txs?sort=time&reverse=true&limit=7";
  while (next) {
    const page = await served.ask(next);
    ids.push(...page.json.txs.map((tx: { tx_id: string }) => tx.tx_id));
    next = page.json.next;
    if (next) await store.deleteTx(ids.at(-1)!);
  }
  assertEquals(ids, wanted);
  const gone = await served.ask(`/txs?sort=time&after=${wanted[6]}`);
  assertEquals(gone.problem, "410 CURSOR_GONE");
  const asked = { headers: { accept: "application/x-ndjson" } };
  const oldest = await served.ask("/txs?sort=time&limit=1", asked);
  assertEquals(JSON.parse(oldest.text).timestamp, 0.1);
});

test("lists are compressed where the client takes that, and only then", async () => {
  const txs = Array.from(
    { length: 100 },
    (_, i) => sampleTx({ txId: `t${i}` }),
  );
  await using served = await startService({ txs });
  const ask = async (path: string, coding: string, accept = "*/*") => {
    const raw = await served.raw(`GET ${path} HTTP/1.1`, [
      `Accept-Encoding: ${coding}`,
      `Accept: ${accept}`,
    ]);
    assertMatch(raw, /^vary: .*accept-encoding/im);
    const { body } = await served.ask(path, { headers: { accept } });
    assert(body.length > 10_000); // which fetch has decompressed
    return { isGzip: /^content-encoding: gzip/im.test(raw), size: raw.length };
  };
  for (const type of ["application/json", "application/x-ndjson"]) {
    const zipped = await ask("/txs", "br, gzip", type);
    assert(zipped.isGzip && zipped.size < 8_000, `${zipped.size}`);
    for (const coding of ["identity", "gzip;q=0", "x-gzip"]) {
      assertEquals((await ask("/txs", coding, type)).isGzip, false);
    }
  }
});

test("POST /txs/get gives many, each with its own error", async () => {
  const small = sampleTx({ txId: "small", payload: randomBytes(1_000) });
  const large = sampleTx({ txId: "large", payload: randomBytes(LARGE) });
  const bad = sampleTx({ txId: "bad", payload: randomBytes(100) });
  await using served = await startService({ txs: [small, large, bad] });
  await flipBit(served.files.file("bad"));
  const ask = (body: unknown) => served.post("/txs/get", body);
  const tx_ids = ["large", "none", "small", "bad", "", "large"];
  const answer = await ask({ tx_ids });
  assertEquals(answer.status, 200);
  const lines = answer.text.trimEnd().split("\n").map((line) =>
    JSON.parse(line)
  );
  assertEquals(lines.map(({ tx_id }) => tx_id), tx_ids);
  assertEquals(lines.map(({ error }) => error?.code), [
    undefined,
    "UNKNOWN_TX",
    undefined,
    "INTEGRITY",
    "INVALID_TX_ID",
    undefined,
  ]);
  assertEquals(lines[0], txToJson(large));
  assertEquals(lines[2], txToJson(small));
  assertEquals([...served.service.damaged], ["bad"]);

  assertEquals((await ask({ tx_ids: [] })).text, "");
  const escaped = '{"tx_ids":["\\u0073mall"]}';
  assertEquals(
    (await ask(escaped)).text,
    `${JSON.stringify(txToJson(small))}\n`,
  );
  for (
    const body of [
      "",
      "{}",
      '{"tx_ids":"a"}',
      '{"tx_ids":[1]}',
      '{"tx_ids":["a",]}',
      '{"tx_ids":["\\x"]}',
      '{"tx_ids":[["a"]]}',
      '{"tx_ids":[],"more":1}',
      { tx_ids: Array(1_001).fill("a") },
    ]
  ) {
    assertEquals((await ask(body)).problem, "400 INVALID_REQUEST");
  }
  const long = await ask(`{"tx_ids":["${"a".repeat(1024 * 1024)}"]}`);
  assertEquals(long.problem, "413 TOO_LARGE");
  const nested = await ask(`{"tx_ids":${"[".repeat(1_000_000)}`);
  assertEquals(nested.problem, "400 INVALID_REQUEST");
  assertEquals((await served.ask("/txs/get")).problem, "404 UNKNOWN_TX");
  assertEquals(served.service.requests, 0);
});

test("Accept has weights, and no answer is sniffed", async () => {
  await using served = await startService({ txs: [sampleTx({ txId: "a" })] });
  const typeOf = async (path: string, accept: string) => {
    const answer = await served.ask(path, { headers: { accept } });
    assertEquals(answer.headers.get("x-content-type-options"), "nosniff");
    assert(answer.headers.get("cache-control"), path);
    return answer.headers.get("content-type");
  };
  const cases: [string, string, string][] = [
    ["/txs/a", "application/json", "application/json"],
    ["/txs/a", "application/json;q=0.5, */*;q=0.1", "application/json"],
    ["/txs/a", "application/json;q=0, */*", "application/octet-stream"],
    [
      "/txs/a",
      "application/json;q=0.5, application/octet-stream",
      "application/octet-stream",
    ],
    [
      "/txs",
      "application/x-ndjson;q=0.9, application/json",
      "application/json",
    ],
    ["/txs", "application/x-ndjson, application/json", "application/x-ndjson"],
    ["/x", "*/*", "application/problem+json"],
  ];
  for (const [path, accept, type] of cases) {
    assertEquals(await typeOf(path, accept), type, accept);
  }
});

test("GET /txs/{id}/info tells what the metadata says", async () => {
  const tx = sampleTx({ txId: "a/b", holderId: "ä" });
  await using served = await startService({ txs: [tx] });
  const info = await served.ask("/txs/a%2Fb/info");
  assertEquals([info.status, info.json], [200, {
    tx_id: "a/b",
    holder_id: "ä",
    timestamp: tx.timestamp,
    storage_hash: await sha256Hex(tx.payload),
    size: tx.payload.length,
  }]);
  assertEquals((await served.ask("/txs/x/info")).problem, "404 UNKNOWN_TX");
  for (const path of ["/txs/a%2Fb/inf", "/txs//info", "/txs/a/b/info"]) {
    assertEquals((await served.ask(path)).problem, "404 NO_ROUTE", path);
  }
  const put = await served.ask("/txs/a/info", { method: "PUT" });
  assertEquals(put.problem, "405 METHOD_NOT_ALLOWED");
  assertMatch(
    (await served.ask("/metrics")).text,
    /^poh_http_requests_total\{method="GET",route="\/txs\/\{id\}\/info",status="200"\} 1$/m,
  );
});

test("NDJSON heeds If-None-Match, and no condition that it cannot", async () => {
  await using served = await startService({ txs: [sampleTx({ txId: "a" })] });
  const post = (headers: Record<string, string>) =>
    served.ask("/txs", {
      method: "POST",
      headers: { "content-type": "application/x-ndjson", ...headers },
      body: `${json("b")}\n${json("a")}\n`,
    });
  const digest = "sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:";
  for (const name of ["if-match", "content-digest"]) {
    const answer = await post({ [name]: name === "if-match" ? "*" : digest });
    assertEquals(answer.problem, "400 INVALID_REQUEST");
  }
  assertEquals(await served.service.store.listTxs(), ["a"]);
  const answer = await post({ "if-none-match": "*" });
  assertEquals(answer.problem, "412 PRECONDITION_FAILED");
  assertEquals([answer.json.line, answer.json.created], [2, 1]);
});

test("NDJSON tells of each line what became of it, when asked", async () => {
  await using served = await startService({ limits: { maxBody: 1_000 } });
  const ask = async (body: BodyInit) => {
    const answer = await served.ask("/txs", {
      method: "POST",
      headers: {
        "content-type": "application/x-ndjson",
        "accept": "application/x-ndjson",
      },
      body,
    });
    assertEquals(answer.status, 200);
    assertEquals(answer.headers.get("content-type"), "application/x-ndjson");
    const lines = answer.text.trimEnd().split("\n").map((line) =>
      JSON.parse(line)
    );
    const last = lines.pop();
    return {
      last,
      lines: lines.toSorted((a, b) => a.line - b.line).map((line) => [
        line.line,
        line.outcome ?? line.error.code,
        line.tx_id ?? line.error.field,
      ]),
    };
  };
  const none = { txs: 0, created: 0, replaced: 0, unchanged: 0, kept: 0 };
  const bad = '{"tx_id":"x","holder_id":1,"timestamp":0,"payload":""}';
  const { lines, last } = await ask(
    [json("a"), "", bad, "{", json("b"), json("c")].join("\n"),
  );
  assertEquals(lines, [
    [1, "created", "a"],
    [3, "INVALID_TX", "holder_id"],
    [4, "NOT_JSON", undefined],
    [5, "created", "b"],
    [6, "created", "c"],
  ]);
  assertEquals(last, { ...none, txs: 3, created: 3, failed: 2, error: null });
  assertEquals(await served.service.store.listTxs(), ["a", "b", "c"]);

  // What is too long cannot be told from what follows it.
  const cut = await ask(`${json("d")}\n${" ".repeat(2_000)}\n${json("e")}`);
  assertEquals(cut.lines, [[1, "created", "d"]]);
  assertEquals(
    [cut.last.txs, cut.last.error.code, cut.last.error.line],
    [1, "TOO_LARGE", 2],
  );

  const many = Array.from(
    { length: 5_000 },
    (_, n) => json(`id ${n}`, bytes("")),
  );
  const all = await ask(many.join("\n"));
  assertEquals(all.lines.map(([line]) => line), many.map((_, n) => n + 1));
  assertEquals(all.last.created, 5_000);
});

test(
  "a client that sends lines and takes no answers keeps nobody out",
  async () => {
    const limits = { streams: 1, idle: 200 };
    await using served = await startService({ limits });
    const tx = sampleTx({ txId: "a", holderId: "x".repeat(20_000) });
    const many = `${JSON.stringify(txToJson(tx))}\n`.repeat(2_000);
    const wire = await served.connect([
      "POST /txs HTTP/1.1",
      "Host: localhost",
      "Content-Type: application/x-ndjson",
      "Accept: application/x-ndjson",
      `Content-Length: ${many.length}`,
      "",
      "",
    ].join("\r\n"));
    const sending = wire.send(many).catch(() => {}); // until it is closed
    const { service } = served;
    do await new Promise((resolve) => setTimeout(resolve, 10)); while (
      service.requests > 0 || await service.store.countTxs() === 0
    );
    const other = await served.postLines(json("b"));
    assertEquals(other.json.created, 1);
    wire[Symbol.dispose]();
    await sending;
  },
  { timeout: 4 * TIME_LIMIT },
);

test("a change is made only where If-Match names what is there", async () => {
  for (const size of [10, LARGE]) {
    const txs = [sampleTx({ txId: "a", payload: bytes("old") })];
    await using served = await startService({ txs });
    const etag = async () =>
      (await served.ask("/txs/a", { method: "HEAD" })).headers.get("etag")!;
    const old = await etag();
    const put = (ifMatch: string, txId = "a") =>
      served.ask(`/txs/${txId}?holder=h&timestamp=1`, {
        method: "PUT",
        headers: { "if-match": ifMatch },
        body: randomBytes(size),
      });
    for (const tags of ['"x"', `W/${old}`, '"x", "y"']) {
      const answer = await put(tags);
      assertEquals(answer.problem, "412 PRECONDITION_FAILED");
      assertEquals(answer.headers.get("etag"), old);
    }
    for (const tags of ["", "x", '"x', '"x" "y"']) {
      assertEquals((await put(tags)).problem, "400 INVALID_REQUEST");
    }
    for (const tags of ["*", old]) {
      assertEquals((await put(tags, "b")).problem, "412 PRECONDITION_FAILED");
    }
    const first = await put(`"x", ${old}`);
    assertEquals([first.status, first.json.outcome], [200, "replaced"]);
    assertEquals((await put(old)).problem, "412 PRECONDITION_FAILED");
    assertEquals((await put("*")).json.outcome, "unchanged");

    const change = (method: string, tags: string) =>
      served.ask("/txs/a", { method, headers: { "if-match": tags } });
    assertEquals(
      (await change("DELETE", old)).problem,
      "412 PRECONDITION_FAILED",
    );
    assertEquals((await change("GET", old)).problem, "412 PRECONDITION_FAILED");
    assertEquals((await change("GET", await etag())).body.length, size);
    const post = await served.ask("/txs", {
      method: "POST",
      headers: { "content-type": "application/json", "if-match": old },
      body: json("a"),
    });
    assertEquals(post.problem, "412 PRECONDITION_FAILED");
    assertEquals((await change("DELETE", await etag())).status, 204);
    assertEquals((await change("DELETE", "*")).problem, "404 UNKNOWN_TX");
    assertEquals(namesIn(served.files.base, ".poh", "staged"), []);
  }
});

test("a change under a condition that is not known is not made", async () => {
  await using served = await startService({ txs: [sampleTx({ txId: "a" })] });
  const headers = { "if-unmodified-since": "Sat, 29 Oct 1994 19:43:31 GMT" };
  for (const condition of [headers, { "if-none-match": "*" }]) {
    const deletion = await served.ask("/txs/a", {
      method: "DELETE",
      headers: condition as HeadersInit,
    });
    assertEquals(deletion.problem, "400 INVALID_REQUEST");
  }
  const put = await served.ask("/txs/b?holder=h&timestamp=1", {
    method: "PUT",
    headers,
    body: "x",
  });
  assertEquals(put.problem, "400 INVALID_REQUEST");
  assertEquals(await served.service.store.listTxs(), ["a"]);
});

test("DELETE /txs/{id} deletes", async () => {
  await using served = await startService({ txs: [sampleTx({ txId: "a" })] });
  const remove = () => served.ask("/txs/a", { method: "DELETE" });
  assertEquals((await remove()).status, 204);
  assertEquals((await remove()).problem, "404 UNKNOWN_TX");
  assertEquals((await served.ask("/txs/a")).problem, "404 UNKNOWN_TX");
  assertEquals((await served.ask("/txs/a", { method: "HEAD" })).status, 404);
});

// --- paths ------------------------------------------------------------------

test("an id may be whatever a transaction may have: paths lead nowhere else", async () => {
  await using served = await startService();
  const ids = [
    "a/b",
    "../../etc/passwd",
    "..",
    ".",
    "%2F",
    "%252e",
    "日本 語",
    "a?b#c",
    "\u202e",
    "con",
    "A",
    "a",
    "\\..\\x",
    "file:///x",
    " ",
    "é",
    "e\u0301",
  ];
  for (const txId of ids) {
    assertEquals((await served.post("/txs", json(txId))).status, 201, txId);
  }
  for (const txId of ids) {
    const answer = await served.raw(`GET ${pathOf(txId)} HTTP/1.1`);
    assertMatch(answer, /^HTTP\/1\.1 200 /, txId);
    assert(answer.endsWith(`\r\n\r\npayload of ${txId}`), txId);
  }
  for (const txId of ids) {
    const answer = await served.raw(`DELETE ${pathOf(txId)} HTTP/1.1`);
    assertMatch(answer, /^HTTP\/1\.1 204 /, txId);
  }
  assertEquals(await served.service.store.countTxs(), 0);
});

test("a path that is no id's is refused", async () => {
  await using served = await startService({
    txs: [sampleTx({ txId: "a" }), sampleTx({ txId: "txs" })],
  });
  const cases: [string, number][] = [
    ["/txs/../../etc/passwd", 404],
    ["/txs/a/b", 404],
    ["/txs/", 404],
    ["//txs/a", 404],
    ["/./txs/a", 404],
    ["/txs/x/../a", 404],
    ["/TXS/a", 404],
    ["/txs/%", 400],
    ["/txs/%ff", 400],
    ["/txs/%00", 400],
    ["/txs/%ed%a0%80", 400],
    ["/txs/..%2f..%2fpoh.db", 404],
    ["/txs/a.bin", 404],
    ["/poh.db", 404],
    ["/.poh/id", 404],
  ];
  for (const [path, status] of cases) {
    const answer = await served.raw(`GET ${path} HTTP/1.1`);
    assertMatch(
      answer,
      new RegExp(`^HTTP/1\\.1 ${status} `),
      path.slice(0, 99),
    );
    assertEquals(answer.includes("payload of"), false, path);
  }
  const patch = await served.ask("/txs/a", { method: "PATCH" });
  assertEquals(patch.problem, "405 METHOD_NOT_ALLOWED");
  assertEquals(patch.headers.get("allow"), "GET, HEAD, PUT, DELETE");
  const post = await served.ask("/", { method: "POST" });
  assertEquals(post.headers.get("allow"), "GET, HEAD");
});

// --- access -----------------------------------------------------------------

test("with a token every path but the probes asks for it", async () => {
  const token = "0123456789abcdef";
  await using served = await startService({ tokens: token });
  const ask = (path: string, authorization?: string) =>
    served.ask(path, authorization ? { headers: { authorization } } : {});
  const paths = ["/", "/txs", "/txs/a", "/metrics", "/openapi.json", "/x"];
  const wrong = [
    undefined,
    "Bearer",
    "Bearer 0123456789abcdeF",
    `Bearer ${token}0`,
    `Digest ${token}`,
    `Basic ${btoa(token)}`,
    `Basic ${btoa(`${token}:`)}`,
    "Basic ???",
  ];
  for (const path of paths) {
    for (const authorization of wrong) {
      const answer = await ask(path, authorization);
      assertEquals(answer.problem, "401 UNAUTHORIZED", authorization);
      assertMatch(answer.headers.get("www-authenticate")!, /^Bearer /);
      const page = await served.ask(path, { headers: { accept: "text/html" } });
      assertMatch(page.headers.get("www-authenticate")!, /^Basic /);
    }
  }
  const saved = await served.post("/txs", json("a"));
  assertEquals(saved.problem, "401 UNAUTHORIZED");
  assertEquals(await served.service.store.countTxs(), 0);
  for (const path of ["/healthz", "/readyz"]) {
    assertEquals((await ask(path)).text, "OK");
  }
  for (const right of [`Bearer ${token}`, `Basic ${btoa(`me:${token}`)}`]) {
    assertEquals((await ask("/txs", right)).status, 200);
  }
});

test("a token allows what its scope has, and what those below it have", async () => {
  const tokens = ["read", "write", "admin"].map((scope) =>
    `${scope} token-for-${scope}-0123`
  );
  await using served = await startService({ tokens: tokens.join("\n") });
  const ask = async (scope: string, path: string, method = "GET") => {
    const answer = await served.ask(path, {
      method,
      headers: {
        authorization: `Bearer token-for-${scope}-0123`,
        "content-type": "application/json",
      },
      ...(method === "POST" && { body: '{"tx_ids":[]}' }),
    });
    return answer.status;
  };
  for (const scope of ["read", "write", "admin"]) {
    assertEquals(await ask(scope, "/txs"), 200);
    assertEquals(await ask(scope, "/txs/get", "POST"), 200);
    const isRead = scope === "read";
    assertEquals(await ask(scope, "/txs/a", "DELETE"), isRead ? 403 : 404);
    assertEquals(await ask(scope, "/txs", "POST"), isRead ? 403 : 400);
    assertEquals(
      await ask(scope, "/txs/a?holder=h", "PUT"),
      isRead ? 403 : 400,
    );
  }
});

test("without a token it answers to this machine's names only", async () => {
  await using served = await startService();
  const ask = async (host: string) => {
    using wire = await served.connect(
      `GET /txs HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
    );
    return (await wire.rest()).split(" ")[1];
  };
  for (const host of ["localhost", "127.0.0.1:80", "[::1]:1", "LOCALHOST:9"]) {
    assertEquals(await ask(host), "200", host);
  }
  for (
    const host of ["example.com", "localhost.example.com", "127.1.example"]
  ) {
    assertEquals(await ask(host), "421", host);
  }
  assertEquals(
    ["127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1", "127.x"]
      .filter(isLoopback),
    ["127.0.0.1", "::1", "localhost"],
  );
});

// --- readiness --------------------------------------------------------------

test("until recovery is done it lives, and is not ready", async () => {
  await using served = await startService({
    txs: [sampleTx({ txId: "a" })],
    start: false,
  });
  assertEquals((await served.ask("/healthz")).text, "OK");
  for (const path of ["/readyz", "/txs", "/txs/a"]) {
    const answer = await served.ask(path);
    assertEquals(answer.problem, "503 NOT_READY", path);
    assertEquals(answer.headers.get("retry-after"), "1");
  }
  assertEquals((await served.post("/txs", json("b"))).problem, "503 NOT_READY");
  assertMatch((await served.ask("/")).text, /Starting/);
  assertEquals(await served.service.start(new AbortController().signal), true);
  assertEquals((await served.ask("/readyz")).text, "OK");
  assertEquals((await served.ask("/txs/a")).status, 200);
});

test(
  "/readyz tells of a store that was moved, and nothing is acknowledged",
  async () => {
    await using served = await startService({ txs: [sampleTx({ txId: "a" })] });
    const { base } = served.files;
    await Deno.rename(base, `${base}-moved`);
    try {
      const saving = await served.post("/txs", json("b"));
      assertEquals(saving.problem, "503 STORE_MOVED");
      assertEquals((await served.ask("/readyz")).problem, "503 STORE_MOVED");
      assertEquals((await served.ask("/healthz")).text, "OK");
    } finally {
      await Deno.rename(`${base}-moved`, base);
    }
    // It may have missed what happened meanwhile.
    assertEquals((await served.ask("/readyz")).problem, "503 STORE_MOVED");
  },
  { ignore: IS_WINDOWS },
);

test("/readyz tells of a process that keeps the store locked, until it does not", async () => {
  await using served = await startService({
    lockTimeout: 100,
    txs: [sampleTx({ txId: "a" })],
  });
  assertEquals((await served.ask("/readyz")).text, "OK");
  const lock = new LockFile(join(served.files.base, ".poh", "commit.lock"));
  assertEquals(lock.tryLock(true), true);
  const saving = await served.post("/txs", json("b"));
  assertEquals(saving.problem, "503 BUSY");
  const answer = await served.ask("/readyz");
  assertEquals(answer.problem, "503 LOCK_STUCK");
  assertEquals(answer.headers.get("retry-after"), "1");
  assertEquals((await served.ask("/healthz")).text, "OK");
  assertEquals((await served.ask("/txs/a")).status, 200);
  lock.close();
  assertEquals((await served.ask("/readyz")).text, "OK");
  assertEquals((await served.post("/txs", json("b"))).status, 201);
  assertMatch(
    served.notices.join("\n"),
    /Not ready: Another process is committing.*\nReady again/,
  );
});

test("recovery takes what is damaged out of service before it is ready", async () => {
  await using served = await startService({
    txs: [sampleTx({ txId: "a" }), sampleTx({ txId: "b" })],
    before: (files) => flipBit(files.file("a")),
  });
  assertEquals((await served.ask("/txs/a")).problem, "404 UNKNOWN_TX");
  assertEquals((await served.ask("/txs/b")).status, 200);
  assertMatch(
    (await served.ask("/")).text,
    /payload-corrupt: tx &quot;a&quot;/,
  );
  assertMatch(
    (await served.ask("/metrics")).text,
    /^poh_recovery_findings\{kind="payload-corrupt"\} 1$/m,
  );
});

test("where another process has the store open it starts without recovery", async () => {
  let other: AsyncDisposable | null = null;
  await using served = await startService({
    txs: [sampleTx({ txId: "a" })],
    before: async (files) => {
      other = await startScript("hold_store.ts", [files.base, files.db]);
    },
  });
  assertMatch(served.notices.join(), /^Starting without recovery: /);
  assertEquals((await served.ask("/txs/a")).status, 200);
  assertMatch((await served.ask("/")).text, /Skipped: /);
  await other![Symbol.asyncDispose]();
});

test("a request in flight is finished before the end", async () => {
  const served = await startService();
  using wire = await served.connect(
    "POST /txs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
      `Content-Length: ${json("a").length}\r\n\r\n`,
  );
  await wire.send(json("a").slice(0, 10));
  while (served.service.requests === 0) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const stopped = served[Symbol.asyncDispose]();
  const late = await served.ask("/txs");
  assertEquals(late.problem, "503 STOPPING");
  assertEquals(late.headers.get("connection"), "close");
  await wire.send(json("a").slice(10));
  const answer = await wire.rest();
  assertMatch(answer, /^HTTP\/1\.1 201 /);
  assertMatch(answer, /\r\nconnection: close\r\n/i);
  await within(5_000, stopped);
});

test("a client that never ends its request cannot keep it from ending", async () => {
  const served = await startService({ limits: { shutdown: 200 } });
  using _ = await served.connect(
    "POST /txs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
      "Content-Length: 9\r\n\r\n{",
  );
  await within(5_000, served[Symbol.asyncDispose]());
});

// --- what else it tells -----------------------------------------------------

test("figures count requests by route, not by path", async () => {
  await using served = await startService();
  await served.post("/txs", json("a"));
  for (const id of ["a", "b", "c"]) await served.ask(`/txs/${id}`);
  await served.ask("/somewhere");
  const figures = (await served.ask("/metrics")).text;
  const count = (labels: string) =>
    new RegExp(`^poh_http_requests_total\\{${labels}\\} (\\d+)$`, "m")
      .exec(figures)?.[1];
  assertEquals(count('method="POST",route="/txs",status="201"'), "1");
  assertEquals(count('method="GET",route="/txs/{id}",status="404"'), "2");
  assertEquals(count('method="GET",route="other",status="404"'), "1");
  assertMatch(figures, /^poh_saved_bytes_total 12$/m);
  assertMatch(figures, /^poh_ready 1$/m);
  assertMatch(figures, /^process_resident_memory_bytes \d+$/m);
});
