/**
 * Makes the program a single file.
 *
 * ```sh
 * deno task compile           # ./poh-storage, for this system
 * deno task compile:windows   # ./poh-storage.exe
 * deno task compile:all       # dist/, for five systems
 * ```
 *
 * @module
 */

import config from "../../deno.json" with { type: "json" };
import { commit } from "../../src/cli/commit.ts";
import { type Bundle, bundleProgram } from "./bundle.ts";
import { icon } from "./icon.ts";
import { withDetails } from "./windows_version.ts";

/** The systems, by the names of their files in dist/. */
const TARGETS: Readonly<Record<string, string>> = {
  "linux-x64": "x86_64-unknown-linux-gnu",
  "linux-arm64": "aarch64-unknown-linux-gnu",
  "macos-x64": "x86_64-apple-darwin",
  "macos-arm64": "aarch64-apple-darwin",
  "windows-x64": "x86_64-pc-windows-msvc",
};

/** What the program may do; it never asks. */
const PERMISSIONS = [
  "--no-prompt",
  "--allow-read",
  "--allow-write",
  "--allow-env=POH_BASE,POH_DB,POH_DEBUG,PAGER,LESS,FORCE_COLOR,POH_TOKEN,POH_FROM_TOKEN,POH_TLOG_KEY,DENO_SQLITE_PATH,DENO_SQLITE_LOCAL,AWS_ACCESS_KEY_ID,AWS_SECRET_ACCESS_KEY,AWS_SESSION_TOKEN,AWS_REGION,AWS_DEFAULT_REGION,AWS_ENDPOINT_URL_S3,AWS_ENDPOINT_URL,PGPASSWORD",
  "--allow-ffi",
  "--allow-sys=hostname,statfs",
  "--allow-run", // for the pager; with --allow-ffi it can do as much
  "--allow-net", // to serve, and to reach the servers of a store
];

/**
 * MiB for new objects, in each thread; and what lets a thread give back memory.
 * What each saves is in bench/README.md, under "Memory".
 */
export const MEMORY = "--v8-flags=--max-semi-space-size=4,--expose-gc";

/** A file to make; for this system when it has no target. */
export interface Build {
  /** Where it goes. */
  output: string;
  /** The system, as `deno compile` names it. */
  target?: string;
}

/** What the arguments ask for. */
export function buildsOf(args: readonly string[]): Build[] {
  if (args.length === 0) {
    return [{ output: isWindows() ? "poh-storage.exe" : "poh-storage" }];
  }
  if (args.length === 1 && args[0] === "windows") {
    return [{ output: "poh-storage.exe", target: TARGETS["windows-x64"]! }];
  }
  if (args.length === 1 && args[0] === "all") {
    return Object.entries(TARGETS).map(([name, target]) => ({
      output: `dist/poh-storage-${name}${isWindows(target) ? ".exe" : ""}`,
      target,
    }));
  }
  throw new Error("compile takes nothing, windows or all");
}

/** The arguments of `deno` that make a file. */
export function compileArgs(
  { output, target }: Build,
  { program, late, flags }: Pick<Bundle, "program" | "late" | "flags">,
  commit: string | null,
  iconFile: string,
): string[] {
  return [
    "compile",
    "--no-check", // `deno task check` does; a bundle has no types
    ...flags,
    ...PERMISSIONS,
    MEMORY,
    // Its cache would be a file beside, in the folder of temporary files.
    "--no-code-cache",
    ...late.map((file) => `--include=${file}`),
    ...(target === undefined ? [] : [`--target=${target}`]),
    ...(isWindows(target) ? [`--icon=${iconFile}`] : []),
    `--output=${output}`,
    program,
    ...(commit === null ? [] : [`--commit=${commit}`]),
  ];
}

async function make(
  build: Build,
  bundle: Bundle,
  iconFile: string,
): Promise<boolean> {
  const from = await commit([]);
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: compileArgs(build, bundle, from, iconFile),
    stdin: "null",
  }).spawn().status;
  if (success && isWindows(build.target)) {
    const binary = await Deno.readFile(build.output);
    await Deno.writeFile(
      build.output,
      await withDetails(binary, {
        name: "poh-storage",
        description: "Verified, crash-safe storage of transactions",
        version: config.version,
        commit: from,
      }),
    );
  }
  return success;
}

function isWindows(target?: string): boolean {
  return target === undefined
    ? Deno.build.os === "windows"
    : target.includes("-windows-");
}

if (import.meta.main) {
  const iconFile = await Deno.makeTempFile({ suffix: ".ico" });
  let isDone = true;
  try {
    const builds = buildsOf(Deno.args);
    await Deno.writeFile(iconFile, icon());
    const isOffline = Deno.env.get("POH_OFFLINE") === "1";
    await using bundle = await bundleProgram(isOffline);
    for (const build of builds) {
      isDone = isDone && await make(build, bundle, iconFile);
    }
  } finally {
    await Deno.remove(iconFile);
  }
  if (!isDone) Deno.exit(1);
}
