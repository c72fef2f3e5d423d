import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { printTx } from "./print_tx.ts";
import { openStore } from "./store.ts";
import { requireTxId } from "./tx_id.ts";

const BUFFER_BYTES = 256 * 1024;

/** `poh-storage load` */
export async function run(call: Call<"load">): Promise<number> {
  const { options, output } = call;
  const txId = requireTxId("load", options["tx-id"], call.positionals);
  await using store = await openStore(call, "read");
  const found = await store.loadTxStream(txId);
  if (found === null) {
    throw new CliError(
      Exit.unknownTx,
      `No transaction ${JSON.stringify(txId)}`,
    );
  }
  if (!options.raw) await printTx(output, found.info, found.payload);
  else await printRaw(call, found.payload);
  return Exit.done;
}

/** One buffer for all of it, however large it is. */
async function printRaw(
  { output }: Call<"load">,
  payload: ReadableStream<Uint8Array>,
): Promise<void> {
  const reader = payload.getReader({ mode: "byob" });
  try {
    let buffer = new Uint8Array(BUFFER_BYTES);
    while (true) {
      const { done, value } = await reader.read(buffer);
      if (done) return;
      await output.printBytes(value);
      buffer = new Uint8Array(value.buffer);
    }
  } finally {
    await reader.cancel().catch(() => {}); // its error is on its way
  }
}
