import type { StoreHolder } from "../errors.ts";
import { printable } from "../text/printable.ts";
import { byteText } from "../format/size_text.ts";
import { countText, numberText } from "../format/count_text.ts";
import type { LogUse, StoreDescription } from "../model/store_description.ts";
import type { Call } from "./call.ts";
import type { Output } from "./output.ts";
import { Exit } from "./exit_codes.ts";
import { dbPath, requireStore, storageOptions } from "./store.ts";
import { descriptionJson } from "../format/report_json.ts";
import { clockTime } from "../format/values.ts";

/** A line: its label, its value, and a bar on a terminal. */
type Row = [name: string, value: string, bar?: string];

/** Characters of the longest bar. */
const MOST_BAR = 40;

/** `poh-storage info` */
export async function run(call: Call<"info">): Promise<number> {
  const { options, output } = call;
  await requireStore(options, "read");
  const { describeStore } = await import("../describe.ts");
  const description = await describeStore(
    options.base,
    dbPath(options),
    storageOptions(call, "read"),
  );
  await output.print(
    options.json
      ? `${descriptionJson(description)}\n`
      : text(description, output),
  );
  return Exit.done;
}

function text(description: StoreDescription, output: Output): string {
  const { driver, bytes, unknownSizes, holders, writers } = description;
  const { top } = holders;
  const unknown = unknownSizes > 0
    ? `, and ${countText(unknownSizes, "tx")} of unknown size`
    : "";
  const rows: Row[] = [
    ["Payloads", description.base],
    ["Database", description.db],
    ["Driver", `${driver.name} (${driver.library})`],
    [
      driver.name === "postgres" ? "PostgreSQL" : "SQLite",
      driver.sqliteVersion,
    ],
    ["Schema", `version ${description.schemaVersion}`],
    ["Packed", packedText(description.packBelow)],
    ...(description.log ? [["Log", logText(description.log)] as Row] : []),
    [
      "Write once",
      description.writeOnce ? "yes: no transaction is ever replaced" : "no",
    ],
    ["Transactions", numberText(description.txs)],
    ["Bytes", `${byteText(bytes)}${unknown}`],
    ["Oldest", timeText(description.oldest)],
    ["Newest", timeText(description.newest)],
    ...bars(
      "Sizes",
      description.sizes.map((
        { upTo, txs },
      ) => [`up to ${byteText(upTo)}`, txs]),
      output,
    ),
    ...bars(
      "Days",
      description.days.map(({ day, txs }) => [day, txs]),
      output,
    ),
    ["Holders", numberText(holders.count)],
    ...top.map(({ holderId, txs }): Row => [
      "",
      `${holderId === "" ? "(unknown)" : holderId}: ${numberText(txs)}`,
    ]),
    ...(holders.count > top.length ? [["", "…"] as Row] : []),
    ["Durability", "full, unless a writer asks for relaxed"],
    ["Open by", writers.map(writerText).join("; ") || "no writer"],
    ["Quarantine", String(description.quarantined)],
    ...description.hints.map(({ message }): Row => [
      "Hint",
      message,
    ]),
  ];
  return rows.map(([name, value, bar = ""]) => {
    const mark = name === "Hint" ? "hint" : "heading";
    const label = output.paint(mark, (name && `${name}:`).padEnd(14));
    return `${label}${printable(value)}${output.paint("bar", bar)}\n`;
  }).join("");
}

/** Counts, one a line; on a terminal with bars as long as the counts are large. */
function bars(
  name: string,
  counts: [what: string, txs: number][],
  { columns, isTerminal }: Output,
): Row[] {
  const most = Math.max(...counts.map(([, txs]) => txs));
  const [wide, high] = [0, 1].map((n) =>
    Math.max(...counts.map((row) => cellText(row[n]!).length))
  ) as [number, number];
  const room = isTerminal ? columns - 14 - wide - high - 5 : 0;
  return counts.map(([what, txs], n): Row => {
    const length = Math.max(
      0,
      Math.ceil(txs / most * Math.min(room, MOST_BAR)),
    );
    return [
      n === 0 ? name : "",
      `${what.padEnd(wide)}  ${cellText(txs).padStart(high)}`,
      length > 0 ? `  ${"█".repeat(length)}` : "",
    ];
  });
}

function cellText(cell: string | number): string {
  return typeof cell === "number" ? numberText(cell) : cell;
}

function packedText(below: number): string {
  return below === 0
    ? "none: all payloads in files"
    : `payloads of at most ${byteText(below)} in the log`;
}

function logText({ bytes, alive, dead }: LogUse): string {
  return `${byteText(bytes)}: ${byteText(alive)} of payloads that live there, ${
    byteText(dead)
  } dead`;
}

function writerText({ pid, host, since }: StoreHolder): string {
  return `pid ${pid}${host && ` on ${host}`} since ${since}`;
}

function timeText(seconds: number | null): string {
  return seconds === null ? "none" : clockTime(seconds);
}
