import type { StoreReport } from "../report.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { filterOf } from "./filter.ts";
import { checkOptions, reportJson, tellSteps } from "./print_report.ts";
import { Progress } from "./progress.ts";
import { dbPath, requireStore, storageOptions } from "./store.ts";

/** `poh-storage verify` */
export async function run(call: Call<"verify">): Promise<number> {
  const { options, output } = call;
  await requireStore(options, "read");
  const { verifyStore } = await import("../recovery.ts");
  const { after, limit, ...filter } = filterOf(options);
  const report = await verifyWith();
  if (options.json) await output.print(`${reportJson(report)}\n`);
  else {
    tellSteps(output, report);
    await output.print(
      `Verification complete: ${report.sound} valid txs of ${report.checked}\n`,
    );
  }
  return ending(report);

  async function verifyWith(): Promise<StoreReport> {
    using progress = new Progress(output, "verify");
    return await verifyStore(options.base, dbPath(options), {
      ...storageOptions(options, "read"),
      ...checkOptions(call, progress),
      filter,
      ...(options.sample !== undefined && { sample: options.sample }),
      ...(after !== undefined && { after }),
      ...(limit !== undefined && { limit }),
    });
  }
}
