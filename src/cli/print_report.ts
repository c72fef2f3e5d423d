/**
 * What `verify` and `recover` have in common on the command line.
 *
 * @module
 */

import type { CheckOptions } from "../check.ts";
import type { Finding, FindingKind, StoreReport } from "../report.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { type Output, printable } from "./output.ts";
import { byteText, type Progress } from "./progress.ts";

/** Tells findings as they come, shows progress, and stops at Ctrl-C. */
export function checkOptions(
  { options, output, signal }: Call<
    "verify" | "recover" | "backup" | "restore"
  >,
  progress: Progress,
): CheckOptions {
  return {
    signal,
    onProgress: ({ step, ...amount }) => progress.update(amount, step),
    ...(!options.json && {
      onFinding: (finding) => output.notice(findingText(finding)),
    }),
  };
}

/** A finding in one line. */
export function findingText(finding: Finding): string {
  const { kind, txId, file, detail, expected, found, action } = finding;
  const about = [
    ...(txId === null ? [] : [`tx ${JSON.stringify(txId)}`]),
    ...(file === null ? [] : [`file ${JSON.stringify(file)}`]),
  ].join(", ");
  const digests = [
    ...(expected === null ? [] : [`expected ${expected}`]),
    ...(found === null ? [] : [`found ${found}`]),
  ].join(", ");
  return printable(
    `${kind}: ${about && `${about}: `}${detail}${digests && ` (${digests})`}${
      action === "none" ? "" : `: ${action}`
    }`,
  );
}

/** Tells on stderr what the whole check went through. */
export function tellSteps(output: Output, report: StoreReport): void {
  for (const { name, count, bytes, ms } of report.steps) {
    output.notice(
      `${name}: ${count} checked${
        bytes ? `, ${byteText(bytes)}` : ""
      }, ${ms} ms`,
    );
  }
}

/** How many of each kind were found, in words; `""` when nothing was. */
export function countsText(
  { counts }: StoreReport,
  kinds: readonly FindingKind[],
): string {
  return kinds
    .filter((kind) => counts[kind] > 0)
    .map((kind) => `${counts[kind]} ${kind}`)
    .join(", ");
}

/** Whether the database is damaged and stays so. */
export function isDatabaseDamaged({ findings }: StoreReport): boolean {
  return findings.some(({ kind, action }) =>
    kind === "metadata-damaged" && action === "none"
  );
}

/**
 * Nothing can be done with a damaged database but to make a new one.
 *
 * @throws {CliError} If it is damaged.
 */
export function requireSoundDatabase(report: StoreReport): void {
  if (!isDatabaseDamaged(report)) return;
  throw new CliError(
    Exit.damage,
    "The database is damaged, nothing was repaired; recover --rebuild makes a new one",
  );
}

/**
 * What could not be read is no damage, and not verified either.
 *
 * @throws {CliError} If there is any.
 */
export function requireAllRead(report: StoreReport): void {
  const { unreadable } = report.counts;
  if (unreadable === 0) return;
  throw new CliError(
    Exit.failed,
    `${unreadable} payload${unreadable === 1 ? "" : "s"} could not be read`,
  );
}

/** A report as one JSON object, named as all JSON of the program is. */
export function reportJson(report: StoreReport): string {
  const { driver, dryRun, findings, ...rest } = report;
  return JSON.stringify({
    base: rest.base,
    db: rest.db,
    driver: driver && driverJson(driver),
    dry_run: dryRun,
    sound: rest.sound,
    checked: rest.checked,
    bytes: rest.bytes,
    damaged: rest.damaged,
    repaired: rest.repaired,
    interrupted: rest.interrupted,
    cursor: rest.cursor,
    counts: rest.counts,
    findings: findings.map(findingJson),
    steps: rest.steps,
  });
}

/** A finding as JSON. */
export function findingJson({ txId, ...finding }: Finding) {
  return { ...finding, tx_id: txId };
}

/** A driver as JSON. */
export function driverJson(
  driver: NonNullable<StoreReport["driver"]>,
): Record<string, string> {
  return {
    name: driver.name,
    library: driver.library,
    sqlite_version: driver.sqliteVersion,
    ...(driver.fallbackReason !== undefined && {
      fallback_reason: driver.fallbackReason,
    }),
  };
}
