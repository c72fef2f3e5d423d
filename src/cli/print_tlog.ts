/**
 * Prints the state of a transparency log.
 *
 * @module
 */

import type { TlogStatus } from "../model/tlog.ts";
import type { Output } from "./output.ts";

/** A log in one line. */
export function statusText(status: TlogStatus): string {
  const { origin, size, root, live, published } = status;
  const signed = published === null
    ? "no checkpoint"
    : `checkpoint of ${published}`;
  return `${origin}: ${size} entries, ${live} of them live, root ${root}, ${signed}`;
}

/** Prints a log. */
export async function printStatus(
  output: Output,
  status: TlogStatus,
  asJson: boolean,
): Promise<void> {
  await output.print(
    `${asJson ? JSON.stringify(status) : statusText(status)}\n`,
  );
}
