/**
 * Prints what an upgrade of a store did.
 *
 * @module
 */

import { printable } from "../text/printable.ts";
import type { UpgradeReport } from "../model/storage_options.ts";
import type { Output } from "./output.ts";

/** Notices that say what an upgrade did, and what it could not keep as it was. */
export function printUpgrade(report: UpgradeReport, output: Output): void {
  const { renamed, notes, noted, olderPackage } = report;
  const files = renamed === 1
    ? "1 payload file has a new name"
    : `${renamed} payload files have new names`;
  output.notice(
    olderPackage
      ? `Upgraded the store of the older Python package, which must not use it any more: ${files}`
      : `The store was used by another system or version: ${files}`,
  );
  for (const { txId, reason } of notes) {
    output.notice(`  ${printable(JSON.stringify(txId))}: ${reason}`);
  }
  if (noted > notes.length) {
    output.notice(`  and ${noted - notes.length} more`);
  }
}
