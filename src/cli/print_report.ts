/**
 * Prints the reports of `verify` and `recover`.
 *
 * @module
 */

import type { CheckOptions } from "../check/check.ts";
import { doneWord, findingText } from "../format/finding_text.ts";
import { printable } from "../text/printable.ts";
import { byteText } from "../format/size_text.ts";
import {
  countActions,
  countTakenOut,
  FINDING_KINDS,
  type FindingAction,
  type FindingKind,
  type StoreReport,
} from "../model/report.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import type { Output } from "./output.ts";
import type { Progress } from "./progress.ts";
import { commandText } from "./shell_line.ts";
import type { StoreValues } from "./store.ts";

/** Tells findings as they come, shows progress, and stops at Ctrl-C. */
export function checkOptions(
  { options, output, signal }: Call<
    "verify" | "recover" | "backup" | "restore"
  >,
  progress: Progress,
): CheckOptions {
  const dryRun = "dry-run" in options && options["dry-run"];
  return {
    signal,
    onProgress: ({ step, ...amount }) => progress.update(amount, step),
    ...(!options.json && {
      onFinding: (finding) =>
        output.notice(
          findingText(finding, dryRun).replace(
            finding.kind,
            output.paintNotice("damage", finding.kind),
          ),
        ),
    }),
  };
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

/**
 * Tells on stderr what was found and done, what was taken out of service, and
 * the next command.
 */
export function tellOutcome(
  output: Output,
  store: StoreValues,
  report: StoreReport,
): void {
  for (const line of outcomeLines(store, report)) {
    output.notice(
      line.replace(/^Found:/, (word) => output.paintNotice("damage", word)),
    );
  }
}

/** {@linkcode tellOutcome} in lines. */
export function outcomeLines(
  store: StoreValues,
  report: StoreReport,
): string[] {
  const { dryRun } = report;
  const lines: string[] = [];
  const found = FINDING_KINDS.filter((kind) => report.counts[kind] > 0)
    .map((kind) => `${report.counts[kind]} ${kind}${doneText(report, kind)}`);
  if (found.length > 0) lines.push(`Found: ${found.join(", ")}`);
  lines.push(...sourceLines(report));
  const count = countTakenOut(report);
  if (count > 0) {
    const isPurged = countActions(report, ["purged"]) > 0;
    const what = isPurged
      ? dryRun ? "Would be deleted" : "Deleted"
      : dryRun
      ? "Would be taken out of service"
      : "Taken out of service";
    lines.push(`${what}: ${namesText(report.takenOut, count)}`);
    if (!isPurged && !dryRun) {
      lines.push(
        `See them by: ${commandText(["quarantine", "list"], store)}`,
        `Bring them back, where a copy has them, by: ${
          commandText(["recover"], store)
        } --from <backup, archive, store or URL>`,
      );
    }
  }
  return lines.map(printable);
}

/** The actions on findings of a kind: ` (2 healed, 1 quarantined)`. */
function doneText({ actions, dryRun }: StoreReport, kind: FindingKind): string {
  const done = Object.entries(actions[kind] ?? {}).map(([action, count]) => ({
    count,
    what: action === "none"
      ? "left as found"
      : doneWord(action as FindingAction, dryRun),
  }));
  if (done.length === 1) return ` (${done[0]!.what})`;
  return ` (${done.map(({ count, what }) => `${count} ${what}`).join(", ")})`;
}

/** One line for each source: how much it healed, and why it failed. */
export function sourceLines({ sources, dryRun }: StoreReport): string[] {
  return sources.map(({ source, healed, wrong, failure }) =>
    `From ${source}: ${healed} ${dryRun ? "to be healed" : "found"}${
      wrong > 0 ? `, ${wrong} not what the row promises` : ""
    }${failure === null ? "" : `; then it failed: ${failure}`}`
  );
}

function namesText(ids: readonly string[], count: number): string {
  const named = ids.map((id) => JSON.stringify(id)).join(", ");
  const others = count - ids.length;
  return others > 0 ? `${named} and ${others} more` : named;
}

/** Counts of findings by kind, in words; `""` if nothing was found. */
export function countsText(
  { counts }: StoreReport,
  kinds: readonly FindingKind[],
): string {
  return kinds
    .filter((kind) => counts[kind] > 0)
    .map((kind) => `${counts[kind]} ${kind}`)
    .join(", ");
}

/** True if the database is damaged and was not repaired. */
export function isDatabaseDamaged(report: StoreReport): boolean {
  return countActions(report, ["none"], ["metadata-damaged"]) > 0;
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
    "The database is damaged, nothing was repaired",
    { hint: "recover --rebuild makes a new one" },
  );
}

/**
 * Fails if a source failed: it may have payloads that are still missing.
 *
 * @throws {CliError} If one failed.
 */
export function requireAllSources(report: StoreReport): void {
  const failed = report.sources.filter(({ failure }) => failure !== null);
  if (failed.length === 0) return;
  const left = countActions(report, ["none"], [
    "payload-missing",
    "payload-corrupt",
  ]);
  throw new CliError(
    Exit.failed,
    `${failed.map(({ source }) => source).join(", ")} failed, and ${left} tx${
      left === 1 ? " was" : "s were"
    } left as found that it may have`,
    { hint: "run it again to go on" },
  );
}

/**
 * Fails if a payload could not be read: it is not verified, nor proven damaged.
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
