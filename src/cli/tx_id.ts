/**
 * The id that a command is about.
 *
 * @module
 */

import { UsageError } from "../format/usage_error.ts";
import { validateTxId } from "../tx.ts";

/**
 * The id from `--tx-id` or from the argument.
 *
 * @throws {UsageError} If neither or both are given.
 * @throws {InvalidTxIdError} If the argument is empty.
 */
export function requireTxId(
  command: string,
  option: string | undefined,
  positionals: readonly string[],
): string {
  const [argument] = positionals;
  if (option !== undefined && argument !== undefined) {
    throw new UsageError(`${command} takes --tx-id or an argument, not both`);
  }
  const txId = option ?? argument;
  if (txId === undefined) {
    throw new UsageError(`${command} needs the id of a transaction`);
  }
  // An unset variable of a shell, not the empty id that an older store may have.
  if (argument !== undefined) validateTxId(argument);
  return txId;
}
