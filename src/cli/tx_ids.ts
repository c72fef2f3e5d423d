/**
 * The ids that a file names.
 *
 * @module
 */

import { UsageError } from "../format/usage_error.ts";
import type { Call } from "./call.ts";
import { openInput } from "./input.ts";
import { linesOf } from "../format/lines.ts";
import type { CommandName } from "./table.ts";

/** Longer than any line about a transaction that has no payload in it. */
const LONGEST_LINE = 64 * 1024;

/**
 * Reads lines of JSON with a `tx_id`, as `verify --findings` and `list --json`
 * print them; one that is null, of a finding about no transaction, is none.
 *
 * @throws {UsageError} If a line is something else.
 */
export async function readTxIds(
  call: Pick<Call<CommandName>, "stdin" | "signal">,
  name: string,
): Promise<Set<string>> {
  const txIds = new Set<string>();
  using input = await openInput(call, name);
  for await (const { number, bytes, rest } of linesOf(input, LONGEST_LINE)) {
    if (call.signal.aborted) break; // the line may be cut
    const txId = rest ? undefined : txIdOf(bytes);
    if (txId === undefined) {
      throw new UsageError(
        `${name}, line ${number}: not a line of verify --findings, or JSON with tx_id`,
      );
    }
    if (txId !== null) txIds.add(txId);
  }
  return txIds;
}

/** Null where there is none to be; undefined where there should be one. */
function txIdOf(line: Uint8Array): string | null | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(line);
    if (text.trim() === "") return null;
    const txId: unknown = JSON.parse(text)?.tx_id;
    return typeof txId === "string" || txId === null ? txId : undefined;
  } catch {
    return undefined;
  }
}
