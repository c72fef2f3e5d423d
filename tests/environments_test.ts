// A store works wherever its modules come from: where the module of a thread
// can be loaded in threads, else on one.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { denoArgs } from "./cli_helpers.ts";
import { sha256Hex } from "../mod.ts";
import { bytes, tempDir, text } from "./helpers.ts";

const ROOT = new URL("..", import.meta.url);

const SCRIPT = "tests/children/whole_life.ts";

const ALL_RIGHT = { right: 12_000, sound: 11_950, recovered: 11_950 };

/** Runs Deno; what the script says, which must have nothing to complain of. */
async function said(
  args: string[],
  env: Record<string, string> = {},
): Promise<{ threads: number }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: ROOT,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
  }).output();
  assertEquals([code, text(stderr)], [0, ""]);
  const { threads, ...result } = JSON.parse(text(stdout));
  assertEquals(result, ALL_RIGHT);
  return { threads };
}

Deno.test("a program that may read its modules has threads, one that may not has none and does the same", async () => {
  await using dir = await tempDir();
  const run = async (name: string, ...read: string[]) => {
    const cwd = dir.join(name);
    await Deno.mkdir(cwd);
    const permissions = [
      `--allow-read=${[cwd, ...read].join()}`,
      `--allow-write=${cwd}`,
    ];
    const { threads } = await said(
      denoArgs([cwd], { cwd, permissions, script: SCRIPT }),
    );
    return threads;
  };
  assert(await run("wide", join(import.meta.dirname!, "..")) > 0);
  assertEquals(await run("narrow"), 0);
});

Deno.test("a program in one bundled file does without the modules of threads", async () => {
  await using dir = await tempDir();
  const [, ...options] = denoArgs([], { cwd: dir.path });
  const map = options.find((option) => option.startsWith("--import-map="))!;
  const bundle = dir.join("program.js");
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["bundle", "--quiet", "--platform=deno", "--no-config", "--no-lock"],
      ...[map, `--output=${bundle}`, SCRIPT],
    ],
    cwd: ROOT,
    stdin: "null",
  }).output();
  assertEquals(code, 0, text(stderr));
  const read = `--allow-read=${dir.path}`, write = `--allow-write=${dir.path}`;
  const run = ["run", "--quiet", "--no-prompt", "--no-config", read, write];
  const { threads } = await said([...run, bundle, dir.join("store")]);
  assertEquals(threads, 0);
});

Deno.test({
  name: "a program that imports the package from JSR has threads",
  // The registry has stand-ins for the packages that this one imports.
  ignore: Deno.env.get("POH_OFFLINE") !== "1",
  async fn() {
    await using dir = await tempDir();
    await using registry = await packages();
    await Deno.mkdir(dir.join("store"));
    const script = dir.join("program.ts");
    const code = await Deno.readTextFile(new URL(SCRIPT, ROOT));
    await Deno.writeTextFile(
      script,
      code.replace('"../../mod.ts"', '"jsr:@poh/storage@0.1.0"'),
    );
    const store = dir.join("store");
    const { threads } = await said([
      ...["run", "--quiet", "--no-prompt", "--no-config", "--no-lock"],
      ...[`--allow-read=${store}`, `--allow-write=${store}`, script, store],
    ], { JSR_URL: registry.url, DENO_DIR: dir.join("deno") });
    assert(threads > 0);
  },
});

/** A registry that speaks JSR's protocol and has what the package imports. */
async function packages() {
  const own = new Map<string, string>();
  for (const path of ["deno.json", "mod.ts", ...sourcesBelow("src")]) {
    const source = await Deno.readTextFile(new URL(path, ROOT));
    own.set(path, path === "deno.json" ? source : published(source, path));
  }
  const standIn = async (file: string) =>
    await Deno.readTextFile(new URL(`offline/${file}`, ROOT));
  const files: Record<string, [version: string, Map<string, string>]> = {
    "@poh/storage": ["0.1.0", own],
    "@std/path": ["1.0.0", new Map([["mod.ts", await standIn("std_path.ts")]])],
    "@db/sqlite": [
      "0.13.0",
      new Map([["mod.ts", await standIn("db_sqlite.ts")]]),
    ],
    "@std/cli": [
      "1.0.0",
      new Map([["mod.ts", await standIn("std_progress_bar.ts")]]),
    ],
  };
  const answers = new Map<string, string>();
  for (const [name, [version, sources]] of Object.entries(files)) {
    const manifest: Record<string, { size: number; checksum: string }> = {};
    for (const [path, source] of sources) {
      answers.set(`/${name}/${version}/${path}`, source);
      manifest[`/${path}`] = {
        size: bytes(source).length,
        checksum: `sha256-${await sha256Hex(bytes(source))}`,
      };
    }
    const exports = { ".": "./mod.ts", "./unstable-progress-bar": "./mod.ts" };
    answers.set(
      `/${name}/${version}_meta.json`,
      JSON.stringify({ manifest, exports }),
    );
    answers.set(
      `/${name}/meta.json`,
      JSON.stringify({ versions: { [version]: {} }, latest: version }),
    );
  }
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    ({ url }) => {
      const { pathname } = new URL(url);
      const answer = answers.get(pathname);
      const type = pathname.endsWith(".json")
        ? "application/json"
        : "text/typescript";
      return answer === undefined
        ? new Response(null, { status: 404 })
        : new Response(answer, { headers: { "content-type": type } });
    },
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** Imports by name become those that publishing makes of them. */
function published(source: string, path: string): string {
  const toSrc = path === "mod.ts"
    ? "./src/"
    : "../".repeat(path.split("/").length - 2) || "./";
  return source
    .replaceAll('"@std/path"', '"jsr:@std/path@1"')
    .replaceAll('"@db/sqlite"', '"jsr:@db/sqlite@0.13"')
    .replaceAll('"@std/cli/', '"jsr:@std/cli@1/')
    .replaceAll('"@poh/types"', `"${toSrc}tx.ts"`);
}

function* sourcesBelow(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, ROOT))) {
    const path = `${folder}/${name}`;
    if (isDirectory) yield* sourcesBelow(path);
    else if (name.endsWith(".ts")) yield path;
  }
}
