import { printable } from "../text/printable.ts";
import { UsageError } from "../format/usage_error.ts";
import type { SavedTx } from "../model/if_exists.ts";
import { fileName } from "../files/file_name.ts";
import { looksLikeMilliseconds, txFromJson, validateTxHead } from "../tx.ts";
import type { Tx, TxHead } from "../types.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { type Input, openInput, readText } from "./input.ts";
import { openStore } from "./store.ts";
import { savedJson } from "../format/tx_json.ts";

/** A transaction whose JSON is longer is saved by `--payload-file`. */
const MAX_JSON_BYTES = 256 * 1024 * 1024;

/** `poh-storage save` */
export async function run(call: Call<"save">): Promise<number> {
  // All input is checked before the store is opened.
  const { options, output } = call;
  const saved = options.tx === undefined
    ? await saveFile(call, headOf(options))
    : await saveJson(call, options.tx);
  if (options.json) {
    await output.print(`${savedJson(saved)}\n`);
    return Exit.done;
  }
  if (looksLikeMilliseconds(saved.timestamp)) {
    output.notice(
      `The timestamp ${saved.timestamp} looks like milliseconds: it is read as seconds`,
    );
  }
  const { done, notice } = WORDS[saved.outcome];
  await output.print(`${done} tx ${printable(saved.txId)}\n`);
  if (notice) output.notice(notice);
  return Exit.done;
}

/** The line on stdout, which scripts read, and the notice on stderr. */
const WORDS: Record<SavedTx["outcome"], { done: string; notice?: string }> = {
  created: { done: "Saved" },
  replaced: { done: "Saved", notice: "It has replaced another tx of that id" },
  unchanged: { done: "Unchanged", notice: "The same tx is there already" },
  kept: {
    done: "Kept",
    notice: "Another tx of that id is there already: nothing was saved",
  },
};

async function saveJson(call: Call<"save">, source: string): Promise<SavedTx> {
  const { options } = call;
  for (
    const name of ["tx-id", "holder-id", "timestamp", "payload-file"] as const
  ) {
    if (options[name] !== undefined) {
      throw new UsageError(`save takes --tx or --${name}, not both`);
    }
  }
  const tx = await readTx(call, source);
  await using store = await openStore(call, "write");
  return await store.saveTx(tx, { ifExists: options["if-exists"] });
}

async function readTx(call: Call<"save">, source: string): Promise<Tx> {
  const file = source === "-" ? "-" : /^@(.*)$/s.exec(source)?.[1];
  if (file === "") throw new UsageError("--tx @ needs the name of a file");
  const what = file === undefined ? "--tx" : file === "-" ? "stdin" : file;
  let text = source;
  if (file !== undefined) {
    using input = await openInput(call, file);
    text = await readText(input, what, MAX_JSON_BYTES, call.signal);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${what} is not JSON: ${(error as Error).message}`);
  }
  const tx = txFromJson(value);
  fileName(tx.txId); // refuses an id that no file can be named after
  return tx;
}

function headOf(options: Call<"save">["options"]): TxHead {
  const txId = options["tx-id"];
  const holderId = options["holder-id"];
  if (
    txId === undefined && holderId === undefined &&
    options.timestamp === undefined && options["payload-file"] === undefined
  ) {
    throw new UsageError(
      "save needs --tx, or --tx-id, --holder-id and --payload-file",
    );
  }
  if (txId === undefined) throw new UsageError("save needs --tx-id");
  if (holderId === undefined) throw new UsageError("save needs --holder-id");
  const timestamp = options.timestamp ?? Date.now() / 1000;
  const head = { txId, holderId, timestamp };
  validateTxHead(head);
  fileName(txId);
  return head;
}

async function saveFile(call: Call<"save">, head: TxHead): Promise<SavedTx> {
  const { options } = call;
  const file = options["payload-file"];
  if (file === undefined) throw new UsageError("save needs --payload-file");
  using input = await openInput(call, file, true);
  await using store = await openStore(call, "write");
  return await store.saveTxStream(head, wholeOf(input, call.signal), {
    ifExists: options["if-exists"],
  });
}

/** A payload that was cut short by Ctrl-C must not be saved as if it were whole. */
async function* wholeOf(
  input: Input,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  yield* input;
  if (signal.aborted) {
    throw new CliError(Exit.interrupted, "Interrupted; nothing was saved");
  }
}
