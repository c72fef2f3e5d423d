import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { printTx } from "./print_tx.ts";
import { openStore } from "./store.ts";
import { requireTxId } from "./tx_id.ts";

/** `poh-storage load` */
export async function run(call: Call<"load">): Promise<number> {
  const { options, output } = call;
  const txId = requireTxId("load", options["tx-id"], call.positionals);
  await using store = await openStore(options, "read");
  const found = await store.loadTxStream(txId);
  if (found === null) {
    throw new CliError(
      Exit.unknownTx,
      `No transaction ${JSON.stringify(txId)}`,
    );
  }
  if (!options.raw) await printTx(output, found.info, found.payload);
  else for await (const chunk of found.payload) await output.printBytes(chunk);
  return Exit.done;
}
