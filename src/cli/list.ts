import type { Call } from "./call.ts";
import { Exit } from "./exit_codes.ts";
import { filterOf } from "./filter.ts";
import { printable } from "./output.ts";
import { openStore } from "./store.ts";
import { infoJson } from "./tx_json.ts";

/** `poh-storage list` */
export async function run({ options, output }: Call<"list">): Promise<number> {
  await using store = await openStore(options, "read");
  const infos = store.iterateTxs(filterOf(options));
  if (options.json) {
    for await (const info of infos) await output.print(`${infoJson(info)}\n`);
    return Exit.done;
  }
  let separator = "Transactions: ";
  for await (const { txId } of infos) {
    await output.print(separator + printable(txId));
    separator = ", ";
  }
  await output.print(
    separator === ", " ? "\n" : "No transactions found\n",
  );
  return Exit.done;
}
