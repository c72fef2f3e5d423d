import type { Call } from "./call.ts";
import { CliError, Exit, UsageError } from "./exit_codes.ts";
import { printable } from "./output.ts";
import { Progress } from "./progress.ts";
import { dbPath, openStore } from "./store.ts";

/** `--inline-below` takes no more: larger payloads are better off in files. */
const LARGEST_INLINE = 64 * 1024;

/** `poh-storage init` */
export async function run(call: Call<"init">): Promise<number> {
  const { options, output } = call;
  const moved = await init(call);
  const db = dbPath(options);
  await output.print(
    options.json
      ? `${
        JSON.stringify({
          base: options.base,
          db,
          ...(moved !== null && { moved }),
        })
      }\n`
      : `Initialized storage at ${printable(options.base)} ${printable(db)}\n`,
  );
  if (moved && !options.json) {
    output.notice(`${moved} payload${moved === 1 ? "" : "s"} moved`);
  }
  if (call.signal.aborted) {
    throw new CliError(Exit.interrupted, "Interrupted; run it again to go on");
  }
  return Exit.done;
}

/** Payloads moved; null when nobody asked for that. */
async function init(call: Call<"init">): Promise<number | null> {
  const { options, output, signal } = call;
  const below = options["inline-below"];
  if (below !== undefined && below > LARGEST_INLINE) {
    throw new UsageError("--inline-below takes 64k at most");
  }
  await using store = await openStore(options, "create");
  if (below === undefined) return null;
  using progress = new Progress(output, "init", "payloads");
  return await store.moveInline(below, {
    signal,
    onProgress: ({ done, total }) => progress.update({ done, total }),
  });
}
