// What a start of the program loads: a module of Node's takes from 8 to 33 ms,
// an empty program 20.

import { assert, assertEquals } from "@std/assert";
import { resolutionFlags } from "../offline/deno.ts";
import { denoArgs, run, txText } from "./cli_helpers.ts";
import { tempDir, text } from "./helpers.ts";

/** The part of what `deno info --json` prints that is used here. */
interface Graph {
  roots: string[];
  modules: { specifier: string; dependencies?: Dependency[] }[];
}

interface Dependency {
  specifier: string;
  code?: { specifier: string };
  isDynamic?: boolean;
}

Deno.test("no module within reach of cli.ts imports one of Node's at its start, or a package from npm", async () => {
  const flags = resolutionFlags(Deno.env.get("POH_OFFLINE") === "1");
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", ...flags, "cli.ts"],
    cwd: new URL("..", import.meta.url),
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  assertEquals(code, 0, text(stderr));
  const { modules } = JSON.parse(text(stdout)) as Graph;
  const atStart = new Set<string>(), late = new Set<string>();
  for (const { specifier, dependencies = [] } of modules) {
    for (const { code, isDynamic } of dependencies) {
      if (!code || !/^(node|npm):/.test(code.specifier)) continue;
      if (isDynamic) late.add(code.specifier);
      else atStart.add(`${code.specifier} in ${specifier}`);
    }
  }
  assertEquals([...atStart], []);
  assertEquals([...late].sort(), ["node:sqlite", "node:stream"]);
});

Deno.test({
  name:
    "a start loads no module of Node's but the one of SQLite, when it opens a store",
  // What @std/path itself has Deno load differs from version to version.
  ignore: Deno.env.get("POH_OFFLINE") !== "1",
  async fn() {
    await using dir = await tempDir();
    const cwd = dir.path;
    assertEquals(await loadedBy(["--version"], cwd), []);
    assertEquals(await loadedBy(["--help"], cwd), []);
    assertEquals((await run(["init"], { cwd })).code, 0);
    assertEquals((await run(["save", "--tx", txText("a")], { cwd })).code, 0);
    // What the FFI binding loads is not ours.
    const list = ["list", "--driver", "builtin"];
    assertEquals(await loadedBy(list, cwd), ["node:sqlite"]);
  },
});

/** Runs the program and returns the modules of Node's in V8's own log of it. */
async function loadedBy(args: string[], cwd: string): Promise<string[]> {
  const [command, ...rest] = denoArgs(args, { cwd });
  const log = `${cwd}/v8.log`;
  const flags =
    `--log-function-events,--no-logfile-per-isolate,--logfile=${log}`;
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [command!, `--v8-flags=${flags}`, ...rest],
    cwd,
    stdin: "null",
  }).output();
  assertEquals(code, 0, text(stderr));
  const lines = (await Deno.readTextFile(log)).split("\n");
  await Deno.remove(log);
  const scripts = lines.map((line) => /^script-details,\d+,([^,]*)/.exec(line));
  const names = scripts.map((match) => match?.[1] ?? "");
  assert(names.some((name) => name.endsWith("/cli.ts")), "the log is V8's");
  return names.filter((name) => name.startsWith("node:"));
}
