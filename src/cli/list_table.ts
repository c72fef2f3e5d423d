/**
 * The table of transactions that `list` prints.
 *
 * @module
 */

import { printable } from "../text/printable.ts";
import type { TxInfo } from "../types.ts";
import type { Output } from "./output.ts";
import { byteText } from "../format/size_text.ts";
import { clockTime } from "../format/values.ts";

/** Not a literal where it is imported, as `TAR_STREAM` in `tar.ts`. */
export const STRING_WIDTH: string = "npm:string-width@7.2.0";

/** So many rows decide how wide the columns are. */
const SAMPLE = 256;

/** Returns how many columns a terminal takes for a text. */
type WidthOf = (text: string) => number;

type Row = readonly [id: string, holder: string, time: string, size: string];

const HEAD: Row = ["ID", "HOLDER", "TIME", "SIZE"];

/** Prints rows as they come; only the first of them wait for the widths. */
export class Table {
  readonly #output: Output;
  #waiting: Row[] = [];
  #widths: number[] | null = null;
  #widthOf: WidthOf = asciiWidth;

  /** A table on stdout. */
  constructor(output: Output) {
    this.#output = output;
  }

  /** Adds a row. */
  async add(info: TxInfo): Promise<void> {
    const { txId, holderId, timestamp, size } = info;
    const row: Row = [
      printable(txId),
      printable(holderId),
      clockTime(timestamp),
      size < 0 ? "?" : byteText(size),
    ];
    this.#waiting.push(row);
    if (this.#widthOf === asciiWidth && !row.every(isAscii)) {
      this.#widthOf = await loadWidths();
    }
    if (this.#widths || this.#waiting.length === SAMPLE) await this.#print();
  }

  /** Prints what is left. */
  async end(): Promise<void> {
    if (this.#waiting.length > 0) await this.#print();
    else if (!this.#widths) await this.#output.print("No transactions found\n");
  }

  async #print(): Promise<void> {
    if (!this.#widths) this.#waiting.unshift(HEAD);
    const widths = this.#widths ??= widest(this.#waiting, this.#widthOf);
    const rows = this.#waiting;
    this.#waiting = [];
    for (const row of rows) {
      const text = line(row, widths, this.#widthOf);
      await this.#output.print(
        `${row === HEAD ? this.#output.paint("heading", text) : text}\n`,
      );
    }
  }
}

const asciiWidth: WidthOf = (text) => text.length;

/** Loads the package that knows the widths of all other text. */
async function loadWidths(): Promise<WidthOf> {
  const { default: widthOf } = await import(STRING_WIDTH);
  return (text) => isAscii(text) ? asciiWidth(text) : widthOf(text);
}

function isAscii(text: string): boolean {
  return /^[ -~]*$/.test(text);
}

function widest(rows: readonly Row[], widthOf: WidthOf): number[] {
  return HEAD.map((_, column) =>
    Math.max(...rows.map((row) => widthOf(row[column]!)))
  );
}

/** Text to the left, the size to the right. */
function line(
  row: Row,
  widths: readonly number[],
  widthOf: WidthOf,
): string {
  const cells = row.map((cell, column) => {
    const gap = " ".repeat(Math.max(0, widths[column]! - widthOf(cell)));
    return column === row.length - 1 ? gap + cell : cell + gap;
  });
  return cells.join("  ");
}
