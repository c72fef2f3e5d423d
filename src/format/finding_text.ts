/**
 * A finding in one line.
 *
 * @module
 */

import type { Finding, FindingAction } from "../model/report.ts";
import { printable } from "../text/printable.ts";

/** A finding in one line, with what was done, or would be in a dry run. */
export function findingText(finding: Finding, dryRun = false): string {
  const { kind, txId, file, detail, expected, found, action, source } = finding;
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
      action !== "none"
        ? `: ${doneWord(action, dryRun)}${
          source === null ? "" : ` from ${source}`
        }`
        : source !== null
        ? `: could be healed from ${source}`
        : ""
    }`,
  );
}

/** What an action is called. */
export function doneWord(action: FindingAction, dryRun: boolean): string {
  return dryRun ? `to be ${action}` : action;
}
