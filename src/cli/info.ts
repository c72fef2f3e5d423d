import type { DriverInfo } from "../sqlite_driver.ts";
import type { Call } from "./call.ts";
import { Exit } from "./exit_codes.ts";
import { printable } from "./output.ts";
import { driverJson } from "./print_report.ts";
import { byteText } from "./progress.ts";
import { dbPath, openStore } from "./store.ts";
import { jsonFloat } from "./tx_json.ts";

/** What there is to say of a store. */
interface StoreFacts {
  base: string;
  db: string;
  driver: DriverInfo;
  txs: number;
  bytes: number;
  oldest: number | null;
  newest: number | null;
  quarantined: number;
}

/** `poh-storage info` */
export async function run(call: Call<"info">): Promise<number> {
  const facts = await collect(call);
  await call.output.print(call.options.json ? json(facts) : text(facts));
  return Exit.done;
}

async function collect({ options }: Call<"info">): Promise<StoreFacts> {
  const { listQuarantine } = await import("../quarantine.ts");
  await using store = await openStore(options, "read");
  let quarantined = 0;
  for await (const _ of listQuarantine(store.basePath)) quarantined++;
  return {
    base: options.base,
    db: dbPath(options),
    driver: store.driver,
    txs: await store.countTxs(),
    ...await store.totals(),
    quarantined,
  };
}

function text(facts: StoreFacts): string {
  const { driver } = facts;
  const rows: [string, string][] = [
    ["Payloads", facts.base],
    ["Database", facts.db],
    ["Driver", `${driver.name} (${driver.library})`],
    ["SQLite", driver.sqliteVersion],
    ["Transactions", String(facts.txs)],
    ["Bytes", `${facts.bytes} (${byteText(facts.bytes)})`],
    ["Oldest", timeText(facts.oldest)],
    ["Newest", timeText(facts.newest)],
    ["Durability", "full, unless a writer asks for relaxed"],
    ["Quarantine", String(facts.quarantined)],
  ];
  return rows.map(([name, value]) =>
    `${`${name}:`.padEnd(14)}${printable(value)}\n`
  ).join("");
}

function json(facts: StoreFacts): string {
  const { driver, oldest, newest, ...rest } = facts;
  const start = JSON.stringify({ ...rest, driver: driverJson(driver) });
  const float = (value: number | null) =>
    value === null ? "null" : jsonFloat(value);
  return `${start.slice(0, -1)},"oldest":${float(oldest)},"newest":${
    float(newest)
  },"durability":"full"}\n`;
}

function timeText(seconds: number | null): string {
  if (seconds === null) return "none";
  const date = new Date(seconds * 1000);
  const iso = Number.isNaN(date.getTime()) ? "" : ` (${date.toISOString()})`;
  return jsonFloat(seconds) + iso;
}
