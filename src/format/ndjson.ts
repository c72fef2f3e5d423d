/**
 * Transactions as NDJSON: one a line, in the form of `txToJson`.
 *
 * @module
 */

import { InvalidTxError } from "../errors.ts";
import { txFromJson } from "../tx.ts";
import type { Tx } from "../types.ts";
import { linesOf } from "./lines.ts";
import { txLine } from "./tx_json.ts";

/** Longest line; a larger payload is for a stream of its own. */
const LONGEST_LINE = 64 * 1024 * 1024;

/** Turns transactions into lines. */
export async function* ndjsonOf(
  txs: AsyncIterable<Tx>,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  for await (const tx of txs) yield encoder.encode(txLine(tx));
}

/**
 * Reads transactions from lines; blank ones are skipped.
 *
 * @throws {InvalidTxError} At the first line that is no transaction, which the
 * message names.
 */
export async function* txsOf(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Tx> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for await (const { number, bytes, rest } of linesOf(source, LONGEST_LINE)) {
    if (rest !== null) {
      throw new InvalidTxError(
        "",
        `line ${number} is longer than ${LONGEST_LINE} bytes: save it by saveTxStream()`,
      );
    }
    let value: unknown;
    try {
      const text = decoder.decode(bytes);
      if (text.trim() === "") continue;
      value = JSON.parse(text);
    } catch (error) {
      throw new InvalidTxError(
        "",
        `line ${number}: not JSON: ${(error as Error).message}`,
      );
    }
    yield txOf(value, number);
  }
}

function txOf(value: unknown, line: number): Tx {
  try {
    return txFromJson(value);
  } catch (error) {
    if (!(error instanceof InvalidTxError)) throw error;
    const { field, message, code } = error;
    throw new InvalidTxError(field, `line ${line}: ${message}`, code);
  }
}
