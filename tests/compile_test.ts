// What a single file is made of, and what it relies on.

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { pathToFileURL } from "node:url";
import config from "../deno.json" with { type: "json" };
import {
  type Build,
  buildsOf,
  compileArgs,
  MEMORY,
} from "../.ci/compile/main.ts";
import { icon } from "../.ci/compile/icon.ts";
import { withDetails } from "../.ci/compile/windows_version.ts";
import {
  type Bundle,
  bundleProgram,
  lateImports,
  lateImportsIn,
} from "../.ci/compile/bundle.ts";
import { argumentsOf, commit, headOf } from "../src/cli/commit.ts";
import { denoArgs, type Outcome, run, txText } from "./cli_helpers.ts";
import { bytes, IS_WINDOWS, namesIn, tempDir, text } from "./helpers.ts";
import { untilReady } from "./http/serve_process.ts";

const HASH = "0123456789abcdef0123456789abcdef01234567";

const ROOT = new URL("..", import.meta.url);

const isOffline = Deno.env.get("POH_OFFLINE") === "1";

/** A Windows program, which most systems do not have. */
const WINDOWS_PROGRAM =
  "/usr/lib/x86_64-linux-gnu/wine/x86_64-windows/notepad.exe";

Deno.test("the program takes as much memory from source as compiled", () => {
  for (const task of ["cli", "serve"] as const) {
    assert(config.tasks[task].command.includes(` ${MEMORY} `), task);
  }
});

// --- the commit --------------------------------------------------------------

Deno.test("the commit is what was baked in as the first argument", async () => {
  assertEquals(await commit(["--commit=abc123", "list"]), "abc123");
  assertEquals(argumentsOf(["--commit=abc123", "list"]), ["list"]);
  for (const args of [["list", "--commit=abc123"], ["--commit=x!"], []]) {
    assertEquals(argumentsOf(args), args);
  }
});

Deno.test("the commit of a checkout is that of its branch, packed or not, or its own", async () => {
  await using dir = await tempDir();
  const head = () => headOf(pathToFileURL(dir.path));
  const write = (name: string, text: string) =>
    Deno.writeTextFile(dir.join(...name.split("/")), text);
  assertEquals(await head(), null);
  await write("HEAD", "ref: refs/heads/main\n");
  assertEquals(await head(), null);
  await write("packed-refs", `# pack-refs\n${HASH} refs/heads/main\n`);
  assertEquals(await head(), HASH.slice(0, 10));
  await Deno.mkdir(dir.join("refs", "heads"), { recursive: true });
  await write("refs/heads/main", `${HASH.replace("0", "f")}\n`);
  assertEquals(await head(), "f123456789");
  await write("HEAD", `${HASH}\n`);
  assertEquals(await head(), HASH.slice(0, 10));
  await write("HEAD", "gibberish\n");
  assertEquals(await head(), null);
});

Deno.test("--version tells the commit that is baked in, and takes it for no command", async () => {
  await using dir = await tempDir();
  const options = { cwd: dir.path };
  const version = await run(["--commit=abc123", "--version"], options);
  assertEquals(
    version.stdout.split("\n")[0],
    `poh-storage ${config.version} (commit abc123)`,
  );
  const json = await run(["--commit=abc123", "--version", "--json"], options);
  assertEquals(JSON.parse(json.stdout).commit, "abc123");
  const saved = await run(["--commit=abc123", "init", "--quiet"], options);
  assertEquals(saved.code, 0, saved.stderr);
});

// --- what a binary relies on --------------------------------------------------

Deno.test({
  name:
    "the program needs nothing from a cache or the network, and leaves nothing but its store",
  // Packages from JSR are in a cache until they are in the file.
  ignore: /^(jsr|https?):/.test(import.meta.resolve("@std/path")),
  fn: needsNothing,
});

