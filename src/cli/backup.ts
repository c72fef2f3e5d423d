import type { BackupReport } from "../copy/backup_options.ts";
import { printable } from "../text/printable.ts";
import { byteText } from "../format/size_text.ts";
import { UsageError } from "../format/usage_error.ts";
import { countText } from "../format/count_text.ts";
import type { Call } from "./call.ts";
import { endingOf } from "./left_out.ts";
import { requireAccess } from "./permissions.ts";
import { checkOptions } from "./print_report.ts";
import { Progress } from "./progress.ts";
import {
  dbPath,
  lockWait,
  requireFolder,
  requireLocal,
  requireNoFile,
  requireStore,
} from "./store.ts";

/** `poh-storage backup` */
export async function run(call: Call<"backup">): Promise<number> {
  const { options, output } = call;
  const folder = folderOf(call);
  const report = await backup(call, folder);
  const text = summary(report, folder);
  if (folder === null) output.notice(text);
  else if (options.json) await output.print(`${json(report, folder)}\n`);
  else await output.print(`${text}\n`);
  return endingOf(
    report,
    report.interrupted ? "Interrupted; run it again to go on" : null,
  );
}

/** The target folder; null for stdout. */
function folderOf(call: Call<"backup">): string | null {
  const { options, positionals: [folder], output } = call;
  const isTar = options.tar || folder === "-";
  if (!isTar && (folder === undefined || folder === "")) {
    throw new UsageError("backup needs a folder, or --tar");
  }
  if (!isTar) return folder!;
  if (folder !== undefined && folder !== "-") {
    throw new UsageError("--tar prints the archive, it takes no folder");
  }
  if (options.json) {
    throw new UsageError("--json and --tar cannot both have stdout");
  }
  if (output.isTerminal) {
    throw new UsageError("A tar archive is not for a terminal", {
      hint: "redirect it",
    });
  }
  return null;
}

async function backup(
  call: Call<"backup">,
  folder: string | null,
): Promise<BackupReport> {
  const { options, output } = call;
  requireLocal("backup", options);
  await requireStore(options, folder === null ? "write" : "read");
  if (folder !== null) {
    requireAccess(["read", "write"], [folder]);
    requireNoFile("backup's target", folder);
    await requireFolder(folder);
  }
  const { backupStore } = await import("../copy/backup.ts");
  const archive = () =>
    new WritableStream<Uint8Array>({
      write: (bytes) => output.printBytes(bytes),
    });
  using progress = new Progress(output, "backup");
  return await backupStore(
    options.base,
    dbPath(options),
    folder ?? archive(),
    {
      ...checkOptions(call, progress),
      ...lockWait(call),
      driver: options.driver,
      durability: options.durability,
      copy: options.copy,
      verify: options.verify,
    },
  );
}

function summary(report: BackupReport, folder: string | null): string {
  const { txs, written, linked, bytes, kept, removed, interrupted } = report;
  const where = folder === null ? "" : ` to ${printable(folder)}`;
  const linkedText = linked > 0 ? `, ${linked} of them as hard links` : "";
  const begin = interrupted
    ? `Backup${where} not complete`
    : `Backed up ${countText(txs, "tx")}${where}`;
  return `${begin}: ${written} new (${
    byteText(bytes)
  }${linkedText}), ${kept} kept, ${removed} removed`;
}

function json(report: BackupReport, folder: string): string {
  const { findings, ...rest } = report;
  return JSON.stringify({
    folder,
    ...rest,
    findings: findings.map(({ txId, ...finding }) => ({
      ...finding,
      tx_id: txId,
    })),
  });
}
