/**
 * Shows long output a screen at a time, by the program that the user has for it.
 *
 * @module
 */

import { readEnv } from "./permissions.ts";

/** A pager that runs, and takes what it is to show. */
export interface Pager {
  /** Writes bytes to it. */
  write(bytes: Uint8Array): Promise<number>;
  /** Waits until the user has left it. */
  end(): Promise<void>;
}

/** As git has it: leave what fits on a screen, pass colours on, keep the screen. */
const LESS = "FRX";

/**
 * Starts the program that `PAGER` names, with its arguments, or else `less`
 * (Windows: `more.com`). Returns null where there is none, `PAGER` is empty or
 * `cat`, or Deno may not run it.
 */
export async function openPager(): Promise<Pager | null> {
  const [program, ...args] = words();
  const isNone = program === undefined || program === "cat" && !args.length;
  if (isNone) return null;
  const { state } = await Deno.permissions.query({
    name: "run",
    command: program,
  });
  if (state !== "granted") return null;
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, {
      args,
      env: readEnv("LESS") === undefined ? { LESS } : {},
      stdin: "piped",
      stdout: "inherit",
      stderr: "inherit",
    }).spawn();
  } catch {
    return null; // it is not installed
  }
  // In the pager, Ctrl-C ends a search; it must not end this program under it.
  const ignore = () => {};
  Deno.addSignalListener("SIGINT", ignore);
  const stdin = child.stdin.getWriter();
  return {
    async write(bytes) {
      await stdin.write(bytes);
      return bytes.length;
    },
    async end() {
      await stdin.close().catch(() => {}); // the user has left it already
      await child.status;
      Deno.removeSignalListener("SIGINT", ignore);
    },
  };
}

function words(): string[] {
  const isWindows = Deno.build.os === "windows";
  const { state } = Deno.permissions.querySync({
    name: "env",
    variable: "PAGER",
  });
  const named = state === "granted" ? Deno.env.get("PAGER") : undefined;
  return (named ?? (isWindows ? "more.com" : "less")).split(" ").filter(
    Boolean,
  );
}
