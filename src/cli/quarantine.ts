import { PohStorageError } from "../errors.ts";
import { printable } from "../text/printable.ts";
import { byteText } from "../format/size_text.ts";
import { UsageError } from "../format/usage_error.ts";
import type { QuarantineEntry } from "../payloads/quarantine.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { openStore } from "./store.ts";
import { infoJson } from "../format/tx_json.ts";

/** `poh-storage quarantine` */
export async function run(call: Call<"quarantine">): Promise<number> {
  const [action = "list", name] = call.positionals;
  if (action !== "restore" && name !== undefined) {
    throw new UsageError(
      `quarantine ${action} takes no further argument, got ${
        JSON.stringify(name)
      }`,
    );
  }
  if (action === "restore") return await restore(call, name);
  return action === "empty" ? await empty(call) : await list(call);
}

async function list(call: Call<"quarantine">): Promise<number> {
  const { options, output } = call;
  await using store = await openStore(call, "read");
  const entries = await Array.fromAsync(store.listQuarantine());
  entries.sort((a, b) => a.at < b.at ? -1 : a.at > b.at ? 1 : 0);
  for (const entry of entries) {
    await output.print(options.json ? entryJson(entry) : entryText(entry));
  }
  if (entries.length === 0 && !options.json) {
    await output.print("Quarantine is empty\n");
  }
  return Exit.done;
}

async function restore(
  call: Call<"quarantine">,
  name: string | undefined,
): Promise<number> {
  const { options, output } = call;
  if (name === undefined) {
    throw new UsageError("quarantine restore needs the name of an entry");
  }
  await using store = await openStore(call, "write");
  try {
    const info = await store.restoreQuarantined(name);
    await output.print(
      options.json
        ? `${infoJson(info)}\n`
        : `Restored tx ${printable(info.txId)}\n`,
    );
    return Exit.done;
  } catch (error) {
    const isUnknown = error instanceof PohStorageError &&
      error.code === "NOT_IN_QUARANTINE";
    if (!isUnknown) throw error;
    throw new CliError(Exit.unknownTx, error.message, { cause: error });
  }
}

async function empty(call: Call<"quarantine">): Promise<number> {
  const { options, output } = call;
  if (!options.yes) {
    throw new UsageError(
      "quarantine empty deletes every entry for good",
      { hint: "confirm it with --yes" },
    );
  }
  await using store = await openStore(call, "write");
  const deleted = await store.emptyQuarantine();
  await output.print(
    options.json
      ? `${JSON.stringify({ deleted })}\n`
      : `Deleted ${deleted} from quarantine\n`,
  );
  return Exit.done;
}

function entryText({ name, txId, reason, at, size }: QuarantineEntry): string {
  const about = txId === null ? "" : ` tx ${JSON.stringify(txId)}`;
  const bytes = size === null ? "no bytes" : byteText(size);
  return printable(`${name}  ${at}  ${reason}${about}, ${bytes}`) + "\n";
}

function entryJson(entry: QuarantineEntry): string {
  const { name, txId, reason, at, expected, found, size, row } = entry;
  const fields = { name, tx_id: txId, reason, at, expected, found, size };
  const start = JSON.stringify(fields).slice(0, -1);
  return `${start},"row":${row ? infoJson(row) : "null"}}\n`;
}
