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
 * put behind the first one. JSR is looked for once per checkout, as that takes
 * longer than most commands: the answer is kept beside this file, for the same
 * Deno, `deno.lock` and registry. `POH_OFFLINE=1` and `POH_OFFLINE=0` settle the
 * question beforehand; `--offline` prints the answer in that form, and `--ask`
 * looks again first.
 *
 * It imports nothing that would have to be fetched first, and none of Node's
 * modules, which take longer to load than all else here.
 *
 * @module
 */

const FOLDER = import.meta.dirname!;

/** JSR's own hashes, and those of npm's packages. */
const LOCK = `${FOLDER}/../deno.lock`;

/** Where the answer is kept; git ignores it. */
const ANSWER = `${FOLDER}/.answer.json`;

/** How long JSR may take to answer, for a network may swallow packets. */
const PATIENCE_MS = 3000;

/** The subcommands that resolve imports and take the options for it. */
const RESOLVING = new Set(
  ["bench", "bundle", "check", "compile", "doc", "info", "run", "test"],
);

/** Nothing listens there: what is asked of JSR all the same fails at once. */
const NOWHERE = "http://127.0.0.1:9/";

/** The stand-ins' import map. */
export const STAND_INS = `${FOLDER}/import_map.json`;

/** Options that let a `deno` subcommand resolve the project's imports. */
export function resolutionFlags(offline: boolean): string[] {
  return offline ? [`--import-map=${STAND_INS}`, "--no-lock"] : lockFlags();
}

/** Options that have packages checked against deno.lock, wherever Deno runs. */
export function lockFlags(): string[] {
  // Another registry's hashes differ.
  return isJsrItself(Deno.env.get("JSR_URL"))
    ? [`--lock=${LOCK}`, "--frozen"]
    : ["--no-lock"];
}

function isJsrItself(url: string | undefined): boolean {
  return !url || URL.parse(url)?.href === "https://jsr.io/";
}

/** Whether the stand-ins are needed. */
async function isOffline(): Promise<boolean> {
  const settled = Deno.env.get("POH_OFFLINE");
  if (settled === "0" || settled === "1") return settled === "1";
  return remembered() ?? await ask();
}

/** Looks for JSR, and keeps the answer. */
async function ask(): Promise<boolean> {
  const failure = await isCached() ? null : await failureToReach();
  remember(failure !== null);
  if (failure === null) return false;
  console.error(
    `JSR cannot be reached: this checkout uses the stand-ins of offline/ for its packages from now on; deno task deno --ask looks for it again${
      /certificate/i.test(failure)
        ? ", with DENO_TLS_CA_STORE=system behind a proxy that inspects TLS"
        : ""
    }`,
  );
  return true;
}

/** Under which circumstances an answer holds. */
function circumstances(): string {
  const { mtime } = Deno.statSync(LOCK);
  const registry = Deno.env.get("JSR_URL") ?? "";
  return `${Deno.version.deno} ${mtime?.toISOString()} ${registry}`;
}

/** Returns the answer that was kept; null where there is none that holds. */
function remembered(): boolean | null {
  let kept: { offline?: unknown; when?: unknown };
  try {
    kept = JSON.parse(Deno.readTextFileSync(ANSWER));
  } catch (error) {
    const isThere = !(error instanceof Deno.errors.NotFound);
    // Another command may be writing it.
    if (isThere && !(error instanceof SyntaxError)) throw error;
    return null;
  }
  const holds = typeof kept.offline === "boolean" &&
    kept.when === circumstances();
  return holds ? kept.offline as boolean : null;
}

function remember(offline: boolean): void {
  const kept = JSON.stringify({ offline, when: circumstances() });
  try {
    Deno.writeTextFileSync(ANSWER, `${kept}\n`);
  } catch (error) {
    console.error(
      `Whether JSR can be reached is not kept: ${(error as Error).message}`,
    );
  }
}

/** Whether every JSR package is in Deno's cache: no network is needed then. */
async function isCached(): Promise<boolean> {
  const { success } = await attempt([
    "test",
    "--no-run",
    "--no-check",
    "--cached-only",
    ...resolutionFlags(false),
    `${FOLDER}/jsr_packages.ts`,
  ]);
  return success;
}

/**
 * Returns what Deno says when JSR does not answer it, or null if JSR does: Deno
 * knows proxies and certificates.
 */
async function failureToReach(): Promise<string | null> {
  const { success, errors } = await attempt([
    "run",
    "--no-config",
    "--no-lock",
    "--reload",
    "jsr:@std/path@1/constants",
  ]);
  return success ? null : errors;
}

async function attempt(
  args: string[],
): Promise<{ success: boolean; errors: string }> {
  const child = new Deno.Command(Deno.execPath(), {
    args,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
  const { success, stderr } = await child.output();
  clearTimeout(timer);
  return { success, errors: new TextDecoder().decode(stderr) };
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
  const isAsked = Deno.args[0] === "--ask";
  const offline = isAsked ? await ask() : await isOffline();
  if (isAsked || Deno.args[0] === "--offline") {
    console.log(offline ? "1" : "0");
  } else {
    Deno.exit(await runDeno(Deno.args, offline));
  }
}
