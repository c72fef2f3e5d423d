import type { Call } from "./call.ts";
import { CliError, Exit, UsageError } from "./exit_codes.ts";
import { printable } from "./output.ts";
import { Progress } from "./progress.ts";
import { isRemote } from "../remote_url.ts";
import { dbPath, openStore, requireLocal } from "./store.ts";

/** `--inline-below` takes no more: larger payloads are better off in files. */
const LARGEST_INLINE = 64 * 1024;

/** `poh-storage init` */
export async function run(call: Call<"init">): Promise<number> {
  const { options, output } = call;
  const { base, db, writeOnce, moved } = await init(call);
  await output.print(
    options.json
      ? `${
        JSON.stringify({
          base,
          db,
          write_once: writeOnce,
          ...(moved !== null && { moved }),
        })
      }\n`
      : `Initialized storage at ${printable(base)} ${printable(db)}\n`,
  );
  if (moved && !options.json) {
    output.notice(`${moved} payload${moved === 1 ? "" : "s"} moved`);
  }
  if (call.signal.aborted) {
    throw new CliError(Exit.interrupted, "Interrupted; run it again to go on");
  }
  return Exit.done;
}

/** What was opened, and payloads moved; null when nobody asked for that. */
async function init(
  call: Call<"init">,
): Promise<
  { base: string; db: string; writeOnce: boolean; moved: number | null }
> {
  const { options, output, signal } = call;
  const below = options["inline-below"];
  if (below !== undefined && below > LARGEST_INLINE) {
    throw new UsageError("--inline-below takes 64k at most");
  }
  if (below !== undefined) requireLocal("--inline-below", options);
  await using store = await openStore(call, "create");
  const { writeOnce } = store;
  // A URL is told without the password that it may have.
  const where = isRemote(options.base, dbPath(options))
    ? { base: store.basePath, db: store.sqlitePath }
    : { base: options.base, db: dbPath(options) };
  if (below === undefined) return { ...where, writeOnce, moved: null };
  using progress = new Progress(output, "init", "payloads");
  const moved = await store.moveInline(below, {
    signal,
    onProgress: ({ done, total }) => progress.update({ done, total }),
  });
  return { ...where, writeOnce, moved };
}
