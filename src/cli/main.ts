/**
 * The program as a function.
 *
 * @module
 */

import { endOfOptions, type Invocation, parse } from "./args.ts";
import type { Call } from "./call.ts";
import { Exit, EXIT_NAMES, exitCodeOf } from "./exit_codes.ts";
import { hintOf } from "./hints.ts";
import { onInterrupt } from "./interrupt.ts";
import { type CliIo, Output, OutputClosedError } from "./output.ts";
import { readEnv } from "./permissions.ts";
import type { ColorChoice } from "./style.ts";
import { commonOptions } from "./specs/shared.ts";
import { type CommandName, commands } from "./table.ts";

/**
 * Deno fetches whatever an import names when the program starts; the packages
 * that the service is built on are fetched when it runs, as this is no literal.
 * `deno compile` is told to include it.
 */
const SERVE: string = "./serve.ts";

/**
 * Loaded when they run, so that each command starts as fast as it can. Literals:
 * Deno reads them all at every start, but an installation has them at hand, and
 * none needs a permission to be loaded.
 */
const runners: {
  [N in CommandName]: () => Promise<
    { run(call: Call<N>): Promise<number> }
  >;
} = {
  init: () => import("./init.ts"),
  save: () => import("./save.ts"),
  load: () => import("./load.ts"),
  delete: () => import("./delete.ts"),
  prune: () => import("./prune.ts"),
  repack: () => import("./repack.ts"),
  list: () => import("./list.ts"),
  import: () => import("./import.ts"),
  export: () => import("./export.ts"),
  verify: () => import("./verify.ts"),
  recover: () => import("./recover.ts"),
  quarantine: () => import("./quarantine.ts"),
  backup: () => import("./backup.ts"),
  restore: () => import("./restore.ts"),
  migrate: () => import("./migrate.ts"),
  info: () => import("./info.ts"),
  check: () => import("./check.ts"),
  tlog: () => import("./tlog.ts"),
  root: () => import("./root.ts"),
  checkpoint: () => import("./checkpoint.ts"),
  challenge: () => import("./challenge.ts"),
  audit: () => import("./audit.ts"),
  prove: () => import("./prove.ts"),
  completions: () => import("./completions.ts"),
  man: () => import("./man.ts"),
  serve: () => import(SERVE),
};

/**
 * Runs the program `poh-storage`.
 *
 * Results go to stdout, all else to stderr. It never throws: an error becomes
 * one line on stderr and an exit code. Without `io` it uses the process's
 * streams and, while a long command runs, listens to Ctrl-C.
 *
 * Needs `--allow-read` (and `--allow-write` for commands that change the store)
 * for the folder and the database; `--allow-env=POH_BASE,POH_DB,POH_DEBUG` is
 * optional.
 *
 * @param args The command and its options, as in `Deno.args`.
 * @param io Other streams than the process's own.
 * @returns The exit code: 0 done, 1 failed, 2 wrong usage or bad input, 3 no
 * such transaction, 4 damage, 5 store busy, 6 no store there, 130 interrupted.
 *
 * @example Usage
 * ```ts
 * import { main } from "@poh/storage/cli";
 * import { assertEquals } from "@std/assert";
 *
 * const base = await Deno.makeTempDir();
 * assertEquals(await main(["init", "--base", base]), 0);
 * assertEquals(await main(["load", "unknown", "--base", base]), 3);
 * await Deno.remove(base, { recursive: true });
 * ```
 */
export async function main(args: string[], io?: CliIo): Promise<number> {
  const named = args.slice(0, endOfOptions(args));
  const output = new Output(io ?? null, colorIn(named));
  try {
    const code = await dispatch(parse(args, readEnv), output, io);
    await output.flush();
    return code;
  } catch (error) {
    return await fail(error, output, named.includes("--json"));
  }
}

/** Reads `--color` before the arguments are parsed, for errors in them. */
function colorIn(args: readonly string[]): ColorChoice {
  const { choices } = commonOptions.color;
  const at = args.findIndex((arg) => /^--color(=|$)/.test(arg));
  const value = args[at]?.split("=")[1] ?? args[at + 1];
  return at < 0 ? "auto" : choices.find((choice) => choice === value) ?? "auto";
}

async function dispatch(
  invocation: Invocation,
  output: Output,
  io: CliIo | undefined,
): Promise<number> {
  switch (invocation.kind) {
    case "help": {
      const { helpOn } = await import("./help.ts");
      await output.print(helpOn(invocation.topic, output.paint));
      return Exit.done;
    }
    case "nothing": {
      const { helpOn } = await import("./help.ts");
      output.help(helpOn(null, output.paintNotice));
      return Exit.usage;
    }
    case "version": {
      const { versionText } = await import("./version.ts");
      await output.print(await versionText(invocation.json));
      return Exit.done;
    }
    case "run":
      return await runCommand(invocation, output, io);
  }
}

async function runCommand(
  { command, args }: Extract<Invocation, { kind: "run" }>,
  output: Output,
  io: CliIo | undefined,
): Promise<number> {
  output.quiet = args.options.quiet === true;
  output.progress = args.options.progress === true;
  const { run } = await runners[command]();
  using interrupt = io || !commands[command].interruptible
    ? {
      signal: io?.signal ?? new AbortController().signal,
      [Symbol.dispose]() {},
    }
    : onInterrupt(output);
  const call = {
    ...args,
    output,
    stdin: () => io?.stdin ?? Deno.stdin.readable,
    signal: interrupt.signal,
  };
  // The table types a command's values and is what they were parsed by.
  return await (run as (call: unknown) => Promise<number>)(call);
}

async function fail(
  error: unknown,
  output: Output,
  isJson: boolean,
): Promise<number> {
  output.status("");
  if (error instanceof OutputClosedError) return Exit.done;
  try {
    await output.flush();
  } catch {
    // The error at hand is the one to tell.
  }
  const hint = hintOf(error);
  if (isJson) output.errorJson(errorJson(error, hint));
  else output.error(`${messageOf(error)}${hint === null ? "" : `; ${hint}`}`);
  if (readEnv("POH_DEBUG") === "1" && error instanceof Error) {
    output.debug(error.stack ?? "");
  }
  return exitCodeOf(error);
}

/** An error for programs: its name, what to do next, and how the program ends. */
function errorJson(
  error: unknown,
  hint: string | null,
): Record<string, unknown> {
  const exitCode = exitCodeOf(error);
  const { code, cause } = error as {
    code?: unknown;
    cause?: { code?: unknown };
  };
  const named = [code, cause?.code].find((code) => typeof code === "string");
  return {
    code: named ?? EXIT_NAMES[exitCode],
    message: messageOf(error),
    ...(hint !== null && { hint }),
    exit_code: exitCode,
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}
