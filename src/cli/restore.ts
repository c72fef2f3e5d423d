import { dirname } from "@std/path";
import type { RestoreReport } from "../copy/restore_place.ts";
import { printable } from "../text/printable.ts";
import { byteText } from "../format/size_text.ts";
import { UsageError } from "../format/usage_error.ts";
import { countText } from "../format/count_text.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { requireAccess } from "./permissions.ts";
import { checkOptions } from "./print_report.ts";
import { Progress } from "./progress.ts";
import { dbPath, lockWait, requireLocal, requireStore } from "./store.ts";

/** `poh-storage restore` */
export async function run(call: Call<"restore">): Promise<number> {
  const { options, output } = call;
  const { txs, bytes, interrupted } = await restore(call);
  if (interrupted) {
    throw new CliError(Exit.interrupted, "Interrupted; nothing was restored");
  }
  const { base } = options;
  await output.print(
    options.json
      ? `${JSON.stringify({ base, db: dbPath(options), txs, bytes })}\n`
      : `Restored ${countText(txs, "tx")} (${byteText(bytes)}) to ${
        printable(base)
      }\n`,
  );
  return Exit.done;
}

async function restore(call: Call<"restore">): Promise<RestoreReport> {
  const { options, positionals: [source], output } = call;
  if (source === undefined || source === "") {
    throw new UsageError(
      "restore needs a folder, a tar archive, or - for stdin",
    );
  }
  requireLocal("restore", options);
  const db = dbPath(options);
  if (source !== "-") requireAccess(["read"], [source]);
  await requireStore(options, "create");
  // It is made beside its place.
  requireAccess(["read", "write"], [dirname(options.base), dirname(db)]);
  const { restoreStore } = await import("../copy/restore.ts");
  using progress = new Progress(output, "restore");
  return await restoreStore(
    source === "-" ? call.stdin() : source,
    options.base,
    db,
    {
      ...checkOptions(call, progress),
      ...lockWait(call),
      driver: options.driver,
      durability: options.durability,
    },
  );
}
