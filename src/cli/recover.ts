import { resolve } from "@std/path";
import { StoreBusyError } from "../errors.ts";
import { UsageError } from "../format/usage_error.ts";
import type { StoreReport } from "../model/report.ts";
import { countText } from "../format/count_text.ts";
import { reportJson } from "../format/report_json.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { fromOptions } from "./from.ts";
import {
  checkOptions,
  isDatabaseDamaged,
  requireAllRead,
  requireAllSources,
  requireSoundDatabase,
  tellOutcome,
  tellSteps,
} from "./print_report.ts";
import { Progress } from "./progress.ts";
import { isRemote } from "../remote_url.ts";
import {
  dbPath,
  requireStore,
  requireThere,
  storageOptions,
  tellIfNew,
} from "./store.ts";
import { readTxIds } from "./tx_ids.ts";

/** `poh-storage recover` */
export async function run(call: Call<"recover">): Promise<number> {
  const { options, output } = call;
  requireOneScope(options);
  const report = await recover(call);
  const isComplete = !report.interrupted && !isDatabaseDamaged(report);
  if (!options.json) {
    tellSteps(output, report);
    tellOutcome(output, options, report);
  }
  if (options.json) await output.print(`${reportJson(report)}\n`);
  else if (isComplete) {
    await output.print(
      options["skip-payloads"]
        ? "Recovery complete, but for the payloads\n"
        : `Recovery complete: ${
          output.paint("count", countText(report.sound, "valid tx"))
        }\n`,
    );
  }
  if (options["dry-run"]) await requireNobodyElse(options);
  return ending(call, report);
}

/**
 * Reports, as a real run would, that another process has the store open.
 *
 * @throws {StoreBusyError} If another process has the store open.
 */
async function requireNobodyElse(
  options: Call<"recover">["options"],
): Promise<void> {
  if (isRemote(options.base, dbPath(options))) return;
  const { listHolders } = await import("../files/locks.ts");
  const holders = listHolders(resolve(options.base));
  if (holders.length === 0) return;
  throw new StoreBusyError(
    "The store is open elsewhere, a real run would repair nothing",
    holders,
  );
}

/** @throws {UsageError} If options ask for two things at once. */
function requireOneScope(options: Call<"recover">["options"]): void {
  if (options["skip-payloads"] && options.from.length > 0) {
    throw new UsageError("--from excludes --skip-payloads");
  }
  if (options.only === undefined) return;
  if (!isRemote(options.base, dbPath(options))) {
    throw new UsageError("--only is for stores in a bucket or on a server");
  }
  for (const other of ["rebuild", "skip-payloads"] as const) {
    if (options[other]) throw new UsageError(`--only excludes --${other}`);
  }
}

async function recover(call: Call<"recover">): Promise<StoreReport> {
  const { options, output } = call;
  const access = options["dry-run"]
    ? "read"
    : options.create
    ? "create"
    : "write";
  if (access === "create") {
    await requireThere(options, access);
    await tellIfNew(options, output);
  } else await requireStore(options, access);
  const from = await fromOptions(call);
  const only = options.only === undefined
    ? undefined
    : await readTxIds(call, options.only);
  const { performRecovery } = await import("../recovery.ts");
  using progress = new Progress(output, "recover", "checked");
  const report = await performRecovery(options.base, dbPath(options), {
    ...storageOptions(call, access),
    ...checkOptions(call, progress),
    create: options.create,
    ...from,
    dryRun: options["dry-run"],
    purge: options.purge,
    orphans: options.orphans,
    rebuild: options.rebuild,
    skipPayloads: options["skip-payloads"],
    ...(only && { only }),
    ...(options.workers !== undefined && { workers: options.workers }),
  });
  const unknown = report.interrupted || !only ? 0 : only.size - report.checked;
  if (unknown > 0) output.notice(`${unknown} of ${only!.size} have no row`);
  return report;
}

function ending({ options }: Call<"recover">, report: StoreReport): number {
  requireSoundDatabase(report);
  if (report.interrupted) {
    throw new CliError(
      Exit.interrupted,
      "Interrupted; what was repaired stays so",
      { hint: "run it again to go on" },
    );
  }
  requireAllSources(report);
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
