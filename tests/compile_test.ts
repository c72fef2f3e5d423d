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
  bundlePackages,
  type Bundles,
  PACKAGES,
} from "../.ci/compile/packages.ts";
import { argumentsOf, commit, headOf } from "../src/cli/commit.ts";
import { denoArgs, run, txText } from "./cli_helpers.ts";
import { bytes, namesIn, tempDir, text } from "./helpers.ts";

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
    assertEquals([code, text(stderr).replace(/^.*(ms|txs)\n/gm, "")], [0, ""]);
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
    const bundles = { flags: ["--import-map=m"], loadedLate: ["a.js"] };
    const args = compileArgs(build, bundles, "abc", "i.ico");
    assert(args.includes("--import-map=m"));
    assert(args.includes("--include=a.js"));
    assert(args.includes("--no-prompt"));
    assert(args.includes("--no-code-cache"));
    for (const arg of args) {
      assert(!/^(-A|--allow-all|--allow-(run|import).*)$/.test(arg), arg);
    }
    assertEquals(args.slice(-2), ["cli.ts", "--commit=abc"]);
    assertEquals(
      args.includes("--icon=i.ico"),
      build.target?.includes("windows"),
    );
  }
  const bundles = { flags: [], loadedLate: [] };
  assertEquals(
    compileArgs({ output: "x" }, bundles, null, "").at(-1),
    "cli.ts",
  );
});

Deno.test("deno compile takes the arguments, and the icon and details of the Windows file", async (t) => {
  await using dir = await tempDir();
  const iconFile = dir.join("icon.ico");
  await Deno.writeFile(iconFile, icon());
  await using bundles = await bundlePackages(isOffline);

  await t.step("this system", async () => {
    const build = { output: dir.join("poh-storage") };
    // Deno itself in the place of what it would download.
    const binary = await compiled(build, bundles, iconFile, Deno.execPath());
    assert(contains(binary, bytes("--commit=abc123")));
    assert(contains(binary, bytes("string-width-7.2.0.js")));
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
        bundles,
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

Deno.test("every package from npm that the program uses is bundled", async () => {
  const named: string[] = [];
  for (const path of sourcesBelow("src")) {
    if (path.endsWith("/packages.ts")) named.push(path);
    else {
      const code = await Deno.readTextFile(new URL(path, ROOT));
      named.push(...code.match(/(?<=")npm:[^"]+@[^"]+(?=")/g) ?? []);
    }
  }
  assertEquals(named.sort(), [...PACKAGES].sort());
});

Deno.test("the program does with bundles what it does with packages, and without npm", async () => {
  await using dir = await tempDir();
  await using bundles = await bundlePackages(isOffline);
  const deno = async (...args: string[]) => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-prompt", "--allow-all", ...args],
      cwd: ROOT,
      env: { NO_COLOR: "1" },
      stdin: "null",
    }).output();
    assertEquals(code, 0, text(stderr));
    return stdout;
  };
  const poh = (...args: string[]) =>
    deno(
      ...["--no-npm", "--no-check", ...bundles.flags, "cli.ts"],
      ...[...args, "--base", dir.join("store")],
    );
  await poh("init");
  await poh("save", "--tx", txText("見本"));
  assertMatch(text(await poh("list", "--long")), /^ID {4}HOLDER .*\n見本 {2}/);
  await Deno.writeFile(dir.join("a.tar"), await poh("backup", "--tar"));
  await Deno.remove(dir.join("store"), { recursive: true });
  await poh("restore", dir.join("a.tar"));
  assertMatch(text(await poh("load", "見本")), /見本/);

  const modules = PACKAGES.filter((name) => !name.startsWith("npm:"))
    .map((path) => new URL(path, ROOT).href);
  const script = dir.join("exports.ts");
  await Deno.writeTextFile(
    script,
    modules.map((module) =>
      `console.log(Object.keys(await import("${module}")).join());\n`
    ).join(""),
  );
  assertEquals(
    text(await deno("--no-npm", "--no-check", ...bundles.flags, script)),
    text(await deno("--no-check", "--no-lock", script)),
  );
});

/** The TypeScript files of a folder of the project, by their paths in it. */
function* sourcesBelow(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, ROOT))) {
    const path = `${folder}/${name}`;
    if (isDirectory) yield* sourcesBelow(path);
    else if (name.endsWith(".ts")) yield path;
  }
}

/** Compiles with a given program in the place of Deno's runtime. */
async function compiled(
  build: Build,
  bundles: Bundles,
  iconFile: string,
  runtime: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: compileArgs(build, bundles, "abc123", iconFile),
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
