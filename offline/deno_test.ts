// What `deno task` finds out about JSR, in a checkout of its own.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { bytes, tempDir, text } from "../tests/helpers.ts";

/** The part of the project that the launcher is made of. */
const FILES = [
  "deno.json",
  "deno.lock",
  "offline/deno.ts",
  "offline/import_map.json",
  "offline/jsr_packages.ts",
];

async function checkout() {
  const dir = await tempDir();
  await Deno.mkdir(dir.join("offline"));
  for (const file of FILES) {
    const from = new URL(`../${file}`, import.meta.url);
    await Deno.copyFile(from, dir.join(...file.split("/")));
  }
  return dir;
}

/** Runs `deno task -q deno` where nothing settles the question. */
async function launch(cwd: string, jsrUrl: string, ...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "-q", "deno", ...args],
    cwd,
    env: {
      POH_OFFLINE: "",
      JSR_URL: jsrUrl,
      DENO_DIR: `${cwd}/cache`,
      NO_COLOR: "1",
    },
    stdin: "null",
  }).output();
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** A registry that has one package, and counts how often it is asked. */
function registry() {
  let count = 0;
  const files: Record<string, string> = {
    "/@std/path/meta.json": '{"versions":{"1.0.0":{}}}',
    "/@std/path/1.0.0_meta.json": JSON.stringify({
      manifest: {
        "/constants.ts": {
          size: 0,
          checksum:
            "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        },
      },
      exports: { "./constants": "./constants.ts" },
    }),
    "/@std/path/1.0.0/constants.ts": "",
  };
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    ({ url }) => {
      count++;
      const file = files[new URL(url).pathname];
      return file === undefined
        ? new Response(null, { status: 404 })
        : new Response(bytes(file));
    },
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    requests: () => count,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

Deno.test("where JSR cannot be reached, one command finds it out and says so, and the others know", async () => {
  await using dir = await checkout();
  const nowhere = "http://127.0.0.1:9/";
  const first = await launch(dir.path, nowhere, "--offline");
  assertEquals([first.code, first.stdout], [0, "1\n"]);
  assertMatch(
    first.stderr,
    /^JSR cannot be reached: .* deno task deno --ask looks for it again\n$/,
  );
  const second = await launch(dir.path, nowhere, "--offline");
  assertEquals(second, { code: 0, stdout: "1\n", stderr: "" });
  const asked = await launch(dir.path, nowhere, "--ask");
  assertEquals(asked, first);
});

Deno.test("JSR is looked for once, and again on request, for another registry or another deno.lock", async () => {
  await using dir = await checkout();
  await using jsr = registry();
  const asks = async (...args: string[]) => {
    const before = jsr.requests();
    const outcome = await launch(dir.path, jsr.url, ...args);
    assertEquals(outcome, { code: 0, stdout: "0\n", stderr: "" });
    return jsr.requests() > before;
  };
  assert(await asks("--offline"));
  assert(!await asks("--offline"));
  assert(await asks("--ask"));
  assert(!await asks("--offline"));
  await Deno.utime(dir.join("deno.lock"), 1, 1);
  assert(await asks("--offline"));
  const other = await launch(dir.path, "http://127.0.0.1:9/", "--offline");
  assertEquals(other.stdout, "1\n");
  await Deno.writeTextFile(dir.join("offline", ".answer.json"), '{"off');
  assert(await asks("--offline"));
});
