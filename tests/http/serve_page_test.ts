import { assertEquals, assertMatch } from "@std/assert";
import { browserPermissions, CHROMIUM } from "./chromium.ts";
import {
  denoScript,
  flipBit,
  outputOf,
  randomBytes,
  sampleTx,
  test,
} from "../helpers.ts";
import { startService } from "./serve_helpers.ts";

const TOKEN = "0123456789abcdef";

const HOSTILE = [
  '<script>alert("id")</script>',
  '"><img src=x onerror=alert(1)>',
  "</title><b>",
  "\u202etxt.exe",
  "w".repeat(200),
];

/** A store that has something of everything, and one payload that goes bad. */
async function servedSample(token?: string) {
  const served = await startService({
    ...(token !== undefined && { token }),
    txs: [
      sampleTx({ txId: "tx-sound" }),
      sampleTx({ txId: "tx-damaged" }),
      sampleTx({ txId: "tx-lost", timestamp: 1e300 }),
      sampleTx({ txId: "bad-before", payload: randomBytes(70_000) }),
      ...HOSTILE.map((text, i) =>
        sampleTx({
          txId: text,
          holderId: text,
          timestamp: 1464307123 + i * 86_400,
        })
      ),
    ],
    before: (files) => flipBit(files.file("bad-before")),
  });
  await flipBit(served.files.file("tx-damaged"));
  while (served.service.summary === null) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return served;
}

const PATHS = [
  "",
  "?q=tx-&by=id",
  "?q=nothing-like-it&by=id",
  `?q=${encodeURIComponent(HOSTILE[0]!)}&by=holder`,
  "?id=tx-sound",
  "?id=tx-damaged",
  "?id=unknown",
  "?id=",
  ...HOSTILE.map((text) => `?id=${encodeURIComponent(text)}`),
];

test("the page tells what the store holds, and what is damaged", async () => {
  await using served = await servedSample();
  const page = async (path: string) => {
    const { status, headers, text } = await served.ask(`/${path}`);
    assertMatch(headers.get("content-type")!, /^text\/html/);
    assertMatch(headers.get("content-security-policy")!, /default-src 'none'/);
    assertEquals(
      /<script|<img|style="|onerror=a|javascript:/i.test(
        text.replace(/&lt;.*?&gt;/g, ""),
      ),
      false,
    );
    return { status, text: text.replace(/\s+/g, " ") };
  };
  const overview = await page("");
  assertMatch(overview.text, /<dt>Transactions<\/dt> <dd>8<\/dd>/);
  assertMatch(overview.text, /2016-05-29/);
  assertMatch(
    overview.text,
    /<h2 id="sizes">By size<\/h2>.*<th scope="row">up to 64 bytes<\/th><td[^>]*>7<\/td>/,
  );
  assertMatch(overview.text, /payload-corrupt: tx &quot;bad-before&quot;/);
  const sound = await page("?id=tx-sound");
  assertMatch(sound.text, /<span class="good">Sound<\/span>/);
  assertMatch(sound.text, /href="\/txs\/tx-sound"/);
  const damaged = await page("?id=tx-damaged");
  assertMatch(damaged.text, /<span class="bad">Damaged<\/span>/);
  assertMatch((await page("?id=tx-lost")).text, /1e\+300/);
  assertEquals((await page("?id=unknown")).status, 404);
  assertEquals((await page("?id=")).status, 400);
  assertMatch((await page("?q=tx-")).text, /id=tx-sound.*/);
  assertMatch((await page("?q=none")).text, /No transactions found/);
  assertMatch((await page("")).text, /Damage found by reading.*tx-damaged/);
  for (const path of PATHS) await page(path);
});

test("a search goes on page by page", async () => {
  const txs = Array.from(
    { length: 120 },
    (_, i) => sampleTx({ txId: `t${String(i).padStart(3, "0")}` }),
  );
  await using served = await startService({ txs });
  const seen = new Set<string>();
  for (let next: string | undefined = "/?q=alice&by=holder"; next;) {
    const { text } = await served.ask(next);
    for (const [, id] of text.matchAll(/\?id=(t\d+)/g)) seen.add(id!);
    next = /href="([^"]*after=[^"]*)"/.exec(text)?.[1]?.replaceAll(
      "&amp;",
      "&",
    );
  }
  assertEquals(seen.size, 120);
});

const skipped = CHROMIUM ? "" : " (skipped: there is no Chromium)";

Deno.test({
  name: `the page in a browser${skipped}`,
  ignore: CHROMIUM === null,
  timeout: 120_000,
  async fn() {
    await using served = await servedSample(TOKEN);
    const { code, stdout, stderr } = await outputOf(
      denoScript(
        "page_in_browser.ts",
        [CHROMIUM!, served.url, TOKEN, ...PATHS],
        {
          permissions: browserPermissions(CHROMIUM!),
          stdout: "piped",
          stderr: "piped",
        },
      ),
      110_000,
    );
    assertEquals(code, 0, stderr);
    const seen = JSON.parse(stdout);
    assertEquals(seen, {
      // What the answer 400 or 404 of a page is to the browser's console.
      complaints: seen.complaints.filter((text: string) =>
        /^Failed to load resource: .* 40[04] /.test(text)
      ),
      keyboard: [
        "A",
        "INPUT",
        "SELECT",
        "BUTTON",
        "solid",
        "Sound: the payload has this SHA-256",
      ],
      ran: false,
      hasDark: true,
    });
    assertEquals(served.notices.filter((line) => !/tx-damaged/.test(line)), []);
  },
});
