// `@poh/storage/proofs` needs no Deno: the same module in Node.js and in a browser.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import {
  answerChallenge,
  formatChallenge,
  formatConsistencyProof,
  provePossession,
} from "../../proofs.ts";
import { tempDir, text } from "../helpers.ts";
import { checkAll, type Given } from "./everywhere.ts";
import {
  hello,
  large,
  NONCE,
  ORIGIN,
  textOf,
  vectorLog,
  VKEY,
} from "./sample.ts";

/** What must come out, wherever it is checked. */
const RIGHT = {
  ...{ live: [2, 4], txId: "b", old: 3, held: [2], chunks: 4, possession: 2 },
  ...{ refusal: "payload", signed: "hello\n", isSame: true },
  isUnsupportedSaid: true,
};

async function given(): Promise<Given> {
  const log = await vectorLog();
  log.put({ txId: "c", holderId: "", timestamp: 1 }, hello);
  const challenge = {
    ...{ origin: ORIGIN, size: 4, root: log.tree.root(4), nonce: NONCE },
    ...{ entries: 3, chunks: 4 },
  };
  const source = await log.source(challenge);
  return {
    vkey: VKEY,
    entries: log.items.map(({ entry }) => entry.toBase64()),
    checkpoint: await log.checkpoint(),
    kept: await log.checkpoint(3),
    inclusion: await log.inclusionProof(2),
    consistency: formatConsistencyProof({
      ...{ oldSize: 3, oldRoot: log.tree.root(3) },
      path: log.tree.consistency(3),
      checkpoint: await log.checkpoint(),
    }),
    challenge: formatChallenge(challenge),
    answer: await textOf(answerChallenge(challenge, source, log.signer)),
    possession: await provePossession(2, NONCE, large, log.signer),
    ...{ index: 2, nonce: NONCE.toBase64(), payload: large.toBase64() },
  };
}

/** The module and what uses it as one file, without types. */
async function bundle(path: string): Promise<void> {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...[
        "bundle",
        "--quiet",
        "--platform=browser",
        "--no-config",
        "--no-lock",
      ],
      ...[`--output=${path}`, join(import.meta.dirname!, "everywhere.ts")],
    ],
  }).output();
  assertEquals(code, 0, text(stderr));
}

/** Whether a program is there. */
async function has(program: string): Promise<boolean> {
  try {
    return (await new Deno.Command(program, { args: ["--version"] }).output())
      .success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

Deno.test("Deno checks every proof without a permission", async () => {
  assertEquals(await checkAll(await given()), RIGHT);
  const module = new URL("./everywhere.ts", import.meta.url);
  const code = `import { checkAll } from ${JSON.stringify(module.href)};
    const { value } = await Deno.stdin.readable.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TransformStream({
        start() { this.all = ""; },
        transform(piece) { this.all += piece; },
        flush(to) { to.enqueue(this.all); },
      })).getReader().read();
    console.log(JSON.stringify(await checkAll(JSON.parse(value))));`;
  await using dir = await tempDir();
  const script = dir.join("check.ts");
  await Deno.writeTextFile(script, code);
  const args = ["run", "--quiet", "--no-prompt", "--no-config", "--no-check"];
  assertEquals(await outputOf(Deno.execPath(), [...args, script]), RIGHT);
});

/** What a program says that gets the proofs on its standard input. */
async function outputOf(program: string, args: string[]): Promise<unknown> {
  const child = new Deno.Command(program, {
    ...{ args, stdin: "piped", stdout: "piped", stderr: "piped" },
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(JSON.stringify(await given())));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  assertEquals(code, 0, text(stderr));
  return JSON.parse(text(stdout));
}

const hasNode = await has("node");

Deno.test({
  name: `Node.js checks every proof${
    hasNode ? "" : " (skipped: no node here)"
  }`,
  ignore: !hasNode,
  async fn() {
    await using dir = await tempDir();
    const module = dir.join("proofs.mjs");
    await bundle(module);
    const script = dir.join("check.mjs");
    await Deno.writeTextFile(
      script,
      `import { readFileSync } from "node:fs";
       import { checkAll } from "./proofs.mjs";
       const given = JSON.parse(readFileSync(0, "utf8"));
       console.log(JSON.stringify(await checkAll(given)));`,
    );
    assertEquals(await outputOf("node", [script]), RIGHT);
  },
});

const hasChromium = await has("chromium");

Deno.test({
  name: `Chromium checks every proof${
    hasChromium ? "" : " (skipped: no chromium here)"
  }`,
  ignore: !hasChromium,
  timeout: 120_000,
  async fn() {
    await using dir = await tempDir();
    const module = dir.join("proofs.js");
    await bundle(module);
    const js = { "content-type": "text/javascript" };
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const page = `<!doctype html><script type="module">
      import { checkAll } from "/proofs.js";
      const given = await (await fetch("/given")).json();
      const body = await checkAll(given).then(
        JSON.stringify,
        (error) => JSON.stringify(String(error.stack)),
      );
      await fetch("/said", { method: "POST", body });
    </script>`;
    const server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      async (request) => {
        switch (new URL(request.url).pathname) {
          case "/":
            return new Response(page, {
              headers: { "content-type": "text/html" },
            });
          case "/proofs.js":
            return new Response(await Deno.readFile(module), { headers: js });
          case "/given":
            return Response.json(await given());
          case "/said":
            resolve(await request.json());
            return new Response();
          default:
            return new Response(null, { status: 404 });
        }
      },
    );
    const browser = new Deno.Command("chromium", {
      args: [
        ...["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"],
        `--user-data-dir=${dir.join("profile")}`,
        ...[
          "--remote-debugging-port=0",
          `http://127.0.0.1:${server.addr.port}/`,
        ],
      ],
      ...{ stdin: "null", stdout: "null", stderr: "null" },
    }).spawn();
    try {
      const ended = browser.status.then(({ code }) =>
        `chromium ended: ${code}`
      );
      assertEquals(await Promise.race([promise, ended]), RIGHT);
    } finally {
      browser.kill("SIGTERM");
      await browser.status;
      await server.shutdown();
      await removeSoon(dir.join("profile"));
    }
  },
});

/** Removes what processes that are just ending may still write to. */
async function removeSoon(path: string): Promise<void> {
  for (let attempt = 0; attempt < 50; attempt++) {
    try {
      return await Deno.remove(path, { recursive: true });
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

Deno.test("the module imports nothing of the store, and no package", async () => {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "--no-config", "--no-lock", "proofs.ts"],
    cwd: join(import.meta.dirname!, "../.."),
  }).output();
  const { modules } = JSON.parse(text(stdout)) as {
    modules: { specifier: string }[];
  };
  const names = modules.map(({ specifier }) => specifier);
  assert(names.length > 10);
  assertEquals(
    names.filter((name) => !/\/(proofs\.ts|src\/proofs\/\w+\.ts)$/.test(name)),
    [],
  );
});
