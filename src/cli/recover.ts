import type { StoreReport } from "../report.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import {
  checkOptions,
  isDatabaseDamaged,
  reportJson,
  requireAllRead,
  requireSoundDatabase,
  tellSteps,
} from "./print_report.ts";
import { Progress } from "./progress.ts";
import { dbPath, requireStore, storageOptions, tellIfNew } from "./store.ts";

/** `poh-storage recover` */
export async function run(call: Call<"recover">): Promise<number> {
  const { options, output } = call;
  const report = await recover(call);
  const isComplete = !report.interrupted && !isDatabaseDamaged(report);
  if (!options.json) tellSteps(output, report);
  if (options.json) await output.print(`${reportJson(report)}\n`);
  else if (isComplete) {
    await output.print(`Recovery complete: ${report.sound} valid txs\n`);
  }
  return ending(call, report);
}

async function recover(call: Call<"recover">): Promise<StoreReport> {
  const { options } = call;
  const access = options["dry-run"] ? "read" : "create";
  await requireStore(options, access);
  if (access === "create" && !options.rebuild) {
    await tellIfNew(options, call.output);
  }
  const { performRecovery } = await import("../recovery.ts");
  using progress = new Progress(call.output, "recover", "checked");
  return await performRecovery(options.base, dbPath(options), {
    ...storageOptions(options, access),
    ...checkOptions(call, progress),
    dryRun: options["dry-run"],
    purge: options.purge,
    orphans: options.orphans,
    rebuild: options.rebuild,
    ...(options.workers !== undefined && { workers: options.workers }),
  });
}

function ending({ options }: Call<"recover">, report: StoreReport): number {
  requireSoundDatabase(report);
  if (report.interrupted) {
    throw new CliError(
      Exit.interrupted,
      "Interrupted; what was repaired stays so, run it again to go on",
    );
  }
  if (options.strict && report.repaired > 0) {
    throw new CliError(
      Exit.damage,
      `${report.repaired} finding${report.repaired === 1 ? "" : "s"} ${
        report.dryRun ? "to repair" : "repaired"
      } (--strict)`,
    );
  }
  requireAllRead(report);
  return Exit.done;
}
