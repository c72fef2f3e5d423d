/**
 * The program on a terminal of its own, by util-linux' `script`.
 *
 * @module
 */

import { denoArgs } from "../cli_helpers.ts";
import { bytes, text } from "../helpers.ts";

/** Why there is no such terminal here; null when there is. */
export const NO_TERMINAL = await reason();

/** No run takes longer than this, in ms. */
const TIME_LIMIT = 60_000;

/** What a terminal showed, and how the program on it ended. */
export interface Shown {
  /** Exit code. */
  code: number;
  /** Everything that was written to the terminal. */
  screen: string;
}

/** How to run a program on a terminal. */
export interface TerminalOptions {
  /** Its working directory. */
  cwd: string;
  /** Width of the terminal. */
  columns: number;
  /** Environment variables; those of this process, and no others, unless given. */
  env?: Record<string, string>;
  /** Permissions of Deno's beside those below `cwd`. */
  permissions?: string[];
  /** The script to run; the program unless given. */
  script?: string;
  /** Called with all that has been shown when there is more; what it returns is typed. */
  onShown?: (screen: string) => string | undefined;
}

/** Runs the program on a terminal; `tail` is shell text that follows it. */
export function onTerminal(
  args: string[],
  options: TerminalOptions,
  tail = "",
): Promise<Shown> {
  const { cwd, permissions = [], script = "cli.ts" } = options;
  const allowed = [
    `--allow-read=${cwd}`,
    `--allow-write=${cwd}`,
    "--allow-env=POH_BASE,POH_DB,POH_DEBUG,PAGER,FORCE_COLOR",
    ...permissions,
  ];
  const line = [
    Deno.execPath(),
    ...denoArgs(args, { cwd, permissions: allowed, script }),
  ];
  return shellOnTerminal(line.map(quoted).join(" ") + tail, options);
}

/** A word that a POSIX shell takes as it is. */
export function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** Runs a line of shell on a terminal. */
export async function shellOnTerminal(
  line: string,
  { cwd, columns, env = {}, onShown }: TerminalOptions,
): Promise<Shown> {
  const child = new Deno.Command("script", {
    args: ["-q", "-e", "-c", `stty cols ${columns}; ${line}`, "/dev/null"],
    cwd,
    env: { SHELL: "/bin/sh", TERM: "xterm", ...env },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), TIME_LIMIT);
  const keyboard = child.stdin.getWriter();
  let screen = "";
  try {
    for await (const chunk of child.stdout) {
      screen += text(chunk);
      const typed = onShown?.(screen);
      if (typed) await keyboard.write(bytes(typed));
    }
    return { code: (await child.status).code, screen };
  } finally {
    clearTimeout(timer);
    await keyboard.close().catch(() => {});
  }
}

async function reason(): Promise<string | null> {
  try {
    const { success, stdout } = await new Deno.Command("script", {
      args: ["-q", "-e", "-c", "test -t 1 && echo here", "/dev/null"],
      stdin: "null",
    }).output();
    return success && text(stdout).includes("here")
      ? null
      : "script makes no terminal";
  } catch {
    return "there is no util-linux script";
  }
}
