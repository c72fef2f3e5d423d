import { PohStorageError } from "../errors.ts";
import { printable } from "../text/printable.ts";
import { UsageError } from "../format/usage_error.ts";
import type { TxInfo, TxQuery } from "../types.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { filterOf } from "../format/filter_values.ts";
import type { Output } from "./output.ts";
import { openListing } from "./store.ts";
import { infoJson } from "../format/tx_json.ts";
import { idPages, type TxQueries } from "../engine.ts";

/** The format of a list. */
type Format = "ids" | "long" | "json" | "plain";

/** `poh-storage list` */
export async function run(call: Call<"list">): Promise<number> {
  const { options, output } = call;
  const format = formatOf(call);
  const store = await openListing(call);
  const { queries } = store;
  const query = queryOf(call);
  try {
    let odd = 0;
    if (format === "json") {
      odd += await printJson(queries.iterate(query), output);
    } else if (format === "ids") {
      await printIds(idPages(queries, query), output);
    } else if (format === "plain") {
      await printLine(idPages(queries, query), output);
    } else await printTable(queries.iterate(query), output);
    // Once for a list, not with each of its pages.
    if (query.limit === undefined) odd += await tellOdd(queries, output);
    requireNone(odd);
  } catch (error) {
    const isGone = error instanceof PohStorageError &&
      error.code === "CURSOR_GONE";
    if (!isGone) throw error;
    throw new CliError(
      Exit.unknownTx,
      error.message,
      {
        cause: error,
        hint: `${
          options.reverse ? "--before" : "--since"
        } with the time of the last one does`,
      },
    );
  } finally {
    await store.close();
  }
  return Exit.done;
}

function formatOf({ options, output }: Call<"list">): Format {
  const formats = ["long", "json", "plain"] as const;
  const [format, other] = formats.filter((name) => options[name]);
  if (other !== undefined) {
    throw new UsageError(`list takes --${format} or --${other}, not both`);
  }
  return format ?? (output.isTerminal ? "long" : "ids");
}

/** A person who asks for nothing in particular wants to see what came last. */
function queryOf({ options, output }: Call<"list">): TxQuery {
  const { sort, reverse, after, long, json, plain } = options;
  const isForPerson = output.isTerminal && !long && !json && !plain;
  const isUnordered = sort === undefined && !reverse && after === undefined;
  return {
    ...filterOf(options),
    ...(isForPerson && isUnordered
      ? { sort: "time", reverse: true }
      : { sort: sort ?? "id", reverse }),
  };
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
  const isAll = await output.page(async () => {
    for await (const info of infos) await table.add(info);
    await table.end();
  });
  if (!isAll) {
    output.notice(
      "There are more: --limit and --after list a part, a pipe gets all of them",
    );
  }
}

async function printIds(
  pages: AsyncIterable<string[]>,
  output: Output,
): Promise<void> {
  for await (const page of pages) {
    await output.print(page.map((txId) => `${printable(txId)}\n`).join(""));
  }
}

/** All on one line, as the Python package has it. */
async function printLine(
  pages: AsyncIterable<string[]>,
  output: Output,
): Promise<void> {
  let separator = "Transactions: ";
  for await (const page of pages) {
    if (page.length === 0) break;
    await output.print(separator + printable(page.join(", ")));
    separator = ", ";
  }
  await output.print(separator === ", " ? "\n" : "No transactions found\n");
}
