import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { printTx } from "./print_tx.ts";
import { openStore } from "./store.ts";
import { requireTxId } from "./tx_id.ts";
import { UsageError } from "../format/usage_error.ts";

const BUFFER_BYTES = 256 * 1024;

/** `poh-storage load` */
export async function run(call: Call<"load">): Promise<number> {
  const { options, output } = call;
  requireSafe(call);
  const txId = requireTxId("load", options["tx-id"], call.positionals);
  await using store = await openStore(call, "read");
  const found = await store.loadTxStream(txId);
  if (found === null) {
    throw new CliError(
      Exit.unknownTx,
      `No transaction ${JSON.stringify(txId)}`,
      { hint: '"poh-storage list" shows what is there' },
    );
  }
  const { payload, info } = found;
  if (options.output !== undefined && options.output !== "-") {
    await writeTo(options.output, payload);
  } else if (options.raw || options.output === "-") {
    await printRaw(call, payload);
  } else await printTx(output, info, payload);
  return Exit.done;
}

/** Refuses to send the bytes of a payload to a terminal. */
function requireSafe({ options, output }: Call<"load">): void {
  if (options.raw && options.output !== undefined) {
    throw new UsageError("load takes --raw or --output, not both");
  }
  if (!options.raw || !output.isTerminal) return;
  throw new UsageError(
    "load --raw does not print to a terminal",
    {
      hint: "use a pipe, --output <file>, or --output - to print anyway",
    },
  );
}

/** Nothing stays of a payload that is not sound to its end. */
async function writeTo(
  path: string,
  payload: ReadableStream<Uint8Array>,
): Promise<void> {
  const file = await createFile(path);
  try {
    await payload.pipeTo(file.writable);
  } catch (error) {
    await Deno.remove(path);
    throw error;
  }
}

async function createFile(path: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(path, { write: true, createNew: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    throw new UsageError(`${path} is there already`, {
      hint: "name a new file",
    });
  }
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
