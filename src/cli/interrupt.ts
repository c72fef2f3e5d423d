/**
 * Ctrl-C.
 *
 * @module
 */

import { Exit } from "./exit_codes.ts";
import type { Output } from "./output.ts";

/**
 * Turns the first Ctrl-C into an aborted signal, the second into the end of
 * the process. The store is sound either way; the first leaves no temporary
 * file behind and says what was done.
 */
export function onInterrupt(
  output: Output,
): { signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const listener = () => {
    if (controller.signal.aborted) {
      output.status("");
      Deno.exit(Exit.interrupted);
    }
    output.notice(
      "Interrupted: finishing what has begun; again to stop at once",
    );
    controller.abort();
  };
  // Windows has no SIGTERM to listen to; SIGBREAK is Ctrl-Break.
  const signals: Deno.Signal[] = Deno.build.os === "windows"
    ? ["SIGINT", "SIGBREAK"]
    : ["SIGINT", "SIGTERM"];
  for (const name of signals) Deno.addSignalListener(name, listener);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const name of signals) Deno.removeSignalListener(name, listener);
    },
  };
}
