import { assert, assertEquals, assertMatch } from "@std/assert";
import { assertFails, cliStore, run, txText } from "../cli_helpers.ts";
import { IS_WINDOWS, tempDir, test } from "../helpers.ts";
import { loadService } from "../http/serve_load.ts";
import { serve, untilReady } from "../http/serve_process.ts";

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

test(
  "serve saves, and ends with 0 when it is told to, with what it has acknowledged",
  async () => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      await using dir = await tempDir();
      const served = await serve(dir.path);
      assertMatch(served.first, /^Listening on http:\/\/127\.0\.0\.1:\d+\/\n$/);
      await untilReady(served.url);
      const acknowledged: string[] = [];
      const saves = Array.from({ length: 200 }, async (_, i) => {
        try {
          const answer = await fetch(`${served.url}txs`, {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: txText(`t${i}`),
          });
          await answer.body?.cancel();
          if (answer.status === 201) acknowledged.push(`t${i}`);
        } catch {
          // It came too late: the service accepts no more.
        }
      });
      while (acknowledged.length === 0) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      const { code, stderr } = await served.end(signal);
      await Promise.all(saves);
      assertEquals(code, 0, stderr);
      assertMatch(
        stderr,
        /^No database at [^\n]+\nReady\nInterrupted: [^\n]+\n$/,
      );
      const list = await run(["list", "--json"], { cwd: dir.path });
      const there = new Set(
        list.stdout.trim().split("\n").map((line) => JSON.parse(line).tx_id),
      );
      assert(acknowledged.every((txId) => there.has(txId)));
      const checked = await run(["verify", "--quiet"], { cwd: dir.path });
      assertEquals(checked.code, 0);
    }
  },
  { ignore: IS_WINDOWS },
);

test("serve takes its token from a file or the environment", async () => {
  await using dir = await tempDir();
  const token = "0123456789abcdef";
  await Deno.writeTextFile(dir.join("token"), `${token}\n`);
  const ways: [string[], Record<string, string>][] = [
    [["--token-file", dir.join("token")], {}],
    [["--host", "0.0.0.0", "--json"], { POH_TOKEN: token }],
  ];
  for (const [args, env] of ways) {
    const served = await serve(dir.path, args, env);
    const url = served.url.replace("0.0.0.0", "127.0.0.1").replace(/"\}$/, "");
    await untilReady(url);
    const ask = async (headers: Record<string, string>) => {
      const answer = await fetch(`${url}txs`, { headers });
      await answer.body?.cancel();
      return answer.status;
    };
    assertEquals(await ask({}), 401);
    assertEquals(await ask({ authorization: `Bearer ${token}` }), 200);
    assertEquals((await served.end("SIGTERM")).code, 0);
  }
}, { ignore: IS_WINDOWS });

test(
  "serve reads its tokens again at SIGHUP, and keeps them where it cannot",
  async () => {
    await using dir = await tempDir();
    const file = dir.join("tokens");
    const old = "0123456789abcdef", other = "fedcba9876543210";
    await Deno.writeTextFile(file, `write ${old}\n`);
    const served = await serve(dir.path, ["--token-file", file]);
    await untilReady(served.url);
    const ask = async (token: string) => {
      const answer = await fetch(`${served.url}txs`, {
        headers: { authorization: `Bearer ${token}` },
      });
      await answer.body?.cancel();
      return answer.status;
    };
    const until = async (token: string, status: number) => {
      while (await ask(token) !== status) await delay(20);
    };
    await Deno.writeTextFile(file, `write ${old}\nread ${other} prometheus\n`);
    served.signal("SIGHUP");
    await until(other, 200);
    await Deno.writeTextFile(file, "rite\n");
    served.signal("SIGHUP");
    while (!served.said().includes("those of before stay good")) {
      await delay(
        20,
      );
    }
    await Deno.writeTextFile(file, `read ${other}\n`);
    assertEquals(await ask(other), 200);
    served.signal("SIGHUP");
    await until(old, 401);
    assertEquals(await ask(other), 200);
    const { code, stderr } = await served.end("SIGTERM");
    assertEquals(code, 0);
    assertMatch(stderr, /^Read 2 tokens again$/m);
    assertEquals(stderr.includes(other), false);
  },
  { ignore: IS_WINDOWS },
);

test("serve --log json tells all as JSON, a line each", async () => {
  await using dir = await tempDir();
  const args = ["--log", "json", "--access-log", "on"];
  const served = await serve(dir.path, args);
  await untilReady(served.url);
  await (await fetch(`${served.url}txs`)).body?.cancel();
  const { code, stderr } = await served.end("SIGTERM");
  assertEquals(code, 0);
  const entries = stderr.trimEnd().split("\n").map((line) => JSON.parse(line));
  for (const { time, level, msg } of entries) {
    assert(!Number.isNaN(Date.parse(time)));
    assert(["info", "warn", "error"].includes(level));
    assert(msg.length > 0);
  }
  assert(entries.some(({ msg }) => msg === "Ready"));
  assert(
    entries.some(({ route, status }) => route === "/txs" && status === 200),
  );
}, { ignore: IS_WINDOWS });

test("serve refuses what would be unsafe or cannot be, before it makes a store", async () => {
  await using store = await cliStore({ make: false });
  const fails = async (args: string[], code: number, message: RegExp) =>
    assertFails(
      await store.call(["serve", "--create", ...args]),
      code,
      message,
    );
  await fails(["--host", "0.0.0.0"], 2, /^--host 0\.0\.0\.0 can be reached/);
  await fails(["--port", "65536"], 2, /^--port must be an integer from 0/);
  await fails(["--port", "x"], 2, /^--port must be/);
  await fails(["--max-body", "0"], 2, /^--max-body must be 1 or more$/);
  await fails(["--max-body", "x"], 2, /^--max-body must be a number of bytes/);
  await fails(
    ["--token-file", store.dir.join("none")],
    2,
    /^Cannot read .*none/,
  );
  for (const weak of ["short", "read  short", "ünicode-token-0123"]) {
    await Deno.writeTextFile(store.dir.join("token"), weak);
    await fails(
      ["--token-file", store.dir.join("token")],
      2,
      /token: line 1: a token must be 16 or more visible ASCII characters/,
    );
  }
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr as Deno.NetAddr;
  await fails(["--port", `${port}`], 1, /^Cannot listen on 127\.0\.0\.1:\d+: /);
  assertEquals(
    await Array.fromAsync(Deno.readDir(store.dir.path), (e) => e.name),
    [
      "token",
    ],
  );
});

test("serve names the permission to listen that it lacks", async () => {
  await using dir = await tempDir();
  const ended = await run(["serve", "--host", "127.0.0.2", "--port", "80"], {
    cwd: dir.path,
    permissions: ["--allow-read", "--allow-net=127.0.0.1:0"],
  });
  assertFails(
    ended,
    1,
    "Missing permission; run again with --allow-net=127.0.0.2:80",
  );
});

test("serve does not start on a damaged database", async () => {
  await using store = await cliStore();
  await store.ok(["init"]);
  await Deno.writeTextFile(
    store.dir.join("store", "poh.db"),
    "x".repeat(9_000),
  );
  const ended = await store.call(["serve", "--port", "0", "--quiet"]);
  assertEquals(ended.code, 4);
  assertMatch(ended.stderr, /^poh-storage: The database is damaged, [^\n]+\n$/);
});

test(
  "serve under load answers everyone, loses nothing, and its memory stays flat",
  async () => {
    const toll = await loadService(4);
    assert(toll.saved > 200, JSON.stringify(toll));
  },
  { ignore: IS_WINDOWS },
);
