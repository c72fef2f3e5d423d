/**
 * The table of `list --long`.
 *
 * @module
 */

// deno-lint-ignore no-import-prefix -- what deno.json names every task fetches
import stringWidth from "npm:string-width@7.2.0";
import type { TxInfo } from "../types.ts";
import { type Output, printable } from "./output.ts";
import { localTime } from "./values.ts";

/** So many rows decide how wide the columns are. */
const SAMPLE = 256;

type Row = readonly [id: string, holder: string, time: string, size: string];

const HEAD: Row = ["ID", "HOLDER", "TIME", "SIZE"];

/** Prints rows as they come; only the first of them wait for the widths. */
export class Table {
  readonly #output: Output;
  #waiting: Row[] = [];
  #widths: number[] | null = null;

  /** A table on stdout. */
  constructor(output: Output) {
    this.#output = output;
  }

  /** Adds a row. */
  async add(info: TxInfo): Promise<void> {
    const { txId, holderId, timestamp, size } = info;
    this.#waiting.push([
      printable(txId),
      printable(holderId),
      localTime(timestamp),
      size < 0 ? "?" : String(size),
    ]);
    if (this.#widths || this.#waiting.length === SAMPLE) await this.#print();
  }

  /** Prints what is left. */
  async end(): Promise<void> {
    if (this.#waiting.length > 0) await this.#print();
    else if (!this.#widths) await this.#output.print("No transactions found\n");
  }

  async #print(): Promise<void> {
    if (!this.#widths) this.#waiting.unshift(HEAD);
    const widths = this.#widths ??= widest(this.#waiting);
    for (const row of this.#waiting) {
      await this.#output.print(line(row, widths));
    }
    this.#waiting = [];
  }
}

/** How many columns a terminal takes for it; most is ASCII, where that is soon told. */
function widthOf(text: string): number {
  return /^[ -~]*$/.test(text) ? text.length : stringWidth(text);
}

function widest(rows: readonly Row[]): number[] {
  return HEAD.map((_, column) =>
    Math.max(...rows.map((row) => widthOf(row[column]!)))
  );
}

/** Text to the left, the size to the right. */
function line(row: Row, widths: readonly number[]): string {
  const cells = row.map((cell, column) => {
    const gap = " ".repeat(Math.max(0, widths[column]! - widthOf(cell)));
    return column === row.length - 1 ? gap + cell : cell + gap;
  });
  return `${cells.join("  ")}\n`;
}
