/**
 * What it takes to start servers for tests: programs, ports, patience.
 *
 * @module
 */

/** Whether a program can be started by its name. */
export async function isProgram(name: string): Promise<boolean> {
  try {
    await new Deno.Command(name, {
      args: ["--version"],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).output();
    return true;
  } catch {
    return false; // not there, or not allowed
  }
}

/** A port on loopback that nothing listens on. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/**
 * Runs a program to its end, or until it has gone to the background.
 *
 * @returns What it wrote to stdout.
 * @throws {Error} If it fails; its message has what the program said.
 */
export async function run(program: string, args: string[]): Promise<string> {
  // In the background a server keeps its streams open: files, not pipes.
  const dir = await Deno.makeTempDir({ prefix: "poh-run-" });
  try {
    const command = '"$0" "$@" >"$POH_RUN/out" 2>"$POH_RUN/err"';
    const { success } = await new Deno.Command("bash", {
      args: ["-c", command, program, ...args],
      env: { POH_RUN: dir },
      stdin: "null",
    }).spawn().status;
    const [out, err] = await Promise.all(
      ["out", "err"].map((name) => Deno.readTextFile(`${dir}/${name}`)),
    );
    if (success) return out!;
    throw new Error(`${program} ${args.join(" ")} failed: ${err}`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Starts a program that stays in the foreground, and leaves it running. */
export async function runInBackground(
  files: { pid: string; log: string },
  program: string,
  args: string[],
): Promise<void> {
  const command = '"${@:2}" >"$0" 2>&1 & echo $! >"$1"';
  const { log, pid } = files;
  await run("bash", ["-c", command, log, pid, program, ...args]);
}

/**
 * Ends what a file of its id names, at once, and waits until it has ended. By
 * the shell: Deno itself kills only with permission to run anything.
 */
export async function kill(pidFile: string): Promise<void> {
  const pid = (await Deno.readTextFile(pidFile).catch(() => "")).trim();
  if (!/^\d+$/.test(pid)) return;
  const isAlive = `grep -sq "^State:.[^Z]" /proc/${pid}/status`;
  const command =
    `kill -KILL ${pid}; for n in {1..600}; do ${isAlive} || exit 0; sleep 0.05; done; exit 1`;
  await run("bash", ["-c", command]);
  await Deno.remove(pidFile);
}

/** Asks again and again until the answer is yes; errors are taken for no. */
export async function waitFor(
  what: string,
  isThere: () => boolean | Promise<boolean>,
  seconds = 60,
): Promise<void> {
  let reason: unknown = "not yet";
  for (const end = Date.now() + seconds * 1000; Date.now() < end;) {
    try {
      if (await isThere()) return;
    } catch (error) {
      reason = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`Waited ${seconds} s for ${what}: ${reason}`);
}
