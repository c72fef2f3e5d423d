import { PohStorageError } from "../errors.ts";
import { printable } from "../text/printable.ts";
import { UsageError } from "../format/usage_error.ts";
import type { TxInfo } from "../types.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { filterOf } from "../format/filter_values.ts";
import type { Output } from "./output.ts";
import { openListing } from "./store.ts";
import { infoJson } from "../format/tx_json.ts";
import { idPages, type TxQueries } from "../engine.ts";

/** `poh-storage list` */
export async function run(call: Call<"list">): Promise<number> {
  const { options, output } = call;
  if (options.json && options.long) {
    throw new UsageError("list takes --long or --json, not both");
  }
  const store = await openListing(call);
  const { queries } = store;
  const { sort, reverse } = options;
  const query = { ...filterOf(options), sort, reverse };
  try {
    let odd = 0;
    if (options.json) odd += await printJson(queries.iterate(query), output);
    else if (options.long) await printTable(queries.iterate(query), output);
    else await printIds(idPages(queries, query), output);
    // Not with each page of a list.
    if (query.limit === undefined) odd += await tellOdd(queries, output);
    requireNone(odd);
  } catch (error) {
    const isGone = error instanceof PohStorageError &&
      error.code === "CURSOR_GONE";
    if (!isGone) throw error;
    throw new CliError(
      Exit.unknownTx,
      `${error.message}; ${
        reverse ? "--before" : "--since"
      } with the time of the last one does`,
      { cause: error },
    );
  } finally {
    await store.close();
  }
  return Exit.done;
}

async function printJson(
  infos: AsyncIterable<TxInfo>,
  output: Output,
): Promise<number> {
  let infinite = 0;
  for await (const info of infos) {
    await output.print(`${infoJson(info)}\n`);
    if (Number.isFinite(info.timestamp)) continue;
    const { txId, timestamp } = info;
    infinite++;
    output.error(
      `Row ${
        JSON.stringify(txId)
      }: its timestamp is ${timestamp}, listed as null`,
    );
  }
  return infinite;
}

/** Rows that are in no list, or in it as something else. */
async function tellOdd(
  queries: TxQueries,
  output: Output,
): Promise<number> {
  const rows = await queries.oddRows?.() ?? [];
  await output.flush();
  for (const { id, reason } of rows) output.error(`Row ${id}: ${reason}`);
  return rows.length;
}

function requireNone(odd: number): void {
  if (odd === 0) return;
  throw new CliError(
    Exit.failed,
    odd === 1 ? "1 row is no transaction" : `${odd} rows are no transactions`,
  );
}

async function printTable(
  infos: AsyncIterable<TxInfo>,
  output: Output,
): Promise<void> {
  const { Table } = await import("./list_table.ts");
  const table = new Table(output);
  for await (const info of infos) await table.add(info);
  await table.end();
}

/** On one line, as scripts expect it; a person is shown a screenful. */
async function printIds(
  pages: AsyncIterable<string[]>,
  output: Output,
): Promise<void> {
  let room = output.isTerminal ? screenful() : Infinity;
  let separator = "Transactions: ";
  for await (const page of pages) {
    if (page.length === 0) break;
    const shown = room === Infinity ? page : fitting(page, room);
    const text = separator + printable(shown.join(", "));
    if (shown.length < page.length) {
      await output.print(`${text}, …\n`);
      await output.flush();
      output.notice(
        "There are more: --long or --json lists them all, --limit and --after a part",
      );
      return;
    }
    await output.print(text);
    room -= text.length;
    separator = ", ";
  }
  await output.print(separator === ", " ? "\n" : "No transactions found\n");
}

/** The first ids, at least one, as many as have room in so many characters. */
function fitting(txIds: string[], room: number): string[] {
  const end = txIds.findIndex((txId, n) => {
    room -= printable(txId).length + ", ".length;
    return room < 0 && n > 0;
  });
  return end < 0 ? txIds : txIds.slice(0, end);
}

/** How many characters the terminal shows, but for the prompt's line. */
function screenful(): number {
  try {
    const { columns, rows } = Deno.consoleSize();
    if (columns > 0 && rows > 2) return columns * (rows - 2);
  } catch {
    // None is attached that would tell.
  }
  return 80 * 22;
}