async function needsNothing(): Promise<void> {
  await using dir = await tempDir();
  for (const name of ["work", "tmp", "deno"]) await Deno.mkdir(dir.join(name));
  const cwd = dir.join("work");
  const poh = async (args: string[], stdin?: string) => {
    const [command, ...rest] = denoArgs(args, { cwd });
    const child = new Deno.Command(Deno.execPath(), {
      args: [command!, "--cached-only", "--no-remote", "--no-npm", ...rest],
      cwd,
      env: {
        DENO_DIR: dir.join("deno"),
        ...Object.fromEntries(
          ["TMPDIR", "TEMP", "TMP"].map((name) => [name, dir.join("tmp")]),
        ),
      },
      stdin: stdin === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    if (stdin !== undefined) {
      const writer = child.stdin.getWriter();
      await writer.write(bytes(stdin));
      await writer.close();
    }
    const { code, stderr } = await child.output();
    assertEquals([code, text(stderr).replace(/^.*(ms|txs?)\n/gm, "")], [0, ""]);
  };
  await poh(["import", "--create", "--progress"], `${txText("a")}\n`);
  for (
    const command of [
      "list",
      "export",
      "verify",
      "recover",
      "info",
      "man",
      "--version",
    ]
  ) await poh([command]);
  assertEquals(namesIn(cwd), ["data"]);
  assertEquals(namesIn(dir.join("tmp")), []);
}

Deno.test("the icon is a Windows icon of one picture, which is seen", () => {
  const bytes = icon();
  assertEquals([...bytes.subarray(0, 8)], [0, 0, 1, 0, 1, 0, 0, 0]);
  const pixels = new Set(new Uint32Array(bytes.slice(62, -8192).buffer));
  assertEquals(pixels.size, 3);
});

// --- making it -----------------------------------------------------------------

Deno.test("buildsOf() gives this system, Windows, or five", () => {
  assertEquals(buildsOf([]).length, 1);
  assertEquals(buildsOf(["windows"]), [{
    output: "poh-storage.exe",
    target: "x86_64-pc-windows-msvc",
  }]);
  assertEquals(buildsOf(["all"]).map(({ output }) => output), [
    "dist/poh-storage-linux-x64",
    "dist/poh-storage-linux-arm64",
    "dist/poh-storage-macos-x64",
    "dist/poh-storage-macos-arm64",
    "dist/poh-storage-windows-x64.exe",
  ]);
  assertThrows(() => buildsOf(["amiga"]), Error, "compile takes");
});

Deno.test("a binary has no other permission than the program uses, and no prompt", () => {
  for (const build of buildsOf(["all"])) {
    const bundle = {
      program: "cli.js",
      late: ["a.js"],
      flags: ["--import-map=m"],
    };
    const args = compileArgs(build, bundle, "abc", "i.ico");
    assert(args.includes("--import-map=m"));
    assert(args.includes("--include=a.js"));
    assert(args.includes("--no-prompt"));
    assert(args.includes("--no-code-cache"));
    for (const arg of args) {
      assert(!/^(-A|--allow-all|--allow-import.*)$/.test(arg), arg);
    }
    assertEquals(args.slice(-2), ["cli.js", "--commit=abc"]);
    assertEquals(
      args.includes("--icon=i.ico"),
      build.target?.includes("windows"),
    );
  }
  const bundle = { program: "cli.js", late: [], flags: [] };
  assertEquals(compileArgs({ output: "x" }, bundle, null, "").at(-1), "cli.js");
});

Deno.test("deno compile takes the arguments, and the icon and details of the Windows file", async (t) => {
  await using dir = await tempDir();
  const iconFile = dir.join("icon.ico");
  await Deno.writeFile(iconFile, icon());
  await using bundle = await bundleProgram(isOffline);

  await t.step("this system", async () => {
    const build = { output: dir.join(buildsOf([])[0]!.output) };
    // Deno itself in the place of what it would download.
    const binary = await compiled(build, bundle, iconFile, Deno.execPath());
    assert(contains(binary, bytes("--commit=abc123")));
    for (const name of ["string-width_7.2.0.js", "check_worker.js"]) {
      assert(contains(binary, bytes(name)), name);
    }
    // The folders of its packages from npm, read at every start, take 14 MiB.
    const { size } = await Deno.stat(Deno.execPath());
    assert(binary.length - size < 10 * 1024 * 1024, `${binary.length - size}`);
  });

  await t.step({
    name: "Windows",
    ignore: !await exists(WINDOWS_PROGRAM),
    async fn() {
      const base = dir.join("base.exe");
      await Deno.writeFile(
        base,
        stripped(await Deno.readFile(WINDOWS_PROGRAM)),
      );
      const [build] = buildsOf(["windows"]);
      const output = dir.join("poh-storage.exe");
      const before = await compiled(
        { ...build!, output },
        bundle,
        iconFile,
        base,
      );
      const after = await withDetails(before, {
        name: "poh-storage",
        description: "What it is for",
        version: "1.2.3",
        commit: "abc123",
      });
      for (
        const told of ["poh-storage.exe", "What it is for", "1.2.3 (abc123)"]
      ) {
        assert(contains(after, utf16(told)), told);
        assert(!contains(before, utf16(told)), told);
      }
      // What Deno put there is there still, and so is the icon.
      for (
        const kept of [
          bytes("--commit=abc123"),
          utf16("D3N0L4ND"),
          utf16("MAINICON"),
        ]
      ) assert(contains(before, kept) && contains(after, kept));
    },
  });
});

Deno.test("lateImportsIn() finds names that are no literals where they are imported, and workers", () => {
  const source = [
    'const SERVE: string = "./serve.ts";',
    "export const LONG_NAME: string =",
    '  "npm:a-package@1.2.3";',
    'const kind: string = "other";',
    'const here = await import("./literal.ts");',
    'new Worker(new URL("./a_worker.ts", import.meta.url));',
    "const module = new URL(",
    '  "./b_worker.ts",',
    "  import.meta.url,",
    ");",
    'const git = new URL("../../.git", import.meta.url);',
  ].join("\n");
  assertEquals(
    lateImportsIn("src/a.ts", source).map(({ name }) => name),
    ["./serve.ts", "npm:a-package@1.2.3", "./a_worker.ts", "./b_worker.ts"],
  );
});

Deno.test("every import that is no literal is known, and so is every worker", async () => {
  const known = await lateImports();
  let imports = 0, workers = 0;
  for (const path of sourcesBelow("src")) {
    const code = (await Deno.readTextFile(new URL(path, ROOT)))
      .replaceAll(/^\s*(\*|\/\/).*$/gm, "");
    imports += [...code.matchAll(/\bimport\(\s*[^"\s]/g)].length;
    workers +=
      [...code.matchAll(/_(worker|thread)\.ts",\s*import\.meta/g)].length;
  }
  assert(imports > 0 && workers > 0);
  const isWorker = ({ name }: { name: string }) =>
    /_(worker|thread)\.ts$/.test(name);
  assertEquals(known.filter((late) => !isWorker(late)).length, imports);
  assertEquals(known.filter(isWorker).length, workers);
});

Deno.test("a start of the bundle opens few files, and loads no module of Node's but the one of SQLite", async () => {
  await using dir = await tempDir();
  await using bundle = await bundleProgram(isOffline);
  const loaded = async (...args: string[]): Promise<string[]> => {
    const log = dir.join("v8.log");
    const flags =
      `--v8-flags=--log-function-events,--no-logfile-per-isolate,--logfile=${log}`;
    const { stderr } = await succeeded(
      programOf(bundle, flags),
      [...args, "--base", dir.path],
    );
    assertEquals(stderr, "");
    const lines = (await Deno.readTextFile(log)).split("\n");
    await Deno.remove(log);
    return lines.flatMap((line) =>
      /^script-details,\d+,((?:node|file):[^,]*)/.exec(line)?.[1] ?? []
    );
  };
  // What @std/path itself has Deno load differs from version to version.
  const assertNodes = (names: string[], expected: string[]) => {
    const nodes = names.filter((name) => name.startsWith("node:"));
    if (isOffline) assertEquals(nodes, expected);
  };
  await succeeded(programOf(bundle), ["init", "--base", dir.path]);
  const version = await loaded("list", "--version");
  assertNodes(version, []);
  assert(version.length > 1 && version.length < 30, version.join("\n"));
  const list = await loaded("list", "--driver", "builtin");
  assertNodes(list, ["node:sqlite"]);
  assert(list.length < 80, list.join("\n"));
});

Deno.test("the program does in the bundle what it does from source, without npm", async () => {
  await using bundle = await bundleProgram(isOffline);
  await doesItsWork(programOf(bundle));
});

Deno.test({
  name: "the program does compiled what it does from source",
  // `deno compile` has it in its cache, or would download it.
  ignore: !Deno.env.has("DENORT_BIN"),
  async fn() {
    await using dir = await tempDir();
    const iconFile = dir.join("icon.ico");
    const output = dir.join("poh-storage");
    await using bundle = await bundleProgram(isOffline);
    const runtime = Deno.env.get("DENORT_BIN")!;
    await compiled({ output }, bundle, iconFile, runtime);
    await bundle[Symbol.asyncDispose]();
    await doesItsWork({ command: "env", args: [output] });
  },
});

/** Runs every part of the program that is loaded on its own. */
async function doesItsWork(program: Program): Promise<void> {
  await using dir = await tempDir();
  const poh = (args: string[], stdin = "") =>
    succeeded(program, [...args, "--base", dir.join("store")], { stdin });
  await poh(["init"]);
  await poh(["save", "--tx", txText("見本")]);
  const list = await poh(["list", "--long"]);
  assertMatch(list.stdout, /^ID {4}HOLDER .*\n見本 {2}/);
  const { output } = await poh(["backup", "--tar"]);
  await Deno.writeFile(dir.join("a.tar"), output);
  await Deno.remove(dir.join("store"), { recursive: true });
  await poh(["restore", dir.join("a.tar")]);
  assertMatch((await poh(["load", "見本"])).stdout, /見本/);
  const many = Array.from({ length: 300 }, (_, n) => txText(`tx-${n}`));
  await poh(["import", "-"], many.join("\n"));
  assertMatch((await poh(["recover"])).stdout, /: 301 valid txs/);

  const service = new Deno.Command(program.command, {
    args: [
      ...program.args,
      ...["serve", "--port", "0", "--base", dir.join("store")],
    ],
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const lines = service.stdout.pipeThrough(new TextDecoderStream());
  let told = "";
  for await (const part of lines) {
    told += part;
    const url = /Listening on (\S+)/.exec(told)?.[1];
    if (url === undefined) continue;
    await untilReady(url);
    const metrics = await fetch(new URL("metrics", url));
    assertMatch(await metrics.text(), /^poh_http_requests_total/m);
    break;
  }
  service.kill("SIGTERM");
  const { code, stderr } = await service.output();
  // Windows ends it there and then.
  assertEquals(code, IS_WINDOWS ? 1 : 0, text(stderr));

  const env = {
    AWS_ACCESS_KEY_ID: "a",
    AWS_SECRET_ACCESS_KEY: "b",
    AWS_ENDPOINT_URL_S3: "http://127.0.0.1:9",
  };
  const failed = async (...args: string[]) => {
    const { code, stderr } = await outcomeOf(program, args, { env });
    assertEquals(code, 1, stderr);
    return stderr;
  };
  const db = "postgres://u@127.0.0.1:9/d";
  const [server, bucket] = await Promise.all([
    failed("list", "--base", dir.join("b"), "--db", db),
    failed("list", "--base", "s3://bucket", "--db", dir.join("db")),
  ]);
  assertMatch(server, /Cannot reach postgres:.*ECONNREFUSED/);
  assertMatch(bucket, /Cannot reach s3:/);
}

Deno.test("threads start in the bundle: each of its workers' modules is found", async () => {
  await using dir = await tempDir();
  await using bundle = await bundleProgram(isOffline);
  const names = (await lateImports()).map(({ name }) => name)
    .filter((name) => /_(worker|thread)\.ts$/.test(name));
  const script = dir.join("workers.js");
  const program = new URL(bundle.program, ROOT);
  await Deno.writeTextFile(
    script,
    names.map((name) => `
      await new Promise((done, failed) => {
        const url = new URL(${JSON.stringify(name)}, ${
      JSON.stringify(program.href)
    });
        const worker = new Worker(url, { type: "module" });
        worker.onerror = (event) => failed(event.message);
        setTimeout(() => done(worker.terminate()), 500);
      });`).join("\n"),
  );
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--allow-all", ...bundle.flags, script],
    cwd: ROOT,
    stdin: "null",
  }).output();
  assertEquals([code, text(stderr)], [0, ""]);
});

/** The TypeScript files of a folder of the project, by their paths in it. */
function* sourcesBelow(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, ROOT))) {
    const path = `${folder}/${name}`;
    if (isDirectory) yield* sourcesBelow(path);
    else if (name.endsWith(".ts")) yield path;
  }
}

/** How the program is run. */
interface Program {
  command: string;
  args: string[];
}

/** How a bundle is run: as it is when it is compiled. */
function programOf({ program, flags }: Bundle, ...options: string[]): Program {
  return {
    command: Deno.execPath(),
    args: [
      ...["run", "--quiet", "--no-prompt", "--no-check", "--no-npm"],
      ...["--allow-all", ...flags, ...options, program],
    ],
  };
}

/** Runs the program, which must succeed. */
async function succeeded(
  ...args: Parameters<typeof outcomeOf>
): Promise<Outcome> {
  const outcome = await outcomeOf(...args);
  assertEquals(outcome.code, 0, outcome.stderr);
  return outcome;
}

async function outcomeOf(
  { command, args: before }: Program,
  args: string[],
  { stdin = "", env = {} }: { stdin?: string; env?: Record<string, string> } =
    {},
): Promise<Outcome> {
  const child = new Deno.Command(command, {
    args: [...before, ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1", ...env },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  // Who does not read it may have ended already.
  const written = writer.write(bytes(stdin)).then(() => writer.close())
    .catch(() => {});
  const { code, stdout, stderr } = await child.output();
  await written;
  return { code, output: stdout, stdout: text(stdout), stderr: text(stderr) };
}

/** Compiles with a given program in the place of Deno's runtime. */
async function compiled(
  build: Build,
  bundle: Bundle,
  iconFile: string,
  runtime: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: compileArgs(build, bundle, "abc123", iconFile),
    cwd: ROOT,
    env: { DENORT_BIN: runtime, NO_COLOR: "1" },
    stdin: "null",
  }).output();
  assertEquals(code, 0, text(stderr));
  return await Deno.readFile(build.output);
}

/** A program without the symbols that MSVC's, as Deno is built by, do not have. */
function stripped(program: Uint8Array): Uint8Array {
  const view = new DataView(program.buffer);
  const header = view.getUint32(0x3c, true);
  view.setUint32(header + 12, 0);
  view.setUint32(header + 16, 0);
  return program;
}

function utf16(of: string): Uint8Array {
  return new Uint8Array(
    Uint16Array.from(of, (character) => character.charCodeAt(0)).buffer,
  );
}

/** Whether bytes occur in others. */
function contains(whole: Uint8Array, part: Uint8Array): boolean {
  const latin1 = new TextDecoder("latin1");
  return latin1.decode(whole).includes(latin1.decode(part));
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
