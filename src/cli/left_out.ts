/**
 * How commands end that copy transactions, and leave out what they cannot
 * verify.
 *
 * @module
 */

import { CliError, Exit } from "./exit_codes.ts";

/**
 * The exit code when nothing was left out.
 *
 * @param interrupted What to say of an interruption; null when there was none.
 * @throws {CliError} If there was one, or something was left out.
 */
export function endingOf(
  { damaged, unreadable, odd = 0, refused = 0 }: {
    damaged: number;
    unreadable: number;
    odd?: number;
    refused?: number;
  },
  interrupted: string | null,
): number {
  const left = [
    ...(damaged > 0 ? [`${damaged} damaged`] : []),
    ...(unreadable > 0 ? [`${unreadable} unreadable`] : []),
    ...(odd > 0 ? [`${odd} that no store may save`] : []),
    ...(refused > 0 ? [`${refused} refused`] : []),
  ];
  const leftOut = left.length > 0 ? `${left.join(", ")} left out` : "";
  if (interrupted !== null) {
    const message = `${interrupted}${leftOut && `; ${leftOut}`}`;
    throw new CliError(Exit.interrupted, message);
  }
  if (leftOut) {
    throw new CliError(damaged > 0 ? Exit.damage : Exit.failed, leftOut);
  }
  return Exit.done;
}
