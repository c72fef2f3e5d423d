/**
 * The service as a process of its own.
 *
 * @module
 */

import { join } from "@std/path";
import { command, type Outcome } from "../cli_helpers.ts";
import { text, within } from "../helpers.ts";

const NOTHING = { code: 0, stdout: "", stderr: "", output: new Uint8Array() };

/** The program's service as a process. */
export async function serve(
  cwd: string,
  args: string[] = [],
  env: Record<string, string> = {},
  under: string[] = [],
) {
  const child = command(["serve", "--create", "--port", "0", ...args], {
    cwd,
    env,
    under,
    permissions: [
      // The service's own modules are loaded when it runs.
      `--allow-read=${cwd},${join(import.meta.dirname!, "..", "..")}`,
      `--allow-write=${cwd}`,
      "--allow-env=POH_BASE,POH_DB,POH_DEBUG,POH_TOKEN",
      "--allow-net=127.0.0.1,0.0.0.0:0",
    ],
  }).spawn();
  const reader = child.stdout.getReader();
  const first = text((await within(20_000, reader.read())).value);
  reader.releaseLock();
  let ended = false;
  let stderr = "";
  const saying = (async () => {
    for await (const piece of child.stderr) stderr += text(piece);
  })();
  return {
    first,
    url: /http:\S+/.exec(first)?.[0] ?? "",
    /** What it has said to its operator. */
    said: () => stderr,
    /** Sends it a signal that does not end it. */
    signal: (name: Deno.Signal) => child.kill(name),
    /** Ends it, once; its exit code and what it said. */
    async end(signal: Deno.Signal): Promise<Outcome> {
      if (ended) return NOTHING;
      ended = true;
      child.kill(signal);
      await saying;
      await child.stdout.cancel();
      const { code } = await within(20_000, child.status);
      return { code, stderr, stdout: first, output: new Uint8Array() };
    },
  };
}

/** Waits until it has recovered. */
export async function untilReady(url: string): Promise<void> {
  for (let ready = false; !ready;) {
    const answer = await fetch(`${url}readyz`);
    await answer.body?.cancel();
    ready = answer.ok;
  }
}
