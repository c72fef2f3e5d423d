/**
 * Runs Deno with the JSR packages where JSR can be reached, and with the
 * stand-ins of this folder where it cannot: many networks let an npm mirror
 * through and nothing else.
 *
 * ```sh
 * deno task deno test …
 * ```
 *
 * The arguments are those of `deno`; what it takes to resolve the packages is
 * put behind the first one. `POH_OFFLINE=1` and `POH_OFFLINE=0` settle the
 * question beforehand; `--offline` prints the answer in that form.
 *
 * It imports nothing that would have to be fetched first.
 *
 * @module
 */

import { fileURLToPath } from "node:url";

/** How long JSR may take to answer, for a network may swallow packets. */
const PATIENCE_MS = 3000;

/** The subcommands that resolve imports and take the options for it. */
const RESOLVING = new Set(
  ["bench", "check", "compile", "doc", "info", "run", "test"],
);

/** Nothing listens there: what is asked of JSR all the same fails at once. */
const NOWHERE = "http://127.0.0.1:9/";

/** Options that let a `deno` subcommand resolve the project's imports. */
export function resolutionFlags(offline: boolean): string[] {
  if (offline) {
    const map = fileURLToPath(new URL("import_map.json", import.meta.url));
    return [`--import-map=${map}`, "--no-lock"];
  }
  // deno.lock holds JSR's own hashes, frozen; another registry's differ.
  return isJsrItself(Deno.env.get("JSR_URL")) ? [] : ["--no-lock"];
}

function isJsrItself(url: string | undefined): boolean {
  return !url || URL.parse(url)?.href === "https://jsr.io/";
}

/** Whether the stand-ins are needed. */
async function isOffline(): Promise<boolean> {
  const settled = Deno.env.get("POH_OFFLINE");
  if (settled === "0" || settled === "1") return settled === "1";
  if (await isCached() || await answers()) return false;
  console.error(
    "JSR cannot be reached: using the stand-ins of offline/ for its packages",
  );
  return true;
}

/** Whether every JSR package is in Deno's cache: no network is needed then. */
function isCached(): Promise<boolean> {
  return succeeds([
    "test",
    "--no-run",
    "--no-check",
    "--cached-only",
    ...resolutionFlags(false),
    fileURLToPath(new URL("jsr_packages.ts", import.meta.url)),
  ]);
}

/** Whether JSR answers, found out by Deno itself: it knows proxies and certificates. */
function answers(): Promise<boolean> {
  return succeeds([
    "run",
    "--no-config",
    "--no-lock",
    "--reload",
    "jsr:@std/path@1/constants",
  ]);
}

async function succeeds(args: string[]): Promise<boolean> {
  const child = new Deno.Command(Deno.execPath(), {
    args,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
  const { success } = await child.status;
  clearTimeout(timer);
  return success;
}

/** Runs `deno` with this process's streams, and gives its exit code. */
async function runDeno(args: string[], offline: boolean): Promise<number> {
  const [command = "help", ...rest] = args.map(withThisDeno);
  const flags = RESOLVING.has(command) ? resolutionFlags(offline) : [];
  const child = new Deno.Command(Deno.execPath(), {
    args: [command, ...flags, ...rest],
    env: offline
      ? { POH_OFFLINE: "1", JSR_URL: NOWHERE }
      : { POH_OFFLINE: "0" },
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  forwardSignals(child);
  return (await child.status).code;
}

/**
 * `--allow-run=deno` names the first `deno` of the PATH: npm puts a script
 * there, and programs start the executable that runs them.
 */
function withThisDeno(arg: string): string {
  return /^--allow-run=(.*,)?deno(,|$)/.test(arg)
    ? `${arg},${Deno.execPath()}`
    : arg;
}

function forwardSignals(child: Deno.ChildProcess): void {
  const signals: Deno.Signal[] = Deno.build.os === "windows"
    ? ["SIGINT"]
    : ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) {
    Deno.addSignalListener(signal, () => {
      // A terminal has sent it to the child already.
      if (signal === "SIGINT" && hasTerminal()) return;
      try {
        child.kill(signal);
      } catch {
        // It has ended: its exit code is on its way.
      }
    });
  }
}

function hasTerminal(): boolean {
  return Deno.build.os === "windows" ||
    [Deno.stdin, Deno.stdout, Deno.stderr].some((s) => s.isTerminal());
}

if (import.meta.main) {
  const offline = await isOffline();
  if (Deno.args[0] === "--offline") {
    console.log(offline ? "1" : "0");
  } else {
    Deno.exit(await runDeno(Deno.args, offline));
  }
}
