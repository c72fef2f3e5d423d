import { printable } from "../text/printable.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { openStore } from "./store.ts";
import { requireTxId } from "./tx_id.ts";

/** `poh-storage delete` */
export async function run(call: Call<"delete">): Promise<number> {
  const { options, output } = call;
  const txId = requireTxId("delete", options["tx-id"], call.positionals);
  await using store = await openStore(call, "write");
  if (!await store.deleteTx(txId)) {
    throw new CliError(
      Exit.unknownTx,
      `No transaction ${JSON.stringify(txId)}`,
      { hint: '"poh-storage list" shows what is there' },
    );
  }
  await output.print(
    options.json
      ? `${JSON.stringify({ tx_id: txId, deleted: true })}\n`
      : `Deleted tx ${printable(txId)}\n`,
  );
  return Exit.done;
}
