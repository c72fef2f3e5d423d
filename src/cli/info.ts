import type { StoreHolder } from "../errors.ts";
import { printable } from "../text/printable.ts";
import { byteText } from "../format/size_text.ts";
import type { LogUse, StoreDescription } from "../model/store_description.ts";
import type { Call } from "./call.ts";
import { Exit } from "./exit_codes.ts";
import { driverJson } from "./print_report.ts";
import { dbPath, requireStore, storageOptions } from "./store.ts";
import { jsonFloat } from "../format/tx_json.ts";
import { localTime } from "../format/values.ts";

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
  await output.print(options.json ? json(description) : text(description));
  return Exit.done;
}

function text(description: StoreDescription): string {
  const { driver, bytes, unknownSizes, holders, writers } = description;
  const { top } = holders;
  const unknown = unknownSizes > 0
    ? `, and ${unknownSizes} of unknown size`
    : "";
  const rows: [string, string][] = [
    ["Payloads", description.base],
    ["Database", description.db],
    ["Driver", `${driver.name} (${driver.library})`],
    [
      driver.name === "postgres" ? "PostgreSQL" : "SQLite",
      driver.sqliteVersion,
    ],
    ["Schema", `version ${description.schemaVersion}`],
    ["Packed", packedText(description.packBelow)],
    ...(description.log
      ? [["Log", logText(description.log)] as [string, string]]
      : []),
    [
      "Write once",
      description.writeOnce ? "yes: no transaction is ever replaced" : "no",
    ],
    ["Transactions", String(description.txs)],
    ["Bytes", `${bytes} (${byteText(bytes)})${unknown}`],
    ["Oldest", timeText(description.oldest)],
    ["Newest", timeText(description.newest)],
    ["Holders", String(holders.count)],
    ...top.map(({ holderId, txs }): [string, string] => [
      "",
      `${holderId === "" ? "(unknown)" : holderId}: ${txs}`,
    ]),
    ...(holders.count > top.length ? [["", "…"] as [string, string]] : []),
    ["Durability", "full, unless a writer asks for relaxed"],
    ["Open by", writers.map(writerText).join("; ") || "no writer"],
    ["Quarantine", String(description.quarantined)],
    ...description.hints.map(({ message }): [string, string] => [
      "Hint",
      message,
    ]),
  ];
  return rows.map(([name, value]) =>
    `${(name && `${name}:`).padEnd(14)}${printable(value)}\n`
  ).join("");
}

function packedText(below: number): string {
  return below === 0
    ? "none: all payloads in files"
    : `payloads of at most ${byteText(below)} in the log`;
}

function logText({ bytes, alive, dead }: LogUse): string {
  return `${bytes} (${byteText(bytes)}): ${
    byteText(alive)
  } of payloads that live there, ${byteText(dead)} dead`;
}

function json(description: StoreDescription): string {
  const { driver, oldest, newest, holders, writers, hints } = description;
  const start = JSON.stringify({
    base: description.base,
    db: description.db,
    driver: driverJson(driver),
    schema_version: description.schemaVersion,
    pack_below: description.packBelow,
    log: description.log,
    write_once: description.writeOnce,
    txs: description.txs,
    bytes: description.bytes,
    unknown_sizes: description.unknownSizes,
    holders: {
      count: holders.count,
      top: holders.top.map(({ holderId, txs }) => ({
        holder_id: holderId,
        txs,
      })),
    },
    lock_holders: writers,
    pending: description.pending,
    quarantined: description.quarantined,
    hints,
  });
  const float = (value: number | null) =>
    value === null ? "null" : jsonFloat(value);
  return `${start.slice(0, -1)},"oldest":${float(oldest)},"newest":${
    float(newest)
  },"durability":"full"}\n`;
}

function writerText({ pid, host, since }: StoreHolder): string {
  return `pid ${pid}${host && ` on ${host}`} since ${since}`;
}

function timeText(seconds: number | null): string {
  return seconds === null
    ? "none"
    : `${jsonFloat(seconds)} (${localTime(seconds)})`;
}
