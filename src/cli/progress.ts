/**
 * How far a long command has got, on a terminal.
 *
 * @module
 */

import type { Output } from "./output.ts";

/** Redrawn no more often than this. */
const INTERVAL_MS = 100;

/** How far a command has got. */
export interface Amount {
  /** Transactions so far. */
  done: number;
  /** Transactions in all, where that is known. */
  total?: number | null;
  /** Bytes so far. */
  bytes?: number;
}

/** A status line that tells amounts and rate. Dispose of it to take it away. */
export class Progress implements Disposable {
  #output: Output;
  #start = performance.now();
  #drawn = 0;
  #label: string;

  /** Begins to measure. */
  constructor(output: Output, label: string) {
    this.#output = output;
    this.#label = label;
  }

  /** Tells how far it has got; cheap enough to be called for each transaction. */
  update({ done, total, bytes }: Amount, label: string = this.#label): void {
    if (!this.#output.showsStatus) return;
    const now = performance.now();
    if (now - this.#drawn < INTERVAL_MS) return;
    this.#drawn = now;
    const seconds = (now - this.#start) / 1000;
    const parts = [
      total ? `${done} of ${total} txs` : `${done} txs`,
      ...(bytes === undefined ? [] : [byteText(bytes)]),
      ...(seconds > 1 ? [`${Math.round(done / seconds)} txs/s`] : []),
    ];
    this.#output.status(`${label}: ${parts.join(", ")}`);
  }

  /** Takes the line away. */
  [Symbol.dispose](): void {
    this.#output.status("");
  }
}

/** A number of bytes for people. */
export function byteText(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = bytes, unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
